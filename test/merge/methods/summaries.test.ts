import { expect, test } from "vitest";
import { methodNamed, resultOf, type SurveyedRange, stepsOf } from "../../../merge/methods/index.ts";
import type { PlainData, TensorTask } from "../../../merge/work/index.ts";

/** A range of three blocks in two parts, of a tensor that has more. */
const range: SurveyedRange = { elementCount: 5, blocks: 3, parts: 2, whole: false };
const whole = { ...range, whole: true };

function task(method: string, parameters: TensorTask["parameters"] = {}): TensorTask {
  const source = { input: 0, file: 0, tensor: "t", dtype: "F32", offsetBytes: 0, storedRowLength: 5 } as const;
  const models = [0, 1].map((index) => ({ ...source, index, parameters: { weight: 1, density: 0.5 } }));
  return { name: "t", kind: "merge", method, dtype: "F32", shape: [2, 5], parameters, base: source, models };
}

function read(of: TensorTask, request: unknown, summary: unknown, surveyed = range): PlainData {
  return resultOf(
    stepsOf(methodNamed(of.method).readSummary(of, request as PlainData, summary as PlainData, surveyed)),
  );
}

function first(of: TensorTask): PlainData {
  const step = methodNamed(of.method).begin(of);
  if (!("request" in step)) throw new Error(`${of.method} asks for nothing`);
  return step.request;
}

const sums = (columns: number, rows = 3) => ({ columns, values: new Float64Array(columns * rows) });
const histogram = (bins: number[], counts: number[], below = 0) => ({
  ...{ below, zeros: 0, bins: Uint16Array.from(bins), counts: Uint32Array.from(counts) },
});
const column = (total: unknown, below = 0, parts: unknown[] = []) => ({ total, below, parts });
const ofAll = column(histogram([1, 7], [2, 3]));
const histograms = (...columns: unknown[]) => ({ road: "histogram", columns });
const statistic = { position: 1, bits: 7, below: 1, ties: [1, 1] };

interface Case {
  readonly of: TensorTask;
  readonly request?: unknown;
  readonly fits: readonly unknown[];
  readonly others: Readonly<Record<string, unknown>>;
  readonly surveyed?: SurveyedRange;
}

/** What neither end sends of its own accord, and what folding it would make of the verdict or of the coordinator. */
const nonsense = { nothing: null, "a word": "nonsense", "a number": 7, "a list": [], "a map": {} };
const lowerBits = {
  queries: [{ model: 0, position: 3 }],
  intervals: [{ lo: 0, shift: 0, centre: { share: 0.5 } }],
};
const part = { from: 0, to: 65_536, bins: Uint16Array.of(4), counts: Uint32Array.of(2) };

const cases: Readonly<Record<string, Case>> = {
  "norms of model_stock": {
    of: task("model_stock"),
    fits: [sums(2)],
    others: {
      "of three models": sums(3),
      "of two blocks": sums(2, 2),
      "a row, though it is not the whole tensor": sums(2, 1),
      float32: { columns: 2, values: new Float32Array(6) },
      maxima: { ...sums(2), of: "maxima" },
    },
  },
  "directions of model_stock, with a pair": {
    of: task("model_stock"),
    request: { ask: "directions", norms: [1, 1], pairs: [[0, 1]] },
    fits: [sums(2)],
    others: { "without the pair": sums(1) },
  },
  "the matrix of karcher, of a range that is the tensor": {
    of: task("karcher"),
    surveyed: whole,
    fits: [sums(3), sums(3, 1)],
    others: { "of no block": sums(3, 0), "of two models more": sums(10) },
  },
  "dots of slerp": { of: task("slerp", { t: 0.5 }), fits: [sums(3)], others: { "two of them": sums(2) } },
  "norms of multislerp": { of: task("multislerp"), fits: [sums(2)], others: { "one of them": sums(1) } },
  "columns of nuslerp": {
    of: task("nuslerp", { nuslerp_flatten: false, nuslerp_row_wise: true }),
    fits: [
      {
        columns: {
          subtrees: [
            { level: 1, index: 0, sums: new Float64Array(15) },
            { level: 0, index: 2, sums: new Float64Array(15) },
          ],
        },
      },
    ],
    others: {
      blocks: { blocks: sums(3) },
      "a block too few": { columns: { subtrees: [{ level: 1, index: 0, sums: new Float64Array(15) }] } },
      "short ones": {
        columns: {
          subtrees: [
            { level: 1, index: 0, sums: new Float64Array(14) },
            { level: 0, index: 2, sums: new Float64Array(15) },
          ],
        },
      },
      "a tree of 2^60 blocks": { columns: { subtrees: [{ level: 60, index: 0, sums: new Float64Array(15) }] } },
    },
  },
  "counts of ramplus_tl": {
    of: task("ramplus_tl", { epsilon: 0 }),
    fits: [{ changed: [5, 2], unique: [1, 0] }],
    others: {
      "of one model": { changed: [5], unique: [1] },
      "more than there are elements": { changed: [6, 2], unique: [1, 0] },
      "not whole": { changed: [0.5, 2], unique: [0, 0] },
      "less than nothing": { changed: [-1, 2], unique: [0, 0] },
    },
  },
  "sizes of sce": {
    of: task("sce", { select_topk: 1 }),
    fits: [{ sizes: sums(2) }],
    others: { "an order": { order: histograms(ofAll) }, "bare sums": sums(2) },
  },
  "order of ties": {
    of: task("ties"),
    fits: [{ order: histograms(ofAll, ofAll) }, { order: histograms(ofAll, column(histogram([9], [5]))) }],
    others: {
      sizes: { sizes: sums(4) },
      "of one model": { order: histograms(ofAll) },
      "an element too few": { order: histograms(ofAll, column(histogram([1], [4]))) },
      "an element too many": { order: histograms(ofAll, column(histogram([1], [6]))) },
      "bins in no order": { order: histograms(ofAll, column(histogram([7, 1], [2, 3]))) },
      "a bin twice": { order: histograms(ofAll, column(histogram([7, 7], [2, 3]))) },
      "bins without counts": { order: histograms(ofAll, column(histogram([1, 7], [5]))) },
      "counts below nothing": {
        order: histograms(ofAll, column({ ...histogram([1, 7], []), counts: Float64Array.of(6, -1) })),
      },
      "counts that are none": {
        order: histograms(ofAll, column({ ...histogram([1, 7], []), counts: Float64Array.of(5, Number.NaN) })),
      },
      "parts before their round": { order: histograms(ofAll, column(histogram([1, 7], [2, 3]), 0, [part, part])) },
      "no total": { order: histograms(ofAll, { parts: [], below: 0 }) },
      "an answer, though it is not the whole tensor": {
        order: { road: "bracket", statistics: [statistic, statistic] },
      },
    },
  },
  "order of ties, of a range that is the tensor": {
    of: task("ties"),
    surveyed: whole,
    fits: [{ order: { road: "bracket", statistics: [statistic, statistic] } }, { order: histograms(ofAll, ofAll) }],
    others: {
      "one answer": { order: { road: "bracket", statistics: [statistic] } },
      "ties of one part": { order: { road: "bracket", statistics: [statistic, { ...statistic, ties: [1] }] } },
      "bits that no u32 has": { order: { road: "bracket", statistics: [statistic, { ...statistic, bits: 2 ** 32 }] } },
    },
  },
  "lower bits of arcee_fusion": {
    of: task("arcee_fusion"),
    request: lowerBits,
    fits: [
      histograms({ parts: [part, { ...part, bins: Uint16Array.of(5) }], below: 1 }),
      histograms(column(histogram([4], [4], 1), 1, [part, part])),
    ],
    others: {
      "one part": histograms(column(histogram([4], [4], 1), 1, [part])),
      "parts that do not tell all": histograms({ parts: [part, { ...part, to: 9 }], below: 1 }),
      "a bin beyond the interval": histograms(column(histogram([32_768], [4]), 0, [part, part])),
      "more below than there are": histograms(column(histogram([4], [4]), 6, [part, part])),
    },
  },
};

test.each(Object.entries(cases))(
  "%s: what was asked for is read, and nothing else",
  (_, { of, request, fits, others, surveyed }) => {
    const asked = request ?? first(of);
    for (const summary of fits) expect(read(of, asked, summary, surveyed)).toEqual(summary);
    for (const [what, summary] of Object.entries({ ...nonsense, ...others }))
      expect(() => read(of, asked, summary, surveyed), what).toThrowError(
        expect.objectContaining({ code: "method/other-summary" }),
      );
  },
);

test("a method that asks for nothing takes no answer", () => {
  expect(() => read(task("linear"), null, null)).toThrowError(
    expect.objectContaining({ code: "method/other-summary" }),
  );
});
