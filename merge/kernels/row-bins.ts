import { bitsAt, fourBits } from "./magnitude-bits";
import { SPARE_WORDS } from "./philox";

/*
 * Ranks of |d| within a row, by distribution: a histogram of the row settles nearly all, the members of one bin are sorted only
 * where it matters. Bin 0 holds the zeros, the others the eight binary orders of magnitude below the row's largest |d| in equal
 * steps of the bits (the last also what lies below), so that bins ascend with |d| and heavy ties share a bin.
 *
 * An entry has 16 bytes a bin. While counting: four u32 counters, one for each lane, so that equal neighbours do not wait for
 * each other's store. Afterwards: LOW, HIGH as the kernel likes; NEXT, the rank of the next member to be placed; OPEN, 1 where
 * members are placed, 0 where not.
 */

export const ENTRY_BYTES: i32 = 16;
export const LOW: usize = 0;
export const HIGH: usize = 4;
export const NEXT: usize = 8;
export const OPEN: usize = 12;

/** A row may begin within a group of four words. */
const WORDS_BEFORE = 3;
const ORDERS_BITS = 3;
const FRACTION_BITS = 23;

/** How many bins but that of the zeros: about two elements each, a power of two. */
export function binCountOf(rowLength: i32): i32 {
  return 1 << min<i32>(12, max<i32>(4, 30 - clz<i32>(rowLength | 1)));
}

/**
 * Scratch of one row: entries, then binOf: u32[rowLength], then members: u64[rowLength], then words: u32, then two bit fields.
 * All begin at multiples of 64.
 */
export function rankScratchBytes(rowLength: i32): usize {
  return openBitsAt(0, rowLength) + aligned(<usize>rowLength / 8 + 2);
}

export function binOfAt(scratch: usize, rowLength: i32): usize {
  return scratch + aligned(<usize>((binCountOf(rowLength) + 1) * ENTRY_BYTES));
}

export function membersAt(scratch: usize, rowLength: i32): usize {
  return binOfAt(scratch, rowLength) + aligned((<usize>rowLength) << 2);
}

export function wordsAt(scratch: usize, rowLength: i32): usize {
  return membersAt(scratch, rowLength) + aligned((<usize>rowLength) << 3);
}

export function keptBitsAt(scratch: usize, rowLength: i32): usize {
  return wordsAt(scratch, rowLength) + aligned((<usize>rowLength + WORDS_BEFORE + SPARE_WORDS) << 2);
}

export function openBitsAt(scratch: usize, rowLength: i32): usize {
  return keptBitsAt(scratch, rowLength) + aligned(<usize>rowLength / 8 + 2);
}

function aligned(sizeBytes: usize): usize {
  return (sizeBytes + 63) & ~63;
}

/** Counts the row into the entries; binOf[k] becomes the place of k's entry, in bytes from the first. */
export function countRow(entries: usize, binOf: usize, d: usize, rowLength: i32): void {
  const binCount = binCountOf(rowLength);
  const shift = FRACTION_BITS + ORDERS_BITS - ctz<i32>(binCount);
  const top = largestBits(d, rowLength);
  const tops = i32x4.splat(<i32>top);
  const lastStep = i32x4.splat(binCount - 1);
  const binCounts = i32x4.splat(binCount);
  memory.fill(entries, 0, <usize>((binCount + 1) * ENTRY_BYTES));
  let k = 0;
  for (; k < (rowLength & ~3); k += 4) {
    const at = (<usize>k) << 2;
    const bits = fourBits(d + at);
    const step = i32x4.min_s(i32x4.shr_u(i32x4.sub(tops, bits), shift), lastStep);
    const bin = v128.andnot(i32x4.sub(binCounts, step), i32x4.eq(bits, i32x4.splat(0)));
    const place = i32x4.shl(bin, 4);
    v128.store(binOf + at, place);
    countAt(entries + <usize>i32x4.extract_lane(place, 0));
    countAt(entries + <usize>i32x4.extract_lane(place, 1) + 4);
    countAt(entries + <usize>i32x4.extract_lane(place, 2) + 8);
    countAt(entries + <usize>i32x4.extract_lane(place, 3) + 12);
  }
  for (; k < rowLength; k++) {
    const bits = bitsAt(d + ((<usize>k) << 2));
    const bin = bits ? <u32>binCount - min<u32>((top - bits) >> shift, <u32>binCount - 1) : 0;
    store<u32>(binOf + ((<usize>k) << 2), bin << 4);
    countAt(entries + ((<usize>bin) << 4));
  }
}

/** How many elements an entry counted. */
export function countOf(entry: usize): u32 {
  return load<u32>(entry) + load<u32>(entry, 4) + (load<u32>(entry, 8) + load<u32>(entry, 12));
}

/**
 * Places the elements of open bins in members (u64[rowLength]: bits of |d|, then index), each bin's from its NEXT on, in order of
 * index. An element of a closed bin is written too, where its own bin begins, and stays without meaning: cheaper than a branch.
 */
export function placeMembers(members: usize, entries: usize, binOf: usize, d: usize, rowLength: i32): void {
  for (let k = 0; k < rowLength; k++) {
    const at = (<usize>k) << 2;
    const entry = entries + <usize>load<u32>(binOf + at);
    const next = load<u32>(entry, NEXT);
    store<u32>(entry, next + load<u32>(entry, OPEN), NEXT);
    store<u64>(members + ((<usize>next) << 3), ((<u64>bitsAt(d + at)) << 32) | k);
  }
}

/** Sorts u64 keys, no two of them equal. Members of a bin often are in order already: all are tied. */
export function sortKeys(keys: usize, count: i32): void {
  let ordered = 1;
  while (ordered < count && key(keys, ordered - 1) < key(keys, ordered)) ordered++;
  if (ordered >= count) return;
  if (count > 32) heapSort(keys, count);
  else insertionSort(keys, ordered, count);
}

/** The first `ordered` keys are in order. */
function insertionSort(keys: usize, ordered: i32, count: i32): void {
  for (let i = ordered; i < count; i++) {
    const moving = key(keys, i);
    let j = i;
    for (; j > 0 && key(keys, j - 1) > moving; j--) setKey(keys, j, key(keys, j - 1));
    setKey(keys, j, moving);
  }
}

/** In place and never quadratic; only rows of which one element dwarfs the others come here. */
function heapSort(keys: usize, count: i32): void {
  for (let root = count / 2 - 1; root >= 0; root--) siftDown(keys, root, count);
  for (let last = count - 1; last > 0; last--) {
    const largest = key(keys, 0);
    setKey(keys, 0, key(keys, last));
    setKey(keys, last, largest);
    siftDown(keys, 0, last);
  }
}

function siftDown(keys: usize, root: i32, count: i32): void {
  const moving = key(keys, root);
  let hole = root;
  for (let child = 2 * hole + 1; child < count; child = 2 * hole + 1) {
    if (child + 1 < count && key(keys, child) < key(keys, child + 1)) child++;
    if (key(keys, child) < moving) break;
    setKey(keys, hole, key(keys, child));
    hole = child;
  }
  setKey(keys, hole, moving);
}

function largestBits(d: usize, rowLength: i32): u32 {
  let largest = i32x4.splat(0);
  let k = 0;
  for (; k < (rowLength & ~3); k += 4) largest = i32x4.max_s(largest, fourBits(d + ((<usize>k) << 2)));
  let result = max<i32>(
    max<i32>(i32x4.extract_lane(largest, 0), i32x4.extract_lane(largest, 1)),
    max<i32>(i32x4.extract_lane(largest, 2), i32x4.extract_lane(largest, 3)),
  );
  for (; k < rowLength; k++) result = max<i32>(result, <i32>bitsAt(d + ((<usize>k) << 2)));
  return <u32>result;
}

function countAt(at: usize): void {
  store<u32>(at, load<u32>(at) + 1);
}

function key(keys: usize, i: i32): u64 {
  return load<u64>(keys + ((<usize>i) << 3));
}

function setKey(keys: usize, i: i32, value: u64): void {
  store<u64>(keys + ((<usize>i) << 3), value);
}
