import { type Address, EVERYTHING, put } from "../engines/index.ts";
import { geometryOfTask, sourcesOf, type TensorTask } from "../work/index.ts";
import { BlockSummer, type BlockSums, foldBlockSums, totals } from "./block-sums.ts";
import type { Chunk } from "./chunks.ts";
import { type PlainNumber, plainNumber } from "./combination.ts";
import { defineMethod, rangesOf } from "./definition.ts";
import { type Band, bandFrom } from "./masks.ts";
import {
  foldOrder,
  type OrderRequest,
  type OrderSummary,
  type RankedValues,
  rankedChunk,
  readOrder,
  readsOfOrder,
  settleOrder,
  surveyOrder,
} from "./order-statistics.ts";
import { baseOf, floatDtype, number, scopeParameter, sumParameters } from "./parameters.ts";
import type { RangeContext } from "./range.ts";
import { fieldsOf, readBlockSums } from "./summary-forms.ts";

/** Which elements stay: by their variance among the models, all of them, or none. */
type Mask = Band | "all" | "none";

/** First the variance from which elements are kept, then how much of each delta that is. */
type Request = { readonly ask: "order"; readonly order: OrderRequest } | { readonly ask: "sizes"; readonly mask: Mask };
type Summary = { readonly order: OrderSummary } | { readonly sizes: BlockSums };

interface Verdict {
  readonly mask: Mask;
  /** Of each model, summing to 1. */
  readonly weights: readonly PlainNumber[];
}

/** docs/spec/methods.md: below this the mean squares of all models say nothing, and nor does a sum of weights divide. */
const NEXT_TO_NOTHING = 1e-6;

/**
 * SCE: select elements by their variance among the models, weigh models by their deltas' energy, elect signs.
 * Paper: Wan et al. 2024, arXiv:2408.07990 (FuseChat). docs/spec/methods.md, "Selection and fusion".
 * Survey: the exact threshold of the variances (order-statistics.ts), then the sums of masked squares, float64. The variance of an
 * element streams (Welford): memory does not grow with the number of models.
 */
export const sce = defineMethod<Request, Summary, Verdict>({
  name: "sce",
  title: "SCE: select by variance, calculate weights, erase minority signs",
  paper: "arXiv:2408.07990",
  documentation:
    "Keeps the elements in which the models differ most, weighs each model by the mean square of what its delta keeps, elects for each element the sign of the sum of the deltas and takes the weighted mean of those that agree. Wan et al. 2024.",
  formula:
    "S = Σ (dᵢ − mean)²; keep the ⌊select_topk · #(S ≠ 0)⌋ elements of largest S;  Wᵢ ∝ mean of kept dᵢ², Σ Wᵢ = 1;  out = b + Σ_agreeing Wᵢ dᵢ / max(Σ_agreeing Wᵢ, 1e-6)",
  deviations: [
    "Variances are ranked as float32 sums made in the order of the recipe (Welford), of equals the lower index first; mergekit leaves equal ones to an unstable topk.",
    "Where select_topk keeps no element (a single model, or equal ones), the tensor is left at the base, with a warning.",
  ],
  base: "apart",
  appendsBase: true,
  needsBase: true,
  models: { min: 1, max: Number.POSITIVE_INFINITY },
  shapeMismatch: "fail",
  prunes: false,
  elementsMax: Number.POSITIVE_INFINITY,
  parameters: {
    select_topk: {
      scope: "global",
      type: "number",
      default: 1,
      range: { min: 0, max: 1 },
      documentation: "Share of the elements that differ among the models which is kept; 1 keeps every element.",
    },
    ...(sumParameters.int8_mask && { int8_mask: sumParameters.int8_mask }),
    ...scopeParameter,
  },
  refused: {},
  begin(task) {
    const shareOfNonzero = number(task.parameters, "select_topk");
    if (shareOfNonzero >= 1) return { request: { ask: "sizes", mask: "all" } };
    return { request: { ask: "order", order: { queries: [{ model: 0, position: { shareOfNonzero } }] } } };
  },
  survey: async (context, request) =>
    request.ask === "order"
      ? { order: await surveyOrder(context, request.order, spreads(context)) }
      : { sizes: await surveySizes(context, request.mask) },
  *readSummary(task, request, summary, range) {
    const { order = null, sizes = null } = fieldsOf(summary, "summary");
    if (request.ask === "order") return { order: yield* readOrder(order, request.order, range) };
    return { sizes: readBlockSums(sizes, range, task.models.length) };
  },
  *fold(left, right) {
    if ("order" in left && "order" in right) return { order: yield* foldOrder(left.order, right.order) };
    if ("sizes" in left && "sizes" in right) return { sizes: yield* foldBlockSums(left.sizes, right.sizes) };
    throw new Error("summaries of different rounds cannot be folded");
  },
  *settle(task, request, whole) {
    if (request.ask === "order" && "order" in whole) {
      const step = yield* settleOrder(request.order, whole.order);
      if ("request" in step) return { request: { ask: "order", order: step.request } };
      const [lowest] = step.statistics;
      if (lowest === undefined) throw new Error("sce asks for one statistic");
      const { elementCount } = geometryOfTask(task);
      if (lowest.position < elementCount) {
        const kept = { kind: "band", from: lowest.position, to: elementCount, ties: "first" } as const;
        return { request: { ask: "sizes", mask: bandFrom(kept, lowest, undefined) } };
      }
      return {
        verdict: { mask: "none", weights: task.models.map(() => 1 / task.models.length) },
        warnings: [`${task.name}: select_topk keeps none of its elements; left at the base`],
      };
    }
    if (request.ask === "sizes" && "sizes" in whole)
      return { verdict: { mask: request.mask, weights: weightsOf(task, totals(whole.sizes)).map(plainNumber) } };
    throw new Error("a summary of another round was settled");
  },
  merge,
  reads(task, cutting) {
    if (number(task.parameters, "select_topk") >= 1) return { base: 2, models: 2, ranges: rangesOf(cutting, 1) };
    const order = readsOfOrder(task, cutting, 1);
    // Variances are made for the sizes once more; for the merge their mask is kept, unless that is another range.
    const merge = cutting.parts === 1 ? 1 : 2;
    return {
      base: order.base + 2,
      models: order.models + 2 + merge,
      shared: order.shared + 2,
      ranges: rangesOf(cutting, order.rounds + 1),
      samples: order.samples,
    };
  },
});

/** From the sums of the models' masked squares. */
function weightsOf(task: TensorTask, squares: readonly number[]): number[] {
  const { elementCount } = geometryOfTask(task);
  const means = squares.map((square) => square / elementCount);
  const total = means.reduce((sum, mean) => sum + mean, 0);
  return means.map((mean) => (total < NEXT_TO_NOTHING ? 1 / means.length : mean / total));
}

/** The sum of squared distances from the mean delta, per element: the same for every "model". */
function spreads(context: RangeContext): RankedValues {
  const { task } = context;
  const ranked = async (chunk: Chunk) => {
    const base = await context.readF32(baseOf(task), chunk, "base");
    const spread = await spreadOf(context, chunk, base);
    // Infinite ones would be ranked as equals.
    context.checkMade(spread, chunk, "the variance of the models");
    return rankedChunk(context, chunk, async () => spread);
  };
  return { of: ranked, sources: () => sourcesOf(task) };
}

async function spreadOf(context: RangeContext, chunk: Chunk, base: Address): Promise<Address> {
  const { kernels } = context.arena;
  const [mean, spread] = [context.f32("mean"), context.f32("spread")];
  for (const address of [mean, spread]) kernels.zero(address, chunk.elementCount * 4);
  for (const [i, model] of context.task.models.entries()) {
    const x = await context.read(model, chunk);
    kernels.addToVariance(mean, spread, x, floatDtype(model), base, i + 1, chunk.elementCount);
  }
  return spread;
}

/** A column per model: the sum of its masked squares. */
async function surveySizes(context: RangeContext, mask: Mask): Promise<BlockSums> {
  const { task, arena } = context;
  const { kernels } = arena;
  const masks = new SpreadMask(context, mask, "make");
  const sums = new BlockSummer(context, task.models.length, "sizes");
  for (const chunk of context.chunks("pieces")) {
    const n = chunk.elementCount;
    const base = await context.readF32(baseOf(task), chunk, "base");
    const bits = await masks.of(chunk, base);
    for (const [i, model] of task.models.entries()) {
      const x = await context.read(model, chunk);
      kernels.deltaSquares(sums.lanes(i, chunk), x, floatDtype(model), base, bits, context.blockElements, n);
    }
    sums.endChunk(chunk);
  }
  return sums.finish();
}

async function merge(context: RangeContext, { mask, weights }: Verdict): Promise<void> {
  const { task } = context;
  const { kernels } = context.arena;
  const masks = new SpreadMask(context, mask, "use");
  const accumulators = [
    context.f32("positive"),
    context.f32("negative"),
    context.f32("positive-terms"),
    context.f32("negative-terms"),
    context.f32("positive-weight"),
    context.f32("negative-weight"),
  ] as const;
  const [positive] = accumulators;
  for (const chunk of context.chunks("pieces")) {
    const n = chunk.elementCount;
    const base = await context.readF32(baseOf(task), chunk, "base");
    for (const address of accumulators) kernels.zero(address, n * 4);
    if (mask !== "none") {
      const bits = await masks.of(chunk, base);
      for (const [i, model] of task.models.entries()) {
        const x = await context.read(model, chunk);
        kernels.electWeighed(...accumulators, x, floatDtype(model), base, bits, Number(weights[i] ?? 0), n);
      }
    }
    kernels.finishWeighed(positive, base, ...accumulators, NEXT_TO_NOTHING, n);
    await context.emit(chunk, positive);
  }
}

/**
 * Mask bits chunk after chunk, in order. They cost a pass over all models: where there is memory to spare, those made for the sizes are
 * kept for the merge.
 */
class SpreadMask {
  readonly #context: RangeContext;
  readonly #mask: Mask;
  readonly #bits: Address;
  readonly #ties: Address;
  /** Where the bits of the whole range are kept. */
  readonly #room: Address | undefined;
  readonly #isMade: boolean;
  #atByte = 0;

  constructor(context: RangeContext, mask: Mask, purpose: "make" | "use") {
    this.#context = context;
    this.#mask = mask;
    this.#bits = context.buffer("mask", Math.ceil(context.chunkCapacity / 8) + 8);
    this.#ties = context.buffer("ties", 8);
    const known = context.kept.get("spread-mask");
    this.#isMade = known !== undefined && purpose === "use";
    this.#room = known ?? (purpose === "make" && typeof mask !== "string" ? this.#makeRoom() : undefined);
    if (typeof mask === "string") return;
    const [atLo = 0, atHi = 0] = mask.tiesBefore[context.part] ?? [];
    put(context.arena, this.#ties, Uint32Array.of(atLo, atHi));
  }

  async of(chunk: Chunk, base: Address): Promise<Address> {
    if (typeof this.#mask === "string") return EVERYTHING;
    const bits = this.#room === undefined ? this.#bits : this.#room + this.#atByte;
    this.#atByte += Math.ceil(chunk.elementCount / 8);
    if (this.#isMade) return bits;
    const spread = await spreadOf(this.#context, chunk, base);
    const { lo, loFrom, loTo, hi, hiFrom, hiTo } = this.#mask;
    const { kernels } = this.#context.arena;
    kernels.maskBand(bits, this.#ties, spread, lo, loFrom, loTo, hi, hiFrom, hiTo, chunk.elementCount);
    return bits;
  }

  /** A byte more for each chunk that ends inside one: chunks are far longer than 1024 elements, unless the tensor is shorter. */
  #makeRoom(): Address | undefined {
    const { elementCount, spareBytes, kept } = this.#context;
    const bytes = Math.ceil(elementCount / 8) + Math.ceil(elementCount / 1024) + 64;
    if (bytes > spareBytes) return undefined;
    const address = this.#context.buffer("spread-mask", bytes);
    kept.set("spread-mask", address);
    return address;
  }
}
