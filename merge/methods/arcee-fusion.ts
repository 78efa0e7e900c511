import type { Address } from "../engines/index.ts";
import { geometryOfTask, sourcesOf, type TensorSource, type TensorTask } from "../work/index.ts";
import type { Chunk } from "./chunks.ts";
import { type PlainNumber, plainNumber } from "./combination.ts";
import { defineMethod, rangesOf } from "./definition.ts";
import {
  foldOrder,
  type OrderRequest,
  type OrderSummary,
  type Query,
  type RankedValues,
  rankedChunk,
  readOrder,
  readsOfOrder,
  settleOrder,
  surveyOrder,
} from "./order-statistics.ts";
import { baseOf, floatDtype, onlyModel, scopeParameter } from "./parameters.ts";
import type { RangeContext } from "./range.ts";

/** Least importance that is taken over, f32. */
interface Verdict {
  readonly bound: PlainNumber;
}

/** In the order in which they are asked for. */
const QUANTILES = [0.25, 0.5, 0.75];

/**
 * Arcee Fusion: of one model's changes those that matter, by magnitude and by how far they move their row's distribution.
 * Paper: none; the method is mergekit's. docs/spec/methods.md, "Selection and fusion".
 * Survey: exact quartiles of the importance (order-statistics.ts). The divergences of rows are made once for a range and kept, one f32
 * a row; ranges of a cut tensor make theirs in every round.
 */
export const arceeFusion = defineMethod<OrderRequest, OrderSummary, Verdict>({
  name: "arcee_fusion",
  title: "Arcee Fusion: take over the changes that matter most",
  documentation:
    "Rates each element's change by its magnitude times the divergence between the softmax of its row in the model and in the base, and takes over the changes whose rating stands out (above the median by 1.5 times the distance between the quartiles). For one model and a base. A 1-D tensor is one row.",
  formula:
    "p = softmax(x_row) + 1e-8, q = softmax(b_row) + 1e-8, KL = Σ p ln(p/q);  I = |d| · KL;  out = b + (d where I ≥ median(I) + 1.5 (q₃(I) − q₁(I)), else 0)",
  deviations: [
    "Quartiles are exact; mergekit samples 10^6 elements of larger tensors at random.",
    "Divergences are float64 and rounded once; in mergekit's float32 they lose about three digits to cancellation. What rounding makes negative counts as 0.",
    "A row must fit a worker's memory (24 bytes an element).",
  ],
  base: "apart",
  appendsBase: true,
  needsBase: true,
  models: { min: 1, max: 1 },
  shapeMismatch: "fail",
  prunes: false,
  elementsMax: Number.POSITIVE_INFINITY,
  parameters: scopeParameter,
  refused: {},
  begin: (task) => ({ request: { queries: queriesOf(task) } }),
  survey: async (context, request) => {
    const divergences = await divergencesOf(context);
    return surveyOrder(context, request, importances(context, divergences));
  },
  readSummary: (_task, request, summary, range) => readOrder(summary, request, range),
  fold: foldOrder,
  *settle(_task, request, whole) {
    const step = yield* settleOrder(request, whole);
    if ("request" in step) return step;
    const [q1 = 0, median = 0, q3 = 0] = step.statistics.map(({ bits }) => f32FromBits(bits));
    return { verdict: { bound: plainNumber(f32AtLeast(median + 1.5 * (q3 - q1))) } };
  },
  async merge(context, { bound }) {
    const { task } = context;
    const divergences = await divergencesOf(context);
    for (const chunk of context.chunks("pieces")) {
      const base = await context.readF32(baseOf(task), chunk, "base");
      const { d, importance } = await importanceOf(context, chunk, base, divergences);
      context.arena.kernels.addAtLeast(d, base, d, importance, Number(bound), chunk.elementCount);
      await context.emit(chunk, d);
    }
  },
  reads(task, cutting) {
    const order = readsOfOrder(task, cutting, 1);
    const ranges = rangesOf(cutting, order.rounds);
    // Divergences are made anew in each range: of its own rows, or of the one that there is.
    const divergences = cutting.parts === 1 ? 1 : isOneRow(task) ? ranges : order.rounds + 1;
    const others = divergences + 1;
    // Where inputs are kept, samples find what divergences were made of.
    return { base: order.base + others, models: order.models + others, shared: order.shared + others, ranges };
  },
});

/** The quantile q is the element at trunc(q (E - 1)) of all in order. */
function queriesOf(task: TensorTask): Query[] {
  const { elementCount } = geometryOfTask(task);
  return QUANTILES.map((share) => ({ model: 0, position: Math.trunc(share * (elementCount - 1)) }));
}

function f32FromBits(bits: number): number {
  return new Float32Array(Uint32Array.of(bits).buffer)[0] ?? 0;
}

/** The smallest f32 that is not below the value: f32 numbers compare with it as with the value itself. value: not negative, or NaN. */
export function f32AtLeast(value: number): number {
  const rounded = Math.fround(value);
  if (!(rounded < value)) return rounded;
  const [bits = 0] = new Uint32Array(Float32Array.of(rounded).buffer);
  return f32FromBits(bits + 1);
}

function importances(context: RangeContext, divergences: Address): RankedValues {
  const ranked = async (chunk: Chunk) => {
    const base = await context.readF32(baseOf(context.task), chunk, "base");
    const { importance } = await importanceOf(context, chunk, base, divergences);
    // Infinite ones would be ranked as equals.
    context.checkMade(importance, chunk, "the importance of the delta");
    return rankedChunk(context, chunk, async () => importance);
  };
  return { of: ranked, sources: () => sourcesOf(context.task) };
}

async function importanceOf(
  context: RangeContext,
  chunk: Chunk,
  base: Address,
  divergences: Address,
): Promise<{ readonly d: Address; readonly importance: Address }> {
  const { kernels } = context.arena;
  const { rowLength } = context;
  const model = onlyModel(context.task);
  const [d, importance] = [context.f32("delta"), context.f32("importance")];
  kernels.delta(d, await context.read(model, chunk), floatDtype(model), base, chunk.elementCount);
  const element = isOneRow(context.task) ? chunk.firstElement : chunk.firstElement - context.firstElement;
  const factors = divergences + 4 * Math.floor(element / rowLength);
  kernels.importance(importance, d, factors, element % rowLength, rowLength, chunk.elementCount);
  return { d, importance };
}

function isOneRow(task: TensorTask): boolean {
  return task.shape.length <= 1;
}

/** f32 of each row of the range; of a 1-D tensor the one there is. Made once for a range. */
async function divergencesOf(context: RangeContext): Promise<Address> {
  const known = context.kept.get("divergences");
  if (known !== undefined) return known;
  const { rowLength, task } = context;
  const { kernels } = context.arena;
  const scratch = context.buffer("divergence-scratch", 16 * rowLength);
  let divergences: Address;
  if (isOneRow(task)) {
    divergences = context.buffer("divergences", 4);
    const x = await readRow(context, onlyModel(task), "row");
    const base = await readRow(context, baseOf(task), "row-base");
    kernels.divergenceRows(divergences, x, base, scratch, 1, rowLength);
  } else {
    divergences = context.buffer("divergences", (4 * context.elementCount) / rowLength);
    for (const chunk of context.chunks("blocks")) {
      const base = await context.readF32(baseOf(task), chunk, "base");
      const x = await context.readF32(onlyModel(task), chunk, "delta");
      const rows = divergences + (4 * (chunk.firstElement - context.firstElement)) / rowLength;
      kernels.divergenceRows(rows, x, base, scratch, chunk.elementCount / rowLength, rowLength);
    }
  }
  context.kept.set("divergences", divergences);
  return divergences;
}

/** A row that is the whole tensor, widened, whichever range of it this is. */
async function readRow(context: RangeContext, source: TensorSource, name: string): Promise<Address> {
  const { rowLength, chunkCapacity } = context;
  const row = context.buffer(name, rowLength * 4);
  for (let firstElement = 0; firstElement < rowLength; firstElement += chunkCapacity) {
    const elementCount = Math.min(chunkCapacity, rowLength - firstElement);
    const chunk = { firstElement, elementCount, startsBlock: false, endsBlock: false };
    const bytes = await context.read(source, chunk);
    context.arena.kernels.widen(row + 4 * firstElement, bytes, floatDtype(source), elementCount);
  }
  return row;
}
