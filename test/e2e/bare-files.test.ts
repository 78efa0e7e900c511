import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { numbersOf } from "../golden/compare.ts";
import { readSafetensors } from "../support/read-safetensors.ts";
import { runMerge } from "../support/run-merge.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

// A diffusion checkpoint is one file: no config, no layers that transformers would know, several stacks.
const shapes: Readonly<Record<string, readonly number[]>> = {
  "model.diffusion_model.input_blocks.1.0.in_layers.2.weight": [4, 3, 3, 3],
  "model.diffusion_model.input_blocks.2.0.in_layers.2.weight": [4, 4, 3, 3],
  "model.diffusion_model.output_blocks.0.1.proj_in.weight": [4, 4],
  "model.diffusion_model.time_embed.0.weight": [8, 4],
  "first_stage_model.decoder.conv_in.bias": [4],
  "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight": [8, 4],
  alphas_cumprod: [5],
};

function write(path: string, value: number, extra: Readonly<Record<string, readonly number[]>> = {}): void {
  const tensors = Object.entries({ ...shapes, ...extra }).map(([name, shape]) => {
    const values = new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(value);
    return { name, dtype: "F32", shape, bytes: new Uint8Array(values.buffer) };
  });
  writeSafetensors(path, tensors);
}

test("single files without a config are merged by the names of their tensors", async () => {
  const folder = temporaryFolder();
  write(join(folder, "one.safetensors"), 1);
  write(join(folder, "two.safetensors"), 3);
  const out = join(folder, "out");
  const recipe = `merge_method: linear
models:
  - {model: one.safetensors, parameters: {weight: [{filter: input_blocks, value: [1, 0]}, {value: 0.5}]}}
  - {model: two.safetensors, parameters: {weight: [{filter: input_blocks, value: [0, 1]}, {value: 0.5}]}}
`;
  expect((await runMerge(recipe, out, { models: folder })).outcome.outcome).toBe("done");
  const merged = readSafetensors(join(out, "model.safetensors"));
  expect([...merged.keys()].sort()).toEqual(Object.keys(shapes).sort());
  const valuesIn = (name: string) => [...new Set(numbersOf(merged.get(name)!))];
  expect(valuesIn("alphas_cumprod")).toEqual([2]);
  // Gradients run over the blocks of a stack: the second of two is the second model's.
  expect(valuesIn("model.diffusion_model.input_blocks.2.0.in_layers.2.weight")).toEqual([3]);
  expect(valuesIn("model.diffusion_model.input_blocks.1.0.in_layers.2.weight")).toEqual([2]);
  expect(readdirSync(out).filter((name) => name.endsWith(".json"))).toEqual(["deltaworks.manifest.json"]);
});

test("a method of deltas takes such files, too", async () => {
  const folder = temporaryFolder();
  for (const [k, name] of ["base", "one", "two"].entries()) write(join(folder, `${name}.safetensors`), 1 + k);
  const out = join(folder, "out");
  const recipe = `merge_method: ties
base_model: base.safetensors
models:
  - {model: one.safetensors, parameters: {weight: 1, density: 1}}
  - {model: two.safetensors, parameters: {weight: 1, density: 1}}
parameters: {normalize: false}
`;
  expect((await runMerge(recipe, out, { models: folder })).outcome.outcome).toBe("done");
  const merged = readSafetensors(join(out, "model.safetensors"));
  for (const tensor of merged.values()) expect([...new Set(numbersOf(tensor))]).toEqual([4]);
});

test("a tensor that one of the files lacks is the others' alone, one that only another has is skipped", async () => {
  const folder = temporaryFolder();
  write(join(folder, "one.safetensors"), 1, { "model.extra.weight": [2] });
  write(join(folder, "two.safetensors"), 3);
  const merge = (a: string, b: string) =>
    runMerge(
      `merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: ${a}.safetensors}, {model: ${b}.safetensors}]\n`,
      join(folder, `${a}-${b}`),
      { models: folder },
    );
  const { plan } = await merge("one", "two");
  const valuesIn = (tensor: string) => {
    const merged = readSafetensors(join(folder, "one-two", "model.safetensors"));
    return [...new Set(numbersOf(merged.get(tensor)!))];
  };
  expect([valuesIn("model.extra.weight"), valuesIn("alphas_cumprod")]).toEqual([[1], [2]]);
  expect(plan.notes).toMatchObject([{ tensor: "model.extra.weight", input: "two.safetensors" }]);
  expect((await merge("two", "one")).plan.notes).toMatchObject([
    { tensor: "model.extra.weight", input: "one.safetensors" },
  ]);
});
