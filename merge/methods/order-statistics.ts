import type { Address } from "../engines/index.ts";
import type { TensorTask } from "../work/index.ts";
import { baseOf, floatDtype } from "./parameters.ts";
import type { Chunk, RangeContext } from "./range.ts";

/**
 * Exact order statistics of magnitudes, as u32 bits, of many models over a tensor: of deltas, or of other numbers that a method makes
 * of them.
 *
 * Two roads to one answer. A range that is the whole tensor takes the bracket road: a sample brackets the statistic, one pass counts
 * what lies outside the bracket and collects what lies inside, selection among those is exact. Ranges of a cut tensor, and brackets
 * that missed, take the histogram road: radix digits in two rounds of mergeable histograms.
 */

/** Which element is asked for: `position` in ascending order (0: the smallest) of model `model` of the task. */
export interface Query {
  readonly model: number;
  readonly position: Position;
}

/** A number; or that of the smallest of the trunc(share * n) largest, n being how many are not zero. */
export type Position = number | { readonly shareOfNonzero: number };

/**
 * An exact answer. `position`: which element it is, as a number. `below`: how many are smaller. `ties`: how many equal it in each part
 * of the tensor, in order. A share that comes to no element: a position past the end, bits that no magnitude has.
 */
export interface Statistic {
  readonly position: number;
  readonly bits: number;
  readonly below: number;
  readonly ties: readonly number[];
}

/**
 * What is ranked, chunk by chunk: first what all models share is made ready, then the f32 numbers of one model after another are
 * asked for. They are good until the next are.
 */
export type RankedValues = (chunk: Chunk) => Promise<(model: number) => Promise<Address>>;

/** The deltas of the models. */
export function rankedDeltas(context: RangeContext): RankedValues {
  return async (chunk) => {
    const base = await context.readF32(baseOf(context.task), chunk, "base");
    return async (index) => {
      const model = modelOf(context.task, index);
      const d = context.f32("delta");
      context.engine.kernels.delta(d, await context.read(model, chunk), floatDtype(model), base, chunk.elementCount);
      return d;
    };
  };
}

/** Where the histogram road stands with a query: the answer has the bits [lo, lo + 2^shift * HISTOGRAM_BINS). */
interface Interval {
  readonly lo: number;
  readonly shift: number;
}

/** `intervals` undefined: not begun, any road. Null: nothing is left to be found out. */
export interface OrderRequest {
  readonly queries: readonly Query[];
  readonly intervals?: readonly (Interval | null)[];
}

/** Counts of one range (or several, folded) in the bins of a query's interval; sparse. */
interface Histogram {
  readonly below: number;
  /** Ascending bins that are not empty, and their counts. */
  readonly bins: Uint32Array;
  readonly counts: Float64Array;
  /** Zeros, where they are asked for. */
  readonly zeros: number;
}

const NO_HISTOGRAM: Histogram = { below: 0, bins: new Uint32Array(), counts: new Float64Array(), zeros: 0 };

export type OrderSummary =
  | { readonly road: "bracket"; readonly statistics: readonly Statistic[] }
  | {
      readonly road: "histogram";
      readonly histograms: readonly Histogram[];
      /** In the last round, where a bin is one value: the histogram of each part, so that ties can be told apart. */
      readonly parts: readonly (readonly Histogram[])[];
    };

export type OrderStep = { readonly request: OrderRequest } | { readonly statistics: readonly Statistic[] };

const HISTOGRAM_BINS = 65_536;
const WHOLE: Interval = { lo: 0, shift: 15 };
const NO_LIMIT = 0xffffffff;
/** Elements looked at to bracket a statistic, in runs spread over the tensor. */
const SAMPLE_RUN_ELEMENTS = 1024;
/** One run for so many elements: the larger the tensor, the narrower a bracket must be for what falls inside to fit. */
const SAMPLE_EVERY_ELEMENTS = 131_072;
const SAMPLE_RUNS_MIN = 4;
const SAMPLE_RUNS_MAX = 256;
/** A tensor up to this size is sampled from its first piece, in runs of this length: separate reads would cost more than the pass. */
const NEAR_SAMPLE_ELEMENTS = 131_072;
const NEAR_RUNS = 8;
const NEAR_RUN_ELEMENTS = 512;
/** Half the bracket's width in standard deviations of a sample quantile; runs are correlated, hence wide. */
const BRACKET_DEVIATIONS = 6;
/** A tensor this small is collected whole. */
const COLLECT_ALL_ELEMENTS = 8192;
/** Models that are surveyed together share one reading of the base; each has its own collectors. */
const GROUP_MODELS = 8;

/** How often the base is read for a bracket pass over this many models. */
export function orderBaseReads(models: number): number {
  return Math.ceil(models / GROUP_MODELS);
}

export async function surveyOrder(
  context: RangeContext,
  request: OrderRequest,
  values: RankedValues = rankedDeltas(context),
): Promise<OrderSummary> {
  if (request.intervals === undefined && context.whole)
    return { road: "bracket", statistics: await bracketRoad(context, request.queries, values) };
  return histogramRound(context, request.queries, request.intervals ?? request.queries.map(() => WHOLE), values);
}

export function foldOrder(left: OrderSummary, right: OrderSummary): OrderSummary {
  if (left.road === "bracket" || right.road === "bracket")
    throw new Error("a range that is the whole tensor has no neighbours");
  return {
    road: "histogram",
    histograms: left.histograms.map((histogram, k) => addHistograms(histogram, right.histograms[k])),
    parts: left.parts.map((parts, k) => [...parts, ...(right.parts[k] ?? [])]),
  };
}

export function settleOrder(request: OrderRequest, whole: OrderSummary): OrderStep {
  if (whole.road === "bracket") return { statistics: whole.statistics };
  const intervals = request.intervals ?? request.queries.map(() => WHOLE);
  if (!isLastRound(intervals)) {
    const queries: Query[] = [];
    const next = request.queries.map((query, k) => {
      const histogram = whole.histograms[k] ?? NO_HISTOGRAM;
      const elements = histogram.counts.reduce((sum, count) => sum + count, histogram.below);
      const position = positionAmong(query.position, elements, histogram.zeros);
      queries.push({ model: query.model, position });
      if (position >= elements) return null;
      const { lo, shift } = intervals[k] ?? WHOLE;
      return { lo: lo + findBin(histogram, position).bin * 2 ** shift, shift: 0 };
    });
    return { request: { queries, intervals: next } };
  }
  return {
    statistics: request.queries.map(({ position }, k) => {
      if (typeof position !== "number") throw new Error("a share is turned into a position in the first round");
      const interval = intervals[k];
      if (interval === undefined || interval === null) return noElement(position);
      const { bin, below } = findBin(whole.histograms[k] ?? NO_HISTOGRAM, position);
      return {
        position,
        bits: interval.lo + bin,
        below,
        ties: (whole.parts[k] ?? []).map((part) => countIn(part, bin)),
      };
    }),
  };
}

function isLastRound(intervals: readonly (Interval | null)[]): boolean {
  return intervals.every((interval) => interval === null || interval.shift === 0);
}

function positionAmong(position: Position, elements: number, zeros: number): number {
  return typeof position === "number" ? position : elements - Math.trunc((elements - zeros) * position.shareOfNonzero);
}

function noElement(position: number): Statistic {
  return { position, bits: NO_LIMIT, below: position, ties: [] };
}

// ---- the histogram road

async function histogramRound(
  context: RangeContext,
  queries: readonly Query[],
  intervals: readonly (Interval | null)[],
  values: RankedValues,
): Promise<OrderSummary> {
  const last = isLastRound(intervals);
  const histograms = queries.map(() => NO_HISTOGRAM);
  const parts: Histogram[][] = queries.map(() => []);
  for (const [model, all] of groupQueries(queries)) {
    const asked = all.filter((k) => intervals[k] !== null);
    if (asked.length === 0) continue;
    const zerosCount = asked.some((k) => typeof queries[k]?.position !== "number");
    const counted = await histogramsOfModel(context, model, asked, intervals, { perPart: last, zerosCount, values });
    for (const [k, ofParts] of counted) {
      histograms[k] = ofParts.reduce((sum, part) => addHistograms(sum, part));
      if (last) parts[k] = ofParts;
    }
  }
  return { road: "histogram", histograms, parts };
}

/** One model's histograms: for each of its queries a histogram per part (not the last round: one for the range). */
async function histogramsOfModel(
  context: RangeContext,
  model: number,
  asked: readonly number[],
  intervals: readonly (Interval | null)[],
  how: { readonly perPart: boolean; readonly zerosCount: boolean; readonly values: RankedValues },
): Promise<Map<number, Histogram[]>> {
  const { kernels } = context.engine;
  const binsBytes = (HISTOGRAM_BINS + 2) * 4;
  const bins = asked.map((_, i) => context.buffer(`histogram/${i}`, binsBytes));
  const zeros = context.buffer("zeros", 20);
  const found = new Map<number, Histogram[]>(asked.map((k) => [k, []]));
  for (const address of bins) kernels.zero(address, binsBytes);
  kernels.zero(zeros, 20);
  const close = async () => {
    const [, zeroCount = 0] = await downloadU32(context, zeros, 2);
    kernels.zero(zeros, 20);
    for (const [i, k] of asked.entries()) {
      const address = bins[i] ?? 0;
      found.get(k)?.push(sparse(await context.engine.download(address, binsBytes), zeroCount));
      kernels.zero(address, binsBytes);
    }
  };
  let part = 0;
  for (const chunk of context.chunks("pieces")) {
    if (how.perPart && chunk.firstElement === context.cuts[part + 1]) {
      await close();
      part++;
    }
    const d = await (await how.values(chunk))(model);
    // Nothing lies between equal bounds: no room is needed for it.
    if (how.zerosCount) kernels.bracket(zeros, zeros, 0, d, 0, 0, chunk.elementCount);
    for (const [i, k] of asked.entries()) {
      const { lo, shift } = intervals[k] ?? WHOLE;
      kernels.histogram(bins[i] ?? 0, d, lo, shift, HISTOGRAM_BINS, chunk.elementCount);
    }
  }
  await close();
  return found;
}

function sparse(bytes: Uint8Array, zeros: number): Histogram {
  const dense = new Uint32Array(bytes.slice().buffer);
  const bins: number[] = [];
  const counts: number[] = [];
  for (let bin = 0; bin < HISTOGRAM_BINS; bin++) {
    const count = dense[1 + bin] ?? 0;
    if (count === 0) continue;
    bins.push(bin);
    counts.push(count);
  }
  return { below: dense[0] ?? 0, bins: Uint32Array.from(bins), counts: Float64Array.from(counts), zeros };
}

function addHistograms(left: Histogram, right: Histogram | undefined): Histogram {
  if (right === undefined) return left;
  const sums = new Map<number, number>();
  for (const histogram of [left, right]) {
    for (const [at, bin] of histogram.bins.entries()) sums.set(bin, (sums.get(bin) ?? 0) + (histogram.counts[at] ?? 0));
  }
  const bins = Uint32Array.from(sums.keys()).sort();
  return {
    below: left.below + right.below,
    bins,
    counts: Float64Array.from(bins, (bin) => sums.get(bin) ?? 0),
    zeros: left.zeros + right.zeros,
  };
}

function findBin(histogram: Histogram, position: number): { bin: number; below: number } {
  let { below } = histogram;
  for (const [at, bin] of histogram.bins.entries()) {
    const count = histogram.counts[at] ?? 0;
    if (position < below + count) return { bin, below };
    below += count;
  }
  throw new Error(`no bin holds position ${position}: the histogram counts ${below} elements`);
}

function countIn(histogram: Histogram, bin: number): number {
  const at = histogram.bins.indexOf(bin);
  return at < 0 ? 0 : (histogram.counts[at] ?? 0);
}

// ---- the bracket road

/** Bits between which a statistic is expected, both ends included. */
interface Bracket {
  readonly query: number;
  readonly lo: number;
  readonly hi: number;
  readonly counts: Address;
  /** Counts of zeros, where these are asked for and lie outside. */
  readonly zeros: Address | undefined;
  readonly collected: Address;
  readonly capacity: number;
  /** What had been counted when each part began, and at the end: [below, lo, inside, hi, above]. */
  readonly marks: Uint32Array[];
}

async function bracketRoad(
  context: RangeContext,
  queries: readonly Query[],
  values: RankedValues,
): Promise<Statistic[]> {
  const statistics = new Array<Statistic>(queries.length);
  const perModel = [...groupQueries(queries)];
  const missed: number[] = [];
  for (let first = 0; first < perModel.length; first += GROUP_MODELS) {
    const group = perModel.slice(first, first + GROUP_MODELS);
    const models = [];
    for (const [slot, [model, asked]] of group.entries()) {
      const sample = await sampleOf(context, model, values);
      const brackets: Bracket[] = [];
      for (const [i, query] of asked.entries())
        brackets.push(await makeBracket(context, queries, query, sample, `${slot}/${i}`));
      models.push({ model, brackets });
    }
    await bracketPass(context, models, values);
    for (const { brackets } of models) {
      for (const bracket of brackets) {
        const statistic = await statisticOf(context, bracket, queries[bracket.query]?.position ?? 0);
        if (statistic === undefined) missed.push(bracket.query);
        else statistics[bracket.query] = statistic;
      }
    }
  }
  if (missed.length > 0) await histogramFallback(context, queries, missed, statistics, values);
  return statistics;
}

async function bracketPass(
  context: RangeContext,
  models: readonly { readonly model: number; readonly brackets: readonly Bracket[] }[],
  values: RankedValues,
): Promise<void> {
  const { kernels } = context.engine;
  const all = models.flatMap(({ brackets }) => brackets);
  for (const { counts, zeros } of all) {
    kernels.zero(counts, 20);
    if (zeros !== undefined) kernels.zero(zeros, 20);
  }
  const mark = async () => {
    for (const { marks, counts } of all)
      marks.push(new Uint32Array((await context.engine.download(counts, 20)).slice().buffer));
  };
  let part = 0;
  for (const chunk of context.chunks("pieces")) {
    if (chunk.firstElement === context.cuts[part]) {
      await mark();
      part++;
    }
    const valuesOf = await values(chunk);
    for (const { model, brackets } of models) {
      const d = await valuesOf(model);
      for (const { counts, zeros, collected, capacity, lo, hi } of brackets) {
        kernels.bracket(counts, collected, capacity, d, lo, hi, chunk.elementCount);
        if (zeros !== undefined) kernels.bracket(zeros, collected, 0, d, 0, 0, chunk.elementCount);
      }
    }
  }
  await mark();
}

async function makeBracket(
  context: RangeContext,
  queries: readonly Query[],
  query: number,
  sample: Sample,
  name: string,
): Promise<Bracket> {
  const position = queries[query]?.position ?? 0;
  const zeros = sample.size === 0 ? 0 : (sample.zeros / sample.size) * context.elementCount;
  const likely = Math.min(context.elementCount - 1, positionAmong(position, context.elementCount, zeros));
  const { lo, hi, expected } = await bracketOf(context, sample, likely);
  const spare = Math.floor(context.spareBytes / (4 * Math.min(queries.length, 2 * GROUP_MODELS)));
  const capacity = Math.max(1, Math.min(context.elementCount, spare, expected));
  const counts = context.buffer(`bracket/${name}/counts`, 20);
  return {
    query,
    lo,
    hi,
    counts,
    zeros: typeof position === "number" || lo === 0 ? undefined : context.buffer(`bracket/${name}/zeros`, 20),
    collected: context.buffer(`bracket/${name}/collected`, capacity * 4),
    capacity,
    marks: [],
  };
}

/** Bits that hold the element at `position` with near certainty, going by a sample; a small tensor is taken whole. */
async function bracketOf(
  context: RangeContext,
  sample: Sample,
  position: number,
): Promise<{ lo: number; hi: number; expected: number }> {
  const elements = context.elementCount;
  if (sample.size === 0) return { lo: 0, hi: NO_LIMIT, expected: elements };
  const share = (position + 0.5) / elements;
  const deviation = Math.sqrt((share * (1 - share)) / sample.size) * BRACKET_DEVIATIONS;
  const reach = deviation + 2 / sample.size;
  const from = Math.floor((share - reach) * sample.size);
  const to = Math.ceil((share + reach) * sample.size);
  const lo = from < 0 ? 0 : await sampleQuantile(context, sample, from);
  const hi = to >= sample.size ? NO_LIMIT : await sampleQuantile(context, sample, to);
  return { lo, hi, expected: Math.ceil(2 * reach * elements * 1.5) + 1024 };
}

/** |delta| bits of a model at places spread over the tensor: the zeros counted, the others on the device. */
interface Sample {
  readonly size: number;
  readonly zeros: number;
  readonly values: Address;
}

async function sampleOf(context: RangeContext, model: number, ranked: RankedValues): Promise<Sample> {
  const { kernels } = context.engine;
  const elements = context.elementCount;
  const counts = context.buffer("sample/counts", 20);
  kernels.zero(counts, 20);
  const near = elements <= NEAR_SAMPLE_ELEMENTS;
  const runs = near
    ? NEAR_RUNS
    : Math.min(SAMPLE_RUNS_MAX, Math.max(SAMPLE_RUNS_MIN, Math.floor(elements / SAMPLE_EVERY_ELEMENTS)));
  const values = context.buffer("sample/values", runs * SAMPLE_RUN_ELEMENTS * 4);
  if (elements <= COLLECT_ALL_ELEMENTS) return { size: 0, zeros: 0, values };
  const size = await (near
    ? sampleNear(context, model, counts, values, ranked)
    : sampleFar(context, model, runs, counts, values, ranked));
  const [, zeros = 0] = await downloadU32(context, counts, 2);
  return { size, zeros, values };
}

/** Runs spread over the tensor, each read by itself. Returns how many elements were looked at. */
async function sampleFar(
  context: RangeContext,
  model: number,
  runs: number,
  counts: Address,
  values: Address,
  ranked: RankedValues,
): Promise<number> {
  const size = runs * SAMPLE_RUN_ELEMENTS;
  for (let run = 0; run < runs; run++) {
    const firstElement = Math.floor(((run + 0.5) / runs) * (context.elementCount - SAMPLE_RUN_ELEMENTS));
    const chunk = { firstElement, elementCount: SAMPLE_RUN_ELEMENTS, startsBlock: false, endsBlock: false };
    const d = await (await ranked(chunk))(model);
    context.engine.kernels.bracket(counts, values, size, d, 0, NO_LIMIT, SAMPLE_RUN_ELEMENTS);
  }
  return size;
}

/** Runs spread over the first piece of the tensor. */
async function sampleNear(
  context: RangeContext,
  model: number,
  counts: Address,
  values: Address,
  ranked: RankedValues,
): Promise<number> {
  const [piece] = context.chunks("pieces");
  if (piece === undefined) return 0;
  const d = await (await ranked(piece))(model);
  const length = Math.min(NEAR_RUN_ELEMENTS, Math.floor(piece.elementCount / NEAR_RUNS));
  const size = NEAR_RUNS * length;
  for (let run = 0; run < NEAR_RUNS; run++) {
    const first = Math.floor((run / NEAR_RUNS) * piece.elementCount);
    context.engine.kernels.bracket(counts, values, size, d + first * 4, 0, NO_LIMIT, length);
  }
  return size;
}

/** The k-th smallest of a sample; sorting it would take longer than the pass that it is for. */
async function sampleQuantile(context: RangeContext, { size, zeros, values }: Sample, k: number): Promise<number> {
  if (k < zeros) return 0;
  const answer = context.buffer("selected", 12);
  context.engine.kernels.select(answer, values, k - zeros, size - zeros);
  const [bits = 0] = await downloadU32(context, answer, 1);
  return bits;
}

async function downloadU32(context: RangeContext, address: Address, count: number): Promise<Uint32Array> {
  return new Uint32Array((await context.engine.download(address, count * 4)).slice().buffer);
}

/** The answer, if the bracket holds it and all that fell inside was kept. */
async function statisticOf(context: RangeContext, bracket: Bracket, asked: Position): Promise<Statistic | undefined> {
  const { marks, lo, hi, capacity, collected } = bracket;
  const total = marks.at(-1);
  if (total === undefined) return undefined;
  const [below = 0, atLo = 0, inside = 0, atHi = 0] = total;
  const zeros = bracket.zeros === undefined ? atLo : ((await downloadU32(context, bracket.zeros, 2))[1] ?? 0);
  const position = positionAmong(asked, context.elementCount, zeros);
  if (position >= context.elementCount) return noElement(position);
  const tiesBy = (column: number) =>
    marks.slice(1).map((mark, part) => (mark[column] ?? 0) - (marks[part]?.[column] ?? 0));
  if (position < below) return undefined;
  if (position < below + atLo) return { position, bits: lo, below, ties: tiesBy(1) };
  if (position >= below + atLo + inside) {
    return position < below + atLo + inside + atHi
      ? { position, bits: hi, below: below + atLo + inside, ties: tiesBy(3) }
      : undefined;
  }
  if (inside > capacity) return undefined;
  // Selecting reorders what was collected; which part a tie lies in must be seen before.
  const kept = context.cuts.length > 1 ? await downloadU32(context, collected, inside) : new Uint32Array();
  const answer = context.buffer("selected", 12);
  context.engine.kernels.select(answer, collected, position - below - atLo, inside);
  const [bits = 0, smaller = 0, equal = 0] = await downloadU32(context, answer, 3);
  const ties = context.cuts.length > 1 ? tiesOfParts(kept, bits, marks) : [equal];
  return { position, bits, below: below + atLo + smaller, ties };
}

function tiesOfParts(kept: Uint32Array, bits: number, marks: readonly Uint32Array[]): number[] {
  return marks.slice(1).map((mark, part) => {
    let equal = 0;
    const end = mark[2] ?? 0;
    for (let at = marks[part]?.[2] ?? 0; at < end; at++) if (kept[at] === bits) equal++;
    return equal;
  });
}

async function histogramFallback(
  context: RangeContext,
  queries: readonly Query[],
  missed: readonly number[],
  statistics: Statistic[],
  values: RankedValues,
): Promise<void> {
  let request: OrderRequest = { queries: missed.flatMap((k) => queries[k] ?? []) };
  for (;;) {
    const intervals = request.intervals ?? request.queries.map(() => WHOLE);
    const step = settleOrder(request, await histogramRound(context, request.queries, intervals, values));
    if ("request" in step) {
      request = step.request;
      continue;
    }
    for (const [i, k] of missed.entries()) {
      const statistic = step.statistics[i];
      if (statistic !== undefined) statistics[k] = statistic;
    }
    return;
  }
}

/** Indices of the queries of each model. */
function groupQueries(queries: readonly Query[]): Map<number, number[]> {
  const groups = new Map<number, number[]>();
  for (const [k, { model }] of queries.entries()) groups.set(model, [...(groups.get(model) ?? []), k]);
  return groups;
}

function modelOf(task: TensorTask, index: number) {
  const model = task.models[index];
  if (model === undefined) throw new Error(`${task.name} has no model ${index}`);
  return model;
}
