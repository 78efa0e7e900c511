import { existsSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openDevice } from "../../merge/engines/index.ts";
import { FileStore } from "../../storage/index.ts";
import { AsynchronousDevice, type AsynchronousOptions } from "../support/asynchronous-device.ts";
import { mergedTensors, runMerge } from "../support/run-merge.ts";
import { type GeneratedTensor, writeModels } from "./generated-models.ts";
import { type MethodVariant, oneOfEach, recipeOf, variants } from "./method-variants.ts";
import { differencesBetween } from "./tensor-bits.ts";

// A device with memory of its own that computes by itself gives the same bits, and is waited for as seldom as can be.

const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-asynchronous-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const tensor = (name: string, shape: readonly number[], more: Partial<GeneratedTensor> = {}): GeneratedTensor => ({
  ...{ name, shape, dtypes: ["BF16"], style: "quantised", models: "steps" },
  ...more,
});

/** Of all kinds of sizes: nothing, one element, less than a block, several blocks. */
const mixed: readonly GeneratedTensor[] = [
  tensor("empty", [0, 5]),
  tensor("scalar", []),
  tensor("small", [33, 31], { dtypes: ["F32", "F16"], style: "ordinary", models: "own" }),
  tensor("row", [1031], { style: "sparse" }),
  tensor("blocks", [541, 387]),
  tensor("long", [150_001], { dtypes: ["F32", "BF16"], style: "ordinary", models: "own" }),
];

/** The two things that are compared: how many elements, of how many models. */
const ELEMENTS = [141, 701] as const;
const MODELS = { few: ["one", "two", "three"], many: ["one", "two", "three", "four", "five", "six", "seven", "eight"] };

beforeAll(() => {
  writeModels(join(scratch, "mixed"), 3, mixed);
  for (const [count, names] of Object.entries(MODELS)) {
    writeModels(join(scratch, count), 5, [tensor("one", ELEMENTS)], names);
  }
});

let merges = 0;

async function device(options: AsynchronousOptions = {}): Promise<AsynchronousDevice> {
  return new AsynchronousDevice(await openDevice("reference"), options);
}

/** The same merge on the processor and on a device that computes by itself. */
async function compared(recipe: string, models: string, options?: AsynchronousOptions) {
  const settings = { models: join(scratch, models), allowNonfinite: false };
  const out = () => join(scratch, `out-${merges++}`);
  const own = await device(options);
  const expected = (await mergedTensors(recipe, out(), settings)).tensors;
  const found = (await mergedTensors(recipe, out(), { ...settings, device: own })).tensors;
  return { differences: differencesBetween(found, expected), asked: own.asked };
}

test.each(variants)("the bits are those of the processor: $title", async (variant) => {
  expect((await compared(recipeOf(variant, "bfloat16"), "mixed")).differences).toEqual([]);
});

test.each(oneOfEach)("so they are in chunks of a few blocks, and of parts of a block: $title", async (variant) => {
  for (const pieceElements of [2 * 65_536, 8192]) {
    const { differences } = await compared(recipeOf(variant, "float32"), "mixed", {
      latencyMs: 0,
      limits: { pieceElements },
    });
    expect(differences).toEqual([]);
  }
});

/** How often something must be known of the tensor, or of its rows, before it can be merged. */
function roundsOf({ method, global, models }: MethodVariant): number {
  const banded = /^(ties|breadcrumbs)/.test(method) ? 2 : 0;
  const masked = banded > 0 || /^(dare|della)/.test(method);
  const sizes = masked && global.rescale === true && global.rescale_mode !== "inverse_keep" ? 1 : 0;
  switch (method) {
    case "model_stock":
    case "multislerp":
      return 2;
    case "slerp":
    case "karcher":
    case "nuslerp":
    case "ramplus_tl":
      return models.length > 0 ? 1 : 0;
    case "sce":
      return global.select_topk === undefined ? 1 : 3;
    case "arcee_fusion":
      return 2;
    default:
      return banded + sizes;
  }
}

/** The recipe for as many models as there are names. */
function recipeFor(variant: MethodVariant, names: readonly string[]): string {
  const text = recipeOf(variant, "bfloat16");
  const [first = "{}"] = text.match(/(?<=model: one, parameters: ).*(?=\}\n)/) ?? [];
  const listed = names.slice(variant.models.length).map((name) => `  - {model: ${name}, parameters: ${first}}\n`);
  return text + (variant.models.length < 3 ? "" : listed.join(""));
}

/** Without modes that ask as often as another does. */
const asking = variants.filter(({ global }) => !/^(l2|linf|inverse_keep)$/.test(String(global.rescale_mode)));

test.each(asking)("it is waited for once a round, whatever the number of models: $title", async (variant) => {
  const waits: number[] = [];
  for (const [count, names] of Object.entries(MODELS)) {
    const { differences, asked } = await compared(recipeFor(variant, names), count);
    expect(differences).toEqual([]);
    waits.push(asked.waits);
  }
  expect(waits[1]).toBe(waits[0]);
  expect(waits[0]).toBeLessThanOrEqual(roundsOf(variant) + 1);
});

/** What a wait may be worth. */
const ELEMENTS_PER_WAIT = 2 ** 22;

test.each(["linear", "ties", "model_stock", "karcher", "della", "sce"])(
  "of a large tensor it is waited for once in 4 M elements, round and range: %s",
  { timeout: 300_000 },
  async (method) => {
    const shape = [2500, 2001] as const;
    const models = join(scratch, "large");
    if (!existsSync(models)) writeModels(models, 7, [tensor("one", shape)]);
    const variant = oneOfEach.find((each) => each.method === method)!;
    const own = new AsynchronousDevice(await openDevice("wasm"));
    const run = await runMerge(recipeOf(variant, "bfloat16"), join(scratch, `out-${merges++}`), {
      models,
      device: own,
    });
    expect(run.outcome).toEqual({ outcome: "done" });
    const chunks = Math.ceil((shape[0] * shape[1]) / ELEMENTS_PER_WAIT);
    expect(own.asked.waits).toBeLessThanOrEqual(chunks * (roundsOf(variant) + 1));
  },
);

test.each(oneOfEach)("it is waited for once a chunk and round where a tensor has several: $title", async (variant) => {
  const limits = { pieceElements: 65_536 + ELEMENTS[1] };
  const { asked } = await compared(recipeFor(variant, MODELS.few), "few", { limits });
  const chunks = Math.ceil((ELEMENTS[0] * ELEMENTS[1]) / 65_536);
  expect(asked.waits).toBeLessThanOrEqual(chunks * (roundsOf(variant) + 1));
});

test.each(["linear", "task_arithmetic", "model_stock"])("what is read ahead is what is read: %s", async (method) => {
  const recipe = recipeFor(oneOfEach.find((variant) => variant.method === method)!, MODELS.many);
  const limits = { pieceElements: 65_536 };
  const bytesRead: (number | undefined)[] = [];
  for (const own of [undefined, await device({ latencyMs: 0, limits })]) {
    const settings = { models: join(scratch, "many"), device: own };
    bytesRead.push((await runMerge(recipe, join(scratch, `out-${merges++}`), settings)).progress?.bytesRead);
  }
  expect(bytesRead[0]).toBeGreaterThan(0);
  expect(bytesRead[1]).toBe(bytesRead[0]);
});

test("several slices are in flight on it", async () => {
  const own = await device({ latencyMs: 5 });
  const run = await runMerge(recipeOf(oneOfEach[0]!), join(scratch, `out-${merges++}`), {
    models: join(scratch, "mixed"),
    sliceBytes: 1024,
    workers: 1,
    device: own,
  });
  expect(run.outcome).toEqual({ outcome: "done" });
  expect(own.asked.atOnce).toBe(3);
});

test("what it does not run is computed on the processor", async () => {
  const own = await device({ runs: ({ name }) => name !== "blocks" });
  const recipe = recipeOf(oneOfEach[0]!);
  const settings = { models: join(scratch, "mixed"), sliceBytes: 1024 };
  const expected = (await mergedTensors(recipe, join(scratch, `out-${merges++}`), settings)).tensors;
  const found = (await mergedTensors(recipe, join(scratch, `out-${merges++}`), { ...settings, device: own })).tensors;
  expect(differencesBetween(found, expected)).toEqual([]);
});

test.each(["on the processor", "on a device that computes by itself"])(
  "a slice that fails is not being written any more: %s",
  async (where) => {
    const store = new FileStore({ blocking: true });
    const open = store.openForWriting.bind(store);
    let writing = 0;
    store.openForWriting = async (...place) => {
      const file = await open(...place);
      const write = file.write.bind(file);
      return Object.assign(file, {
        write: async (...piece: Parameters<typeof write>) => {
          writing++;
          for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
          await write(...piece);
          writing--;
        },
      });
    };
    const atFailure: number[] = [];
    const observed = { storedIn: "broken-late", device: where === "on the processor" ? undefined : await device() };
    writeModels(join(scratch, observed.storedIn), 9, [
      tensor("one", [300, 300], { style: "nonfinite", dtypes: ["F32"] }),
    ]);
    const run = await runMerge(recipeOf(oneOfEach[0]!), join(scratch, `out-${merges++}`), {
      models: join(scratch, observed.storedIn),
      device: observed.device,
      store,
      onReport: (kind) => atFailure.push(kind === "failed" ? writing : 0),
    });
    expect(run.outcome).toMatchObject({ outcome: "failed", cause: { code: "merge/nonfinite" } });
    expect(atFailure).toEqual([0]);
  },
);

test("values that are not finite are told as on the processor", async () => {
  const broken = join(scratch, "broken");
  writeModels(broken, 9, [tensor("one", [300, 300], { style: "nonfinite", dtypes: ["F32"] })]);
  const causes = [];
  for (const own of [undefined, await device()]) {
    const run = await runMerge(recipeOf(oneOfEach[0]!), join(scratch, `out-${merges++}`), {
      models: broken,
      device: own,
    });
    causes.push(run.outcome);
  }
  expect(causes[0]).toMatchObject({ outcome: "failed", cause: { code: "merge/nonfinite" } });
  expect(causes[1]).toEqual(causes[0]);
});
