/** What a plan says will be brought from far is what is brought: bytes, and about as many requests. */
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { transferOf } from "../../app/transfer.ts";
import type { WorkerBudget } from "../../runtime/index.ts";
import { FileStore, type Files, join as joinPlace, placeOf, type Readable, Stores } from "../../storage/index.ts";
import { type GeneratedTensor, MODEL_NAMES, writeModels } from "../runtime/generated-models.ts";
import { type MergeSettings, mergedTensors } from "../support/run-merge.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const MIB = 2 ** 20;
const tensors: readonly GeneratedTensor[] = [
  { name: "model.norm.weight", shape: [64, 32], dtypes: ["BF16"], style: "ordinary", models: "own" },
  { name: "model.layers.0.mlp.up_proj.weight", shape: [2400, 512], dtypes: ["BF16"], style: "ordinary", models: "own" },
  {
    name: "model.layers.0.mlp.down_proj.weight",
    shape: [512, 2400],
    dtypes: ["BF16"],
    style: "ordinary",
    models: "own",
  },
];
const MANY = Array.from({ length: 20 }, (_, k) => `more-${k}`);

const models = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-transfer-"));
afterAll(() => rmSync(models, { recursive: true, force: true }));
beforeAll(() => {
  writeModels(models, 5, tensors, [...MODEL_NAMES, ...MANY]);
});

/** The models as if they were far. Of weights alone it is counted what is asked for: not of headers, which end before them. */
class FarModels {
  bytes = 0;
  requests = 0;
  readonly #files = new FileStore({ blocking: true });

  store(): Files {
    const here = (place: string) => joinPlace(placeOf(models), place.replace("https://far/", ""));
    return new Stores(this.#files, {
      https: async () => ({
        open: async (place) => {
          this.requests++;
          return this.#counted(await this.#files.open(here(place)), place);
        },
        identity: (place) => this.#files.identity(here(place)),
        list: (place) => this.#files.list(here(place)),
        realPlace: async (place) => place,
      }),
    });
  }

  #counted(file: Readable, place: Readable["place"]): Readable {
    return {
      place,
      identity: () => file.identity(),
      close: () => file.close(),
      read: async (offsetBytes, into) => {
        const header = new Uint8Array(8);
        await file.read(0, header);
        const isHeader = offsetBytes < 8 + Number(new DataView(header.buffer).getBigUint64(0, true));
        if (!isHeader) {
          this.bytes += into.length;
          this.requests++;
        }
        await file.read(offsetBytes, into);
      },
    };
  }
}

const recipes: Readonly<Record<string, (names: readonly string[]) => string>> = {
  linear: (names) => `merge_method: linear\ndtype: float32\nmodels:\n${listOf(names, "weight: 0.3")}`,
  "ties, rescaled": (names) =>
    `merge_method: ties\nparameters: {rescale: true}\nbase_model: https://far/base/\ndtype: float32\nmodels:\n${listOf(names, "weight: 0.3, density: 0.3")}`,
  model_stock: (names) =>
    `merge_method: model_stock\nbase_model: https://far/base/\ndtype: float32\nmodels:\n${listOf(names, "")}`,
};

function listOf(names: readonly string[], parameters: string): string {
  return names.map((name) => `  - {model: https://far/${name}/, parameters: {${parameters}}}\n`).join("");
}

const budgets: Readonly<Record<string, Omit<WorkerBudget, "openFilesMax">>> = {
  "with room for all": { rangeElements: 2 ** 32, spareBytes: 2 ** 25, keptBytes: 0, heldBytes: 400 * MIB },
  "kept by the methods": { rangeElements: 2 ** 32, spareBytes: 2 ** 25, keptBytes: 36 * MIB, heldBytes: 20 * MIB },
  "without room": { rangeElements: 2 ** 32, spareBytes: 2 ** 25, keptBytes: 0, heldBytes: 12 * MIB },
};
const cuttings: Readonly<Record<string, Partial<MergeSettings>>> = {
  "not cut": {},
  "cut, surveyed in one range": { sliceBytes: MIB },
  "cut, surveyed by block": { sliceBytes: MIB, surveyElements: 1 },
};

const cases = Object.keys(recipes).flatMap((recipe) =>
  [3, 20].flatMap((count) =>
    Object.keys(budgets)
      .filter((budget) => count === 3 || budget === "without room")
      .flatMap((budget) => Object.keys(cuttings).map((cutting) => ({ recipe, count, budget, cutting }))),
  ),
);

test.each(cases)("$recipe of $count models, $budget, $cutting", async ({ recipe, count, budget, cutting }) => {
  const far = new FarModels();
  const names = [...MODEL_NAMES, ...MANY].slice(0, count);
  const settings = { ...cuttings[cutting], budget: budgets[budget]!, workers: 1 };
  const { run } = await mergedTensors(recipes[recipe]!(names), join(temporaryFolder(), "out"), {
    ...{ models: temporaryFolder(), store: far.store(), ...settings },
  });
  const inputs = run.plan.inputs.map(({ files }) => ({ files: files.map(() => ({ path: placeOf("https://far/x") })) }));
  const { surveyElements = 2 ** 32 } = settings;
  const stated = transferOf(run.plan, inputs, { threads: 1, budget: settings.budget, surveyElements })!;
  expect(far.bytes / stated.bytes).toBeGreaterThan(0.99);
  expect(far.bytes / stated.bytes).toBeLessThan(1.001);
  // Each file was opened for planning once. Samples of what has no room are requests of their own.
  const requests = far.requests - run.plan.inputs.length;
  expect(requests / stated.requests).toBeGreaterThan(0.95);
  expect(requests / stated.requests).toBeLessThan(
    recipe.startsWith("ties") && budget !== "with room for all" ? 2.2 : 1.05,
  );
});

test("of models of this machine nothing is brought", async () => {
  const { run } = await mergedTensors(
    recipes.linear!(MODEL_NAMES).replaceAll("https://far/", "./"),
    join(temporaryFolder(), "out"),
    { models },
  );
  expect(
    transferOf(
      run.plan,
      run.plan.inputs.map(() => ({ files: [{ path: placeOf("/a/b") }] })),
      { threads: 1, budget: budgets["without room"]! },
    ),
  ).toBeUndefined();
});
