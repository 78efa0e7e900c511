import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { methodDeclarations } from "../../merge/methods/index.ts";
import { FLOAT_DTYPES } from "../merge/engines/awkward-values.ts";
import { type MergeSettings, mergedTensors } from "../support/run-merge.ts";
import { type GeneratedTensor, writeModels } from "./generated-models.ts";
import { oneOfEach, recipeOf, variants } from "./method-variants.ts";
import { differencesBetween } from "./tensor-bits.ts";

const STYLES = ["quantised", "sparse", "denormal", "extreme", "ordinary", "anyFinite", "nonfinite"];
const RELATIONS = ["steps", "own", "same", "first-same"] as const;

/** Scalar, one element, odd lengths, rows that are no multiple of 4, single columns, three dimensions; nothing at all. */
const SHAPES = [
  [],
  [1],
  [7],
  [64],
  [1031],
  [5, 3],
  [9, 1],
  [1, 9],
  [13, 17],
  [33, 31],
  [2, 3, 5],
  [4, 11, 9],
  [0],
  [5, 0],
];

/** Every style with every relation of the models to the base; shapes and dtypes go round at their own pace. */
const small: GeneratedTensor[] = STYLES.flatMap((style, s) =>
  RELATIONS.map((models, r) => {
    const k = s * RELATIONS.length + r;
    const dtypes =
      k % 2 === 0
        ? [FLOAT_DTYPES[(k / 2) % 6]!]
        : [0, 1, 2, 3].map((model) => FLOAT_DTYPES[(k + model * (1 + (k % 5))) % 6]!);
    return { name: `${style}.${models}`, shape: SHAPES[k % SHAPES.length]!, dtypes, style, models };
  }),
);

/** More than one block, so that brackets miss or hit and block sums add up: rows of 129, one long row, three dimensions. */
const large: readonly Omit<GeneratedTensor, "name">[] = [
  { shape: [541, 129], dtypes: ["BF16"], style: "quantised", models: "steps" },
  { shape: [66_003], dtypes: ["F32", "BF16"], style: "ordinary", models: "own" },
  { shape: [3, 5, 4421], dtypes: ["BF16", "F16", "F32"], style: "sparse", models: "first-same" },
  { shape: [263, 251], dtypes: ["F8_E5M2", "F32"], style: "anyFinite", models: "own" },
];

const OUTPUT_DTYPES = [undefined, "float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"];

const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-whole-"));
const smallModels = join(scratch, "small");
beforeAll(() => {
  writeModels(smallModels, 20, small);
  for (const [k, tensor] of large.entries())
    writeModels(join(scratch, `large-${k}`), k, [{ ...tensor, name: "large" }]);
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

let merges = 0;

/** What the engine `wasm` does otherwise than `reference`: the tensors in which they differ. Values of any kind are let through. */
async function disagreements(recipe: string, settings: Pick<MergeSettings, "models"> & Partial<MergeSettings>) {
  const merge = (engine: MergeSettings["engine"]) =>
    mergedTensors(recipe, join(scratch, `out-${merges++}`), { allowNonfinite: true, ...settings, engine });
  const reference = await merge("reference");
  const wasm = await merge("wasm");
  expect(reference.tensors.size).toBe(reference.run.plan.tasks.length);
  return differencesBetween(wasm.tensors, reference.tensors);
}

test("the variants cover every method", () => {
  expect(new Set(variants.map(({ method }) => method))).toEqual(
    new Set([...methodDeclarations().values()].filter(({ adapters }) => adapters !== "only").map(({ name }) => name)),
  );
});

test.each(variants)("wasm gives the bits of reference, whatever the values: $title", async (variant) => {
  expect(await disagreements(recipeOf(variant, "float32"), { models: smallModels })).toEqual([]);
});

/** Without the modes of which the small tensors see enough. */
const beyond = variants.filter(
  ({ global }) => global.rescale !== false && !/^l(2|inf)$/.test(String(global.rescale_mode)),
);

test.each(beyond.map((variant, k) => ({ variant, title: variant.title, k: k % large.length })))(
  "wasm gives the bits of reference beyond one block: $title, tensor $k",
  async ({ variant, k }) => {
    const models = join(scratch, `large-${k}`);
    expect(await disagreements(recipeOf(variant, "float32"), { models })).toEqual([]);
  },
);

test.each(oneOfEach.flatMap((variant) => OUTPUT_DTYPES.map((dtype) => ({ variant, title: variant.title, dtype }))))(
  "wasm rounds as reference: $title to $dtype",
  async ({ variant, dtype }) => {
    expect(await disagreements(recipeOf(variant, dtype), { models: smallModels })).toEqual([]);
  },
);

test("wasm gives the bits of reference for whatever is drawn", async () => {
  const tensor = fc.record({
    shape: fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 3 }),
    dtypes: fc.array(fc.constantFrom(...FLOAT_DTYPES), { minLength: 4, maxLength: 4 }),
    style: fc.constantFrom(...STYLES),
    models: fc.constantFrom(...RELATIONS),
  });
  const job = fc.record({
    variant: fc.constantFrom(...variants),
    tensors: fc.array(tensor, { minLength: 1, maxLength: 6 }),
    dtype: fc.constantFrom(undefined, "float32", "float64"),
    seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  });
  await fc.assert(
    fc.asyncProperty(job, async ({ variant, tensors, dtype, seed }) => {
      const models = join(scratch, `drawn-${merges}`);
      writeModels(
        models,
        Number(seed % 1000n),
        tensors.map((one, k) => ({ ...one, name: `tensor-${k}` })),
      );
      expect(await disagreements(recipeOf(variant, dtype), { models, seed: String(seed) })).toEqual([]);
    }),
    { numRuns: 60 },
  );
});
