import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { resultOf } from "../../../merge/methods/index.ts";
// Behind the door: recipes reach all this through methods, tests of it want to choose the road.
import {
  foldOrder,
  type OrderRequest,
  type Query,
  type Statistic,
  settleOrder,
  surveyOrder,
} from "../../../merge/methods/order-statistics.ts";
import { seededRandom } from "../../support/seeded-random.ts";
import { f32Of, finiteValues, type Values } from "../engines/awkward-values.ts";
import { MemoryTensor, type RangeShape } from "./memory-range.ts";

const AMPLE: RangeShape = { blockElements: 65_536, pieceElements: 32_768, spareBytes: 2 ** 25 };

/** Neighbouring parts of a tensor, by their first elements, and how many of them a range holds. */
interface Roads extends RangeShape {
  readonly cuts: readonly number[];
  readonly partsPerRange: number;
}

/** All rounds, as worker and coordinator go through them. */
async function statisticsOf(
  tensor: MemoryTensor,
  queries: readonly Query[],
  roads: Roads,
): Promise<readonly Statistic[]> {
  const { cuts, partsPerRange } = roads;
  const scope = tensor.arena.scope();
  let request: OrderRequest = { queries };
  for (;;) {
    const summaries = [];
    for (let first = 0; first < cuts.length; first += partsPerRange) {
      const end = cuts[first + partsPerRange] ?? tensor.elementCount;
      const range = tensor.range(cuts.slice(first, first + partsPerRange), end, roads);
      // Requests and summaries travel between threads and machines.
      summaries.push(structuredClone(await surveyOrder(range, JSON.parse(JSON.stringify(request)))));
    }
    const whole = summaries.reduce((left, right) => resultOf(foldOrder(left, right)));
    const step = resultOf(settleOrder(request, whole));
    scope.end();
    if ("statistics" in step) return step.statistics;
    request = step.request;
  }
}

/** The same by sorting. */
function sortedStatistics({ models }: MemoryTensor, queries: readonly Query[], cuts: readonly number[]): Statistic[] {
  return queries.map(({ model, position }) => {
    const magnitudes = new Uint32Array(models[model]!.slice().buffer).map((bits) => bits & 0x7fffffff);
    const sorted = magnitudes.slice().sort();
    const nonzero = magnitudes.filter((bits) => bits !== 0).length;
    const at = typeof position === "number" ? position : sorted.length - Math.trunc(nonzero * position.shareOfNonzero);
    if (at === sorted.length) return { position: at, bits: 0xffffffff, below: at, ties: [] };
    const bits = sorted[at]!;
    const ties = cuts.map(
      (first, k) => magnitudes.subarray(first, cuts[k + 1]).filter((other) => other === bits).length,
    );
    return { position: at, bits, below: sorted.indexOf(bits), ties };
  });
}

/** Ends, middle, and shares that recipes name, of all elements and of those that are not zero. */
function positionsIn(elementCount: number): Query["position"][] {
  const shares = [0, 0.01, 0.3, 0.5, 0.6, 0.9, 0.99].map((share) => Math.floor(share * elementCount));
  const ofNonzero = [0, 1e-9, 0.01, 0.35, 0.9].map((shareOfNonzero) => ({ shareOfNonzero }));
  return [...new Set([...shares, elementCount - 1]), ...ofNonzero];
}

const queriesFor = (tensor: MemoryTensor): Query[] =>
  tensor.models.flatMap((_, model) => positionsIn(tensor.elementCount).map((position) => ({ model, position })));

const ELEMENTS = 150_001;
/** A device that answers late. */
const FAR = { asynchronous: true, road: "histogram" } as const;
const cutsEvery = (step: number, elementCount = ELEMENTS) =>
  Array.from({ length: Math.ceil(elementCount / step) }, (_, k) => k * step);

const roads: readonly (readonly [string, Roads])[] = [
  ["by brackets", { ...AMPLE, cuts: [0], partsPerRange: 1 }],
  ["by brackets, ties told apart for three parts", { ...AMPLE, cuts: cutsEvery(65_536), partsPerRange: 3 }],
  ["by histograms of three ranges", { ...AMPLE, cuts: cutsEvery(65_536), partsPerRange: 1 }],
  ["by histograms of ranges of two parts", { ...AMPLE, cuts: cutsEvery(65_536), partsPerRange: 2 }],
  ["by histograms for want of memory", { ...AMPLE, spareBytes: 0, cuts: [0], partsPerRange: 1 }],
  ["by histograms of the whole, where a device wants them", { ...AMPLE, limits: FAR, cuts: [0], partsPerRange: 1 }],
  [
    "by histograms of three parts at once",
    { ...AMPLE, pieceElements: 200_000, limits: FAR, cuts: cutsEvery(65_536), partsPerRange: 3 },
  ],
  [
    "by histograms of two parts at a time",
    {
      ...AMPLE,
      spareBytes: 11 * 2 ** 16,
      limits: FAR,
      cuts: cutsEvery(20_000),
      blockElements: 10_000,
      partsPerRange: 8,
    },
  ],
  [
    "by brackets of three parts, where waiting costs",
    { ...AMPLE, limits: { asynchronous: true }, cuts: cutsEvery(65_536), partsPerRange: 3 },
  ],
  [
    "in short pieces",
    { ...AMPLE, blockElements: 10_000, pieceElements: 1000, cuts: cutsEvery(20_000), partsPerRange: 8 },
  ],
];

const styles = ["quantised", "sparse", "denormal", "extreme", "ordinary", "anyFinite", "nonfinite"];

describe.each(roads)("order statistics %s", (_, road) => {
  test.each(styles)("are those of sorting: %s values", async (style) => {
    const models = [f32Of({ style, equal: false, seed: 1 }, ELEMENTS)];
    const tensor = await MemoryTensor.of(models);
    const queries = queriesFor(tensor);
    expect(await statisticsOf(tensor, queries, road)).toEqual(sortedStatistics(tensor, queries, road.cuts));
  });

  test("are those of sorting where all values are equal", async () => {
    const tensor = await MemoryTensor.of([new Float32Array(ELEMENTS), new Float32Array(ELEMENTS).fill(-1.5)]);
    const queries = queriesFor(tensor);
    expect(await statisticsOf(tensor, queries, road)).toEqual(sortedStatistics(tensor, queries, road.cuts));
  });
});

test("order statistics are those of sorting however a tensor is cut", async () => {
  const job = fc.record({
    models: fc.array(finiteValues, { minLength: 1, maxLength: 10 }),
    elementCount: fc.constantFrom(1, 7, 64, 100, 1031, 8192, 8193, 9001),
    blocks: fc.constantFrom(8, 64, 1000, 4096),
    pieceElements: fc.constantFrom(8, 64, 4096),
    blocksPerPart: fc.integer({ min: 1, max: 3 }),
    partsPerRange: fc.constantFrom(1, 2, 5, 10_000),
    spareBytes: fc.constantFrom(0, 1000, 2 ** 20),
    shares: fc.array(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), { minLength: 1, maxLength: 3 }),
  });
  await fc.assert(
    fc.asyncProperty(job, async ({ models, elementCount, blocks, blocksPerPart, shares, ...rest }) => {
      // Parts by the thousand would only be slow.
      const blockElements = Math.max(blocks, Math.ceil(elementCount / 64));
      const cuts = cutsEvery(blockElements * blocksPerPart, elementCount);
      const tensor = await MemoryTensor.of(models.map((values: Values) => f32Of(values, elementCount)));
      const queries = models.flatMap((_, model) =>
        shares.flatMap((share) => [
          { model, position: Math.floor(share * elementCount) },
          { model, position: { shareOfNonzero: share } },
        ]),
      );
      const found = await statisticsOf(tensor, queries, { ...rest, blockElements, cuts });
      expect(found).toEqual(sortedStatistics(tensor, queries, cuts));
    }),
    { numRuns: 60 },
  );
});

describe("a tensor whose sample is nothing like the rest of it", () => {
  // Below and above the size up to which the sample comes from the first piece.
  test.each([100_003, ELEMENTS])("has the order statistics of sorting all the same: %i elements", async (elements) => {
    const road: Roads = { ...AMPLE, cuts: [0], partsPerRange: 1 };
    const honest = await MemoryTensor.of([f32Of({ style: "ordinary", equal: false, seed: 5 }, elements)]);
    const queries = queriesFor(honest);
    await statisticsOf(honest, queries, road);
    expect(honest.calls.get("histogram") ?? 0).toBe(0);

    // What is read before the pass over everything is the sample: it alone is small.
    const pass = honest.reads.findIndex(
      ({ firstElement }, k) => firstElement === 0 && honest.reads[k + 1]?.firstElement === 32_768,
    );
    const sampled = honest.reads.slice(0, pass);
    expect(sampled.length).toBeGreaterThan(0);
    const values = f32Of({ style: "quantised", equal: false, seed: 6 }, elements).map((value) => 100 + value);
    for (const { firstElement, elementCount } of sampled) values.fill(1e-3, firstElement, firstElement + elementCount);
    const dishonest = await MemoryTensor.of([values]);
    expect(await statisticsOf(dishonest, queries, road)).toEqual(sortedStatistics(dishonest, queries, road.cuts));
    expect(dishonest.calls.get("histogram") ?? 0).toBeGreaterThan(0);
  });
});

describe("ties in parts of which only some bins are told", () => {
  const cuts = cutsEvery(50_000);
  const road: Roads = { ...AMPLE, blockElements: 10_000, cuts, partsPerRange: 1 };
  // All in one bin of the first round; every part has far more values than it tells of.
  const within = (share: number) => 1 + share * 2 ** -8;

  async function checkAnswers(tensor: MemoryTensor, queries: readonly Query[]): Promise<void> {
    expect(await statisticsOf(tensor, queries, road)).toEqual(sortedStatistics(tensor, queries, cuts));
  }

  test("are known after two rounds where the parts resemble each other", async () => {
    const random = seededRandom(3);
    const tensor = await MemoryTensor.of([Float32Array.from({ length: ELEMENTS }, () => within(random()))]);
    await checkAnswers(tensor, queriesFor(tensor));
    expect(passesOver(tensor)).toBe(2);
  });

  test("are asked for a third time where they do not", async () => {
    const random = seededRandom(4);
    const part = (k: number) => Math.floor(k / 50_000);
    const lopsided = Float32Array.from({ length: ELEMENTS }, (_, k) => within((part(k) + random()) / 4));
    const tensor = await MemoryTensor.of([lopsided]);
    await checkAnswers(tensor, [{ model: 0, position: 70_000 }]);
    expect(passesOver(tensor)).toBe(3);
  });

  function passesOver({ reads }: MemoryTensor): number {
    return reads.filter(({ firstElement }) => firstElement === 0).length;
  }
});

describe("a device that answers late is waited for once a round, whatever the number of models", () => {
  test.each([1, 8, 20])("%i models, in three parts that are several chunks", async (count) => {
    const models = Array.from({ length: count }, (_, seed) =>
      f32Of({ style: "ordinary", equal: false, seed }, ELEMENTS),
    );
    const tensor = await MemoryTensor.of(models);
    const queries = models.flatMap((_, model) => [
      { model, position: 1000 },
      { model, position: { shareOfNonzero: 0.4 } },
    ]);
    const cuts = cutsEvery(65_536);
    const road: Roads = { ...AMPLE, spareBytes: 2 ** 23, limits: FAR, cuts, partsPerRange: 3 };
    expect(await statisticsOf(tensor, queries, road)).toEqual(sortedStatistics(tensor, queries, cuts));
    expect(tensor.waits).toBe(2);
  });
});

describe("the base is read once a round for all models", () => {
  const models = Array.from({ length: 20 }, (_, seed) => f32Of({ style: "ordinary", equal: false, seed }, 150_000));

  test.each([
    // Samples are pieces of their own.
    ["brackets", 150_000, { ...AMPLE, cuts: [0], partsPerRange: 1 }, 4 + 5],
    [
      "brackets, with next to no room for each model",
      150_000,
      { ...AMPLE, spareBytes: 2 ** 20, cuts: [0], partsPerRange: 1 },
      4 + 5,
    ],
    ["brackets, the sample at hand", 100_000, { ...AMPLE, cuts: [0], partsPerRange: 1 }, 4],
    ["brackets of what is collected whole", 8000, { ...AMPLE, cuts: [0], partsPerRange: 1 }, 1],
    ["histograms", 150_000, { ...AMPLE, cuts: cutsEvery(65_536, 150_000), partsPerRange: 1 }, 2 * 5],
    [
      "histograms, with memory for a few counters only",
      150_000,
      { ...AMPLE, spareBytes: 0, cuts: cutsEvery(65_536, 150_000), partsPerRange: 1 },
      2 * 5,
    ],
  ])("%s", async (_, elements, road, expected) => {
    const tensor = await MemoryTensor.of(models.map((values) => values.subarray(0, elements)));
    const queries = models.flatMap((_, model) => [0.3, 0.8].map((share) => ({ model, position: share * elements })));
    expect(await statisticsOf(tensor, queries, road)).toEqual(sortedStatistics(tensor, queries, road.cuts));
    expect(tensor.baseReads).toBe(expected);
  });
});
