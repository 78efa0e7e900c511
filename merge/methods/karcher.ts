import { acos, cos, sin } from "../math/index.ts";
import { type BlockSums, foldBlockSums } from "./block-sums.ts";
import { type Combination, mergeCombination, plainNumber, theOnlyModel } from "./combination.ts";
import { defineMethod, rangesOf } from "./definition.ts";
import { gramOf, gramReadsOf, surveyGram } from "./gram.ts";
import { number, scopeParameter } from "./parameters.ts";
import type { Steps } from "./steps.ts";
import { readBlockSums } from "./summary-forms.ts";

/**
 * The Karcher (Riemannian) mean of the models' directions on the sphere, with the mean of their norms.
 * Paper: Karcher 1977, "Riemannian center of mass and mollifier smoothing". docs/spec/methods.md, "Geometry".
 * Survey: the Gram matrix of the models, float64 [N, N]; the iteration runs on it. Memory in merge: one f32 per element.
 */
export const karcher = defineMethod<"gram", BlockSums, Combination>({
  name: "karcher",
  title: "Karcher mean: the centre of the models' directions on the sphere",
  documentation:
    "Takes each tensor as a vector and finds the direction from which the arcs to all models cancel (Karcher 1977), by at most max_iter steps of gradient descent; its norm is the mean of the norms. All models count alike, base_model being one of them. A single model is copied; tensors without a norm above tol give zeros.",
  formula:
    "uᵢ = xᵢ / |xᵢ|, u ∝ Σ uᵢ;  θᵢ = acos(u·uᵢ), T = mean of (θᵢ / sin θᵢ)(uᵢ − (u·uᵢ) u);  repeat u ← cos|T| u + sin|T| T/|T|, until |T| < tol;  out = u · mean(|xᵢ|)",
  deviations: [
    "The iteration runs in float64 on the dots of the models, not on tensors: the models are read twice, whatever max_iter is.",
    "mergekit 0.1.4 fails on recipes with max_iter, which becomes a float there.",
  ],
  base: "listed",
  appendsBase: true,
  needsBase: false,
  models: { min: 1, max: Number.POSITIVE_INFINITY },
  shapeMismatch: "fail",
  prunes: false,
  elementsMax: Number.POSITIVE_INFINITY,
  parameters: {
    max_iter: {
      scope: "global",
      type: "number",
      default: 10,
      range: { min: 0, max: 100_000 },
      documentation: "Most steps; a fraction is cut off.",
    },
    tol: {
      scope: "global",
      type: "number",
      default: 1e-5,
      range: { min: 0 },
      documentation:
        "A step (in radians) below which the iteration ends, and a norm below which a model has no direction.",
    },
    ...scopeParameter,
  },
  refused: {},
  begin: (task) => (task.models.length === 1 ? { verdict: theOnlyModel } : { request: "gram" }),
  survey: surveyGram,
  readSummary: ({ models }, _request, summary, range) =>
    readBlockSums(summary, range, (models.length * (models.length + 1)) / 2),
  fold: foldBlockSums,
  *settle(task, _request, whole) {
    const options = {
      steps: Math.trunc(number(task.parameters, "max_iter")),
      tolerance: number(task.parameters, "tol"),
    };
    const count = task.models.length;
    const coefficients = yield* karcherCoefficients(gramOf(whole, count), count, options);
    return { verdict: { models: coefficients.map(plainNumber) } };
  },
  merge: mergeCombination,
  reads: ({ models }, cutting) => {
    if (models.length === 1) return { base: 0, models: 1 };
    const reads = models.map((_, j) => 1 + gramReadsOf(j));
    return { base: 0, models: reads, shared: 2, ranges: rangesOf(cutting, 1) };
  },
});

/** Coefficients of the models in their Karcher mean. `gram(i, j)`: dot of models i and j, float64. */
export function* karcherCoefficients(
  gram: (i: number, j: number) => number,
  count: number,
  { steps, tolerance }: { readonly steps: number; readonly tolerance: number },
): Steps<number[]> {
  const norms = Array.from({ length: count }, (_, i) => Math.sqrt(gram(i, i)));
  // NaN is a direction too, so that it shows.
  const directed = norms.flatMap((norm, i) => (norm <= tolerance ? [] : [i]));
  const cosines = directed.map((i) => directed.map((j) => gram(i, j) / ((norms[i] ?? 0) * (norms[j] ?? 0))));
  const u = yield* karcherMean(cosines, steps, tolerance);
  const norm = norms.reduce((sum, value) => sum + value, 0) / count;
  const coefficients = new Array<number>(count).fill(0);
  for (const [k, i] of directed.entries()) coefficients[i] = ((u[k] ?? 0) * norm) / (norms[i] ?? 0);
  return coefficients;
}

/** The mean of unit vectors in terms of them, from their cosines. All vectors here are coefficients of the units. */
function* karcherMean(cosines: readonly (readonly number[])[], steps: number, tolerance: number): Steps<number[]> {
  const count = cosines.length;
  const share = 1 / count;
  const dotsWith = (v: readonly number[]) =>
    cosines.map((row) => row.reduce((sum, cosine, j) => sum + cosine * (v[j] ?? 0), 0));
  const normOf = (v: readonly number[]) => {
    const dots = dotsWith(v);
    // Rounding may leave a little less than nothing.
    return Math.sqrt(
      Math.max(
        0,
        v.reduce((sum, value, i) => sum + value * (dots[i] ?? 0), 0),
      ),
    );
  };
  const divided = (v: readonly number[], by: number) => v.map((value) => value / by);

  const mean = new Array<number>(count).fill(share);
  const meanNorm = normOf(mean);
  let u = meanNorm < tolerance ? mean.map((_, i) => (i === 0 ? 1 : 0)) : divided(mean, meanNorm);
  for (let step = 0; step < steps; step++) {
    const pulls: number[] = [];
    let along = 0;
    for (const dot of dotsWith(u)) {
      const cosine = Math.min(1, Math.max(-1, dot));
      const angle = acos(cosine);
      const pull = angle < tolerance ? 0 : share * (angle / sin(angle));
      pulls.push(pull);
      along += pull * cosine;
    }
    const tangent = pulls.map((pull, i) => pull - along * (u[i] ?? 0));
    const length = normOf(tangent);
    if (length < tolerance) break;
    const [stay, go] = [cos(length), sin(length) / length];
    const next = u.map((value, i) => stay * value + go * (tangent[i] ?? 0));
    u = divided(next, normOf(next));
    yield;
  }
  return u;
}
