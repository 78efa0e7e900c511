import type { Address } from "../engines/index.ts";
import type { PlainData } from "../work/index.ts";
import { GROUP_MODELS } from "./bracket-road.ts";
import {
  addHistograms,
  type Centre,
  countIn,
  elementsIn,
  findBin,
  HISTOGRAM_BINS,
  type Histogram,
  histogramOf,
  isComplete,
  NO_HISTOGRAM,
  type PartHistogram,
  partOf,
  readHistogram,
  readPartHistogram,
} from "./histograms.ts";
import { noElement, positionAmong, type Query, type RankedValues, type Statistic, u32Of } from "./order-queries.ts";
import type { RangeContext } from "./range.ts";
import type { Steps } from "./steps.ts";
import { countOf, fieldsOf, listOf, other, type SurveyedRange } from "./summary-forms.ts";

/**
 * Radix digits of order statistics in two rounds of mergeable histograms: the upper half of the bits, then the lower. Ties are told
 * apart by the histograms of the parts, of which only what lies about the answer is kept (`partOf`); where that misses, a third round
 * knows where to look.
 */

/** Where the road stands with a query: the answer has the bits [lo, lo + 2^shift * BINS). `centre`: in the last rounds, where in it. */
export interface Interval {
  readonly lo: number;
  readonly shift: number;
  readonly centre?: Centre;
}

/** `intervals` undefined: not begun. Null: nothing is left to be found out, `known` is the answer, or there is no such element. */
export interface OrderRequest {
  readonly queries: readonly Query[];
  readonly intervals?: readonly (Interval | null)[];
  readonly known?: readonly (Statistic | null)[];
}

/** What is counted: of one model, one interval; queries that ask for the same share it. */
interface Column {
  readonly model: number;
  readonly interval: Interval;
  readonly zeros: boolean;
}

/** Of one column. In the last rounds with parts, and a total only where these do not tell all. */
interface ColumnSummary {
  readonly total?: Histogram;
  readonly parts: readonly PartHistogram[];
  /** Elements below the interval. Of a total it is part. */
  readonly below: number;
}

export interface HistogramSummary {
  readonly road: "histogram";
  readonly columns: readonly ColumnSummary[];
}

export type OrderStep = { readonly request: OrderRequest } | { readonly statistics: readonly Statistic[] };

/** The upper half of the 31 bits of a magnitude, and what is left of it. */
const LOWER_BITS = 15;
/** Of which there is one more where the parts do not tell of the ties. */
export const HISTOGRAM_ROUNDS = 2;
const WHOLE: Interval = { lo: 0, shift: LOWER_BITS };
/** Counters may take so many times the memory that is spared: nothing else of size lies in a thread's memory meanwhile. */
const COUNTERS_TO_SPARE = 4;
/** Counters of a bracket about nothing but zeros. */
const ZEROS_BYTES = 20;

/** The columns of a request, and which of them each query looks at; -1: none. */
function columnsOf({ queries, intervals }: OrderRequest): { columns: Column[]; of: number[] } {
  const columns: Column[] = [];
  const known = new Map<string, number>();
  const of = queries.map(({ model, position }, k) => {
    const interval = intervals === undefined ? WHOLE : intervals[k];
    if (interval === undefined || interval === null) return -1;
    const zeros = typeof position !== "number";
    const name = `${model}/${JSON.stringify(interval)}`;
    const at = known.get(name) ?? columns.length;
    known.set(name, at);
    columns[at] = { model, interval, zeros: zeros || columns[at]?.zeros === true };
    return at;
  });
  return { columns, of };
}

function binCountOf({ shift }: Interval): number {
  return shift === 0 ? 2 ** LOWER_BITS : HISTOGRAM_BINS;
}

/** A step for each column. @throws MethodError `method/other-summary` */
export function* readHistograms(
  value: PlainData,
  request: OrderRequest,
  range: SurveyedRange,
): Steps<HistogramSummary> {
  const { columns } = columnsOf(request);
  const found = listOf(fieldsOf(value, "histograms").columns, "histograms", columns.length);
  const read: ColumnSummary[] = [];
  for (const [k, column] of columns.entries()) {
    read.push(readColumn(found[k] ?? null, column, range));
    yield;
  }
  return { road: "histogram", columns: read };
}

function readColumn(value: PlainData, { interval }: Column, range: SurveyedRange): ColumnSummary {
  const fields = fieldsOf(value, "histogram");
  const room = { binCount: binCountOf(interval), elements: range.elementCount };
  const found = listOf(fields.parts, "parts", interval.centre === undefined ? 0 : range.parts);
  const parts = found.map((part) => readPartHistogram(part, room));
  const below = countOf(fields.below, "elements", range.elementCount);
  if (fields.total === undefined) {
    if (parts.length === 0 || !parts.every(isComplete)) throw other("parts that do not tell all, and no total");
    return { parts, below };
  }
  const total = readHistogram(fields.total, room);
  // Of all bits every element has some.
  const counted = elementsIn(total) + total.below;
  if (interval.shift > 0 && counted !== range.elementCount)
    throw other(`a histogram of ${counted} elements, not of ${range.elementCount}`);
  return { total, parts, below };
}

/** Summaries of neighbouring ranges, `left` before `right`: a step for each column. */
export function* foldHistograms(left: HistogramSummary, right: HistogramSummary): Steps<HistogramSummary> {
  if (left.columns.length !== right.columns.length)
    throw new Error(`${right.columns.length} histograms to be added to ${left.columns.length}`);
  const columns: ColumnSummary[] = [];
  for (const [k, one] of left.columns.entries()) {
    const other = right.columns[k];
    if (other === undefined) throw new Error("a histogram is missing");
    const parts = [...one.parts, ...other.parts];
    columns.push({ total: addHistograms(totalOf(one), totalOf(other)), parts, below: one.below + other.below });
    yield;
  }
  return { road: "histogram", columns };
}

function totalOf({ total, parts, below }: ColumnSummary): Histogram {
  return (
    total ?? parts.reduce((sum, part) => addHistograms(sum, { ...NO_HISTOGRAM, ...part }), { ...NO_HISTOGRAM, below })
  );
}

/** A step for each column, and for each query. */
export function* settleHistograms(request: OrderRequest, whole: HistogramSummary): Steps<OrderStep> {
  const { columns, of } = columnsOf(request);
  const totals: Histogram[] = [];
  for (const k of columns.keys()) {
    totals.push(totalOf(whole.columns[k] ?? { parts: [], below: 0 }));
    yield;
  }
  return columns.some(({ interval }) => interval.shift > 0)
    ? { request: yield* lowerBits(request, columns, of, totals) }
    : yield* answers(request, columns, of, totals, whole);
}

function* lowerBits(
  request: OrderRequest,
  columns: readonly Column[],
  of: readonly number[],
  totals: readonly Histogram[],
): Steps<OrderRequest> {
  const queries: Query[] = [];
  const intervals: (Interval | null)[] = [];
  for (const [k, query] of request.queries.entries()) {
    const at = of[k] ?? -1;
    const { lo, shift } = columns[at]?.interval ?? WHOLE;
    const total = totals[at] ?? NO_HISTOGRAM;
    const elements = elementsIn(total) + total.below;
    const position = positionAmong(query.position, elements, total.zeros);
    queries.push({ model: query.model, position });
    const found = position >= elements ? undefined : findBin(total, position);
    intervals.push(
      found === undefined
        ? null
        : {
            lo: lo + found.bin * 2 ** shift,
            shift: 0,
            centre: { share: (position - found.below + 0.5) / found.count },
          },
    );
    yield;
  }
  return { queries, intervals };
}

/** Answers, or one more round for those whose ties the parts did not tell. */
function* answers(
  request: OrderRequest,
  columns: readonly Column[],
  of: readonly number[],
  totals: readonly Histogram[],
  whole: HistogramSummary,
): Steps<OrderStep> {
  const missed: (Interval | null)[] = [];
  const known: (Statistic | null)[] = [];
  for (const [k, { position }] of request.queries.entries()) {
    if (typeof position !== "number") throw new Error("a share is turned into a position in the first round");
    const at = of[k] ?? -1;
    const [column, total] = [columns[at], totals[at]];
    if (column === undefined || total === undefined) {
      missed.push(null);
      known.push(request.known?.[k] ?? noElement(position));
      continue;
    }
    const answer = answerIn(column, total, position, whole.columns[at]?.parts ?? []);
    missed.push("missed" in answer ? answer.missed : null);
    known.push("missed" in answer ? null : answer);
    yield;
  }
  if (missed.every((interval) => interval === null))
    return { statistics: known.map((statistic) => statistic ?? noElement(0)) };
  return { request: { queries: request.queries, intervals: missed, known } };
}

function answerIn(
  { interval: { lo, shift } }: Column,
  total: Histogram,
  position: number,
  parts: readonly PartHistogram[],
): Statistic | { readonly missed: Interval } {
  const { bin, below } = findBin(total, position);
  const ties: number[] = [];
  for (const part of parts) {
    const count = countIn(part, bin);
    if (count === undefined) return { missed: { lo, shift, centre: { bin } } };
    ties.push(count);
  }
  return { position, bits: lo + bin, below, ties };
}

// ---- one range

export async function surveyHistograms(
  context: RangeContext,
  request: OrderRequest,
  values: RankedValues,
): Promise<HistogramSummary> {
  const { columns } = columnsOf(request);
  const summaries: ColumnSummary[] = [];
  const roomBytes = context.spareBytes * COUNTERS_TO_SPARE;
  const groups = groupsOf(columns, roomBytes);
  const release = groups.length > 1 ? context.hold() : () => {};
  try {
    for (const group of groups) {
      const counters = new Counters(context, group, roomBytes);
      await countGroup(context, counters, values);
      summaries.push(...counters.summaries());
    }
  } finally {
    release();
  }
  return { road: "histogram", columns: summaries };
}

/** Columns that are counted in one pass over the range: all of them, unless memory is short. Those of a model stay together. */
function groupsOf(columns: readonly Column[], roomBytes: number): Column[][] {
  const groups: Column[][] = [];
  let [bytes, models] = [0, 0];
  for (const [k, column] of columns.entries()) {
    const isNext = column.model !== columns[k - 1]?.model;
    const columnBytes = countersBytes(column);
    if (k === 0 || (isNext && models >= GROUP_MODELS && bytes + 2 * columnBytes > roomBytes)) {
      groups.push([]);
      [bytes, models] = [0, 0];
    }
    groups.at(-1)?.push(column);
    bytes += columnBytes;
    if (isNext) models++;
  }
  return groups;
}

function countersBytes({ interval }: Column): number {
  return (binCountOf(interval) + 2) * 4;
}

async function countGroup(context: RangeContext, counters: Counters, values: RankedValues): Promise<void> {
  const { kernels } = context.arena;
  let part = 0;
  for (const chunk of context.chunks("pieces")) {
    if (chunk.firstElement === context.cuts[part + 1]) {
      await counters.endPart();
      part++;
    }
    const ranked = await values.of(chunk);
    let [model, d] = [-1, 0];
    for (const [k, column] of counters.columns.entries()) {
      if (column.model !== model) [model, d] = [column.model, await ranked.values(column.model)];
      const { bins, zeros } = counters.placeOf(k);
      // Nothing lies between equal bounds: no room is needed for it.
      if (column.zeros) kernels.bracket(zeros, zeros, 0, d, 0, 0, chunk.elementCount);
      const { lo, shift } = column.interval;
      kernels.histogram(bins, d, lo, shift, binCountOf(column.interval), chunk.elementCount);
    }
  }
  await counters.endRange();
}

/** Counts of columns on the device, side by side so that they are fetched at once, and what their parts came to. */
class Counters {
  readonly columns: readonly Column[];
  readonly #context: RangeContext;
  readonly #address: Address;
  /** Where the counters of each column begin, and where all end: those of one part. */
  readonly #offsets: number[] = [0];
  /** Parts that are counted before they are fetched: one, unless fetching costs. */
  readonly #slots: number;
  readonly #parts: PartHistogram[][];
  readonly #totals: Histogram[];
  #slot = 0;

  constructor(context: RangeContext, columns: readonly Column[], roomBytes: number) {
    this.#context = context;
    this.columns = columns;
    this.#parts = columns.map(() => []);
    this.#totals = columns.map(() => NO_HISTOGRAM);
    for (const column of columns) this.#offsets.push(this.#partBytes + countersBytes(column) + ZEROS_BYTES);
    // Ties are told apart by part in the last rounds; before them a range is one.
    const parts = this.#isLast ? context.cuts.length : 1;
    const slots = context.arena.device.limits.asynchronous ? Math.floor(roomBytes / Math.max(1, this.#partBytes)) : 1;
    this.#slots = Math.max(1, Math.min(parts, slots));
    this.#address = context.buffer("histograms", this.#slots * this.#partBytes);
    this.#clear();
  }

  placeOf(column: number): { readonly bins: Address; readonly zeros: Address } {
    const first = this.#address + this.#slot * this.#partBytes;
    const end = first + (this.#offsets[column + 1] ?? 0);
    return { bins: first + (this.#offsets[column] ?? 0), zeros: end - ZEROS_BYTES };
  }

  async endPart(): Promise<void> {
    if (!this.#isLast) return;
    this.#slot++;
    if (this.#slot < this.#slots) return;
    await this.#fetch();
    this.#clear();
  }

  async endRange(): Promise<void> {
    this.#slot++;
    await this.#fetch();
  }

  summaries(): ColumnSummary[] {
    return this.#totals.map((total, k) => {
      const parts = this.#parts[k] ?? [];
      const { below } = total;
      return parts.length > 0 && parts.every(isComplete) ? { parts, below } : { total, parts, below };
    });
  }

  get #isLast(): boolean {
    return this.columns[0]?.interval.shift === 0;
  }

  get #partBytes(): number {
    return this.#offsets.at(-1) ?? 0;
  }

  /** What all parts since the last time came to. */
  async #fetch(): Promise<void> {
    const counts = u32Of(await this.#context.arena.download(this.#address, this.#slot * this.#partBytes));
    for (let slot = 0; slot < this.#slot; slot++) {
      for (const [k, { interval, zeros: asked }] of this.columns.entries()) {
        const [first = 0, end = 0] = this.#offsets.slice(k, k + 2).map((at) => (slot * this.#partBytes + at) / 4);
        const zeros = asked ? (counts[end - ZEROS_BYTES / 4 + 1] ?? 0) : 0;
        const histogram = histogramOf(counts.subarray(first, end - ZEROS_BYTES / 4), zeros);
        if (interval.centre !== undefined) this.#parts[k]?.push(partOf(histogram, interval.centre));
        const total = this.#totals[k] ?? NO_HISTOGRAM;
        this.#totals[k] = total === NO_HISTOGRAM ? histogram : addHistograms(total, histogram);
      }
    }
  }

  #clear(): void {
    this.#slot = 0;
    this.#context.arena.kernels.zero(this.#address, this.#slots * this.#partBytes);
  }
}
