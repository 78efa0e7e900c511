import { describe, expect, test } from "vitest";
import { smallMerge } from "./small-merge.ts";

/** Methods with a mask, and what they need besides a density. */
const masked: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  ties: {},
  breadcrumbs: { gamma: 0.01 },
  breadcrumbs_ties: { gamma: 0.01 },
  dare_linear: {},
  dare_ties: {},
  della: { epsilon: 0.01 },
  della_linear: { epsilon: 0.01 },
};

describe.each(Object.entries(masked))("%s: a density whose share is less than one element", (method, more) => {
  const each = [{ weight: 1, density: 0.05, ...more }];
  const merge = (base: readonly number[], model: readonly number[]) =>
    smallMerge({ method, base, models: [model], each, global: { rescale: false } });

  test("keeps the largest delta, without a warning", async () => {
    const { values, warnings } = await merge([1, 1, 1, 1, 1], [2, 1.5, -3, 1, 2]);
    expect(values).toEqual([1, 1, -3, 1, 1]);
    expect(warnings).toEqual([]);
  });

  test("of equals it keeps the one of the lowest index", async () => {
    expect((await merge([0, 0, 0, 0], [1, -2, 2, -2])).values).toEqual([0, -2, 0, 0]);
  });

  test("keeps the only element of a tensor of one", async () => {
    expect((await merge([1], [4])).values).toEqual([4]);
  });

  test("rescales for what the mask took, as for any mask", async () => {
    const rescaled = { method, base: [0, 0, 0, 0], models: [[1, 4, -2, 1]], each, global: { rescale: true } };
    // 8 is the sum of all magnitudes; normalized methods divide by the weight, which is 1.
    expect((await smallMerge(rescaled)).values).toEqual([0, 8, 0, 0]);
  });
});

test("a share of just one element is that element: nothing changes at the border", async () => {
  const at = (density: number) =>
    smallMerge({ method: "ties", base: [0, 0, 0, 0], models: [[1, 4, -2, 1]], each: [{ weight: 1, density }] });
  expect((await at(0.25)).values).toEqual((await at(0.24)).values);
});

test("gamma 0 removes no outliers: the largest stay", async () => {
  const each = [{ weight: 1, density: 0.5, gamma: 0 }];
  const { values } = await smallMerge({ method: "breadcrumbs", base: [0, 0, 0, 0], models: [[1, 4, -2, 1]], each });
  expect(values).toEqual([0, 4, -2, 0]);
});
