import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BLOCK_MIN_ELEMENTS, geometryOf } from "../../merge/work/index.ts";
import { type MergeSettings, mergedTensors } from "../support/run-merge.ts";
import { type GeneratedTensor, writeModels } from "./generated-models.ts";
import { type MethodVariant, oneOfEach, recipeOf, variants } from "./method-variants.ts";
import { differencesBetween } from "./tensor-bits.ts";

/** Of a block, whichever shape: rows are 129 or 131 long. Output is float32. */
const BLOCK_BYTES = 4 * 129 * Math.ceil(BLOCK_MIN_ELEMENTS / 129);
const WHOLE = 2 ** 30;

/** Tensors of 1, 2 and 7 blocks, the last one short. Steps of a power of two: ties at every threshold, in every block. */
function tensorsOf(shapes: Readonly<Record<string, readonly number[]>>): GeneratedTensor[] {
  return Object.entries(shapes).map(([name, shape]) => ({
    name,
    shape,
    dtypes: ["BF16"],
    style: "quantised",
    models: "steps",
  }));
}

/** Which shape has seven blocks. */
const checkpoints: readonly GeneratedTensor[][] = [
  { one: [301, 129], two: [65_536 + 4321], pair: [3, 251, 131], seven: [3101, 131] },
  { one: [3, 5, 129], two: [702, 131], pair: [3, 251, 129], seven: [6 * 65_536 + 1031] },
  { one: [40_001], two: [65_536 + 1], pair: [511, 129], seven: [5, 621, 131] },
].map(tensorsOf);

interface Cutting {
  readonly title: string;
  readonly settings: Partial<MergeSettings>;
  /** Parts of the tensors in the plan, in the order one, two, pair, seven. */
  readonly parts: readonly number[];
  /** Tensors that a worker must cut by itself. */
  readonly cutByWorker: number;
}

const uncut = { parts: [1, 1, 1, 1], cutByWorker: 0 };
const budget = (rangeElements: number, spareBytes: number, pieceElements: number) => ({
  budget: { rangeElements, spareBytes, heldBytes: spareBytes, pieceElements },
});

const planned: Cutting = {
  title: "slices of one block, surveys of one part",
  settings: { sliceBytes: 1, surveyElements: 1, workers: 3 },
  parts: [1, 2, 2, 7],
  cutByWorker: 0,
};
const inWorker: Cutting = {
  title: "ranges of one block, no spare memory",
  settings: budget(1, 0, 32_768),
  parts: [1, 1, 1, 1],
  cutByWorker: 3,
};
/** Three blocks are computed at once. */
const SPAN_ELEMENTS = 3 * 66_000;
const spanning: Cutting = {
  title: "chunks of three blocks",
  settings: { ...budget(WHOLE, 2 ** 25, SPAN_ELEMENTS), workers: 1 },
  ...uncut,
};
const others: readonly Cutting[] = [
  {
    title: "chunks of three blocks where slices of four and surveys of all parts allow it, no spare memory",
    settings: { sliceBytes: 4 * BLOCK_BYTES, surveyElements: WHOLE, ...budget(WHOLE, 0, SPAN_ELEMENTS) },
    parts: [1, 1, 1, 2],
    cutByWorker: 0,
  },
  {
    title: "slices of one block, surveys of two parts, pieces of 1000",
    settings: { sliceBytes: 1, surveyElements: BLOCK_BYTES / 2, ...budget(WHOLE, 0, 1000) },
    parts: [1, 2, 2, 7],
    cutByWorker: 0,
  },
  {
    title: "slices of three blocks, surveys of all parts",
    settings: { sliceBytes: 3 * BLOCK_BYTES, surveyElements: WHOLE },
    parts: [1, 1, 1, 3],
    cutByWorker: 0,
  },
  {
    title: "ranges of two blocks, pieces of 1000",
    settings: { workers: 1, ...budget(BLOCK_BYTES / 2, 2 ** 25, 1000) },
    parts: [1, 1, 1, 1],
    cutByWorker: 1,
  },
  { title: "no cut, no spare memory", settings: budget(WHOLE, 0, 32_768), ...uncut },
];

const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-cutting-"));
const folderOf = (checkpoint: number) => join(scratch, `models-${checkpoint}`);
beforeAll(() => {
  for (const [k, tensors] of checkpoints.entries()) writeModels(folderOf(k), 300 + k, tensors);
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

let merges = 0;
const merged = (variant: MethodVariant, checkpoint: number, settings: Partial<MergeSettings>) =>
  mergedTensors(recipeOf({ ...variant, models: variant.models.slice(0, 2) }, "float32"), join(scratch, `${merges++}`), {
    models: folderOf(checkpoint),
    ...settings,
  });

test("the checkpoints have tensors of 1, 2, 2 and 7 blocks, the last one short", () => {
  for (const tensors of checkpoints) {
    const geometries = tensors.map(({ shape }) => geometryOf(shape));
    expect(geometries.map(({ elementCount, blockElements }) => Math.ceil(elementCount / blockElements))).toEqual([
      1, 2, 2, 7,
    ]);
    for (const { elementCount, blockElements } of geometries.slice(1))
      expect((elementCount % blockElements) % 8).not.toBe(0);
    expect(tensors.map(({ shape }) => shape.length).toSorted()).toEqual(expect.arrayContaining([1, 2, 3]));
  }
});

const cases = variants.map((variant, k) => ({ variant, title: variant.title, checkpoint: k % checkpoints.length, k }));

test.each(cases)("every cut gives the bits of the whole: $title", async ({ variant, checkpoint, k }) => {
  const whole = await merged(variant, checkpoint, {});
  expect(whole.run.progress?.tensorsCut).toBe(0);
  for (const { title, settings, parts, cutByWorker } of [planned, inWorker, spanning, others[k % others.length]!]) {
    const { tensors, run } = await merged(variant, checkpoint, settings);
    expect(differencesBetween(tensors, whole.tensors), title).toEqual([]);
    expect(partsOf(run.plan), title).toEqual(parts);
    expect(run.progress?.tensorsCut, title).toBe(cutByWorker);
  }
});

/** Lines of the grid at any byte, in any block: within elements, in first and last blocks, several to a block. */
const grids = [100_003, BLOCK_BYTES, 3 * BLOCK_BYTES + 7];

test.each(cases)("an equal grid gives the bits of the whole: $title", async ({ variant, checkpoint, k }) => {
  const whole = await merged(variant, checkpoint, {});
  const sliceBytes = k % 7 === 0 ? 50_021 : grids[k % 3]!;
  const settings = {
    layout: "parts",
    sliceBytes,
    workers: 3,
    surveyElements: [1, BLOCK_BYTES / 2, WHOLE][k % 3]!,
  } as const;
  const { tensors, run } = await merged(variant, checkpoint, settings);
  expect(differencesBetween(tensors, whole.tensors)).toEqual([]);
  expect(run.progress?.tensorsCut).toBe(0);
  const [shard] = run.plan.shards;
  expect(run.plan.slices.map((slice) => slice.offsetBytes)).toEqual(
    Array.from({ length: Math.ceil(shard!.sizeBytes / sliceBytes) }, (_, part) => part * sliceBytes),
  );
});

test.each(oneOfEach.map((variant, k) => ({ variant, title: variant.title, checkpoint: k % checkpoints.length })))(
  "a tensor cut to blocks has the bits that the reference engine gives for the whole, three blocks at once: $title",
  async ({ variant, checkpoint }) => {
    const reference = await merged(variant, checkpoint, {
      engine: "reference",
      ...budget(WHOLE, 2 ** 25, SPAN_ELEMENTS),
    });
    const { tensors } = await merged(variant, checkpoint, { ...planned.settings, ...budget(1, 0, 8 * 1031) });
    expect(differencesBetween(tensors, reference.tensors)).toEqual([]);
  },
);

function partsOf({ tasks, slices }: Awaited<ReturnType<typeof merged>>["run"]["plan"]): number[] {
  return tasks.map((_, task) => slices.flatMap(({ parts }) => parts.filter((part) => part.task === task)).length);
}
