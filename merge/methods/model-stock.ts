import { put } from "../engines/index.ts";
import type { TensorTask } from "../work/index.ts";
import { BlockSummer, type BlockSums, foldBlockSums, totals } from "./block-sums.ts";
import { type Chunk, rowCapacity } from "./chunks.ts";
import { defineMethod, rangesOf } from "./definition.ts";
import { baseOf, flag, floatDtype, scopeParameter } from "./parameters.ts";
import type { RangeContext } from "./range.ts";
import { RowNumbers } from "./row-numbers.ts";
import { readBlockSums } from "./summary-forms.ts";

/** First the norms of the deltas, then how far their directions agree. */
type Request =
  | { readonly ask: "norms" }
  | { readonly ask: "directions"; readonly norms: readonly number[]; readonly pairs: readonly Pair[] };
type Pair = readonly [number, number];

/** ratio: how far to go from the base to the mean; undefined: per row, found while merging. */
interface Verdict {
  readonly ratio?: number;
}

/** mergekit clamps the product of two norms at this from below. */
const NORM_PRODUCT_MIN = 1e-6;

/**
 * Model Stock: from the base toward the mean of the models, as far as their deltas agree.
 * Paper: Jang et al. 2024, arXiv:2403.19522. Beyond two models cosines are averaged over pairs, as in mergekit.
 * Survey: norms of the deltas, then the squared norm of the sum of their directions: linear in the number of models, no Gram matrix.
 * The dots of single pairs are made only where the clamp of the norm product bites. filter_wise: the same for each row, in one go.
 */
export const modelStock = defineMethod<Request, BlockSums, Verdict>({
  name: "model_stock",
  title: "Model Stock: toward the mean of the models, as far as their deltas agree",
  paper: "arXiv:2403.19522",
  documentation:
    "Interpolates between the base and the mean of the models; the ratio follows from the mean cosine between the deltas. Needs no weights. May go below 0 where deltas are opposed.",
  formula: "c = mean over pairs of cos(dᵢ, dⱼ);  t = N c / (1 + (N−1) c);  out = t · mean(xᵢ) + (1−t) · b",
  deviations: [
    "Where 1 + (N−1) c is 1e-6 or less, mergekit makes NaN or a huge step; here the tensor stays at the base, with a warning.",
    "filter_wise on tensors of 3 or more dimensions takes rows along the last dimension.",
  ],
  base: "apart",
  appendsBase: true,
  needsBase: true,
  models: { min: 2, max: Number.POSITIVE_INFINITY },
  shapeMismatch: "fail",
  prunes: false,
  elementsMax: Number.POSITIVE_INFINITY,
  parameters: {
    filter_wise: {
      scope: "global",
      type: "boolean",
      default: false,
      documentation: "One ratio per row instead of one per tensor.",
    },
    ...scopeParameter,
  },
  refused: {},
  begin: (task) => (perRow(task) ? { verdict: {} } : { request: { ask: "norms" } }),
  survey: (context, request) =>
    request.ask === "norms" ? surveyNorms(context) : surveyDirections(context, request.norms, request.pairs),
  readSummary: (task, request, summary, range) =>
    readBlockSums(summary, range, request.ask === "norms" ? task.models.length : 1 + request.pairs.length),
  fold: foldBlockSums,
  settle(task, request, whole) {
    if (request.ask === "norms") {
      const norms = totals(whole).map(Math.sqrt);
      return { request: { ask: "directions", norms, pairs: clampedPairs(norms) } };
    }
    const [directions = 0, ...dots] = totals(whole);
    const ratio = stockRatio(task.models.length, meanCosine(request.norms, directions, request.pairs, dots));
    if (ratio !== undefined) return { verdict: { ratio } };
    return {
      verdict: { ratio: 0 },
      warnings: [`${task.name}: the deltas are opposed so far that no step is defined; left at the base`],
    };
  },
  merge: (context, { ratio }) => (ratio === undefined ? mergeRows(context) : mergeWhole(context, ratio)),
  reads: (task, cutting) =>
    perRow(task)
      ? { base: 2, models: 3, shared: 1, ranges: rangesOf(cutting, 0) }
      : { base: 3, models: 3, ranges: rangesOf(cutting, 2) },
});

/** A 1-D tensor is one row: that is the whole tensor. */
function perRow(task: TensorTask): boolean {
  return flag(task.parameters, "filter_wise") && task.shape.length > 1;
}

/** How far to go: 1 for equal deltas, 0 for orthogonal, below 0 for opposed; undefined where the step is not defined. */
export function stockRatio(models: number, cosine: number): number | undefined {
  const below = 1 + (models - 1) * cosine;
  return below <= 1e-6 ? undefined : (models * cosine) / below;
}

/** Pairs whose norm product is clamped; a norm of zero gives a cosine of 0 without being asked. */
export function clampedPairs(norms: readonly number[]): Pair[] {
  const pairs: Pair[] = [];
  const small = norms.map((norm, i) => ({ norm, i })).filter(({ norm }) => norm > 0);
  const least = Math.min(...small.map(({ norm }) => norm));
  const suspects = small.filter(({ norm }) => norm * least < NORM_PRODUCT_MIN);
  for (const [at, a] of suspects.entries()) {
    for (const b of suspects.slice(at + 1)) if (a.norm * b.norm < NORM_PRODUCT_MIN) pairs.push([a.i, b.i]);
  }
  return pairs;
}

/**
 * Mean over all pairs of the cosines, from |Σ dᵢ/|dᵢ||² (`directions`, models of norm 0 left out): the sum over pairs is half of what
 * that has beyond its diagonal. Clamped pairs (`dots` in the order of `pairs`) are taken out and put in again with the clamp.
 */
export function meanCosine(
  norms: readonly number[],
  directions: number,
  pairs: readonly Pair[],
  dots: readonly number[],
): number {
  const directed = norms.filter((norm) => norm > 0).length;
  let sum = (directions - directed) / 2;
  for (const [k, [i, j]] of pairs.entries()) {
    const product = (norms[i] ?? 0) * (norms[j] ?? 0);
    const dot = dots[k] ?? 0;
    sum += clampCosine(dot / NORM_PRODUCT_MIN) - dot / product;
  }
  return clampCosine(sum / ((norms.length * (norms.length - 1)) / 2));
}

function clampCosine(value: number): number {
  return Math.min(1, Math.max(-1, value));
}

async function surveyNorms(context: RangeContext): Promise<BlockSums> {
  const { kernels } = context.arena;
  const sums = new BlockSummer(context, context.task.models.length);
  const d = context.f32("delta");
  for (const chunk of context.chunks("pieces")) {
    const base = await context.readF32(baseOf(context.task), chunk, "base");
    for (const [i, model] of context.task.models.entries()) {
      kernels.delta(d, await context.read(model, chunk), floatDtype(model), base, chunk.elementCount);
      kernels.dot(sums.lanes(i, chunk), d, d, context.blockElements, chunk.elementCount);
    }
    sums.endChunk(chunk);
  }
  return sums.finish();
}

/** Column 0: |Σ dᵢ/|dᵢ||²; then the dots of `pairs`. */
async function surveyDirections(
  context: RangeContext,
  norms: readonly number[],
  pairs: readonly Pair[],
): Promise<BlockSums> {
  const { kernels } = context.arena;
  const sums = new BlockSummer(context, 1 + pairs.length);
  const d = context.f32("delta");
  const sum = context.buffer("directions", context.chunkCapacity * 8);
  for (const chunk of context.chunks("pieces")) {
    const base = await context.readF32(baseOf(context.task), chunk, "base");
    kernels.zero(sum, chunk.elementCount * 8);
    for (const [i, model] of context.task.models.entries()) {
      const norm = norms[i] ?? 0;
      if (norm === 0) continue;
      kernels.delta(d, await context.read(model, chunk), floatDtype(model), base, chunk.elementCount);
      kernels.accumulateF64(sum, d, 1 / norm, chunk.elementCount);
    }
    kernels.squaresF64(sums.lanes(0, chunk), sum, context.blockElements, chunk.elementCount);
    for (const [k, pair] of pairs.entries()) {
      const [a, b] = await deltasOf(context, pair, chunk, base);
      kernels.dot(sums.lanes(1 + k, chunk), a, b, context.blockElements, chunk.elementCount);
    }
    sums.endChunk(chunk);
  }
  return sums.finish();
}

async function deltasOf(context: RangeContext, pair: Pair, chunk: Chunk, base: number): Promise<[number, number]> {
  const buffers: [number, number] = [context.f32("delta"), context.f32("other-delta")];
  for (const [k, i] of pair.entries()) {
    const model = context.task.models[i];
    if (model === undefined) throw new Error(`there is no model ${i}`);
    context.arena.kernels.delta(
      buffers[k] ?? 0,
      await context.read(model, chunk),
      floatDtype(model),
      base,
      chunk.elementCount,
    );
  }
  return buffers;
}

/** out = (1 - t) b + (t / N) x_1 + ... + (t / N) x_N, in f32, in this order. */
async function mergeWhole(context: RangeContext, ratio: number): Promise<void> {
  const { kernels } = context.arena;
  const { task } = context;
  const base = baseOf(task);
  const sum = context.f32("delta");
  for (const chunk of context.chunks("pieces")) {
    kernels.accumulate(sum, await context.read(base, chunk), floatDtype(base), 1 - ratio, true, chunk.elementCount);
    for (const model of task.models) {
      const x = await context.read(model, chunk);
      kernels.accumulate(sum, x, floatDtype(model), ratio / task.models.length, false, chunk.elementCount);
    }
    await context.emit(chunk, sum);
  }
}

/** Norms, directions and the combination of one chunk after another: a row never leaves its block. */
async function mergeRows(context: RangeContext): Promise<void> {
  const { kernels } = context.arena;
  const { task, rowLength } = context;
  const base = baseOf(task);
  const d = context.f32("delta");
  const directions = context.buffer("directions", context.chunkCapacity * 8);
  const out = context.f32("sum");
  const numbers = new RowNumbers(context, "row-norms", task.models.length);
  const perRowF32 = context.buffer("per-row-f32", rowCapacity(context) * 4);
  for (const chunk of context.chunks("blocks")) {
    const n = chunk.elementCount;
    const rows = n / rowLength;
    const b = await context.readF32(base, chunk, "base");

    const squaredNorms = await numbers.of(task.models, rows, async (model, into) => {
      kernels.delta(d, await context.read(model, chunk), floatDtype(model), b, n);
      kernels.dotRows(into, d, d, rows, rowLength);
    });
    const norms = squaredNorms.map((squared) => squared.map(Math.sqrt));

    kernels.zero(directions, n * 8);
    for (const [i, model] of task.models.entries()) {
      kernels.delta(d, await context.read(model, chunk), floatDtype(model), b, n);
      const inverse = (norms[i] ?? new Float64Array(rows)).map((norm) => (norm === 0 ? 0 : 1 / norm));
      put(context.arena, numbers.address, inverse);
      kernels.accumulateRowsF64(directions, d, numbers.address, rows, rowLength);
    }
    const [squares] = await numbers.of([directions], rows, async (sums, into) =>
      kernels.squaresRowsF64(into, sums, rows, rowLength),
    );

    const normsOfRow = (row: number) => norms.map((norm) => norm[row] ?? 0);
    const pairsOfRow = Array.from({ length: rows }, (_, row) => clampedPairs(normsOfRow(row)));
    const dots = await dotsOfPairs(context, chunk, b, pairsOfRow);
    const ratios = Float64Array.from({ length: rows }, (_, row) => {
      const pairs = pairsOfRow[row] ?? [];
      const pairDots = pairs.map(([i, j]) => dots.get(`${i},${j}`)?.[row] ?? 0);
      return stockRatio(task.models.length, meanCosine(normsOfRow(row), squares?.[row] ?? 0, pairs, pairDots)) ?? 0;
    });

    put(
      context.arena,
      perRowF32,
      Float32Array.from(ratios, (ratio) => 1 - ratio),
    );
    kernels.accumulateRows(out, await context.read(base, chunk), floatDtype(base), perRowF32, true, rows, rowLength);
    put(
      context.arena,
      perRowF32,
      Float32Array.from(ratios, (ratio) => ratio / task.models.length),
    );
    for (const model of task.models) {
      kernels.accumulateRows(
        out,
        await context.read(model, chunk),
        floatDtype(model),
        perRowF32,
        false,
        rows,
        rowLength,
      );
    }
    await context.emit(chunk, out);
  }
}

/** Row dots of every pair that some row of the chunk needs. */
async function dotsOfPairs(
  context: RangeContext,
  chunk: Chunk,
  base: number,
  pairsOfRow: readonly (readonly Pair[])[],
): Promise<Map<string, Float64Array>> {
  const wanted = [...new Map(pairsOfRow.flat().map((pair) => [`${pair[0]},${pair[1]}`, pair] as const))];
  if (wanted.length === 0) return new Map();
  const { length } = context.task.models;
  const numbers = new RowNumbers(context, "row-dots", (length * (length - 1)) / 2);
  const dots = await numbers.of(wanted, pairsOfRow.length, async ([, pair], into) => {
    const [a, b] = await deltasOf(context, pair, chunk, base);
    context.arena.kernels.dotRows(into, a, b, pairsOfRow.length, context.rowLength);
  });
  return new Map(wanted.map(([key], k) => [key, dots[k] ?? new Float64Array()]));
}
