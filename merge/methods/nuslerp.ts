import { put } from "../engines/index.ts";
import { acos, sin } from "../math/index.ts";
import { geometryOfTask, type ModelSource, type TensorTask } from "../work/index.ts";
import { BlockSummer, type BlockSums, foldBlockSums, totals } from "./block-sums.ts";
import { rowCapacity } from "./chunks.ts";
import { ColumnSummer, type ColumnSums, columnTotals, foldColumnSums } from "./column-sums.ts";
import {
  type Combination,
  maybeBase,
  mergeCombination,
  type PlainNumber,
  plainNumber,
  readVector,
} from "./combination.ts";
import { defineMethod, rangesOf } from "./definition.ts";
import { MethodError } from "./errors.ts";
import { flag, number, scopeParameter, weightDocumentation } from "./parameters.ts";
import type { RangeContext } from "./range.ts";
import { RowNumbers } from "./row-numbers.ts";
import { fieldsOf, readBlockSums, readColumnSums } from "./summary-forms.ts";

/** What is a vector: the whole tensor, each row (along the last dimension), or each column (along the first). */
type Vectors = "whole" | "rows" | "columns";
type Summary = { readonly blocks: BlockSums } | { readonly columns: ColumnSums };
/** Of columns the coefficients of each; of rows nothing: they are found while merging. */
type Verdict = Combination | { readonly columns: readonly [readonly PlainNumber[], readonly PlainNumber[]] } | "rows";

/** mergekit clamps norms at this from below. */
const NORM_MIN = 1e-7;
/** A sine below this divides nothing. */
const SINE_MIN = 1e-8;
/** Coefficients of so many columns still make a verdict of reasonable size. */
const COLUMNS_MAX = 2 ** 18;

/**
 * SLERP of two models by weights, over whole tensors, rows or columns, of models or of deltas.
 * Paper: Shoemake 1985, as slerp. docs/spec/methods.md, "Geometry".
 * Survey: the three dots of each vector, float64; of rows while merging. Memory in merge: one f32 per element.
 */
export const nuslerp = defineMethod<Vectors, Summary, Verdict>({
  name: "nuslerp",
  title: "NuSLERP: spherical interpolation of two models by their weights",
  documentation:
    "As slerp, but with a weight per model in place of t, over the whole tensor, over each row or over each column, and with a base over the deltas, which are added back to it.",
  formula:
    "t = w₁ / (w₀ + w₁);  θ = acos(v₀·v₁ / |v₀||v₁|);  out = sin((1−t)θ)/sin θ · v₀ + sin(tθ)/sin θ · v₁;   |sin θ| < 1e-8: (1−t) v₀ + t v₁      (v = x, or with a base v = d and plus b)",
  deviations: [
    "Norms and angles are float64; mergekit finds them in the dtype of the merge.",
    `nuslerp_row_wise takes tensors of at most ${COLUMNS_MAX} columns (elements by the first dimension).`,
  ],
  base: "optional",
  appendsBase: true,
  needsBase: false,
  models: { min: 2, max: 2 },
  shapeMismatch: "fail",
  prunes: false,
  elementsMax: Number.POSITIVE_INFINITY,
  parameters: {
    weight: { scope: "tensor", type: "number", required: true, documentation: weightDocumentation },
    nuslerp_flatten: {
      scope: "global",
      type: "boolean",
      default: true,
      documentation: "The whole tensor is one vector. false: each row is one, and of a 1-D tensor the whole.",
    },
    nuslerp_row_wise: {
      scope: "global",
      type: "boolean",
      default: false,
      documentation: "With nuslerp_flatten: false, vectors lie along the first dimension instead of the last.",
    },
    ...scopeParameter,
  },
  refused: {},
  begin(task) {
    const vectors = vectorsOf(task);
    if (vectors === "columns") columnsOf(task);
    return vectors === "rows" ? { verdict: "rows" } : { request: vectors };
  },
  survey: async (context, request) =>
    request === "columns" ? { columns: await surveyColumns(context) } : { blocks: await surveyWhole(context) },
  readSummary(task, request, summary, range) {
    const { blocks = null, columns = null } = fieldsOf(summary, "dots");
    if (request === "columns") return { columns: readColumnSums(columns, range, 3 * columnsOf(task)) };
    return { blocks: readBlockSums(blocks, range, 3) };
  },
  *fold(left, right) {
    if ("blocks" in left && "blocks" in right) return { blocks: yield* foldBlockSums(left.blocks, right.blocks) };
    if ("columns" in left && "columns" in right) return { columns: yield* foldColumnSums(left.columns, right.columns) };
    throw new Error("summaries of different rounds cannot be folded");
  },
  settle(task, _request, whole) {
    const t = shareOf(task);
    if ("blocks" in whole) {
      const [aa = 0, ab = 0, bb = 0] = totals(whole.blocks);
      return { verdict: { models: nuslerpCoefficients(aa, ab, bb, t).map(plainNumber) } };
    }
    const sums = columnTotals(whole.columns);
    const count = columnsOf(task);
    const [first, second]: [PlainNumber[], PlainNumber[]] = [[], []];
    for (let column = 0; column < count; column++) {
      const [aa = 0, ab = 0, bb = 0] = [sums[column], sums[count + column], sums[2 * count + column]];
      const [a, b] = nuslerpCoefficients(aa, ab, bb, t);
      first.push(plainNumber(Math.fround(a)));
      second.push(plainNumber(Math.fround(b)));
    }
    return { verdict: { columns: [first, second] } };
  },
  merge(context, verdict) {
    if (verdict === "rows") return mergeRows(context);
    return "columns" in verdict ? mergeColumns(context, verdict.columns) : mergeCombination(context, verdict);
  },
  reads(task, cutting) {
    const models = vectorsOf(task) === "rows" ? 1 : 2;
    return { base: task.base === undefined ? 0 : models, models, ranges: rangesOf(cutting, models - 1) };
  },
});

/** Coefficients of v0 and v1 from their dots; t: share of v1. */
export function nuslerpCoefficients(aa: number, ab: number, bb: number, t: number): readonly [number, number] {
  const product = Math.max(Math.sqrt(aa), NORM_MIN) * Math.max(Math.sqrt(bb), NORM_MIN);
  const angle = acos(Math.min(1, Math.max(-1, ab / product)));
  const sine = sin(angle);
  if (Math.abs(sine) < SINE_MIN) return [1 - t, t];
  return [sin((1 - t) * angle) / sine, sin(t * angle) / sine];
}

function vectorsOf(task: TensorTask): Vectors {
  if (flag(task.parameters, "nuslerp_flatten") || task.shape.length <= 1) return "whole";
  return flag(task.parameters, "nuslerp_row_wise") ? "columns" : "rows";
}

/** @throws MethodError where there are too many */
function columnsOf(task: TensorTask): number {
  const columns = geometryOfTask(task).elementCount / (task.shape[0] ?? 1);
  if (columns <= COLUMNS_MAX) return columns;
  const message = `${task.name}: nuslerp_row_wise would take ${columns} columns of length ${task.shape[0]}; at most ${COLUMNS_MAX} are possible`;
  const hint = "Set nuslerp_row_wise: false for this tensor, by a condition with a filter.";
  throw new MethodError("method/too-many-columns", message, { hint });
}

function shareOf(task: TensorTask): number {
  const [first, second] = pairOf(task).map((model) => number(model.parameters, "weight"));
  const [a = 0, b = 0] = [first, second];
  return Math.abs(a + b) < 1e-6 ? 0.5 : b / (a + b);
}

function pairOf(task: TensorTask): readonly [ModelSource, ModelSource] {
  const [first, second] = task.models;
  if (first === undefined || second === undefined) throw new Error("nuslerp merges two models");
  return [first, second];
}

async function surveyWhole(context: RangeContext): Promise<BlockSums> {
  const { kernels } = context.arena;
  const [first, second] = pairOf(context.task);
  const sums = new BlockSummer(context, 3);
  for (const chunk of context.chunks("pieces")) {
    const base = await maybeBase(context, chunk);
    const a = await readVector(context, first, chunk, base, "a");
    const b = await readVector(context, second, chunk, base, "b");
    kernels.dot(sums.lanes(0, chunk), a, a, context.blockElements, chunk.elementCount);
    kernels.dot(sums.lanes(1, chunk), a, b, context.blockElements, chunk.elementCount);
    kernels.dot(sums.lanes(2, chunk), b, b, context.blockElements, chunk.elementCount);
    sums.endChunk(chunk);
  }
  return sums.finish();
}

async function surveyColumns(context: RangeContext): Promise<ColumnSums> {
  const { kernels } = context.arena;
  const [first, second] = pairOf(context.task);
  const columns = columnsOf(context.task);
  const sums = new ColumnSummer(context, 3, columns);
  for (const chunk of context.chunks("pieces", sums.blocksMax)) {
    const base = await maybeBase(context, chunk);
    const a = await readVector(context, first, chunk, base, "a");
    const b = await readVector(context, second, chunk, base, "b");
    const firstColumn = chunk.firstElement % columns;
    for (const [k, [v, w]] of [[a, a] as const, [a, b] as const, [b, b] as const].entries())
      kernels.dotColumns(sums.sums(k), v, w, firstColumn, columns, context.blockElements, chunk.elementCount);
    await sums.endChunk(chunk);
  }
  return sums.finish();
}

async function mergeColumns(
  context: RangeContext,
  coefficients: readonly [readonly PlainNumber[], readonly PlainNumber[]],
): Promise<void> {
  const { kernels } = context.arena;
  const columns = columnsOf(context.task);
  const tables = coefficients.map((values, i) => {
    const address = context.buffer(`column-coefficients/${i}`, columns * 4);
    put(context.arena, address, Float32Array.from(values, Number));
    return address;
  });
  const out = context.f32("sum");
  for (const chunk of context.chunks("pieces")) {
    const n = chunk.elementCount;
    const base = await maybeBase(context, chunk);
    for (const [i, model] of pairOf(context.task).entries()) {
      const v = await readVector(context, model, chunk, base, "a");
      kernels.accumulateColumns(out, v, tables[i] ?? 0, i === 0, chunk.firstElement % columns, columns, n);
    }
    if (base !== undefined) kernels.finishDelta(out, base, out, 1, 1, n);
    await context.emit(chunk, out);
  }
}

/** Dots and combination of one chunk after another: a row never leaves its block. */
async function mergeRows(context: RangeContext): Promise<void> {
  const { kernels } = context.arena;
  const { rowLength } = context;
  const t = shareOf(context.task);
  const [first, second] = pairOf(context.task);
  const dots = new RowNumbers(context, "row-dots", 3);
  const tables = [0, 1].map((k) => context.buffer(`row-coefficients/${k}`, rowCapacity(context) * 4));
  const out = context.f32("sum");
  for (const chunk of context.chunks("blocks")) {
    const rows = chunk.elementCount / rowLength;
    const base = await maybeBase(context, chunk);
    const vectors = [
      await readVector(context, first, chunk, base, "a"),
      await readVector(context, second, chunk, base, "b"),
    ] as const;
    const [a, b] = vectors;
    const pairs = [[a, a] as const, [a, b] as const, [b, b] as const];
    const [aa, ab, bb] = await dots.of(pairs, rows, async ([v, w], into) =>
      kernels.dotRows(into, v, w, rows, rowLength),
    );
    const coefficients = Array.from({ length: rows }, (_, r) =>
      nuslerpCoefficients(aa?.[r] ?? 0, ab?.[r] ?? 0, bb?.[r] ?? 0, t),
    );
    for (const [k, v] of vectors.entries()) {
      put(
        context.arena,
        tables[k] ?? 0,
        Float32Array.from(coefficients, (pair) => pair[k] ?? 0),
      );
      kernels.accumulateRows(out, v, "F32", tables[k] ?? 0, k === 0, rows, rowLength);
    }
    if (base !== undefined) kernels.finishDelta(out, base, out, 1, 1, chunk.elementCount);
    await context.emit(chunk, out);
  }
}
