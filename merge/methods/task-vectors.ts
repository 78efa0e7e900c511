import { dtypeBytes, type FloatDtype } from "../../checkpoint/index.ts";
import { type Address, EVERYTHING, put, type RandomStream, type SumKind } from "../engines/index.ts";
import { fnv1a64, randomThreshold, rankedThresholds } from "../math/index.ts";
import {
  elementsBefore,
  geometryOfTask,
  type ModelSource,
  type PlainData,
  type Step,
  type TensorTask,
} from "../work/index.ts";
import { BlockSummer, type BlockSums, foldBlockSums, totals } from "./block-sums.ts";
import type { Chunk } from "./chunks.ts";
import { type Cutting, type Reads, rangesOf } from "./definition.ts";
import { divisorOf } from "./linear.ts";
import { type Band, bandQueries, bandsFrom, type MaskPlan, TO_THE_END } from "./masks.ts";
import {
  foldOrder,
  type OrderRequest,
  type OrderSummary,
  readOrder,
  readsOfOrder,
  settleOrder,
  surveyOrder,
} from "./order-statistics.ts";
import { baseOf, flag, floatDtype, number } from "./parameters.ts";
import type { RangeContext } from "./range.ts";
import type { Steps } from "./steps.ts";
import { fieldsOf, readBlockSums, type SurveyedRange } from "./summary-forms.ts";

/** The pipeline of all sparsified task vectors; docs/spec/methods.md, "Sparsified task vectors". */

export type Consensus = "sign" | "none";
type RescaleMode = SumKind | "inverse_keep";

/** First the ends of the bands, then how much of each delta its mask keeps. */
export type TaskVectorRequest =
  | { readonly ask: "order"; readonly plans: readonly MaskPlan[]; readonly order: OrderRequest }
  | { readonly ask: "sizes"; readonly masks: Masks };
export type TaskVectorSummary = { readonly order: OrderSummary } | { readonly sizes: BlockSums };

interface Masks {
  readonly plans: readonly MaskPlan[];
  /** Per model; null where the mask is no band. */
  readonly bands: readonly (Band | null)[];
}

export interface TaskVectorVerdict {
  readonly masks: Masks;
  /** What each masked delta is multiplied by, one per model (float64). In DELLA with inverse_keep it is per rank: 1 here. */
  readonly scales: readonly number[];
}

type TaskVectorStep = Step<TaskVectorRequest, TaskVectorVerdict>;

export function beginTaskVectors(task: TensorTask, plans: readonly MaskPlan[]): TaskVectorStep {
  const { elementCount } = geometryOfTask(task);
  const queries = bandQueries(plans, elementCount);
  if (queries.length > 0) return { request: { ask: "order", plans, order: { queries } } };
  return afterBands(task, { plans, bands: bandsFrom(plans, elementCount, [], []) });
}

export async function surveyTaskVectors(context: RangeContext, request: TaskVectorRequest): Promise<TaskVectorSummary> {
  if (request.ask === "order") return { order: await surveyOrder(context, request.order) };
  return { sizes: await surveySizes(context, request.masks) };
}

export function* readTaskVectors(
  task: TensorTask,
  request: TaskVectorRequest,
  summary: PlainData,
  range: SurveyedRange,
): Steps<TaskVectorSummary> {
  const { order = null, sizes = null } = fieldsOf(summary, "summary of task vectors");
  if (request.ask === "order") return { order: yield* readOrder(order, request.order, range) };
  const columns = 2 * request.masks.plans.length;
  return { sizes: readBlockSums(sizes, range, columns, rescaleMode(task) === "linf" ? "maxima" : undefined) };
}

export function* foldTaskVectors(left: TaskVectorSummary, right: TaskVectorSummary): Steps<TaskVectorSummary> {
  if ("order" in left && "order" in right) return { order: yield* foldOrder(left.order, right.order) };
  if ("sizes" in left && "sizes" in right) return { sizes: yield* foldBlockSums(left.sizes, right.sizes) };
  throw new Error("summaries of different rounds cannot be folded");
}

export function* settleTaskVectors(
  task: TensorTask,
  request: TaskVectorRequest,
  whole: TaskVectorSummary,
): Steps<TaskVectorStep> {
  if (request.ask === "order" && "order" in whole) {
    const step = yield* settleOrder(request.order, whole.order);
    if ("request" in step) return { request: { ...request, order: step.request } };
    const { elementCount } = geometryOfTask(task);
    return afterBands(task, {
      plans: request.plans,
      bands: bandsFrom(request.plans, elementCount, request.order.queries, step.statistics),
    });
  }
  if (request.ask === "sizes" && "sizes" in whole) {
    const sizes = sizeTotals(rescaleMode(task), whole.sizes);
    return verdict(
      task,
      request.masks,
      request.masks.plans.map((_, i) => scaleOf(sizes[2 * i] ?? 0, sizes[2 * i + 1] ?? 0)),
    );
  }
  throw new Error("a summary of another round was settled");
}

/** The masks are known; are sizes needed too? */
function afterBands(task: TensorTask, masks: Masks): TaskVectorStep {
  const mode = rescaleMode(task);
  if (mode === undefined)
    return verdict(
      task,
      masks,
      masks.plans.map(() => 1),
    );
  if (mode === "inverse_keep")
    return verdict(
      task,
      masks,
      masks.plans.map((plan) => (plan.kind === "random" ? 1 / plan.density : 1)),
    );
  if (!masks.plans.some(isMasked))
    return verdict(
      task,
      masks,
      masks.plans.map(() => 1),
    );
  return { request: { ask: "sizes", masks } };
}

function verdict(task: TensorTask, masks: Masks, scales: readonly number[]): TaskVectorStep {
  // A density of 0 that the recipe writes was told, once.
  const isWritten = (i: number) => task.models[i]?.parameters.density === 0;
  const dropped = masks.plans.flatMap((plan, i) => (plan.kind === "none" && !isWritten(i) ? [i] : []));
  const warnings = dropped.map(
    (i) => `${task.name}: the mask of model ${i + 1} keeps none of its elements; its delta is dropped`,
  );
  return { verdict: { masks, scales }, ...(warnings.length > 0 ? { warnings } : {}) };
}

/** docs/spec/methods.md, "rescale": before / after, unless either is next to nothing. */
function scaleOf(before: number, after: number): number {
  return before < 1e-7 || after < 1e-7 ? 1 : before / after;
}

/** Norms before and after for each model, from their block sums. */
function sizeTotals(mode: RescaleMode | undefined, sums: BlockSums): number[] {
  return totals(sums).map((total) => (mode === "l2" ? Math.sqrt(total) : total));
}

function rescaleMode(task: TensorTask): RescaleMode | undefined {
  if (!flag(task.parameters, "rescale")) return undefined;
  const mode = task.parameters.rescale_mode;
  return mode === "l2" || mode === "linf" || mode === "inverse_keep" ? mode : "l1";
}

/** Whether the mask takes anything away, so that it must be made and rescaled for. */
function isMasked(plan: MaskPlan): boolean {
  return plan.kind === "band" || plan.kind === "random" || plan.kind === "ranked";
}

/** Σ|d| (or the like) of each masked model before and after its mask: columns [all, kept] per model. */
async function surveySizes(context: RangeContext, masks: Masks): Promise<BlockSums> {
  const { kernels } = context.arena;
  const mode = rescaleMode(context.task);
  const kind: SumKind = mode === "l2" || mode === "linf" ? mode : "l1";
  const sums = new BlockSummer(context, masks.plans.length * 2, "sizes", kind === "linf" ? "maxima" : "sums");
  const maskers = maskersOf(context, masks, "make");
  for (const chunk of context.chunks(chunkSize(masks))) {
    const base = await context.readF32(baseOf(context.task), chunk, "base");
    for (const [i, masker] of maskers.entries()) {
      if (masker === undefined || !isMasked(masker.plan)) continue;
      const d = await deltaOf(context, masker.model, chunk, base);
      const mask = await masker.mask(() => d, chunk);
      const [all, kept] = [sums.lanes(2 * i, chunk), sums.lanes(2 * i + 1, chunk)];
      kernels.magnitudes(all, kept, d, mask, kind, context.blockElements, chunk.elementCount);
    }
    sums.endChunk(chunk);
  }
  return sums.finish();
}

export async function mergeTaskVectors(
  context: RangeContext,
  { masks, scales }: TaskVectorVerdict,
  consensus: Consensus,
): Promise<void> {
  const { kernels } = context.arena;
  const { task } = context;
  const normalize = flag(task.parameters, "normalize");
  const lambda = number(task.parameters, "lambda");
  const divisor = normalize && consensus === "none" ? divisorOf(task.models) : 1;
  const maskers = maskersOf(context, masks, "use");
  const into: Accumulators = {
    positive: context.f32("positive"),
    negative: consensus === "sign" ? context.f32("negative") : 0,
    positiveWeight: consensus === "sign" && normalize ? context.f32("positive-weight") : 0,
    negativeWeight: consensus === "sign" && normalize ? context.f32("negative-weight") : 0,
  };
  const { positive, negative, positiveWeight, negativeWeight } = into;
  const accumulators = Object.values(into).filter((address) => address !== 0);
  const groups = groupsOf(context, masks, scales, maskers);

  for (const chunk of context.chunks(chunkSize(masks))) {
    const n = chunk.elementCount;
    const base = await context.readF32(baseOf(task), chunk, "base");
    for (const address of accumulators) kernels.zero(address, n * 4);
    for (const add of groups) await add(chunk, base, into);
    if (consensus === "none") kernels.finishDelta(positive, base, positive, divisor, lambda, n);
    else kernels.finishElection(positive, base, positive, negative, positiveWeight, negativeWeight, lambda, n);
    await context.emit(chunk, positive);
  }
}

/** f32 of a chunk; 0: not kept. Without `negative` everything is added to `positive`. */
interface Accumulators {
  readonly positive: Address;
  readonly negative: Address;
  readonly positiveWeight: Address;
  readonly negativeWeight: Address;
}

/** Adds the masked deltas of some models to the accumulators. */
type AddGroup = (chunk: Chunk, base: Address, into: Accumulators) => Promise<void>;

/** Models whose deltas are added up in one pass. */
const GROUP_MODELS = 8;
/** Of which the bytes of a chunk take no more than this. */
const GROUP_BYTES = 4 * 1024 * 1024;
/** Of one model in the table of combineBands. */
const BAND_BYTES = 32;

type MadeMasker = Masker & { readonly i: number };

/** Neighbouring models of one dtype, with masks of one kind, go together; those whose ranks are scaled go by themselves. */
function groupsOf(
  context: RangeContext,
  masks: Masks,
  scales: readonly number[],
  maskers: readonly (Masker | undefined)[],
): AddGroup[] {
  const groups: MadeMasker[][] = [];
  for (const [i, masker] of maskers.entries()) {
    if (masker === undefined) continue;
    const last = groups.at(-1);
    const [first] = last ?? [];
    const most = Math.floor(GROUP_BYTES / (context.chunkCapacity * dtypeBytes[masker.model.dtype]));
    const goesOn =
      first !== undefined &&
      last?.at(-1)?.i === i - 1 &&
      last.length < Math.min(GROUP_MODELS, most) &&
      first.model.dtype === masker.model.dtype &&
      first.together === masker.together;
    if (goesOn) last?.push({ ...masker, i });
    else groups.push([{ ...masker, i }]);
  }
  return groups.map((models, k) => {
    const factors = models.map(({ model, i }) => {
      const weight = number(model.parameters, "weight");
      return [weight * (scales[i] ?? 1), weight] as const;
    });
    const [first] = models;
    if (first?.together === "bands") return addBands(context, masks, models, factors, k);
    return first?.together === "bits" ? addMasked(context, models, factors, k) : addScaled(context, models);
  });
}

type Factors = readonly (readonly [c: number, w: number])[];

function addBands(
  context: RangeContext,
  masks: Masks,
  models: readonly MadeMasker[],
  factors: Factors,
  group: number,
): AddGroup {
  const { kernels } = context.arena;
  const bands = context.buffer(`bands/${group}`, models.length * BAND_BYTES);
  const ties = context.buffer(`band-ties/${group}`, models.length * 8);
  const words = models.flatMap(({ i }, k) => {
    const { lo, loFrom, loTo, hi, hiFrom, hiTo } = masks.bands[i] ?? EVERY_ELEMENT;
    return [lo, loFrom, loTo, hi, hiFrom, hiTo, ...new Uint32Array(Float32Array.from(factors[k] ?? []).buffer)];
  });
  put(context.arena, bands, Uint32Array.from(words));
  put(context.arena, ties, Uint32Array.from(models.flatMap(({ i }) => tiesBefore(context, masks.bands[i]))));
  const [dtype, sources] = sourcesOf(models);
  return async (chunk, base, { positive, negative, positiveWeight, negativeWeight }) => {
    const { address, strideBytes } = await context.readMany(sources, chunk);
    kernels.combineBands(
      ...([positive, negative, positiveWeight, negativeWeight, address, strideBytes] as const),
      ...([dtype, base, bands, ties, models.length, chunk.elementCount] as const),
    );
  };
}

/** The band that keeps everything. */
const EVERY_ELEMENT: Band = {
  lo: 0,
  loFrom: 0,
  loTo: TO_THE_END,
  hi: TO_THE_END,
  hiFrom: 0,
  hiTo: TO_THE_END,
  tiesBefore: [],
};

function tiesBefore({ part }: RangeContext, band: Band | null | undefined): readonly [number, number] {
  return band?.tiesBefore[part] ?? [0, 0];
}

function sourcesOf(models: readonly MadeMasker[]): readonly [FloatDtype, readonly ModelSource[]] {
  const [first] = models;
  if (first === undefined) throw new Error("a group of no models");
  return [floatDtype(first.model), models.map(({ model }) => model)];
}

function addMasked(context: RangeContext, models: readonly MadeMasker[], factors: Factors, group: number): AddGroup {
  const { kernels } = context.arena;
  const table = context.buffer(`factors/${group}`, models.length * 8);
  put(context.arena, table, Float32Array.from(factors.flat()));
  const maskBytes = Math.ceil(context.chunkCapacity / 8) + 64;
  const bits = context.buffer("masks", models.length * maskBytes);
  const [dtype, sources] = sourcesOf(models);
  return async (chunk, base, { positive, negative, positiveWeight, negativeWeight }) => {
    const { address, strideBytes } = await context.readMany(sources, chunk);
    for (const [k, masker] of models.entries()) {
      const d = () => {
        const values = context.f32("delta");
        kernels.delta(values, address + k * strideBytes, dtype, base, chunk.elementCount);
        return values;
      };
      const found = await masker.mask(d, chunk);
      kernels.copy(bits + k * maskBytes, found, Math.ceil(chunk.elementCount / 8));
    }
    kernels.combineMasked(
      ...([positive, negative, positiveWeight, negativeWeight, address, strideBytes] as const),
      ...([dtype, base, bits, maskBytes, table, models.length, chunk.elementCount] as const),
    );
  };
}

/** One after another: DELLA with inverse_keep, where each element has a factor of its own. */
function addScaled(context: RangeContext, models: readonly MadeMasker[]): AddGroup {
  const { kernels } = context.arena;
  return async (chunk, base, { positive, negative, positiveWeight, negativeWeight }) => {
    const n = chunk.elementCount;
    for (const masker of models) {
      const d = await deltaOf(context, masker.model, chunk, base);
      const mask = await masker.mask(() => d, chunk);
      if (masker.scaleRanks === undefined) throw new Error("a model whose ranks are not scaled goes with others");
      const scaled = await masker.scaleRanks(d, chunk);
      const weight = number(masker.model.parameters, "weight");
      if (negative === 0) kernels.accumulateMasked(positive, scaled, mask, 1, n);
      else kernels.elect(positive, negative, positiveWeight, negativeWeight, scaled, mask, 1, weight, n);
    }
  };
}

export function readsOfTaskVectors(task: TensorTask, plans: readonly MaskPlan[], cutting: Cutting): Reads {
  const { elementCount, blockElements, rowLength } = geometryOfTask(task);
  const banded = new Set(bandQueries(plans, elementCount).map((query) => query.model));
  const order = readsOfOrder(task, cutting, banded.size);
  const mode = rescaleMode(task);
  const hasSizes = mode !== undefined && mode !== "inverse_keep" && plans.some(isMasked);
  const ranges = rangesOf(cutting, order.rounds + (hasSizes ? 1 : 0));
  // A row that has many blocks is ranked whole, once a range; for inverse_keep it is read again for each block.
  const ofRow = rowLength > blockElements;
  const rowRanges = cutting.parts === 1 ? 1 : (hasSizes ? cutting.ranges : 0) + cutting.parts;
  const rows = rowRanges + (mode === "inverse_keep" ? Math.ceil(elementCount / blockElements) : 0);
  const ranked = ofRow ? plans.filter(({ kind }) => kind === "ranked").length : 0;
  return {
    base: order.base + (hasSizes ? 1 : 0) + 1 + ranked * rows,
    models: plans.map((plan, i) => {
      const surveyed = (banded.has(i) ? order.models : 0) + (hasSizes && isMasked(plan) ? 1 : 0);
      return surveyed + (plan.kind === "none" ? 0 : 1) + (ofRow && plan.kind === "ranked" ? rows : 0);
    }),
    shared: order.shared + (hasSizes ? 1 : 0) + 1 + ranked * rows,
    samples: order.samples,
    ranges,
  };
}

/** Ranks need whole rows, and so whole blocks. */
function chunkSize({ plans }: Masks): "blocks" | "pieces" {
  return plans.some((plan) => plan.kind === "ranked") ? "blocks" : "pieces";
}

async function deltaOf(context: RangeContext, model: ModelSource, chunk: Chunk, base: Address): Promise<Address> {
  const d = context.f32("delta");
  context.arena.kernels.delta(d, await context.read(model, chunk), floatDtype(model), base, chunk.elementCount);
  return d;
}

/** Makes the mask bits of one model, chunk after chunk in order. */
interface Masker {
  readonly plan: MaskPlan;
  readonly model: ModelSource;
  /** Which of them are added up in one pass where they are neighbours: those with bands, or everything, and those with bits. */
  readonly together?: "bands" | "bits";
  /** The bits for this chunk; EVERYTHING where nothing is masked. `d`: asked for where it is needed. */
  mask(d: () => Address, chunk: Chunk): Promise<Address>;
  /** DELLA with inverse_keep: where d times weight / keep probability is; d itself may be overwritten. */
  readonly scaleRanks?: (d: Address, chunk: Chunk) => Promise<Address>;
}

/**
 * A masker per model, undefined where the mask keeps nothing. Random masks cost more than they weigh (a bit an element): while memory
 * is spared, those made for the sizes are kept for the merge ("make" fills, "use" finds them).
 */
function maskersOf(context: RangeContext, masks: Masks, purpose: "make" | "use"): (Masker | undefined)[] {
  const { task } = context;
  const scratch = masks.plans.some((plan) => plan.kind === "ranked")
    ? context.buffer("rank-scratch", context.arena.rankScratchBytes(context.rowLength))
    : 0;
  const bits = context.buffer("mask", Math.ceil(context.chunkCapacity / 8) + 8);
  const ties = context.buffer("ties", 8 * Math.max(1, task.models.length));
  const inverseKeep = rescaleMode(task) === "inverse_keep";
  const name = fnv1a64(task.name);
  let spare = context.spareBytes;
  const keepRoom = (i: number): Address | undefined => {
    const key = `mask/${i}`;
    const there = context.kept.get(key);
    if (there !== undefined || purpose === "use") return there;
    // A byte more for each chunk that ends inside one; chunks are far longer than 1024 elements unless the tensor is shorter.
    const bytes = Math.ceil(context.elementCount / 8) + Math.ceil(context.elementCount / 1024) + 64;
    if (bytes > spare) return undefined;
    spare -= bytes;
    const address = context.buffer(key, bytes);
    context.kept.set(key, address);
    return address;
  };

  return task.models.map((model, i) => {
    const plan = masks.plans[i] ?? { kind: "none" };
    if (plan.kind === "none") return undefined;
    if (plan.kind === "all") return { plan, model, together: "bands", mask: async () => EVERYTHING };
    if (plan.kind === "band") {
      const band = masks.bands[i];
      if (band === undefined || band === null) throw new Error(`${task.name}: the band of model ${i} was not settled`);
      return { plan, model, together: "bands", mask: bandMasker(context, band, bits, ties + 8 * i) };
    }
    const stream = {
      seedLow: context.seed.low,
      seedHigh: context.seed.high,
      model: model.index,
      nameLow: name.low,
      nameHigh: name.high,
    };
    const draw =
      plan.kind === "random" ? randomMasker(context, plan, stream) : rankedMasker(context, plan, stream, scratch);
    const ofRow = plan.kind === "ranked" && context.rowLength > context.blockElements;
    const mask = ofRow ? rowKeeper(context, model, i, draw) : keeper(keepRoom(i), purpose, bits, draw);
    if (plan.kind !== "ranked" || !inverseKeep) return { plan, model, together: "bits", mask };
    return { plan, model, mask, scaleRanks: rankScaler(context, plan, model, scratch, i) };
  });
}

function bandMasker(context: RangeContext, band: Band, bits: Address, ties: Address): Masker["mask"] {
  put(context.arena, ties, Uint32Array.from(tiesBefore(context, band)));
  return async (d, chunk) => {
    const { lo, loFrom, loTo, hi, hiFrom, hiTo } = band;
    context.arena.kernels.maskBand(bits, ties, d(), lo, loFrom, loTo, hi, hiFrom, hiTo, chunk.elementCount);
    return bits;
  };
}

type Draw = (into: Address, d: () => Address, chunk: Chunk) => void;

function randomMasker(context: RangeContext, plan: MaskPlan & { kind: "random" }, stream: RandomStream): Draw {
  const threshold = randomThreshold(plan.density);
  const before = elementsBefore(context.task);
  return (into, _, { firstElement, elementCount }) =>
    context.arena.kernels.maskRandom(into, stream, before + firstElement, threshold, elementCount);
}

function rankedMasker(
  context: RangeContext,
  plan: MaskPlan & { kind: "ranked" },
  stream: RandomStream,
  scratch: Address,
): Draw {
  const { rowLength } = context;
  const name = `thresholds/${plan.density}/${plan.epsilon}`;
  const thresholds = context.buffer(name, Math.max(1, rowLength) * 4);
  put(context.arena, thresholds, rankedThresholds(plan.density, plan.epsilon, rowLength));
  const before = elementsBefore(context.task);
  return (into, d, chunk) => {
    const rows = chunk.elementCount / rowLength;
    const first = before + chunk.firstElement;
    context.arena.kernels.maskRanked(into, d(), thresholds, scratch, stream, first, rows, rowLength);
  };
}

/** Draws each chunk's bits once, if there is room to keep them. Chunks begin at whole bytes of the kept bits, in order. */
function keeper(room: Address | undefined, purpose: "make" | "use", bits: Address, draw: Draw): Masker["mask"] {
  let at = 0;
  return async (d, chunk) => {
    const into = room === undefined ? bits : room + at;
    at += Math.ceil(chunk.elementCount / 8);
    if (room === undefined || purpose === "make") draw(into, d, chunk);
    return into;
  };
}

/**
 * A 1-D tensor is one row, and may have many blocks: what is drawn by rank is drawn for all of it, in whichever range this is, once.
 * Blocks of a row begin at whole bytes of its bits.
 */
function rowKeeper(context: RangeContext, model: ModelSource, i: number, draw: Draw): Masker["mask"] {
  const { rowLength } = context;
  const key = `row-mask/${i}`;
  return async (_d, chunk) => {
    let bits = context.kept.get(key);
    if (bits === undefined) {
      bits = context.buffer(key, Math.ceil(rowLength / 8));
      const row = await deltaOfRow(context, model);
      draw(bits, () => row, { firstElement: 0, elementCount: rowLength, startsBlock: true, endsBlock: true });
      context.kept.set(key, bits);
    }
    return bits + chunk.firstElement / 8;
  };
}

/** The delta of a row that is the whole tensor. */
async function deltaOfRow(context: RangeContext, model: ModelSource): Promise<Address> {
  const { rowLength, chunkCapacity } = context;
  const row = context.buffer("row", rowLength * 4);
  for (let firstElement = 0; firstElement < rowLength; firstElement += chunkCapacity) {
    const elementCount = Math.min(chunkCapacity, rowLength - firstElement);
    const chunk = { firstElement, elementCount, startsBlock: false, endsBlock: false };
    const base = await context.readF32(baseOf(context.task), chunk, "row-base");
    const x = await context.read(model, chunk);
    context.arena.kernels.delta(row + 4 * firstElement, x, floatDtype(model), base, elementCount);
  }
  return row;
}

/** A factor per rank: f32 of weight / p, p as in docs/spec/random.md. */
function rankScaler(
  context: RangeContext,
  plan: MaskPlan & { kind: "ranked" },
  model: ModelSource,
  scratch: Address,
  i: number,
): NonNullable<Masker["scaleRanks"]> {
  const { rowLength, blockElements } = context;
  const { kernels } = context.arena;
  const weight = number(model.parameters, "weight");
  const table = context.buffer(`rank-scale/${i}`, Math.max(1, rowLength) * 4);
  put(
    context.arena,
    table,
    Float32Array.from({ length: rowLength }, (_, rank) => weight * (1 / keepProbability(plan, rank, rowLength))),
  );
  return async (d, chunk) => {
    if (rowLength <= blockElements) {
      kernels.scaleByRank(d, d, table, scratch, chunk.elementCount / rowLength, rowLength);
      return d;
    }
    const row = await deltaOfRow(context, model);
    kernels.scaleByRank(row, row, table, scratch, 1, rowLength);
    return row + 4 * chunk.firstElement;
  };
}

function keepProbability(
  { density, epsilon }: { density: number; epsilon: number },
  rank: number,
  rowLength: number,
): number {
  return rowLength === 1 ? density : density - epsilon + (2 * epsilon * rank) / (rowLength - 1);
}
