import type { PlainData } from "../work/index.ts";
import { countOf, fieldsOf, other } from "./summary-forms.ts";

/**
 * Counts of magnitudes in the bins of an interval of bits, sparse and typed: what ranges of a tensor say of it, and what these come to
 * together. Plain data.
 */
export interface Histogram {
  /** Elements below the interval. */
  readonly below: number;
  /** Ascending bins that are not empty, and their counts. */
  readonly bins: Uint16Array;
  readonly counts: Counts;
  /** Zeros, where they are asked for. */
  readonly zeros: number;
}

/** Of a range u32, as the kernel counts; of many ranges together float64, once a count outgrows that. */
export type Counts = Uint32Array | Float64Array;

/** Of one part of the tensor the bins in [from, to): all that it has, or those about the place where the answer is looked for. */
export interface PartHistogram {
  readonly from: number;
  readonly to: number;
  readonly bins: Uint16Array;
  readonly counts: Counts;
}

/** In an interval of bits the most that a bin's number has room for. */
export const HISTOGRAM_BINS = 65_536;
/** A part with more bins says no more than these many, about the centre: of many parts and models they are what takes the memory. */
const PART_BINS_MAX = 1024;
const U32_MAX = 0xffffffff;

export const NO_HISTOGRAM: Histogram = { below: 0, bins: new Uint16Array(), counts: new Uint32Array(), zeros: 0 };

/** `dense`: u32 of what lies below, of each bin, of what lies above. */
export function histogramOf(dense: Uint32Array, zeros: number): Histogram {
  const binCount = dense.length - 2;
  let used = 0;
  for (let bin = 1; bin <= binCount; bin++) if (dense[bin] !== 0) used++;
  const bins = new Uint16Array(used);
  const counts = new Uint32Array(used);
  let at = 0;
  for (let bin = 0; bin < binCount; bin++) {
    const count = dense[1 + bin] ?? 0;
    if (count === 0) continue;
    bins[at] = bin;
    counts[at++] = count;
  }
  return { below: dense[0] ?? 0, bins, counts, zeros };
}

interface Room {
  readonly binCount: number;
  /** Of the range: there are no more. */
  readonly elements: number;
}

/** @throws MethodError `method/other-summary` */
export function readHistogram(value: PlainData, room: Room): Histogram {
  const fields = fieldsOf(value, "histogram");
  const below = countOf(fields.below, "elements", room.elements);
  const zeros = countOf(fields.zeros, "zeros", room.elements);
  return { ...readBins(fields, { ...room, elements: room.elements - below }), below, zeros };
}

/** @throws MethodError `method/other-summary` */
export function readPartHistogram(value: PlainData, room: Room): PartHistogram {
  const fields = fieldsOf(value, "histogram of a part");
  const from = countOf(fields.from, "bins", HISTOGRAM_BINS);
  const to = countOf(fields.to, "bins", HISTOGRAM_BINS);
  return { from, to, ...readBins(fields, room) };
}

function readBins({ bins, counts }: ReturnType<typeof fieldsOf>, { binCount, elements }: Room): Bins {
  if (!(bins instanceof Uint16Array)) throw other("bins that are no u16 numbers");
  if (!(counts instanceof Uint32Array || counts instanceof Float64Array)) throw other("counts that are no counts");
  if (bins.length !== counts.length) throw other(`${counts.length} counts of ${bins.length} bins`);
  let [before, sum] = [-1, 0];
  for (let at = 0; at < bins.length; at++) {
    const [bin, count] = [bins[at] ?? 0, counts[at] ?? 0];
    if (bin <= before || bin >= binCount) throw other(`bin ${bin} after bin ${before}, of ${binCount}`);
    if (!(count >= 0)) throw other(`${count} elements in a bin`);
    before = bin;
    sum += count;
  }
  if (!(sum <= elements)) throw other(`a histogram of ${sum} elements, where there are ${elements}`);
  return { bins, counts };
}

export function addHistograms(left: Histogram, right: Histogram): Histogram {
  return { ...addBins(left, right), below: left.below + right.below, zeros: left.zeros + right.zeros };
}

type Bins = Pick<Histogram, "bins" | "counts">;

/** A merge of two ascending lists. */
function addBins(left: Bins, right: Bins): Bins {
  if (right.bins.length === 0) return { bins: left.bins, counts: left.counts };
  if (left.bins.length === 0) return { bins: right.bins, counts: right.counts };
  const room = left.bins.length + right.bins.length;
  const bins = new Uint16Array(room);
  const isWide = left.counts instanceof Float64Array || right.counts instanceof Float64Array;
  const counts = isWide ? new Float64Array(room) : new Uint32Array(room);
  const { used, largest } = mergeInto(bins, counts, left, right);
  if (!isWide && largest > U32_MAX) return addBins({ bins: left.bins, counts: Float64Array.from(left.counts) }, right);
  return { bins: bins.slice(0, used), counts: counts.slice(0, used) };
}

function mergeInto(bins: Uint16Array, counts: Counts, left: Bins, right: Bins): { used: number; largest: number } {
  const [leftBins, leftCounts, rightBins, rightCounts] = [left.bins, left.counts, right.bins, right.counts];
  const [leftEnd, rightEnd] = [leftBins.length, rightBins.length];
  let [i, j, used, largest] = [0, 0, 0, 0];
  while (i < leftEnd || j < rightEnd) {
    const a = i < leftEnd ? (leftBins[i] ?? 0) : HISTOGRAM_BINS;
    const b = j < rightEnd ? (rightBins[j] ?? 0) : HISTOGRAM_BINS;
    let count = 0;
    if (a <= b) count += leftCounts[i++] ?? 0;
    if (b <= a) count += rightCounts[j++] ?? 0;
    bins[used] = Math.min(a, b);
    counts[used++] = count;
    if (count > largest) largest = count;
  }
  return { used, largest };
}

/** How many elements lie in the bins. */
export function elementsIn({ counts }: Bins): number {
  return sumOf(counts);
}

function sumOf(counts: Counts): number {
  let sum = 0;
  for (let at = 0; at < counts.length; at++) sum += counts[at] ?? 0;
  return sum;
}

/** The bin that holds the element at this position of all in order, how many lie below the bin, and how many in it. */
export function findBin(histogram: Histogram, position: number): { bin: number; below: number; count: number } {
  const { bins, counts } = histogram;
  let { below } = histogram;
  for (let at = 0; at < bins.length; at++) {
    const count = counts[at] ?? 0;
    if (position < below + count) return { bin: bins[at] ?? 0, below, count };
    below += count;
  }
  throw new Error(`no bin holds position ${position}: the histogram counts ${below} elements`);
}

/** Where in an interval the answer is looked for: at this share of the elements in it, or in this bin. */
export type Centre = { readonly share: number } | { readonly bin: number };

/** What a part says of itself. */
export function partOf({ bins, counts }: Bins, centre: Centre): PartHistogram {
  if (bins.length <= PART_BINS_MAX) return { from: 0, to: HISTOGRAM_BINS, bins, counts };
  const at = "bin" in centre ? firstFrom(bins, centre.bin) : indexAtShare(counts, centre.share);
  const first = Math.max(0, Math.min(bins.length - PART_BINS_MAX, at - PART_BINS_MAX / 2));
  const end = first + PART_BINS_MAX;
  return {
    from: first === 0 ? 0 : (bins[first] ?? 0),
    to: bins[end] ?? HISTOGRAM_BINS,
    bins: bins.slice(first, end),
    counts: counts.slice(first, end),
  };
}

export function isComplete({ from, to }: PartHistogram): boolean {
  return from === 0 && to === HISTOGRAM_BINS;
}

/** How many elements of the part lie in the bin; undefined where the part does not say. */
export function countIn({ from, to, bins, counts }: PartHistogram, bin: number): number | undefined {
  if (bin < from || bin >= to) return undefined;
  const at = firstFrom(bins, bin);
  return bins[at] === bin ? (counts[at] ?? 0) : 0;
}

/** Index of the first bin that is not below. */
function firstFrom(bins: Uint16Array, bin: number): number {
  let [from, to] = [0, bins.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((bins[middle] ?? 0) < bin) from = middle + 1;
    else to = middle;
  }
  return from;
}

function indexAtShare(counts: Counts, share: number): number {
  const position = share * sumOf(counts);
  let below = 0;
  for (const [at, count] of counts.entries()) {
    below += count;
    if (position < below) return at;
  }
  return counts.length - 1;
}
