import { describe, expect, test } from "vitest";
import { resultOf } from "../../../merge/methods/index.ts";
import { karcherCoefficients } from "../../../merge/methods/karcher.ts";
import { nuslerpCoefficients } from "../../../merge/methods/nuslerp.ts";
import { randomSource } from "../engines/awkward-values.ts";
import { expectClose, smallMerge } from "./small-merge.ts";

const half = Math.SQRT1_2;

describe("karcher", () => {
  const options = { steps: 10, tolerance: 1e-5 };

  test("two orthogonal models: half-way, with the mean of the norms", async () => {
    const { values } = await smallMerge({
      method: "karcher",
      models: [
        [1, 0],
        [0, 3],
      ],
    });
    expectClose(values, [2 * half, 2 * half]);
  });

  test("a base_model that is not listed is one of the models", async () => {
    const { values } = await smallMerge({
      method: "karcher",
      base: [0, 0, 1],
      models: [
        [1, 0, 0],
        [0, 1, 0],
      ],
    });
    const third = 1 / Math.sqrt(3);
    expectClose(values, [third, third, third]);
  });

  test("a model without a norm has no direction, but its norm counts", async () => {
    expectClose(
      (
        await smallMerge({
          method: "karcher",
          models: [
            [0, 0],
            [0, 4],
          ],
        })
      ).values,
      [0, 2],
    );
    expectClose(
      (
        await smallMerge({
          method: "karcher",
          models: [
            [0, 0],
            [0, 0],
          ],
        })
      ).values,
      [0, 0],
    );
  });

  test("one model is copied", async () => {
    expectClose((await smallMerge({ method: "karcher", models: [[0.1, -7]] })).values, [Math.fround(0.1), -7]);
  });

  const size = 23;
  const vectorsOf = (count: number): number[][] => {
    const next = randomSource(count);
    return Array.from({ length: count }, () => Array.from({ length: size }, () => next() / 2 ** 31 - 0.8));
  };
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, k) => sum + x * b[k]!, 0);

  test.each([2, 3, 7, 12])("the arcs from the mean to all of %i models cancel", (count) => {
    const vectors = vectorsOf(count);
    const gram = (i: number, j: number) => dot(vectors[i]!, vectors[j]!);
    const coefficients = resultOf(karcherCoefficients(gram, count, { steps: 100, tolerance: 1e-9 }));
    const mean = vectors[0]!.map((_, k) => vectors.reduce((sum, v, i) => sum + coefficients[i]! * v[k]!, 0));
    const norms = vectors.map((v) => Math.sqrt(dot(v, v)));
    const length = Math.sqrt(dot(mean, mean));
    expect(length).toBeCloseTo(norms.reduce((sum, norm) => sum + norm, 0) / count, 10);
    const u = mean.map((x) => x / length);
    const pull = new Array<number>(size).fill(0);
    for (const [i, v] of vectors.entries()) {
      const unit = v.map((x) => x / norms[i]!);
      const cosine = dot(u, unit);
      const angle = Math.acos(cosine);
      for (const [k, x] of unit.entries()) pull[k]! += (angle / Math.sin(angle)) * (x - cosine * u[k]!);
    }
    expect(Math.sqrt(dot(pull, pull))).toBeLessThan(1e-6);
  });

  test("no step is taken beyond max_iter: none leaves the normalised mean of the directions", () => {
    const vectors = vectorsOf(3);
    const gram = (i: number, j: number) => dot(vectors[i]!, vectors[j]!);
    const coefficients = resultOf(karcherCoefficients(gram, 3, { ...options, steps: 0 }));
    const norms = vectors.map((v) => Math.sqrt(dot(v, v)));
    const shares = coefficients.map((c, i) => c * norms[i]!);
    expectClose(shares, [shares[0]!, shares[0]!, shares[0]!]);
    expect(resultOf(karcherCoefficients(gram, 3, options))).not.toEqual(coefficients);
  });
});

describe("multislerp", () => {
  const weights = [{ weight: 0.5 }, { weight: 0.5 }];

  test("the mean direction with the weighted mean of the norms", async () => {
    const { values } = await smallMerge({
      method: "multislerp",
      models: [
        [1, 0],
        [0, 3],
      ],
      each: weights,
    });
    expectClose(values, [2 * half, 2 * half]);
  });

  test("of deltas where there is a base", async () => {
    const { values } = await smallMerge({
      method: "multislerp",
      base: [10, 20],
      models: [
        [11, 20],
        [10, 23],
      ],
      each: weights,
    });
    expectClose(values, [10 + 2 * half, 20 + 2 * half]);
  });

  test("normalize_weights: false takes the weights as they are", async () => {
    const merge = {
      method: "multislerp",
      models: [
        [2, 0],
        [2, 0],
      ],
      each: [{ weight: 1 }, { weight: 2 }],
    };
    expectClose((await smallMerge(merge)).values, [2, 0]);
    expectClose((await smallMerge({ ...merge, global: { normalize_weights: false } })).values, [6, 0]);
  });

  test("two directions that cancel give the weighted sum, three are an error", async () => {
    const opposed = [
      [1, 0],
      [-3, 0],
    ];
    expectClose((await smallMerge({ method: "multislerp", models: opposed, each: weights })).values, [-1, 0]);
    const three = { models: [...opposed, [0, 0]], each: [...weights, { weight: 0.1 }] };
    await expect(smallMerge({ method: "multislerp", ...three })).rejects.toMatchObject({
      code: "method/directions-cancel",
    });
  });

  test("deltas that are all zero leave the base", async () => {
    const each = [...weights, { weight: 1 }];
    const { values } = await smallMerge({
      method: "multislerp",
      base: [1, 2],
      models: [
        [1, 2],
        [1, 2],
        [1, 2],
      ],
      each,
    });
    expect(values).toEqual([1, 2]);
  });
});

describe("nuslerp", () => {
  const each = [{ weight: 1 }, { weight: 1 }];
  // Rows (1, 0), (0, 1) and (0, 0), (1, 1).
  const models = [
    [1, 0, 0, 1],
    [0, 0, 1, 1],
  ];
  const shape = [2, 2];

  test("the whole tensor is one vector", async () => {
    // Dot 1, norms √2 each: 60 degrees; sin 30 / sin 60 = 1 / √3.
    const { values } = await smallMerge({ method: "nuslerp", shape, models, each });
    const third = 1 / Math.sqrt(3);
    expectClose(values, [third, 0, third, 2 * third]);
  });

  test("each row is a vector", async () => {
    // Row 0: against a zero row, 90 degrees. Row 1: 45 degrees.
    const { values } = await smallMerge({ method: "nuslerp", shape, models, each, global: { nuslerp_flatten: false } });
    const share = Math.sin(Math.PI / 8) / Math.sin(Math.PI / 4);
    expectClose(values, [half, 0, share, 2 * share]);
  });

  test("each column is a vector", async () => {
    // Column 0: (1, 0) and (0, 1), 90 degrees. Column 1: parallel, so linear.
    const global = { nuslerp_flatten: false, nuslerp_row_wise: true };
    expectClose((await smallMerge({ method: "nuslerp", shape, models, each, global })).values, [half, 0, half, 1]);
  });

  test.each([{}, { nuslerp_flatten: false }, { nuslerp_flatten: false, nuslerp_row_wise: true }])(
    "with a base the same of the deltas, %o",
    async (global) => {
      const base = [5, -1, 2, 4];
      const moved = models.map((model) => model.map((x, k) => x + base[k]!));
      const plain = await smallMerge({ method: "nuslerp", shape, models, each, global });
      const { values } = await smallMerge({ method: "nuslerp", shape, base, models: moved, each, global });
      expectClose(
        values,
        plain.values.map((x, k) => x + base[k]!),
      );
    },
  );

  test("the share follows from the weights; weights that cancel mean half", () => {
    expect(nuslerpCoefficients(1, 0, 1, 0)).toEqual([1, 0]);
    expect(nuslerpCoefficients(4, 4, 4, 0.25)).toEqual([0.75, 0.25]);
  });

  test("weights of 3 and 1: a quarter of the way", async () => {
    const pair = [{ weight: 3 }, { weight: 1 }];
    const { values } = await smallMerge({
      method: "nuslerp",
      models: [
        [1, 0],
        [0, 1],
      ],
      each: pair,
    });
    expectClose(values, [Math.sin((3 * Math.PI) / 8), Math.sin(Math.PI / 8)]);
    const opposed = [{ weight: 1 }, { weight: -1 }];
    expectClose(
      (
        await smallMerge({
          method: "nuslerp",
          models: [
            [1, 0],
            [0, 1],
          ],
          each: opposed,
        })
      ).values,
      [half, half],
    );
  });

  test("more columns than a verdict can hold are refused when planning", async () => {
    const wide = Array.from({ length: 2 ** 18 + 1 }, () => 1);
    const global = { nuslerp_flatten: false, nuslerp_row_wise: true };
    await expect(
      smallMerge({ method: "nuslerp", shape: [1, wide.length], models: [wide, wide], each, global }),
    ).rejects.toMatchObject({ code: "method/too-many-columns" });
  });
});
