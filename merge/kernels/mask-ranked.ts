import { bitsAt, fourBits } from "./magnitude-bits";
import { appendBits, bitsOf } from "./mask-bits";
import { fillWords } from "./philox";
import {
  binCountOf,
  binOfAt,
  countOf,
  countRow,
  ENTRY_BYTES,
  HIGH,
  keptBitsAt,
  LOW,
  membersAt,
  NEXT,
  OPEN,
  openBitsAt,
  placeMembers,
  sortKeys,
  wordsAt,
} from "./row-bins";

/** Up to this many open elements are ranked one by one, each by a look at the whole row. */
const FEW: i32 = 8;
const SIGN: u32 = 0x80000000;

/**
 * bit of (r, k) = word(firstElement + r * rowLength + k) < thresholds[rank of |d[r, k]| in its row], ascending, of equals the
 * lower k first. thresholds: u32[rowLength], ascending; d: f32[rows, rowLength]; mask: ceil(rows * rowLength / 8) bytes;
 * scratch: rankScratchBytes(rowLength).
 *
 * The ranks in a bin have thresholds between those of its first and its last. A word below the first is kept, one not below the
 * last is dropped, whatever the exact rank; what lies between is *open*: few elements of a row, unless many are tied.
 */
export function maskRanked(
  mask: usize,
  d: usize,
  thresholds: usize,
  scratch: usize,
  seedLow: u32,
  seedHigh: u32,
  model: u32,
  nameLow: u32,
  nameHigh: u32,
  firstElement: f64,
  rows: i32,
  rowLength: i32,
): void {
  const binOf = binOfAt(scratch, rowLength);
  const keptBits = keptBitsAt(scratch, rowLength);
  const openBits = openBitsAt(scratch, rowLength);
  let element = <u64>firstElement;
  let position: u64 = 0;
  for (let row = 0; row < rows; row++) {
    const inGroup = <i32>element & 3;
    fillWords(
      wordsAt(scratch, rowLength),
      seedLow,
      seedHigh,
      model,
      nameLow,
      nameHigh,
      <u32>(element >> 2),
      rowLength + inGroup,
    );
    const words = wordsAt(scratch, rowLength) + ((<usize>inGroup) << 2);
    countRow(scratch, binOf, d, rowLength);
    boundBins(scratch, thresholds, rowLength);
    const open = compareWithBounds(keptBits, openBits, scratch, binOf, words, rowLength);
    if (open > FEW) decideByBins(keptBits, openBits, scratch, words, d, thresholds, rowLength);
    else if (open > 0) decideOneByOne(keptBits, openBits, words, d, thresholds, rowLength);
    for (let k = 0; k < rowLength; k += 16) {
      const bits = <i32>load<u16>(keptBits + (<usize>k >> 3));
      appendBits(mask, position + k, bits, min<i32>(16, rowLength - k));
    }
    element += rowLength;
    position += rowLength;
    d += (<usize>rowLength) << 2;
  }
}

/** LOW and HIGH of every bin: the thresholds of its first and last rank, sign bit turned over for signed comparisons. */
function boundBins(entries: usize, thresholds: usize, rowLength: i32): void {
  const end = entries + <usize>((binCountOf(rowLength) + 1) * ENTRY_BYTES);
  const lastRank = rowLength - 1;
  let rank = 0;
  for (let entry = entries; entry < end; entry += ENTRY_BYTES) {
    const next = rank + <i32>countOf(entry);
    // An empty bin has no ranks, and nobody asks for its bounds.
    const first = min<i32>(rank, lastRank);
    const last = max<i32>(next - 1, 0);
    store<u32>(entry, load<u32>(thresholds + ((<usize>first) << 2)) ^ SIGN, LOW);
    store<u32>(entry, load<u32>(thresholds + ((<usize>last) << 2)) ^ SIGN, HIGH);
    store<u64>(entry, rank, NEXT); // OPEN = 0
    rank = next;
  }
}

/** Returns how many are open. */
function compareWithBounds(
  keptBits: usize,
  openBits: usize,
  entries: usize,
  binOf: usize,
  words: usize,
  rowLength: i32,
): i32 {
  let open = 0;
  let k = 0;
  for (; k < (rowLength & ~15); k += 16) {
    const at = (<usize>k) << 2;
    const bounds0 = boundsOf(entries, binOf + at);
    const bounds1 = boundsOf(entries, binOf + at + 8);
    const bounds2 = boundsOf(entries, binOf + at + 16);
    const bounds3 = boundsOf(entries, binOf + at + 24);
    const bounds4 = boundsOf(entries, binOf + at + 32);
    const bounds5 = boundsOf(entries, binOf + at + 40);
    const bounds6 = boundsOf(entries, binOf + at + 48);
    const bounds7 = boundsOf(entries, binOf + at + 56);
    const sign = i32x4.splat(<i32>SIGN);
    const words0 = v128.xor(v128.load(words + at), sign);
    const words1 = v128.xor(v128.load(words + at, 16), sign);
    const words2 = v128.xor(v128.load(words + at, 32), sign);
    const words3 = v128.xor(v128.load(words + at, 48), sign);
    const kept = bitsOf(
      i32x4.gt_s(lows(bounds0, bounds1), words0),
      i32x4.gt_s(lows(bounds2, bounds3), words1),
      i32x4.gt_s(lows(bounds4, bounds5), words2),
      i32x4.gt_s(lows(bounds6, bounds7), words3),
    );
    const possible = bitsOf(
      i32x4.gt_s(highs(bounds0, bounds1), words0),
      i32x4.gt_s(highs(bounds2, bounds3), words1),
      i32x4.gt_s(highs(bounds4, bounds5), words2),
      i32x4.gt_s(highs(bounds6, bounds7), words3),
    );
    store<u16>(keptBits + (<usize>k >> 3), <u16>kept);
    store<u16>(openBits + (<usize>k >> 3), <u16>(kept ^ possible));
    open += popcnt<i32>(kept ^ possible);
  }
  if (k == rowLength) return open;
  let kept = 0;
  let possible = 0;
  for (let j = k; j < rowLength; j++) {
    const entry = entries + <usize>load<u32>(binOf + ((<usize>j) << 2));
    const word = <i32>(load<u32>(words + ((<usize>j) << 2)) ^ SIGN);
    kept |= i32(word < load<i32>(entry, LOW)) << (j - k);
    possible |= i32(word < load<i32>(entry, HIGH)) << (j - k);
  }
  store<u16>(keptBits + (<usize>k >> 3), <u16>kept);
  store<u16>(openBits + (<usize>k >> 3), <u16>(kept ^ possible));
  return open + popcnt<i32>(kept ^ possible);
}

/** LOW, HIGH, LOW, HIGH of two neighbouring elements. */
function boundsOf(entries: usize, binOf: usize): v128 {
  const first = v128.load64_zero(entries + <usize>load<u32>(binOf));
  return v128.load64_lane(entries + <usize>load<u32>(binOf, 4), first, 1);
}

function lows(bounds01: v128, bounds23: v128): v128 {
  return v128.shuffle<i32>(bounds01, bounds23, 0, 2, 4, 6);
}

function highs(bounds01: v128, bounds23: v128): v128 {
  return v128.shuffle<i32>(bounds01, bounds23, 1, 3, 5, 7);
}

function decideOneByOne(
  keptBits: usize,
  openBits: usize,
  words: usize,
  d: usize,
  thresholds: usize,
  rowLength: i32,
): void {
  for (let begin = 0; begin < rowLength; begin += 16) {
    const at = <usize>begin >> 3;
    let kept = <i32>load<u16>(keptBits + at);
    for (let rest = <i32>load<u16>(openBits + at); rest != 0; rest &= rest - 1) {
      const k = begin + ctz<i32>(rest);
      const threshold = load<u32>(thresholds + ((<usize>rankOf(d, k, rowLength)) << 2));
      if (load<u32>(words + ((<usize>k) << 2)) < threshold) kept |= rest & -rest;
    }
    store<u16>(keptBits + at, <u16>kept);
  }
}

/** How many of the row come before element k: the smaller ones, and of its equals those with a lower index. */
function rankOf(d: usize, k: i32, rowLength: i32): i32 {
  const bits = bitsAt(d + ((<usize>k) << 2));
  const pivot = i32x4.splat(<i32>bits);
  let before = 0;
  let counts = i32x4.splat(0);
  let j = 0;
  for (; j < (k & ~3); j += 4) counts = i32x4.add(counts, i32x4.le_s(fourBits(d + ((<usize>j) << 2)), pivot));
  for (; j < k; j++) before += i32(bitsAt(d + ((<usize>j) << 2)) <= bits);
  for (j = k + 1; j + 4 <= rowLength; j += 4) {
    counts = i32x4.add(counts, i32x4.gt_s(pivot, fourBits(d + ((<usize>j) << 2))));
  }
  for (; j < rowLength; j++) before += i32(bitsAt(d + ((<usize>j) << 2)) < bits);
  const pairs = i32x4.add(counts, v128.shuffle<i32>(counts, counts, 2, 3, 0, 1));
  return before - i32x4.extract_lane(pairs, 0) - i32x4.extract_lane(pairs, 1);
}

/** Exact ranks of all members of the bins that hold open elements. */
function decideByBins(
  keptBits: usize,
  openBits: usize,
  entries: usize,
  words: usize,
  d: usize,
  thresholds: usize,
  rowLength: i32,
): void {
  const binOf = binOfAt(entries, rowLength);
  const members = membersAt(entries, rowLength);
  openBins(openBits, entries, binOf, rowLength);
  placeMembers(members, entries, binOf, d, rowLength);
  const end = entries + <usize>((binCountOf(rowLength) + 1) * ENTRY_BYTES);
  for (let entry = entries; entry < end; entry += ENTRY_BYTES) {
    if (!load<u32>(entry, OPEN)) continue;
    const first = load<u32>(entry, LOW);
    const next = load<u32>(entry, NEXT);
    sortKeys(members + ((<usize>first) << 3), <i32>(next - first));
    for (let rank = first; rank < next; rank++) {
      const k = load<u32>(members + ((<usize>rank) << 3));
      const at = <usize>k >> 3;
      const bit = (<u32>1) << (k & 7);
      if (!(load<u8>(openBits + at) & bit)) continue;
      const isKept = load<u32>(words + ((<usize>k) << 2)) < load<u32>(thresholds + ((<usize>rank) << 2));
      if (isKept) store<u8>(keptBits + at, load<u8>(keptBits + at) | <u8>bit);
    }
  }
}

/** Sets OPEN where an open element lies; LOW becomes the bin's first rank. */
function openBins(openBits: usize, entries: usize, binOf: usize, rowLength: i32): void {
  for (let begin = 0; begin < rowLength; begin += 16) {
    for (let rest = <i32>load<u16>(openBits + (<usize>begin >> 3)); rest != 0; rest &= rest - 1) {
      const entry = entries + <usize>load<u32>(binOf + ((<usize>(begin + ctz<i32>(rest))) << 2));
      store<u32>(entry, load<u32>(entry, NEXT), LOW);
      store<u32>(entry, 1, OPEN);
    }
  }
}
