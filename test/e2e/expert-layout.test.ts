import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { numbersOf } from "../golden/compare.ts";
import { mergedTensors, runMerge } from "../support/run-merge.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-experts-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const EXPERTS = 3;
const [HIDDEN, INNER] = [4, 2];
/** Value of element `k` of a matrix: tells model, layer, expert and matrix apart. */
const valueAt = (model: number, layer: number, expert: number, kind: number, k: number) =>
  model + layer * 0.5 + expert * 0.125 + kind * 0.03125 + k / 1024;
type Tensor = readonly [name: string, shape: readonly number[], values: readonly number[]];
const sizes = [INNER * HIDDEN, INNER * HIDDEN, HIDDEN * INNER];
const matrix = (model: number, layer: number, expert: number, kind: number) =>
  Array.from({ length: sizes[kind] ?? 0 }, (_, k) => valueAt(model, layer, expert, kind, k));

/** One layer's experts, a tensor each. `names`: gate, up, down. */
function apart(model: number, layer: number, module: string, names: readonly string[]): Tensor[] {
  return Array.from({ length: EXPERTS }, (_, expert) =>
    names.map((name, kind): Tensor => {
      const shape = kind === 2 ? [HIDDEN, INNER] : [INNER, HIDDEN];
      return [
        `model.layers.${layer}.${module}.experts.${expert}.${name}.weight`,
        shape,
        matrix(model, layer, expert, kind),
      ];
    }),
  ).flat();
}

/** The same in two tensors, as transformers 5 holds them: gate above up, then down. */
function together(model: number, layer: number): Tensor[] {
  const experts = Array.from({ length: EXPERTS }, (_, expert) => expert);
  const prefix = `model.layers.${layer}.mlp.experts`;
  const gateUp = experts.flatMap((e) => [...matrix(model, layer, e, 0), ...matrix(model, layer, e, 1)]);
  const down = experts.flatMap((e) => matrix(model, layer, e, 2));
  return [
    [`${prefix}.gate_up_proj`, [EXPERTS, 2 * INNER, HIDDEN], gateUp],
    [`${prefix}.down_proj`, [EXPERTS, HIDDEN, INNER], down],
  ];
}

const mixtral = ["w1", "w3", "w2"];
const qwen = ["gate_proj", "up_proj", "down_proj"];
const layouts: Readonly<Record<string, (model: number, layer: number) => Tensor[]>> = {
  mixtral: (model, layer) => apart(model, layer, "block_sparse_moe", mixtral),
  qwen: (model, layer) => apart(model, layer, "mlp", qwen),
  fused: together,
};

function writeModel(name: string, layout: string, model: number, layerCount: number): void {
  const router = layout === "mixtral" ? "block_sparse_moe" : "mlp";
  const shared: Tensor[] = [["model.embed_tokens.weight", [6, HIDDEN], new Array<number>(24).fill(model)]];
  const layers = Array.from({ length: layerCount }, (_, layer): Tensor[] => [
    [`model.layers.${layer}.${router}.gate.weight`, [EXPERTS, HIDDEN], new Array<number>(12).fill(model + layer)],
    ...(layouts[layout]?.(model, layer) ?? []),
  ]);
  mkdirSync(join(scratch, name), { recursive: true });
  const config = { model_type: "mixtral", num_hidden_layers: layerCount, vocab_size: 6, tie_word_embeddings: true };
  writeFileSync(join(scratch, name, "config.json"), JSON.stringify(config));
  const tensors = [...shared, ...layers.flat()].map(([tensor, shape, values]) => {
    return { name: tensor, dtype: "F32", shape, bytes: new Uint8Array(Float32Array.from(values).buffer) };
  });
  writeSafetensors(join(scratch, name, "model.safetensors"), tensors);
}

for (const [layout, model] of Object.entries({ mixtral: 1, qwen: 1, fused: 1 })) {
  writeModel(`${layout}-a`, layout, model, 2);
  writeModel(`${layout}-b`, layout, 3, 2);
  writeModel(`${layout}-deep`, layout, 5, 4);
}

const linear = (a: string, b: string) =>
  `merge_method: linear\nmodels:\n  - {model: ${a}, parameters: {weight: 0.25}}\n  - {model: ${b}, parameters: {weight: 0.75}}\n`;

async function tensorsOf(recipe: string) {
  const out = mkdtempSync(join(scratch, "out-"));
  const { tensors } = await mergedTensors(recipe, out, { models: scratch });
  return new Map([...tensors].map(([name, tensor]) => [name, numbersOf(tensor)] as const));
}

const pairs = ["mixtral", "qwen", "fused"].flatMap((a) => ["mixtral", "qwen", "fused"].map((b) => [a, b] as const));

test.each(pairs.filter(([a, b]) => a !== b))(
  "a model with %s experts and one with %s experts are one architecture",
  async (a, b) => {
    const mixed = await tensorsOf(linear(`${a}-a`, `${b}-b`));
    const plain = await tensorsOf(linear(`${a}-a`, `${a}-b`));
    expect([...mixed.keys()]).toEqual([...plain.keys()]);
    expect(mixed).toEqual(plain);
  },
);

test.each(pairs.filter(([a, b]) => a !== b))(
  "a stack that begins with %s experts takes layers of %s experts",
  async (a, b) => {
    const stack = (second: string) =>
      `merge_method: passthrough\nslices:\n  - sources: [{model: ${a}-a, layer_range: [0, 2]}]\n  - sources: [{model: ${second}, layer_range: [1, 4]}]\n`;
    expect(await tensorsOf(stack(`${b}-deep`))).toEqual(await tensorsOf(stack(`${a}-deep`)));
  },
);

test("another number of experts is refused", async () => {
  writeModel("few", "fused", 1, 2);
  writeSafetensors(join(scratch, "few", "model.safetensors"), [
    { name: "model.embed_tokens.weight", dtype: "F32", shape: [6, HIDDEN], bytes: new Uint8Array(96) },
    ...[0, 1].flatMap((layer) => [
      { name: `model.layers.${layer}.mlp.gate.weight`, dtype: "F32", shape: [2, HIDDEN], bytes: new Uint8Array(32) },
      {
        name: `model.layers.${layer}.mlp.experts.gate_up_proj`,
        dtype: "F32",
        shape: [2, 4, 4],
        bytes: new Uint8Array(128),
      },
      {
        name: `model.layers.${layer}.mlp.experts.down_proj`,
        dtype: "F32",
        shape: [2, 4, 2],
        bytes: new Uint8Array(64),
      },
    ]),
  ]);
  const run = runMerge(linear("qwen-a", "few"), mkdtempSync(join(scratch, "out-")), { models: scratch });
  await expect(run).rejects.toMatchObject({ name: "RecipeError" });
});
