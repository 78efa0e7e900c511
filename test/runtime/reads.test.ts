/** What a plan says will be read is what is read: every method, cut and not, models and adapters. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { estimateOf } from "../../plan/index.ts";
import { f32Of } from "../merge/engines/awkward-values.ts";
import { type MergeSettings, mergedTensors } from "../support/run-merge.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";
import { type GeneratedTensor, MODEL_NAMES, writeModels } from "./generated-models.ts";
import { type MethodVariant, recipeOf, variants } from "./method-variants.ts";

const UP = "model.layers.0.mlp.up_proj.weight";
const DOWN = "model.layers.0.mlp.down_proj.weight";
/** Collected whole; sampled from the first piece; sampled all over. The larger two have 2 and 5 blocks. */
const tensors: readonly GeneratedTensor[] = [
  { name: "model.norm.weight", shape: [64, 32], dtypes: ["BF16"], style: "ordinary", models: "own" },
  { name: UP, shape: [640, 128], dtypes: ["F32", "BF16"], style: "ordinary", models: "own" },
  { name: DOWN, shape: [1200, 256], dtypes: ["BF16"], style: "ordinary", models: "own" },
];
const RANK = 8;
/** More than are surveyed in one pass, twice over. */
const MANY_NAMES: readonly string[] = [...MODEL_NAMES, ...Array.from({ length: 17 }, (_, k) => `more-${k}`)];

const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-reads-"));
const models = join(scratch, "models");
beforeAll(() => {
  writeModels(models, 5, tensors, MANY_NAMES);
  for (const [k, name] of MANY_NAMES.entries()) {
    const factors = [UP, DOWN].flatMap((tensor, t) => {
      const [rows = 0, columns = 0] = tensors.find((one) => one.name === tensor)?.shape ?? [];
      const module = `base_model.model.${tensor.replace(/\.weight$/, "")}`;
      return [
        [`${module}.lora_A.weight`, [RANK, columns]] as const,
        [`${module}.lora_B.weight`, [rows, RANK]] as const,
      ].map(([name, shape], f) => {
        const drawn = f32Of({ style: "ordinary", equal: false, seed: 10 * k + 2 * t + f }, shape[0] * shape[1]);
        // Rows whose deltas are alike, as samples want them: of B only the signs.
        const values = f === 0 ? drawn : drawn.map(Math.sign);
        return { name, dtype: "F32", shape, bytes: new Uint8Array(values.buffer) };
      });
    });
    mkdirSync(join(models, `lora-${name}`), { recursive: true });
    writeSafetensors(join(models, `lora-${name}`, "adapter_model.safetensors"), factors);
    const config = { peft_type: "LORA", r: RANK, lora_alpha: RANK, target_modules: ["up_proj", "down_proj"] };
    writeFileSync(join(models, `lora-${name}`, "adapter_config.json"), JSON.stringify(config));
  }
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const cuttings: Readonly<Record<string, Partial<MergeSettings>>> = {
  "not cut": {},
  "cut, surveyed in one range": { sliceBytes: 1 },
  "cut, surveyed by block": { sliceBytes: 1, surveyElements: 1 },
};

let merges = 0;
/** What was read, and what the plan says. */
async function readsOf(recipe: string, settings: Partial<MergeSettings>) {
  const { run } = await mergedTensors(recipe, join(scratch, `${merges++}`), { models, ...settings });
  const { readBytes } = estimateOf(run.plan, settings.surveyElements ?? 2 ** 32, settings.budget?.keptBytes);
  return { read: run.progress?.bytesRead ?? 0, stated: readBytes };
}

/** Norms but for one, and every other mode, read alike. */
const telling = variants.filter(({ global }) => !/^l(2|inf)$/.test(String(global.rescale_mode)));
const cases = telling.flatMap((variant) =>
  Object.keys(cuttings).map((cutting) => ({ variant, title: variant.title, cutting })),
);

test.each(cases)(
  "what is read is what the plan states, to the byte: $title, $cutting",
  async ({ variant, cutting }) => {
    const { read, stated } = await readsOf(recipeOf(variant, "float32"), cuttings[cutting] ?? {});
    expect(read).toBe(stated);
  },
);

test.each(["blocks", "tensor-and-rows"])(
  "values are made once for codes and scales where a band of them has room: %s",
  async (name) => {
    const models = new URL(`../golden/fp8/${name}`, import.meta.url).pathname;
    const recipe =
      "merge_method: linear\nout_dtype: float8_e4m3fn\nmodels: [{model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 1}}]\n";
    const kept = await readsOf(recipe, { models });
    expect(kept.read).toBe(kept.stated);
    const twice = await readsOf(recipe, { models, budget: noRoom });
    expect(twice.stated).toBeGreaterThan(1.9 * kept.stated);
    // Whole tensors of them lie in one block of a merge, which is at hand for the second time.
    expect(twice.read).toBeGreaterThanOrEqual(kept.read);
  },
);

const noRoom = { rangeElements: 2 ** 32, spareBytes: 2 ** 25, keptBytes: 0, heldBytes: 2 ** 28 };
const readAgain = variants.filter(({ title }) =>
  /^(model_stock|karcher|arcee_fusion|ties, rescale l1|breadcrumbs_ties, rescale off|della, rescale l1)/.test(title),
);

test.each(readAgain.map((variant) => ({ variant, title: variant.title })))(
  "inputs for which there is no room are read anew in each round, as the plan states: $title",
  async ({ variant }) => {
    const recipe = recipeOf(variant, "float32");
    const anew = await readsOf(recipe, { budget: noRoom });
    expect(anew.read).toBe(anew.stated);
    expect(anew.read).toBeGreaterThan((await readsOf(recipe, {})).read);
  },
);

/** Of the last round; the others' reads are stated as if they went through their last round once. */
const readOnceAtLast = telling.filter(({ title }) => !/^(model_stock, per row|sce|arcee_fusion|consensus)/.test(title));

test.each(readOnceAtLast.map((variant) => ({ variant, title: variant.title })))(
  "on an equal grid a block over which a line lies is read for both sides, as the plan states: $title",
  async ({ variant }) => {
    const { read, stated } = await readsOf(recipeOf(variant, "float32"), { layout: "parts", sliceBytes: 200_003 });
    expect(read).toBe(stated);
  },
);

/** With adapters in place of the models; the base where it is listed stays. */
function adaptedRecipeOf(variant: MethodVariant): string {
  return MODEL_NAMES.reduce(
    (text, name) => text.replaceAll(`model: ${name},`, `model: base+lora-${name},`),
    recipeOf(variant, "float32"),
  );
}

test.each(cases)(
  "of adapters what is read is what the plan states, but for rows that two pieces share and chunks that are at hand: $title, $cutting",
  async ({ variant, cutting }) => {
    const { read, stated } = await readsOf(adaptedRecipeOf(variant), cuttings[cutting] ?? {});
    expect(read / stated).toBeGreaterThan(0.95);
    expect(read / stated).toBeLessThan(1.01);
  },
);

/** Methods that survey order statistics of each model, and others that go through models in groups. */
const manyRecipes: Readonly<Record<string, readonly [recipe: string, parameters: string]>> = {
  ties: ["merge_method: ties", "density: 0.5"],
  "ties, rescaled": ["merge_method: ties\nparameters: {rescale: true}", "density: 0.3"],
  breadcrumbs: ["merge_method: breadcrumbs", "density: 0.9, gamma: 0.01"],
  della: ["merge_method: della", "density: 0.6, epsilon: 0.1"],
  sce: ["merge_method: sce\nparameters: {select_topk: 0.4}", ""],
};
const manyCases = Object.keys(manyRecipes).flatMap((title) =>
  Object.keys(cuttings).map((cutting) => ({ title, cutting })),
);

function manyRecipeOf(title: string, modelOf: (name: string) => string): string {
  const [head = "", parameters = ""] = manyRecipes[title] ?? [];
  const weight = parameters === "" ? "" : `, parameters: {weight: 0.1, ${parameters}}`;
  const models = MANY_NAMES.map((name) => `  - {model: ${modelOf(name)}${weight}}\n`).join("");
  return `${head}\nbase_model: base\ndtype: float32\nmodels:\n${models}`;
}

test.each(manyCases)("of 20 models too, the base once a round: $title, $cutting", async ({ title, cutting }) => {
  const { read, stated } = await readsOf(
    manyRecipeOf(title, (name) => name),
    cuttings[cutting] ?? {},
  );
  expect(read).toBe(stated);
});

test.each(manyCases)("of 20 adapters too, the base once a round: $title, $cutting", async ({ title, cutting }) => {
  const { read, stated } = await readsOf(
    manyRecipeOf(title, (name) => `base+lora-${name}`),
    cuttings[cutting] ?? {},
  );
  expect(read / stated).toBeGreaterThan(0.95);
  expect(read / stated).toBeLessThan(1.01);
});
