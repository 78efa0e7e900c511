import { cos } from "../math/index.ts";
import type { TensorTask } from "../work/index.ts";
import { BlockSummer, type BlockSums, foldBlockSums, totals } from "./block-sums.ts";
import {
  type Combination,
  maybeBase,
  mergeCombination,
  type PlainNumber,
  plainNumber,
  readVector,
  theOnlyModel,
} from "./combination.ts";
import { defineMethod, rangesOf } from "./definition.ts";
import { MethodError } from "./errors.ts";
import { weightsSumToZero } from "./linear.ts";
import { flag, number, scopeParameter, weightDocumentation } from "./parameters.ts";
import type { RangeContext } from "./range.ts";
import { readBlockSums } from "./summary-forms.ts";

/** First the norms of the vectors, then that of the weighted mean of their directions. */
type Request = { readonly ask: "norms" } | { readonly ask: "mean"; readonly norms: readonly PlainNumber[] };

/**
 * Spherical interpolation of any number of models, about the weighted mean of their directions.
 * Paper: none; the formula is mergekit's. docs/spec/methods.md, "Geometry".
 * Survey: norms, then the squared norm of the weighted mean direction, float64: linear in the number of models, no Gram matrix.
 */
export const multislerp = defineMethod<Request, BlockSums, Combination>({
  name: "multislerp",
  title: "Multi-SLERP: the weighted mean direction of many models, with their mean norm",
  documentation:
    "Takes each tensor (with a base: each delta) as a vector, goes to the weighted mean of the directions, adds the weighted tangents there and gives the result the weighted sum of the norms. A single model is copied.",
  formula:
    "uᵢ = xᵢ / (|xᵢ| + eps), m = Σ wᵢ uᵢ, m̂ = m / |m|;  T = Σ wᵢ (uᵢ − (uᵢ·m̂) m̂), n = |T| + eps;  out = (m̂ cos n + T sin n / n) · Σ wᵢ |xᵢ|      (with a base: of dᵢ, plus b)",
  deviations: [
    "The weighted tangents at the weighted mean cancel: T is 0 but for rounding. Here it is 0; mergekit adds what its rounding leaves.",
    "Where |m| < eps, two models give their weighted sum and more are an error, as in mergekit; but tensors that are all below eps in norm, such as the deltas of frozen layers, give their weighted sum too.",
  ],
  base: "optional",
  appendsBase: true,
  needsBase: false,
  models: { min: 1, max: Number.POSITIVE_INFINITY },
  shapeMismatch: "fail",
  prunes: false,
  elementsMax: Number.POSITIVE_INFINITY,
  parameters: {
    weight: { scope: "tensor", type: "number", required: true, documentation: weightDocumentation },
    normalize_weights: {
      scope: "global",
      type: "boolean",
      default: true,
      documentation: "Divide the weights by their sum.",
    },
    eps: {
      scope: "global",
      type: "number",
      default: 1e-8,
      range: { min: 0 },
      documentation: "Added to norms that divide; a mean direction shorter than this is none.",
    },
    ...scopeParameter,
  },
  refused: {},
  begin(task) {
    if (task.models.length === 1) return { verdict: theOnlyModel };
    weightsOf(task);
    return { request: { ask: "norms" } };
  },
  survey: (context, request) => (request.ask === "norms" ? surveyNorms(context) : surveyMean(context, request.norms)),
  readSummary: (task, request, summary, range) =>
    readBlockSums(summary, range, request.ask === "norms" ? task.models.length : 1),
  fold: foldBlockSums,
  settle(task, request, whole) {
    if (request.ask === "norms") {
      return { request: { ask: "mean", norms: totals(whole).map((total) => plainNumber(Math.sqrt(total))) } };
    }
    const [square = 0] = totals(whole);
    const norms = request.norms.map(Number);
    return { verdict: { models: coefficientsOf(task, norms, Math.sqrt(square)).map(plainNumber) } };
  },
  merge: mergeCombination,
  reads: ({ models, base }, cutting) =>
    models.length === 1
      ? { base: 0, models: 1 }
      : { base: base === undefined ? 0 : 3, models: 3, ranges: rangesOf(cutting, 2) },
});

/** @throws MethodError where they are to be normalized and sum to zero */
function weightsOf(task: TensorTask): number[] {
  const weights = task.models.map(({ parameters }) => number(parameters, "weight"));
  if (!flag(task.parameters, "normalize_weights")) return weights;
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (total === 0) throw weightsSumToZero(task, "normalize_weights");
  return weights.map((weight) => weight / total);
}

/** `meanNorm`: |m|. */
function coefficientsOf(task: TensorTask, norms: readonly number[], meanNorm: number): number[] {
  const weights = weightsOf(task);
  const eps = number(task.parameters, "eps");
  if (meanNorm < eps || meanNorm === 0) {
    if (weights.length === 2 || norms.every((norm) => norm <= eps)) return weights;
    const message = `${task.name}: the weighted directions of its ${weights.length} models cancel out (norm ${meanNorm})`;
    const hint = "Change a weight, or take linear or karcher for this merge.";
    throw new MethodError("method/directions-cancel", message, { hint });
  }
  const norm = weights.reduce((sum, weight, i) => sum + weight * (norms[i] ?? 0), 0);
  const scale = (cos(eps) * norm) / meanNorm;
  return weights.map((weight, i) => {
    const length = (norms[i] ?? 0) + eps;
    return length === 0 ? 0 : (weight / length) * scale;
  });
}

async function surveyNorms(context: RangeContext): Promise<BlockSums> {
  const { task, arena } = context;
  const sums = new BlockSummer(context, task.models.length);
  for (const chunk of context.chunks("pieces")) {
    const base = await maybeBase(context, chunk);
    for (const [i, model] of task.models.entries()) {
      const x = await readVector(context, model, chunk, base, "vector");
      arena.kernels.dot(sums.lanes(i, chunk), x, x, context.blockElements, chunk.elementCount);
    }
    sums.endChunk(chunk);
  }
  return sums.finish();
}

/** |Σ wᵢ uᵢ|², the sum made in float64. */
async function surveyMean(context: RangeContext, norms: readonly PlainNumber[]): Promise<BlockSums> {
  const { task, arena } = context;
  const weights = weightsOf(task);
  const eps = number(task.parameters, "eps");
  const sums = new BlockSummer(context, 1, "mean");
  const mean = context.buffer("mean", context.chunkCapacity * 8);
  for (const chunk of context.chunks("pieces")) {
    const base = await maybeBase(context, chunk);
    arena.kernels.zero(mean, chunk.elementCount * 8);
    for (const [i, model] of task.models.entries()) {
      const length = Number(norms[i] ?? 0) + eps;
      if (length === 0) continue;
      const x = await readVector(context, model, chunk, base, "vector");
      arena.kernels.accumulateF64(mean, x, (weights[i] ?? 0) / length, chunk.elementCount);
    }
    arena.kernels.squaresF64(sums.lanes(0, chunk), mean, context.blockElements, chunk.elementCount);
    sums.endChunk(chunk);
  }
  return sums.finish();
}
