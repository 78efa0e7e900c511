import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { numbersOf } from "../golden/compare.ts";
import { readCheckpoint } from "../support/read-safetensors.ts";
import { mergedTensors, runMerge } from "../support/run-merge.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-towers-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

type Shapes = Readonly<Record<string, readonly number[]>>;

/** A model in `scratch/<name>`: tensors of one value each, which tells model and tensor. */
function writeModel(name: string, shapes: Shapes, config: unknown, first: number): void {
  const folder = join(scratch, name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), `${JSON.stringify(config, null, 2)}\n`);
  const tensors = Object.entries(shapes).map(([tensor, shape], k) => {
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(first + k);
    return { name: tensor, dtype: "F32", shape, bytes: new Uint8Array(values.buffer) };
  });
  writeSafetensors(join(folder, "model.safetensors"), tensors);
}

async function merged(recipe: string) {
  const out = mkdtempSync(join(scratch, "out-"));
  const { tensors } = await mergedTensors(recipe, out, { models: scratch });
  const value = (name: string) => numbersOf(tensors.get(name)!)[0];
  return { tensors, value, config: JSON.parse(readFileSync(join(out, "config.json"), "utf8")) };
}
const stored = (model: string, name: string) => numbersOf(readCheckpoint(join(scratch, model)).get(name)!)[0];

const layers = (count: number, prefix: string, suffix: string): Shapes =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`${prefix}.${i}.${suffix}`, [2, 2]]));

test("a vision-language model: both towers get other depths, and the nested configs say so", async () => {
  const shapes = {
    ...layers(2, "vision_tower.vision_model.encoder.layers", "fc1.weight"),
    "multi_modal_projector.linear_1.weight": [2, 2],
    "language_model.model.embed_tokens.weight": [6, 2],
    ...layers(3, "language_model.model.layers", "mlp.up_proj.weight"),
    "language_model.lm_head.weight": [6, 2],
  };
  const config = {
    model_type: "llava",
    text_config: { num_hidden_layers: 3, vocab_size: 8, layer_types: ["a", "b", "c"] },
    vision_config: { num_hidden_layers: 2, layer_types: ["x", "y"] },
  };
  writeModel("one", shapes, config, 0);
  writeModel("two", shapes, config, 100);
  const {
    tensors,
    value,
    config: ours,
  } = await merged(`merge_method: passthrough
modules:
  text_decoder:
    slices:
      - sources: [{model: one, layer_range: [0, 3]}]
      - sources: [{model: two, layer_range: [1, 2]}]
  vision_tower: {slices: [{sources: [{model: two, layer_range: [1, 2]}]}]}
  multi_modal_projector: {models: [{model: two}]}
`);
  expect(tensors.size).toBe(4 + 1 + 1 + 2);
  const layer = (i: number) => `language_model.model.layers.${i}.mlp.up_proj.weight`;
  expect([0, 1, 2, 3].map((i) => value(layer(i)))).toEqual([
    ...[0, 1, 2].map((i) => stored("one", layer(i))),
    stored("two", layer(1)),
  ]);
  expect(value("vision_tower.vision_model.encoder.layers.0.fc1.weight")).toBe(
    stored("two", "vision_tower.vision_model.encoder.layers.1.fc1.weight"),
  );
  expect(value("multi_modal_projector.linear_1.weight")).toBe(stored("two", "multi_modal_projector.linear_1.weight"));
  expect(ours.text_config).toMatchObject({ num_hidden_layers: 4, vocab_size: 6, layer_types: ["a", "b", "c", "b"] });
  expect(ours.vision_config).toEqual({ num_hidden_layers: 1, layer_types: ["y"] });
  expect(ours.vocab_size).toBeUndefined();
});

test("encoder and decoder: each has its key, also where a family leaves it out; where none is known the merge is refused", async () => {
  const shapes = {
    "shared.weight": [6, 2],
    ...layers(2, "encoder.block", "layer.0.SelfAttention.q.weight"),
    ...layers(2, "decoder.block", "layer.0.SelfAttention.q.weight"),
  };
  writeModel("t5", shapes, { model_type: "t5", num_layers: 2, num_decoder_layers: 2, vocab_size: 6 }, 0);
  const recipe = (model: string) => `merge_method: passthrough
modules:
  decoder: {slices: [{sources: [{model: ${model}, layer_range: [0, 2]}]}, {sources: [{model: ${model}, layer_range: [1, 2]}]}]}
  default: {models: [{model: ${model}}]}
`;
  const { tensors, config } = await merged(recipe("t5"));
  expect(tensors.size).toBe(6);
  expect(config).toMatchObject({ num_layers: 2, num_decoder_layers: 3, vocab_size: 6 });
  // T5 counts its decoder's layers as the encoder's where the config does not.
  writeModel("short", shapes, { model_type: "t5", num_layers: 2, vocab_size: 6 }, 0);
  expect((await merged(recipe("short"))).config).toMatchObject({ num_layers: 2, num_decoder_layers: 3 });
  writeModel("keyless", shapes, { model_type: "unknown", vocab_size: 6 }, 0);
  await expect(runMerge(recipe("keyless"), join(scratch, "refused"), { models: scratch })).rejects.toMatchObject({
    code: "publish/layer-count",
    message: expect.stringContaining("decoder.block"),
  });
});
