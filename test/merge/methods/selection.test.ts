import { describe, expect, test } from "vitest";
import { expectClose, smallMerge } from "./small-merge.ts";

const zeros = [0, 0, 0, 0];

test("nearswap moves by t at most, and all the way where that reaches", async () => {
  const { values } = await smallMerge({
    method: "nearswap",
    base: [0, 1, 2, 3],
    models: [[0.5, 1, 2.25, -1]],
    global: { t: 0.25 },
  });
  expect(values).toEqual([0.25, 1, 2.25, 2.75]);
});

describe("ram", () => {
  const models = [
    [1, 0, 2, 0],
    [3, 0, 0, 0],
    [0, 0, 0, 1e-6],
  ];

  test("shared changes are averaged over those who made them, unique ones kept, small ones none", async () => {
    expect((await smallMerge({ method: "ram", base: zeros, models })).values).toEqual([2, 0, 2, 0]);
    const fine = { method: "ram", base: zeros, models, global: { epsilon: 1e-7 } };
    expectClose((await smallMerge(fine)).values, [2, 0, 2, 1e-6]);
  });

  test("a change as large as epsilon is none", async () => {
    const merge = { method: "ram", base: [0, 0], models: [[0.5, 0.75]], global: { epsilon: 0.5 } };
    expect((await smallMerge(merge)).values).toEqual([0, 0.75]);
  });

  test("ramplus_tl raises unique changes by the share of shared ones, up to alpha", async () => {
    const pair = [
      [1, 0, 2, 1, 0, 0, 0, 0],
      [3, 4, 0, 3, 4, 4, 4, 0],
    ];
    const merge = { method: "ramplus_tl", base: [...zeros, ...zeros], models: pair };
    // Shared by both: elements 0 and 3. Model 0: 2 shared, 1 unique, ratio 2; model 1: 2 shared, 4 unique, ratio 1/2.
    expectClose((await smallMerge({ ...merge, global: { r: 0.5, alpha: 10 } })).values, [2, 5, 4, 2, 5, 5, 5, 0]);
    expectClose(
      (await smallMerge({ ...merge, global: { r: 0.5, alpha: 0.2 } })).values,
      [2, 4.4, 2.2, 2, 4.4, 4.4, 4.4, 0],
    );
  });
});

describe("magmax", () => {
  const models = [
    [1, -2, 3, 0],
    [-1, 1, -4, 0],
  ];

  test("takes the largest change, of equals the later model's", async () => {
    const { values } = await smallMerge({
      method: "magmax",
      base: [10, 10, 10, 10],
      models: models.map((d) => d.map((x) => x + 10)),
    });
    expect(values).toEqual([9, 8, 6, 10]);
  });

  test("weights count before magnitudes are compared, lambda after", async () => {
    const each = [{ weight: 2 }, { weight: -1 }];
    const { values } = await smallMerge({ method: "magmax", base: zeros, models, each, global: { lambda: 0.5 } });
    expect(values).toEqual([1, -2, 3, 0]);
  });
});

describe("consensus", () => {
  const models = [
    [1, 1, 0, 2],
    [1, -1, 0, 0],
    [1, 0, 0, 0],
  ];
  const merge = { method: "consensus", base: [5, 5, 5, 5], models: models.map((d) => d.map((x) => x + 5)) };

  // D = (3, 0, 0, 2). Element 0 is claimed by three, 1 by two, 2 by none, 3 by one.
  test("keeps of the sum what k models claim", async () => {
    expect((await smallMerge(merge)).values).toEqual([8, 5, 5, 5]);
    expect((await smallMerge({ ...merge, global: { k: 1, lambda: 0.5 } })).values).toEqual([6.5, 5, 5, 6]);
    expect((await smallMerge({ ...merge, global: { k: 3 } })).values).toEqual([8, 5, 5, 5]);
  });

  test("a delta must exceed tau times what the others add, and equal is not enough", async () => {
    // Element 0: |1| against tau * |3 - 1|.
    expect((await smallMerge({ ...merge, global: { tau: 0.5 } })).values).toEqual([5, 5, 5, 5]);
    expect((await smallMerge({ ...merge, global: { tau: 0.49 } })).values).toEqual([8, 5, 5, 5]);
  });

  test("masks compare the delta itself with the weighted sum", async () => {
    // D = 3 * 1 + 1 + 1 = 5 at element 0: |1| against 0.2 * 4 holds, against 0.3 * 4 does not.
    const each = [{ weight: 3 }, { weight: 1 }, { weight: 1 }];
    expect((await smallMerge({ ...merge, each, global: { tau: 0.2 } })).values[0]).toBe(10);
    expect((await smallMerge({ ...merge, each, global: { tau: 0.3 } })).values[0]).toBe(5);
  });

  test("more claims than models leave the base, with a warning", async () => {
    const { values, warnings } = await smallMerge({ ...merge, global: { k: 4 } });
    expect(values).toEqual([5, 5, 5, 5]);
    expect(warnings).toEqual(["tensor: k is 4, and only 3 of the models have it; left at the base"]);
  });
});
