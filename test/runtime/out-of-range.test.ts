import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { f32FromE4m3, f32FromE5m2 } from "../../merge/math/index.ts";
import { numbersOf } from "../golden/compare.ts";
import { readSafetensors } from "../support/read-safetensors.ts";
import { runMerge } from "../support/run-merge.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";
import { oneOfEach, recipeOf } from "./method-variants.ts";

/** [40, 3] with one large value, at element 65; small ones elsewhere. */
function model(path: string, large: number, elements = 120, at = 65): void {
  const values = Float32Array.from({ length: elements }, (_, k) => (k === at ? large : (k % 7) / 8));
  mkdirSync(path, { recursive: true });
  const shape = [elements / 3, 3];
  writeSafetensors(join(path, "model.safetensors"), [
    { name: "w.weight", dtype: "F32", shape, bytes: new Uint8Array(values.buffer) },
  ]);
}

function merged(out: string): readonly number[] {
  const tensor = readSafetensors(join(out, "model.safetensors")).get("w.weight")!;
  if (tensor.dtype === "F8_E4M3") return Array.from(tensor.bytes, f32FromE4m3);
  return tensor.dtype === "F8_E5M2" ? Array.from(tensor.bytes, f32FromE5m2) : Array.from(numbersOf(tensor));
}

function messageOf(outcome: object): string {
  return "cause" in outcome ? (outcome.cause as { readonly message: string }).message : "";
}

/** Recipes in which finite inputs become what the output cannot hold, and what is said to be there. */
const cases: [what: string, large: number, recipe: string, said: RegExp][] = [
  ["float16", 1e5, "merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}]\ndtype: float16", /100000/],
  ["float16, negative", -7e4, "merge_method: passthrough\nmodels: [{model: a}]\ndtype: float16", /-70000/],
  ["bfloat16", 3.4e38, "merge_method: passthrough\nmodels: [{model: a}]\nout_dtype: bfloat16", /BF16/],
  ["fp8 without infinity", 465, "merge_method: passthrough\nmodels: [{model: a}]\nout_dtype: float8_e4m3fn", /448/],
  ["fp8 with infinity", 6.2e4, "merge_method: passthrough\nmodels: [{model: a}]\nout_dtype: float8_e5m2", /57344/],
  [
    "a scale",
    3e38,
    "merge_method: passthrough\nmodels: [{model: a, parameters: {scale: 2}}]\ndtype: float32",
    /beyond float32/,
  ],
  [
    "a sum beyond float32",
    3e38,
    "merge_method: linear\nparameters: {normalize: false}\nmodels: [{model: a, parameters: {weight: 1}}, {model: a, parameters: {weight: 1}}]",
    /infinity/,
  ],
  [
    "a square that decides what is kept",
    3e30,
    "merge_method: sce\nbase_model: b\nparameters: {select_topk: 0.5}\nmodels: [{model: a}, {model: c}]",
    /the variance of the models in w\.weight is beyond float32 .* at element 65/,
  ],
  [
    "a product that decides what is kept",
    3e38,
    "merge_method: arcee_fusion\nbase_model: b\nmodels: [{model: a}]",
    /the importance of the delta in w\.weight is beyond float32 .* at element 65/,
  ],
  [
    "an earlier document",
    1e5,
    "name: half\nmerge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}]\ndtype: float16\n---\nmerge_method: linear\nmodels: [{model: half, parameters: {weight: 1}}]\nout_dtype: float32",
    /F16/,
  ],
];

describe.each(["wasm", "reference"] as const)("the %s engine", (engine) => {
  test.each(cases)("stops at what becomes infinite or NaN: %s", async (_, large, recipe, said) => {
    const models = temporaryFolder();
    model(join(models, "a"), large);
    for (const [k, name] of ["b", "c"].entries()) model(join(models, name), k);
    const run = await runMerge(recipe, join(models, "out"), { models, engine });
    expect(run.outcome).toMatchObject({
      outcome: "failed",
      cause: { code: "merge/nonfinite", message: expect.stringMatching(/w\.weight .*element 65\b/) },
    });
    expect(run.outcome).toMatchObject({ cause: { message: expect.stringMatching(said) } });
    const allowed = await runMerge(recipe, join(models, "allowed"), { models, engine, allowNonfinite: true });
    expect(allowed.outcome.outcome).toBe("done");
    // What is left of it where it only decides is finite.
    const nonfinite = merged(join(models, "allowed")).findIndex((value) => !Number.isFinite(value));
    expect(nonfinite).toBe(/would hold/.test(messageOf(run.outcome)) ? 65 : -1);
  });
});

test("the largest numbers that fit are let through", async () => {
  const models = temporaryFolder();
  for (const [dtype, large] of [
    ["float16", 65504],
    ["float8_e4m3fn", 448],
    ["float8_e5m2", 57344],
  ] as const) {
    model(join(models, "a"), large);
    const recipe = `merge_method: passthrough\nmodels: [{model: a}]\nout_dtype: ${dtype}`;
    expect((await runMerge(recipe, join(models, dtype), { models })).outcome.outcome).toBe("done");
    expect(merged(join(models, dtype))[65]).toBe(large);
  }
});

test("every method stops, whole and cut over slices, with the same error", async () => {
  const models = temporaryFolder();
  const elements = 3 * 65_536;
  for (const [k, name] of ["base", "one", "two", "three"].entries()) {
    model(join(models, name), 7e4 + 64 * k, elements, 65_536 + 77);
  }
  for (const variant of oneOfEach) {
    const recipe = recipeOf(variant, "float16");
    const whole = await runMerge(recipe, join(models, `whole-${variant.title}`), { models });
    const cut = await runMerge(recipe, join(models, `cut-${variant.title}`), { models, sliceBytes: 2 ** 17 });
    for (const { outcome } of [whole, cut]) {
      expect([variant.title, outcome]).toMatchObject([
        variant.title,
        { outcome: "failed", cause: { code: "merge/nonfinite" } },
      ]);
    }
    expect([variant.title, cut.outcome.cause?.message]).toEqual([variant.title, whole.outcome.cause?.message]);
  }
});

test("an adapter whose product leaves the range stops the merge", async () => {
  const models = temporaryFolder();
  model(join(models, "a"), 1);
  const folder = join(models, "lora");
  mkdirSync(folder);
  const f32 = (values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
  const prefix = "base_model.model.w";
  writeSafetensors(join(folder, "adapter_model.safetensors"), [
    { name: `${prefix}.lora_A.weight`, dtype: "F32", shape: [1, 3], bytes: f32([1, 1, 1e30]) },
    {
      name: `${prefix}.lora_B.weight`,
      dtype: "F32",
      shape: [40, 1],
      bytes: f32(Array.from({ length: 40 }, () => 1e30)),
    },
  ]);
  writeFileSync(join(folder, "adapter_config.json"), JSON.stringify({ peft_type: "LORA", r: 1, lora_alpha: 1 }));
  const recipe = "merge_method: linear\nmodels: [{model: a+lora, parameters: {weight: 1}}]";
  const run = await runMerge(recipe, join(models, "out"), { models });
  expect(run.outcome).toMatchObject({ outcome: "failed", cause: { code: "merge/nonfinite" } });
});
