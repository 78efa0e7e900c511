// The recipes of the benchmarks, the same for deltaworks and for mergekit.
import { mkdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { modelBytes, modelName, setFolder, weightsPath } from "./checkpoints.mjs";
import { benchFolder } from "./folders.mjs";

export const recipesFolder = join(benchFolder, "recipes");

/** `base`: whether it is an input. `target`: the most that a merge may take, as a multiple of the floor, where there is a promise. */
export const methods = {
  linear: { base: false, parameters: ["weight: 0.2"], target: 1.5 },
  task_arithmetic: { base: true, parameters: ["weight: 0.2"], target: 1.5 },
  slerp: { base: true, parameters: ["t: 0.4"], target: 2, mostModels: 1 },
  model_stock: { base: true, parameters: [], target: 2 },
  ties: { base: true, parameters: ["weight: 0.2", "density: 0.5"], target: 3 },
  breadcrumbs: { base: true, parameters: ["weight: 0.2", "density: 0.9", "gamma: 0.01"], target: 3 },
  dare_ties: { base: true, parameters: ["weight: 0.2", "density: 0.5"], target: 3 },
  nuslerp: { base: false, parameters: ["weight: 0.5"], mostModels: 2 },
  multislerp: { base: false, parameters: ["weight: 0.2"], target: 3 },
  karcher: { base: false, parameters: [], target: 3 },
  sce: { base: true, parameters: ["select_topk: 0.1"], target: 4 },
  consensus: { base: true, parameters: [], target: 4 },
  magmax: { base: true, parameters: [] },
  ram: { base: true, parameters: [] },
  ramplus_tl: { base: true, parameters: [] },
  nearswap: { base: true, parameters: ["t: 0.001"], mostModels: 1 },
  arcee_fusion: { base: true, parameters: [], mostModels: 1 },
  della: { base: true, parameters: ["weight: 0.2", "density: 0.5", "epsilon: 0.15"], target: 5 },
};

/** Which files a merge of `fineTunes` models reads, and how many bytes. */
export function inputsOf(method, set, fineTunes) {
  const { base, mostModels = Number.POSITIVE_INFINITY } = methods[method];
  const last = Math.min(fineTunes, mostModels);
  const indices = Array.from({ length: last + (base ? 1 : 0) }, (_, k) => (base ? k : k + 1));
  return { indices, paths: indices.map((index) => weightsPath(set, index)), bytes: indices.length * modelBytes(set) };
}

/** Writes the recipe and returns its path. Model paths are relative to the recipe's folder. */
export function writeRecipe(method, set, fineTunes) {
  const { base, parameters } = methods[method];
  const folder = relative(recipesFolder, setFolder(set));
  const path = (index) => join(folder, modelName(index));
  const lines = [`merge_method: ${method}`, "dtype: bfloat16"];
  if (base) lines.push(`base_model: ${path(0)}`);
  if (parameters.length > 0) lines.push("parameters:", ...parameters.map((parameter) => `  ${parameter}`));
  lines.push("models:", ...inputsOf(method, set, fineTunes).indices.map((index) => `  - model: ${path(index)}`));
  mkdirSync(recipesFolder, { recursive: true });
  const file = join(recipesFolder, `${method}-${set}-${fineTunes}.yml`);
  writeFileSync(file, `${lines.join("\n")}\n`);
  return file;
}
