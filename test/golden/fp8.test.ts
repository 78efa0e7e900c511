import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { differencesBetween } from "../runtime/tensor-bits.ts";
import { readSafetensors } from "../support/read-safetensors.ts";
import { type MergeSettings, mergedTensors } from "../support/run-merge.ts";

// Checkpoints of fp8 codes with scales, and what merging them gives: scripts/golden-fp8.py, in numpy.

const cases = new URL("./fp8/", import.meta.url).pathname;
const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-fp8-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

let merges = 0;
const recipe = (dtype: string) => `merge_method: linear\n${dtype}
models:
  - {model: a, parameters: {weight: 0.6}}
  - {model: b, parameters: {weight: 0.4}}
`;
async function merged(name: string, text: string, settings: Partial<MergeSettings> = {}) {
  const out = join(scratch, `${merges++}`);
  const { tensors, run } = await mergedTensors(text, out, { models: join(cases, name), ...settings });
  return { tensors, run, config: JSON.parse(readFileSync(join(out, "config.json"), "utf8")) };
}
const expected = (name: string, dtype: string) => readSafetensors(join(cases, name, `expected-${dtype}.safetensors`));

describe.each(["blocks", "tensor-and-rows"])("fp8 with scales: %s", (name) => {
  test("codes times scales are merged; the config promises no codes any more", async () => {
    const { tensors, config } = await merged(name, recipe("dtype: float32"));
    expect(differencesBetween(tensors, expected(name, "float32"))).toEqual([]);
    expect(config).toEqual({ num_hidden_layers: 1, torch_dtype: "float32" });
  });

  test.each(["out_dtype: float8_e4m3fn", ""])("codes and fresh scales are written with %j", async (dtype) => {
    const { tensors, config, run } = await merged(name, recipe(dtype));
    expect(differencesBetween(tensors, expected(name, "float8"))).toEqual([]);
    expect(config).toMatchObject({
      torch_dtype: "bfloat16",
      quantization_config: { quant_method: expect.any(String) },
    });
    const [codes, scales] = run.plan.tasks.filter(({ kind }) => kind !== "merge");
    expect([codes?.kind, scales?.kind]).toEqual(["codes", "scales"]);
  });

  test("no cut, budget or engine alters a bit", async () => {
    const budget = { rangeElements: 1, spareBytes: 0, heldBytes: 0, pieceElements: 1000 };
    const text = recipe("out_dtype: float8_e4m3fn");
    const kept = { ...budget, keptBytes: 2 ** 25 };
    for (const settings of [{ budget }, { budget: kept }, { sliceBytes: 1 }, { engine: "reference" }] as const) {
      const { tensors } = await merged(name, text, settings);
      expect(differencesBetween(tensors, expected(name, "float8"))).toEqual([]);
    }
  });

  test("what passthrough copies keeps its codes and its scales", async () => {
    const { tensors } = await merged(name, "merge_method: passthrough\nmodels: [{model: b}]\n");
    expect(differencesBetween(tensors, readSafetensors(join(cases, name, "b", "model.safetensors")))).toEqual([]);
  });

  test.each(["", "out_dtype: float8_e4m3fn\n"])(
    "a later document takes codes and scales for values; with %j",
    async (dtype) => {
      const first = recipe("out_dtype: float8_e4m3fn");
      const second = (model: string) =>
        `merge_method: linear\n${dtype}models:\n  - {model: ${model}, parameters: {weight: 3}}\n  - {model: b, parameters: {weight: 1}}\n`;
      const written = join(scratch, `${merges++}`);
      await mergedTensors(first, written, { models: join(cases, name) });
      const apart = await merged(name, second(written));
      const fused = await merged(name, `name: made\n${first}---\n${second("made")}`);
      expect(differencesBetween(fused.tensors, apart.tensors)).toEqual([]);
      expect(fused.run.plan.tasks.map(({ kind }) => kind)).toContain("codes");
    },
  );
});

test("what files beside the config tell of single modules follows a stack", async () => {
  const models = mkdtempSync(join(scratch, "models-"));
  cpSync(join(cases, "blocks", "a"), join(models, "a"), { recursive: true });
  const modelOpt = (names: readonly string[], mixed: object) =>
    `${JSON.stringify({ producer: { name: "modelopt" }, quantization: { exclude_modules: names, quantized_layers: mixed } }, null, 4)}\n`;
  const name = "hf_quant_config.json";
  const fp8 = { quant_algo: "FP8" };
  const before = modelOpt(["lm_head", "model.layers.0.mlp.gate"], { "model.layers.0.mlp.up_proj": fp8 });
  writeFileSync(join(models, "a", name), before);
  const slice = "{sources: [{model: a, layer_range: [0, 1]}]}";
  const stack = (slices: string) => `merge_method: passthrough\nslices: [${slices}]\n`;
  const written = async (text: string) => {
    const out = join(scratch, `${merges++}`);
    await mergedTensors(text, out, { models });
    return readFileSync(join(out, name), "utf8");
  };
  expect(await written(stack(slice))).toBe(before);
  const two = JSON.parse(
    modelOpt(["lm_head", "model.layers.0.mlp.gate", "model.layers.1.mlp.gate"], {
      "model.layers.0.mlp.up_proj": fp8,
      "model.layers.1.mlp.up_proj": fp8,
    }),
  );
  expect(JSON.parse(await written(stack(`${slice}, ${slice}`)))).toEqual(two);
  const again = `name: made\n${stack(`${slice}, ${slice}`)}---\n${stack("{sources: [{model: made, layer_range: [1, 2]}]}")}`;
  expect(JSON.parse(await written(again))).toEqual(JSON.parse(before));
});
