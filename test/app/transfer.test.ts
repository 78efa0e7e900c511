/** What a plan says will be brought from far is what is brought: bytes, and about as many requests. */
import { ftruncateSync, mkdtempSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { openCache, planCache } from "../../app/range-cache.ts";
import { transferOf } from "../../app/transfer.ts";
import type { WorkerBudget } from "../../runtime/index.ts";
import { FileStore, type Files, join as joinPlace, placeOf, type Readable, Stores } from "../../storage/index.ts";
import { type GeneratedTensor, MODEL_NAMES, writeModels } from "../runtime/generated-models.ts";
import { fileHashes, type MergeSettings, mergedTensors } from "../support/run-merge.ts";
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

test.each([
  ["ties, rescaled", "with room for all", "cut, surveyed in one range", Number.POSITIVE_INFINITY],
  ["ties, rescaled", "without room", "cut, surveyed by block", Number.POSITIVE_INFINITY],
  ["model_stock", "without room", "cut, surveyed in one range", Number.POSITIVE_INFINITY],
  ["model_stock", "without room", "cut, surveyed in one range", 12 * MIB],
  ["model_stock", "without room", "cut, surveyed in one range", 1000],
])(
  "%s, %s, %s: with a cache of %d bytes as much less is brought as is stated, and the bits are the same",
  async (recipe, budgetName, cutting, cacheBytes) => {
    const settings = { ...cuttings[cutting], budget: budgets[budgetName]!, workers: 2 };
    const merged = async (far: FarModels, budget: Omit<WorkerBudget, "openFilesMax">) => {
      const out = join(temporaryFolder(), "out");
      const { run } = await mergedTensors(recipes[recipe]!(MODEL_NAMES.slice(0, 3)), out, {
        ...{ models: temporaryFolder(), store: far.store(), ...settings, budget },
      });
      return { plan: run.plan, hashes: fileHashes(out) };
    };
    const [plain, kept] = [new FarModels(), new FarModels()];
    const without = await merged(plain, settings.budget);
    const { plan } = without;
    const inputs = plan.inputs.map(({ files }) => ({ files: files.map(() => ({ path: placeOf("https://far/x") })) }));
    const means = { budget: settings.budget, surveyElements: settings.surveyElements ?? 2 ** 32 };
    const planned = planCache(plan, inputs, means, cacheBytes);
    const folder = temporaryFolder();
    const cache = await openCache(planned, placeOf(folder));
    onTestFinished(() => cache.close());
    expect(readdirSync(folder)).toEqual([]);
    const withCache = await merged(kept, { ...settings.budget, cache: cache.description });
    expect(withCache.hashes).toEqual(without.hashes);
    const { bytes, cache: said } = transferOf(plan, inputs, { ...means, threads: 2, cacheBytes })!;
    expect(plain.bytes - kept.bytes).toBe(said!.savedBytes);
    expect(said!.sizeBytes).toBeLessThanOrEqual(cacheBytes);
    expect(kept.bytes / bytes).toBeGreaterThan(0.99);
    expect(kept.bytes / bytes).toBeLessThan(1.001);
    if (cacheBytes === 1000) expect(said!.savedBytes).toBe(0);
    else expect(kept.requests).toBeLessThan(plain.requests);
    if (cacheBytes === Number.POSITIVE_INFINITY) expect(said!.savedBytes).toBe(said!.whole.savedBytes);
    else expect(said!.savedBytes).toBeLessThan(said!.whole.savedBytes);
    expect(cache.isGivenUp()).toBe(false);
  },
);

test("what is damaged in the cache is brought from the store, and the bits are the same", async () => {
  const settings = { ...cuttings["cut, surveyed in one range"], workers: 1, models: temporaryFolder() };
  const budget = budgets["with room for all"]!;
  const recipe = recipes["ties, rescaled"]!(MODEL_NAMES.slice(0, 3));
  const merged = async (cache: WorkerBudget["cache"]) => {
    const [far, out] = [new FarModels(), join(temporaryFolder(), "out")];
    const store = far.store();
    const { run } = await mergedTensors(recipe, out, {
      ...settings,
      ...{ store, budget: { ...budget, ...(cache === undefined ? {} : { cache }) } },
    });
    return { plan: run.plan, hashes: fileHashes(out), bytes: far.bytes };
  };
  const without = await merged(undefined);
  const { plan } = without;
  const inputs = plan.inputs.map(({ files }) => ({ files: files.map(() => ({ path: placeOf("https://far/x") })) }));
  const planned = planCache(plan, inputs, { budget }, Number.POSITIVE_INFINITY);
  const opened = async (isDamaged: boolean) => {
    const cache = await openCache(planned, placeOf(temporaryFolder()));
    onTestFinished(() => cache.close());
    // All of it is said to be there, with sums that no grain has.
    if (isDamaged) new Int32Array(cache.description.table).fill(1, 2);
    if (isDamaged) ftruncateSync(cache.description.descriptor, planned.sizeBytes);
    return cache.description;
  };
  const [sound, damaged] = [await merged(await opened(false)), await merged(await opened(true))];
  expect(damaged.hashes).toEqual(without.hashes);
  expect(damaged.bytes).toBe(sound.bytes);
  expect(sound.bytes).toBeLessThan(without.bytes);
});

test("a cache that the disk has no room for is refused by name, with how much there is", async () => {
  const planned = { stretches: [], sizeBytes: 2 ** 50, savedBytes: new Map() };
  await expect(openCache(planned, placeOf(temporaryFolder()))).rejects.toMatchObject({
    code: "storage/full",
    message: expect.stringMatching(/cannot keep 1125899906842624 bytes of what is far in .*: \d+ bytes are free there/),
    hint: expect.stringContaining("--cache-bytes"),
  });
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
