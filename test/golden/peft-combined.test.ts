import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { type Matrix, multiplied, singularValues } from "../../merge/math/index.ts";
import { type ReadTensor, readSafetensors } from "../support/read-safetensors.ts";
import { type MergeSettings, runMerge } from "../support/run-merge.ts";
import { numbersOf } from "./compare.ts";

// Adapters in, one adapter out. The oracle is PEFT's add_weighted_adapter: scripts/golden-peft.py.

const models = new URL("./peft-combined/", import.meta.url).pathname;
const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-combined-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const modules = ["model.layers.0.self_attn.k_proj", "model.layers.0.self_attn.q_proj"];
const expected = readSafetensors(join(models, "expected.safetensors"));
const configOf = (folder: string) => JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8"));

let merges = 0;
async function merged(text: string, settings: Partial<MergeSettings> = {}) {
  const out = join(scratch, `${merges++}`);
  const run = await runMerge(text, out, { models, ...settings });
  if (run.outcome.outcome !== "done") throw new Error(run.outcome.cause?.message);
  const [{ name = "" } = {}] = run.plan.shards;
  return { out, file: name, tensors: readSafetensors(join(out, name)) };
}
const recipe = (method: string, extra = "") => `merge_method: ${method}
${extra}models:
  - {model: first, parameters: {weight: 0.7}}
  - {model: second, parameters: {weight: 1.3}}
`;

function matrixOf(tensor: ReadTensor): Matrix {
  const [rows = 0, columns = 0] = tensor.shape;
  return { rows, columns, values: numbersOf(tensor) };
}
const factor = (tensors: ReadonlyMap<string, ReadTensor>, module: string, which: "A" | "B") =>
  matrixOf(tensors.get(`base_model.model.${module}.lora_${which}.weight`)!);
const delta = (tensors: ReadonlyMap<string, ReadTensor>, module: string) =>
  multiplied(factor(tensors, module, "B"), factor(tensors, module, "A")).values;
const largest = (values: Iterable<number>) => Math.max(...Array.from(values, Math.abs));
const difference = (a: Float64Array, b: Float64Array) => largest(a.map((value, k) => value - b[k]!));

test.each([
  ["cat", "", 6],
  ["svd", "parameters: {rank: 3}\n", 3],
])("%s adds to a model what PEFT's combination adds", async (method, extra, rank) => {
  const { out, file, tensors } = await merged(recipe(method, extra));
  expect(file).toBe("adapter_model.safetensors");
  expect(tensors.size).toBe(4);
  for (const module of modules) {
    const wanted = numbersOf(expected.get(`${method}.${module}`)!);
    expect(difference(delta(tensors, module), wanted)).toBeLessThan(2e-6 * largest(wanted));
    expect(factor(tensors, module, "A").rows).toBe(rank);
  }
  // The scale is 1: alpha is the rank.
  expect(configOf(out)).toMatchObject({
    r: rank,
    lora_alpha: rank,
    use_rslora: false,
    rank_pattern: {},
    alpha_pattern: {},
  });
  expect(configOf(out)).toMatchObject({ target_modules: configOf(join(models, "first")).target_modules });
});

test("an svd of full rank gives the sum that cat gives", async () => {
  const whole = await merged(recipe("cat"));
  const { tensors, out } = await merged(recipe("svd", "parameters: {rank: 99}\n"));
  for (const module of modules) {
    const wanted = delta(whole.tensors, module);
    expect(difference(delta(tensors, module), wanted)).toBeLessThan(1e-6 * largest(wanted));
  }
  // No more ranks than the adapters have together.
  expect(configOf(out).r).toBe(6);
});

test("svd keeps the largest singular values, half in each factor, the largest element of each left vector positive", async () => {
  const whole = await merged(recipe("cat"));
  const { tensors } = await merged(recipe("svd", "parameters: {rank: 3}\n"));
  for (const module of modules) {
    const b = factor(tensors, module, "B");
    const sum = multiplied(factor(whole.tensors, module, "B"), factor(whole.tensors, module, "A"));
    const { values } = singularValues(sum);
    for (let k = 0; k < 3; k++) {
      const column = Array.from({ length: b.rows }, (_, i) => b.values[i * 3 + k]!);
      expect(column.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0)).toBeGreaterThan(0);
      const norm = column.reduce((total, value) => total + value * value, 0);
      expect(Math.abs(norm / values[k]! - 1)).toBeLessThan(1e-5);
    }
  }
});

test.each(["cat", "svd"])("%s: no cut, budget or engine alters a bit", async (method) => {
  const text = recipe(method, method === "svd" ? "parameters: {rank: 3}\n" : "");
  const { tensors } = await merged(text);
  const budget = { rangeElements: 1, spareBytes: 0, heldBytes: 0, pieceElements: 8 };
  for (const settings of [{ budget }, { sliceBytes: 1 }, { engine: "reference" }] as const) {
    const again = await merged(text, settings);
    for (const [name, { bytes }] of tensors) expect(again.tensors.get(name)!.bytes.equals(bytes), name).toBe(true);
  }
});

test("rank may differ by module, and the config says so", async () => {
  const ranks = "parameters: {rank: [{filter: k_proj, value: 2}, {value: 4}]}\n";
  const { out, tensors } = await merged(recipe("svd", ranks));
  expect(modules.map((module) => factor(tensors, module, "A").rows)).toEqual([2, 4]);
  const { r, rank_pattern, alpha_pattern } = configOf(out);
  const other = r === 2 ? "model.layers.0.self_attn.q_proj" : "model.layers.0.self_attn.k_proj";
  expect(rank_pattern).toEqual({ [other]: r === 2 ? 4 : 2 });
  expect(alpha_pattern).toEqual(rank_pattern);
});

test("linear merges factors as they stand, where rank and scale agree, and keeps the config", async () => {
  const { out, tensors } = await merged(recipe("linear").replace("second", "first"));
  expect(configOf(out)).toEqual(configOf(join(models, "first")));
  const own = readSafetensors(join(models, "first", "adapter_model.safetensors"));
  for (const [name, tensor] of own) {
    expect(difference(numbersOf(tensors.get(name)!), numbersOf(tensor))).toBeLessThan(1e-6);
  }
  await expect(merged(recipe("linear"))).rejects.toThrow(
    /rank 4 and scale 1.5 for .*linear merges A and B as they stand/,
  );
});

test("bare files give a bare file, scaled alike", async () => {
  const bare = join(scratch, "bare");
  const text = recipe("cat").replace(/(first|second)/g, `${models}$1/adapter_model.safetensors`);
  // Beside a config the file is PEFT's; elsewhere it is bare.
  expect((await merged(text)).file).toBe("adapter_model.safetensors");
  writeFileSync(`${bare}-a.safetensors`, readFileSync(join(models, "first", "adapter_model.safetensors")));
  writeFileSync(`${bare}-b.safetensors`, readFileSync(join(models, "second", "adapter_model.safetensors")));
  const own = recipe("cat").replace("first", `${bare}-a.safetensors`).replace("second", `${bare}-b.safetensors`);
  const { file, tensors } = await merged(own);
  expect(file).toBe("model.safetensors");
  const [first, second] = ["first", "second"].map((name) =>
    readSafetensors(join(models, name, "adapter_model.safetensors")),
  );
  for (const module of modules) {
    const others = delta(second!, module);
    const wanted = delta(first!, module).map((value, k) => 0.7 * value + 1.3 * others[k]!);
    expect(difference(delta(tensors, module), wanted)).toBeLessThan(1e-6 * largest(wanted));
  }
});
