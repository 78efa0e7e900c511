import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readMetadata, readSafetensors } from "../support/read-safetensors.ts";
import { runMerge } from "../support/run-merge.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { type WriteTensor, writeSafetensors } from "../support/write-safetensors.ts";

/** Tensors and metadata of a file. */
function contents(path: string) {
  return { tensors: readSafetensors(path), metadata: readMetadata(path) };
}

/** Of so many bits an element. */
function tensor(name: string, dtype: string, shape: readonly number[], bits: number): WriteTensor {
  const bytes = new Uint8Array((shape.reduce((product, size) => product * size, 1) * bits) / 8);
  for (let k = 0; k < bytes.length; k++) bytes[k] = (k * 7 + name.length) % 251;
  return { name, dtype, shape, bytes };
}

const prefix = "model.layers.0.mlp";
const packed = [
  tensor("model.embed_tokens.weight", "BF16", [4, 8], 16),
  // Rows that share bytes, and a tensor of several slices.
  tensor(`${prefix}.up_proj.weight`, "F4", [500, 301], 4),
  tensor(`${prefix}.up_proj.weight_scale`, "F8_E8M0", [500, 10], 8),
  tensor(`${prefix}.down_proj.weight`, "F6_E2M3", [4, 3], 6),
  tensor(`${prefix}.gate_proj.weight`, "F6_E3M2", [2, 2, 8], 6),
  tensor(`${prefix}.odd.weight`, "F8_E4M3FNUZ", [3, 3], 8),
  tensor("model.rope.freqs_cis", "C64", [3, 5], 64),
];

function model(): string {
  const folder = temporaryFolder();
  writeSafetensors(join(folder, "a", "model.safetensors"), packed, { format: "pt", "w.weight": '{"_type": "X"}' });
  writeFileSync(
    join(folder, "a", "config.json"),
    '{"num_hidden_layers": 1, "quantization_config": {"quant_method": "x"}}',
  );
  return folder;
}

test("passthrough copies dtypes of which no numbers are made, bit by bit, with what their files' metadata says", async () => {
  const models = model();
  const out = join(models, "out");
  const recipe = "merge_method: passthrough\nmodels: [{model: a}]";
  const run = await runMerge(recipe, out, { models, sliceBytes: 20_000 });
  expect(run.outcome).toMatchObject({ outcome: "done" });
  expect(contents(join(out, "model.safetensors"))).toEqual(contents(join(models, "a", "model.safetensors")));
});

test("every file of the output has the metadata of all files of the input", async () => {
  const models = model();
  const out = join(models, "out");
  const run = await runMerge("merge_method: passthrough\nmodels: [{model: a}]", out, { models, shardBytes: 70_000 });
  expect(run.plan.shards.map(({ name }) => contents(join(out, name)).metadata)).toEqual(
    run.plan.shards.map(() => ({ format: "pt", "w.weight": '{"_type": "X"}' })),
  );
  expect(run.plan.shards.length).toBeGreaterThan(1);
});

test("a document that builds on a copy finds the dtypes as they would have been written", async () => {
  const models = model();
  const out = join(models, "out");
  const recipe =
    "name: x\nmerge_method: passthrough\nmodels: [{model: a}]\n---\nmerge_method: passthrough\nmodels: [{model: x}]";
  const run = await runMerge(recipe, out, { models });
  expect(run.outcome).toMatchObject({ outcome: "done" });
  expect(contents(join(out, "model.safetensors")).tensors).toEqual(
    contents(join(models, "a", "model.safetensors")).tensors,
  );
});

test("a copy that is no model of its own has no metadata of the model", async () => {
  const models = model();
  const out = join(models, "out");
  const slice = "{sources: [{model: a, layer_range: [0, 1]}]}";
  await runMerge(`merge_method: passthrough\nslices: [${slice}, ${slice}]`, out, { models });
  expect(contents(join(out, "model.safetensors")).metadata).toEqual({ format: "pt" });
});

test("fp8 codes with powers of two as scales are merged as their values", async () => {
  const folder = temporaryFolder();
  // 1, 2, 0.5 and -1.5 as E4M3; 2^(129 - 127) and 2^(126 - 127) as E8M0, a row each.
  const codes = Uint8Array.of(0x38, 0x40, 0x30, 0xbc);
  writeSafetensors(join(folder, "a", "model.safetensors"), [
    { name: "model.layers.0.up.weight", dtype: "F8_E4M3", shape: [2, 2], bytes: codes },
    { name: "model.layers.0.up.weight_scale", dtype: "F8_E8M0", shape: [2, 1], bytes: Uint8Array.of(129, 126) },
  ]);
  writeFileSync(
    join(folder, "a", "config.json"),
    '{"num_hidden_layers": 1, "quantization_config": {"quant_method": "fp8"}}',
  );
  const recipe = "merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}]\ndtype: float32";
  for (const engine of ["wasm", "reference"] as const) {
    const out = join(folder, engine);
    const run = await runMerge(recipe, out, { models: folder, engine });
    expect(run.outcome).toMatchObject({ outcome: "done" });
    const { bytes } = readSafetensors(join(out, "model.safetensors")).get("model.layers.0.up.weight")!;
    expect([...new Float32Array(Uint8Array.from(bytes).buffer)]).toEqual([4, 8, 0.25, -0.75]);
  }
});
