import type { Address } from "../engines/index.ts";
import { geometryOfTask, type TensorTask } from "../work/index.ts";
import type { Chunk } from "./chunks.ts";
import {
  downloadU32,
  groupQueries,
  NO_LIMIT,
  noElement,
  type Position,
  positionAmong,
  type Query,
  type RankedValues,
  type Statistic,
} from "./order-queries.ts";
import type { RangeContext } from "./range.ts";

/** Elements looked at to bracket a statistic, in runs spread over the tensor. */
const SAMPLE_RUN_ELEMENTS = 1024;
/** One run for so many elements: the larger the tensor, the narrower a bracket must be for what falls inside to fit. */
const SAMPLE_EVERY_ELEMENTS = 131_072;
const SAMPLE_RUNS_MIN = 4;
const SAMPLE_RUNS_MAX = 256;
/** Where rows are short, neighbouring runs become one of as many rows: each is a request where the tensor is far. No fewer than so many are left. */
const SAMPLE_JOINED_MAX = 4;
const SAMPLE_PLACES_MIN = 32;
/** A tensor up to this size is sampled from its first piece, in runs of this length: separate reads would cost more than the pass. */
const NEAR_SAMPLE_ELEMENTS = 131_072;
/** Of the first piece, as workers cut them; for the estimate only. */
const PIECE_ELEMENTS = 32_768;
const NEAR_RUNS = 8;
const NEAR_RUN_ELEMENTS = 512;
/** Half the bracket's width in standard deviations of a sample quantile; runs are correlated, hence wide. */
const BRACKET_DEVIATIONS = 6;
/** A tensor this small is collected whole. */
const COLLECT_ALL_ELEMENTS = 8192;
/** Models that are surveyed in one pass, each with its own collectors. Further ones find the base held. */
export const GROUP_MODELS = 8;

/** Bits between which a statistic is expected, both ends included. */
interface Bracket {
  readonly query: number;
  readonly lo: number;
  readonly hi: number;
  /** Whether zeros are asked for and lie outside. */
  readonly countsZeros: boolean;
  readonly collected: Address;
  readonly capacity: number;
}

/** A bracket after its pass. */
interface Counted extends Bracket {
  /** What had been counted when each part began, and at the end: [below, lo, inside, hi, above]. */
  readonly marks: readonly Uint32Array[];
  readonly zeros: number;
}

/** On the device: counts of a bracket, and those of its zeros. */
const COUNTS_BYTES = 20;
const BRACKET_BYTES = 2 * COUNTS_BYTES;
/** What select leaves. */
const SELECTED_BYTES = 12;

/** The answers to the queries of a range that is the whole tensor, ties told apart for its parts; undefined where a bracket missed. */
export async function bracketRoad(
  context: RangeContext,
  queries: readonly Query[],
  values: RankedValues,
): Promise<(Statistic | undefined)[]> {
  const statistics = new Array<Statistic | undefined>(queries.length).fill(undefined);
  const perModel = [...groupQueries(queries)];
  // Samples and passes of all models read each chunk of the base once.
  const release = context.hold();
  try {
    for (let first = 0; first < perModel.length; first += GROUP_MODELS) {
      const group = perModel.slice(first, first + GROUP_MODELS);
      const models = [];
      if (!isNear(context.elementCount))
        context.foresee(values.sources(group.map(([model]) => model)), samplePlaces(context));
      for (const [slot, [model, asked]] of group.entries()) {
        const sample = await sampleOf(context, model, values);
        models.push({ model, brackets: await makeBrackets(context, queries, asked, sample, slot) });
      }
      // Of one pass over a large tensor nothing is read twice but the samples.
      if (perModel.length <= GROUP_MODELS && !isNear(context.elementCount)) release();
      const counted = await bracketPass(context, models, values);
      for (const together of askedTogether(context, counted)) {
        const found = await statisticsOf(context, together, queries);
        for (const [k, { query }] of together.entries()) statistics[query] = found[k];
      }
    }
  } finally {
    release();
  }
  return statistics;
}

/** Counts of all brackets lie side by side, and are copied where a part begins: they are fetched once, at the end. */
async function bracketPass(
  context: RangeContext,
  models: readonly { readonly model: number; readonly brackets: readonly Bracket[] }[],
  values: RankedValues,
): Promise<Counted[]> {
  const { kernels } = context.arena;
  const all = models.flatMap(({ brackets }) => brackets);
  const sizeBytes = all.length * BRACKET_BYTES;
  const parts = context.cuts.length;
  // Counts as they are now, then a copy of them for each part but the first: that one begins with zeros.
  const counts = context.buffer("bracket/counts", parts * sizeBytes);
  kernels.zero(counts, sizeBytes);
  let part = 0;
  for (const chunk of context.chunks("pieces")) {
    if (chunk.firstElement === context.cuts[part + 1]) {
      part++;
      kernels.copy(counts + part * sizeBytes, counts, sizeBytes);
    }
    const ranked = await values.of(chunk);
    let at = counts;
    for (const { model, brackets } of models) {
      const count = await ranked.counted(model);
      for (const { countsZeros, collected, capacity, lo, hi } of brackets) {
        count(at, collected, capacity, lo, hi);
        if (countsZeros) count(at + COUNTS_BYTES, collected, 0, 0, 0);
        at += BRACKET_BYTES;
      }
    }
  }
  const found = await downloadU32(context, counts, (parts * sizeBytes) / 4);
  const markOf = (part: number, k: number) => {
    const first = (part * sizeBytes + k * BRACKET_BYTES) / 4;
    return found.subarray(first, first + COUNTS_BYTES / 4);
  };
  return all.map((bracket, k) => {
    const end = markOf(0, k);
    const later = Array.from({ length: parts - 1 }, (_, part) => markOf(part + 1, k));
    const zeros = bracket.countsZeros ? (found[(k * BRACKET_BYTES + COUNTS_BYTES) / 4 + 1] ?? 0) : (end[1] ?? 0);
    return { ...bracket, marks: [new Uint32Array(COUNTS_BYTES / 4), ...later, end], zeros };
  });
}

/** The brackets of one model. */
async function makeBrackets(
  context: RangeContext,
  queries: readonly Query[],
  asked: readonly number[],
  sample: Sample,
  slot: number,
): Promise<Bracket[]> {
  const elements = context.elementCount;
  const zeros = sample.size === 0 ? 0 : (sample.zeros / sample.size) * elements;
  const reaches = asked.map((query) =>
    reachOf(sample, elements, Math.min(elements - 1, positionAmong(queries[query]?.position ?? 0, elements, zeros))),
  );
  const quantiles = await sampleQuantiles(
    context,
    sample,
    reaches.flatMap(({ from, to }) => [from, to]),
  );
  const spare = Math.floor(context.spareBytes / (4 * Math.min(queries.length, 2 * GROUP_MODELS)));
  return asked.map((query, i) => {
    const [lo = 0, hi = NO_LIMIT] = quantiles.slice(2 * i, 2 * i + 2);
    const capacity = Math.max(1, Math.min(elements, spare, reaches[i]?.expected ?? 0));
    return {
      query,
      lo,
      hi,
      countsZeros: typeof queries[query]?.position !== "number" && lo !== 0,
      collected: context.buffer(`bracket/${slot}/${i}/collected`, capacity * 4),
      capacity,
    };
  });
}

/**
 * Between which elements of a sample the one at `position` lies with near certainty, and how many of all elements lie there; a small
 * tensor is taken whole.
 */
function reachOf({ size }: Sample, elements: number, position: number): { from: number; to: number; expected: number } {
  if (size === 0) return { from: -1, to: 0, expected: elements };
  const share = (position + 0.5) / elements;
  const deviation = Math.sqrt((share * (1 - share)) / size) * BRACKET_DEVIATIONS;
  const reach = deviation + 2 / size;
  return {
    from: Math.floor((share - reach) * size),
    to: Math.ceil((share + reach) * size),
    expected: Math.ceil(2 * reach * elements * 1.5) + 1024,
  };
}

/** |delta| bits of a model at places spread over the tensor: the zeros counted, the others on the device. */
interface Sample {
  readonly size: number;
  readonly zeros: number;
  readonly values: Address;
}

/** How much of a tensor is read once more for its sample; whether that is what the pass begins with, too. */
export function sampled(task: TensorTask): { readonly share: number; readonly isAtHand: boolean } {
  const { elementCount, blockElements, rowLength } = geometryOfTask(task);
  if (elementCount <= COLLECT_ALL_ELEMENTS) return { share: 0, isAtHand: true };
  const isAtHand = isNear(elementCount);
  const elements = isAtHand
    ? Math.min(PIECE_ELEMENTS, blockElements, elementCount)
    : sampleElements(elementCount, rowLength);
  return { share: elements / elementCount, isAtHand };
}

function isNear(elements: number): boolean {
  return elements <= NEAR_SAMPLE_ELEMENTS;
}

function runsOver(elements: number): number {
  return Math.min(SAMPLE_RUNS_MAX, Math.max(SAMPLE_RUNS_MIN, Math.floor(elements / SAMPLE_EVERY_ELEMENTS)));
}

/** How many runs are one. */
function joinedRuns(elements: number, rowLength: number): number {
  let joined = 1;
  while (
    2 * joined <= SAMPLE_JOINED_MAX &&
    2 * joined * rowLength <= SAMPLE_JOINED_MAX * SAMPLE_RUN_ELEMENTS &&
    runsOver(elements) >= 2 * joined * SAMPLE_PLACES_MIN
  )
    joined *= 2;
  return joined;
}

function sampleElements(elements: number, rowLength: number): number {
  const joined = joinedRuns(elements, rowLength);
  return Math.floor(runsOver(elements) / joined) * joined * SAMPLE_RUN_ELEMENTS;
}

/** Where the runs of a large tensor lie. */
function samplePlaces({ elementCount, rowLength, chunkCapacity }: RangeContext): Chunk[] {
  let length = joinedRuns(elementCount, rowLength) * SAMPLE_RUN_ELEMENTS;
  while (length > Math.max(chunkCapacity, SAMPLE_RUN_ELEMENTS)) length /= 2;
  const runs = sampleElements(elementCount, rowLength) / length;
  return Array.from({ length: runs }, (_, run) => ({
    firstElement: Math.floor(((run + 0.5) / runs) * (elementCount - length)),
    elementCount: length,
    startsBlock: false,
    endsBlock: false,
  }));
}

async function sampleOf(context: RangeContext, model: number, ranked: RankedValues): Promise<Sample> {
  const { kernels } = context.arena;
  const elements = context.elementCount;
  const counts = context.buffer("sample/counts", 20);
  kernels.zero(counts, 20);
  const near = isNear(elements);
  const room = near ? NEAR_RUNS * NEAR_RUN_ELEMENTS : sampleElements(elements, context.rowLength);
  const values = context.buffer("sample/values", room * 4);
  if (elements <= COLLECT_ALL_ELEMENTS) return { size: 0, zeros: 0, values };
  const size = await (near
    ? sampleNear(context, model, counts, values, ranked)
    : sampleFar(context, model, counts, values, ranked));
  const [, zeros = 0] = await downloadU32(context, counts, 2);
  return { size, zeros, values };
}

/** Runs spread over the tensor, each read by itself. Returns how many elements were looked at. */
async function sampleFar(
  context: RangeContext,
  model: number,
  counts: Address,
  values: Address,
  ranked: RankedValues,
): Promise<number> {
  const size = sampleElements(context.elementCount, context.rowLength);
  for (const place of samplePlaces(context)) {
    const count = await (await ranked.of(place)).counted(model);
    count(counts, values, size, 0, NO_LIMIT);
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
  const d = await (await ranked.of(piece)).values(model);
  const length = Math.min(NEAR_RUN_ELEMENTS, Math.floor(piece.elementCount / NEAR_RUNS));
  const size = NEAR_RUNS * length;
  for (let run = 0; run < NEAR_RUNS; run++) {
    const first = Math.floor((run / NEAR_RUNS) * piece.elementCount);
    context.arena.kernels.bracket(counts, values, size, d + first * 4, 0, NO_LIMIT, length);
  }
  return size;
}

/** The k-th smallest of a sample, for each k; sorting it would take longer than the pass that it is for. Before it: 0; after it: no limit. */
async function sampleQuantiles(
  context: RangeContext,
  { size, zeros, values }: Sample,
  ks: readonly number[],
): Promise<number[]> {
  const wanted = ks.filter((k) => k >= zeros && k >= 0 && k < size);
  const selections = wanted.map((k) => ({ values, k: k - zeros, count: size - zeros }));
  const found = await selected(context, selections);
  return ks.map((k) => (k >= size ? NO_LIMIT : k < 0 || k < zeros ? 0 : (found[wanted.indexOf(k)]?.[0] ?? 0)));
}

interface Selection {
  readonly values: Address;
  readonly k: number;
  readonly count: number;
}

/** Of each selection [bits, how many are smaller, how many equal]. */
async function selected(context: RangeContext, selections: readonly Selection[]): Promise<Uint32Array[]> {
  if (selections.length === 0) return [];
  const answers = context.buffer("selected", selections.length * SELECTED_BYTES);
  for (const [i, { values, k, count }] of selections.entries())
    context.arena.kernels.select(answers + i * SELECTED_BYTES, values, k, count);
  const found = await downloadU32(context, answers, (selections.length * SELECTED_BYTES) / 4);
  return selections.map((_, i) => found.subarray((i * SELECTED_BYTES) / 4, ((i + 1) * SELECTED_BYTES) / 4));
}

/** Of several parts what was collected is fetched too, which takes memory: of one bracket at a time, unless asking costs. */
function askedTogether(context: RangeContext, brackets: readonly Counted[]): (readonly Counted[])[] {
  const isSmall = context.cuts.length === 1 || context.arena.device.limits.asynchronous;
  return isSmall ? [brackets] : brackets.map((bracket) => [bracket]);
}

/** Where a bracket was hit: the answer, or which of the collected it is. */
type Hit = { readonly answer: Statistic | undefined } | { readonly position: number; readonly before: number };

function hitOf({ marks, lo, hi, capacity, zeros }: Counted, elements: number, asked: Position): Hit {
  const [below = 0, atLo = 0, inside = 0, atHi = 0] = marks.at(-1) ?? [];
  const position = positionAmong(asked, elements, zeros);
  if (position >= elements) return { answer: noElement(position) };
  const tiesBy = (column: number) =>
    marks.slice(1).map((mark, part) => (mark[column] ?? 0) - (marks[part]?.[column] ?? 0));
  if (position < below) return { answer: undefined };
  if (position < below + atLo) return { answer: { position, bits: lo, below, ties: tiesBy(1) } };
  const above = below + atLo + inside;
  if (position >= above + atHi) return { answer: undefined };
  if (position >= above) return { answer: { position, bits: hi, below: above, ties: tiesBy(3) } };
  return inside > capacity ? { answer: undefined } : { position, before: below + atLo };
}

/** The answers, where the brackets hold them and all that fell inside was kept. */
async function statisticsOf(
  context: RangeContext,
  brackets: readonly Counted[],
  queries: readonly Query[],
): Promise<(Statistic | undefined)[]> {
  const hits = brackets.map((bracket) => hitOf(bracket, context.elementCount, queries[bracket.query]?.position ?? 0));
  const inside = brackets.flatMap((bracket, k) => {
    const hit = hits[k];
    if (hit === undefined || "answer" in hit) return [];
    return [{ ...hit, ...bracket, count: bracket.marks.at(-1)?.[2] ?? 0, k: hit.position - hit.before, at: k }];
  });
  const hasParts = context.cuts.length > 1;
  // Selecting reorders what was collected; which part a tie lies in must be seen before.
  const kept = hasParts
    ? await Promise.all(inside.map(({ collected, count }) => downloadU32(context, collected, count)))
    : [];
  const found = await selected(
    context,
    inside.map(({ collected, k, count }) => ({ values: collected, k, count })),
  );
  const statistics = hits.map((hit) => ("answer" in hit ? hit.answer : undefined));
  for (const [i, { at, position, before, marks }] of inside.entries()) {
    const [bits = 0, smaller = 0, equal = 0] = found[i] ?? [];
    const ties = hasParts ? tiesOfParts(kept[i] ?? new Uint32Array(), bits, marks) : [equal];
    statistics[at] = { position, bits, below: before + smaller, ties };
  }
  return statistics;
}

function tiesOfParts(kept: Uint32Array, bits: number, marks: readonly Uint32Array[]): number[] {
  return marks.slice(1).map((mark, part) => {
    let equal = 0;
    const end = mark[2] ?? 0;
    for (let at = marks[part]?.[2] ?? 0; at < end; at++) if (kept[at] === bits) equal++;
    return equal;
  });
}
