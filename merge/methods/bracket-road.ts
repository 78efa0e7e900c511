import type { Address } from "../engines/index.ts";
import { geometryOfTask, type TensorTask } from "../work/index.ts";
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
  readonly counts: Address;
  /** Counts of zeros, where these are asked for and lie outside. */
  readonly zeros: Address | undefined;
  readonly collected: Address;
  readonly capacity: number;
  /** What had been counted when each part began, and at the end: [below, lo, inside, hi, above]. */
  readonly marks: Uint32Array[];
}

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
      for (const [slot, [model, asked]] of group.entries()) {
        const sample = await sampleOf(context, model, values);
        const brackets: Bracket[] = [];
        for (const [i, query] of asked.entries())
          brackets.push(await makeBracket(context, queries, query, sample, `${slot}/${i}`));
        models.push({ model, brackets });
      }
      // Of one pass over a large tensor nothing is read twice but the samples.
      if (perModel.length <= GROUP_MODELS && !isNear(context.elementCount)) release();
      await bracketPass(context, models, values);
      for (const { brackets } of models) {
        for (const bracket of brackets)
          statistics[bracket.query] = await statisticOf(context, bracket, queries[bracket.query]?.position ?? 0);
      }
    }
  } finally {
    release();
  }
  return statistics;
}

async function bracketPass(
  context: RangeContext,
  models: readonly { readonly model: number; readonly brackets: readonly Bracket[] }[],
  values: RankedValues,
): Promise<void> {
  const { kernels } = context.arena;
  const all = models.flatMap(({ brackets }) => brackets);
  for (const { counts, zeros } of all) {
    kernels.zero(counts, 20);
    if (zeros !== undefined) kernels.zero(zeros, 20);
  }
  const mark = async () => {
    for (const { marks, counts } of all)
      marks.push(new Uint32Array((await context.arena.download(counts, 20)).slice().buffer));
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

/** How much of a tensor is read once more for its sample; whether that is what the pass begins with, too. */
export function sampled(task: TensorTask): { readonly share: number; readonly isAtHand: boolean } {
  const { elementCount, blockElements } = geometryOfTask(task);
  if (elementCount <= COLLECT_ALL_ELEMENTS) return { share: 0, isAtHand: true };
  const isAtHand = isNear(elementCount);
  const elements = isAtHand
    ? Math.min(PIECE_ELEMENTS, blockElements, elementCount)
    : runsOver(elementCount) * SAMPLE_RUN_ELEMENTS;
  return { share: elements / elementCount, isAtHand };
}

function isNear(elements: number): boolean {
  return elements <= NEAR_SAMPLE_ELEMENTS;
}

function runsOver(elements: number): number {
  return Math.min(SAMPLE_RUNS_MAX, Math.max(SAMPLE_RUNS_MIN, Math.floor(elements / SAMPLE_EVERY_ELEMENTS)));
}

async function sampleOf(context: RangeContext, model: number, ranked: RankedValues): Promise<Sample> {
  const { kernels } = context.arena;
  const elements = context.elementCount;
  const counts = context.buffer("sample/counts", 20);
  kernels.zero(counts, 20);
  const near = isNear(elements);
  const runs = near ? NEAR_RUNS : runsOver(elements);
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
    context.arena.kernels.bracket(counts, values, size, d, 0, NO_LIMIT, SAMPLE_RUN_ELEMENTS);
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
    context.arena.kernels.bracket(counts, values, size, d + first * 4, 0, NO_LIMIT, length);
  }
  return size;
}

/** The k-th smallest of a sample; sorting it would take longer than the pass that it is for. */
async function sampleQuantile(context: RangeContext, { size, zeros, values }: Sample, k: number): Promise<number> {
  if (k < zeros) return 0;
  const answer = context.buffer("selected", 12);
  context.arena.kernels.select(answer, values, k - zeros, size - zeros);
  const [bits = 0] = await downloadU32(context, answer, 1);
  return bits;
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
  context.arena.kernels.select(answer, collected, position - below - atLo, inside);
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
