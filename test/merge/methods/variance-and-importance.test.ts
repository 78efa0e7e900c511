import { describe, expect, test } from "vitest";
import { f32AtLeast } from "../../../merge/methods/arcee-fusion.ts";
import { expectClose, smallMerge } from "./small-merge.ts";

describe("sce", () => {
  // Spreads: 0, 8, 0, 2.
  const merge = {
    method: "sce",
    base: [0, 0, 0, 0],
    models: [
      [1, 2, 0, 4],
      [1, -2, 0, 2],
    ],
  };

  test("select_topk 1: weights by mean squares, 21 to 9, and the mean of those that agree", async () => {
    expectClose((await smallMerge(merge)).values, [1, 2, 0, 3.4]);
  });

  test.each([0.5, 0.99])(
    "select_topk %d of two elements that differ keeps the one that differs most",
    async (share) => {
      // What is kept is 2 and -2: equal weights, a sum of zero elects plus.
      const { values, warnings } = await smallMerge({ ...merge, global: { select_topk: share } });
      expectClose(values, [0, 2, 0, 0]);
      expect(warnings).toEqual([]);
    },
  );

  test("of equal spreads the lower index stays", async () => {
    const models = [
      [1, 1, 1],
      [-1, -1, -1],
    ];
    const tied = { method: "sce", base: [0, 0, 0], models, global: { select_topk: 0.7 } };
    expectClose((await smallMerge(tied)).values, [1, 1, 0]);
  });

  test("models that do not differ leave the base where elements are selected, with a warning", async () => {
    const same = { method: "sce", base: [5, 6], models: [[7, 8], [7, 8]], global: { select_topk: 0.9 } }; // biome-ignore format: short
    const { values, warnings } = await smallMerge(same);
    expect(values).toEqual([5, 6]);
    expect(warnings).toEqual(["tensor: select_topk keeps none of its elements; left at the base"]);
    expect((await smallMerge({ ...same, global: {} })).values).toEqual([7, 8]);
  });

  test("deltas next to nothing, on average over the tensor, are weighed alike", async () => {
    // Squares sum to 1.25e-6, their means to a quarter of it.
    const models = [
      [1e-3, 0, 0, 0],
      [5e-4, 0, 0, 0],
    ];
    const { values } = await smallMerge({ method: "sce", base: [0, 0, 0, 0], models });
    expectClose(
      values.map((x) => x * 1e3),
      [0.75, 0, 0, 0],
    );
  });
});

describe("arcee_fusion", () => {
  test("of one row the changes that stand out by magnitude", async () => {
    // In order 1 2 3 4 5 6 7 10.5: quartiles 2, 4, 6 at places 1, 3, 5; from 4 + 1.5 * 4 on.
    const base = [0.5, -1, 2, 0, 1, 1, -3, 0.25];
    const d = [7, -2, 10.5, 1, -3, 6, 4, 5];
    const { values } = await smallMerge({ method: "arcee_fusion", base, models: [base.map((b, k) => b + d[k]!)] });
    expectClose(
      values,
      base.map((b, k) => b + (d[k] === 10.5 ? 10.5 : 0)),
    );
  });

  test("a row whose distribution stays does not count, however large its changes", async () => {
    // A shift of all of a row leaves its softmax. The others: importance .1 .2 .3 and 2 times the same divergence each.
    const still = [10, 10, 10, 10];
    const moved = [0.1, -0.2, 0.3, 2];
    const { values } = await smallMerge({
      method: "arcee_fusion",
      shape: [4, 4],
      base: new Array<number>(16).fill(0),
      models: [[...moved, ...still, ...moved, ...moved]],
    });
    expectClose(values, [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2]);
  });

  test("an importance that equals the bound is enough", async () => {
    // 1 1 1 1: the median itself.
    const { values } = await smallMerge({ method: "arcee_fusion", base: [0, 0, 0, 5], models: [[1, -1, 1, 6]] });
    expectClose(values, [1, -1, 1, 6]);
  });

  test("a float64 bound becomes the next float32 that is not below it", () => {
    expect(f32AtLeast(1)).toBe(1);
    expect(f32AtLeast(1 + 2 ** -40)).toBe(1 + 2 ** -23);
    expect(f32AtLeast(1 + 2 ** -23 - 2 ** -40)).toBe(1 + 2 ** -23);
    expect(f32AtLeast(0)).toBe(0);
    expect(f32AtLeast(1e-60)).toBe(2 ** -149);
    expect(f32AtLeast(1e39)).toBe(Number.POSITIVE_INFINITY);
    expect(f32AtLeast(Number.NaN)).toBeNaN();
  });
});
