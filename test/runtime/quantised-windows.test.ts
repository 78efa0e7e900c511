import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { type MergeSettings, mergedTensors } from "../support/run-merge.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";
import { differencesBetween } from "./tensor-bits.ts";

const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-windows-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Three bands of 2 MB of values, of which one is kept at a time; the last one is short, and so are the blocks at the right. */
const [ROWS, COLUMNS, BLOCK] = [300, 4100, 128];

function writeModel(name: string, seed: number): void {
  const tensor = "model.layers.0.mlp.up_proj.weight";
  const codes = Uint8Array.from(
    { length: ROWS * COLUMNS },
    (_, k) => (Math.imul(k + seed, 2_654_435_761) >>> 24) & 0xbf,
  );
  const grid = [Math.ceil(ROWS / BLOCK), Math.ceil(COLUMNS / BLOCK)] as const;
  const scales = Float32Array.from({ length: grid[0] * grid[1] }, (_, k) => 2 ** -(1 + ((k * seed) % 7)));
  mkdirSync(join(scratch, name));
  writeSafetensors(join(scratch, name, "model.safetensors"), [
    { name: tensor, dtype: "F8_E4M3", shape: [ROWS, COLUMNS], bytes: codes },
    { name: `${tensor}_scale_inv`, dtype: "F32", shape: [...grid], bytes: new Uint8Array(scales.buffer) },
  ]);
  const quantization_config = { quant_method: "fp8", weight_block_size: [BLOCK, BLOCK] };
  const config = { num_hidden_layers: 1, torch_dtype: "bfloat16", quantization_config };
  writeFileSync(join(scratch, name, "config.json"), JSON.stringify(config));
}

test("codes are the same whether their values are kept, of how many bands, and wherever a slice ends", async () => {
  writeModel("a", 1);
  writeModel("b", 5);
  const recipe = `merge_method: linear
out_dtype: float8_e4m3fn
models: [{model: a, parameters: {weight: 0.7}}, {model: b, parameters: {weight: 0.3}}]
`;
  let merges = 0;
  const merged = async (settings: Partial<MergeSettings>) =>
    (await mergedTensors(recipe, join(scratch, `out-${merges++}`), { models: scratch, ...settings })).tensors;
  const budget = { rangeElements: 2 ** 32, spareBytes: 2 ** 25, heldBytes: 2 ** 28, keptBytes: 0 };
  const read = await merged({ budget });
  for (const settings of [
    {},
    { budget: { ...budget, keptBytes: 2 ** 22, pieceElements: 3000 } },
    { sliceBytes: 300_000 },
    { layout: "parts", sliceBytes: 200_003 },
  ] as const) {
    expect(differencesBetween(await merged(settings), read), JSON.stringify(settings)).toEqual([]);
  }
});
