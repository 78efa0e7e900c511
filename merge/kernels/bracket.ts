import { BF16, E4M3, E5M2, F16, F32, F64, Format, four, one } from "./formats";
import { above, atLeast } from "./magnitude-bits";
import { bitsOf } from "./mask-bits";

/** What is ranked, a constant to asc: values as they are, or what they differ from a base. */
type Values = i32;
type Deltas = f32;

/**
 * counts (u32[5]) += how many |d| are below lo, equal lo, strictly between, equal hi, above hi; lo <= hi, and if lo = hi every
 * equal counts as equal lo. Those between go to collected (u32[capacity]) in element order, from index counts[2] before the call
 * on, while there is room. d: f32[n].
 * The four comparisons are counted without a branch, however many values are tied; only the few between cost more.
 */
export function bracket(counts: usize, collected: usize, capacity: u32, d: usize, lo: u32, hi: u32, n: i32): void {
  count<F32, Values>(counts, collected, capacity, d, 0, lo, hi, n);
}

/** As bracket of d = f32(model[k]) - base[k], which is kept nowhere. model: n elements of dtype; base: f32[n]. */
export function bracketDelta(
  counts: usize,
  collected: usize,
  capacity: u32,
  model: usize,
  dtype: Format,
  base: usize,
  lo: u32,
  hi: u32,
  n: i32,
): void {
  switch (dtype) {
    case Format.F64:
      return count<F64, Deltas>(counts, collected, capacity, model, base, lo, hi, n);
    case Format.F32:
      return count<F32, Deltas>(counts, collected, capacity, model, base, lo, hi, n);
    case Format.F16:
      return count<F16, Deltas>(counts, collected, capacity, model, base, lo, hi, n);
    case Format.BF16:
      return count<BF16, Deltas>(counts, collected, capacity, model, base, lo, hi, n);
    case Format.E4M3:
      return count<E4M3, Deltas>(counts, collected, capacity, model, base, lo, hi, n);
    default:
      return count<E5M2, Deltas>(counts, collected, capacity, model, base, lo, hi, n);
  }
}

function count<T, V>(
  counts: usize,
  collected: usize,
  capacity: u32,
  x: usize,
  base: usize,
  lo: u32,
  hi: u32,
  n: i32,
): void {
  const atLeastLo = atLeast(lo);
  const aboveLo = above(lo);
  const atLeastHi = atLeast(hi);
  const aboveHi = above(hi);
  // A comparison that holds gives -1: these count down.
  let notBelow = i32x4.splat(0);
  let pastLo = i32x4.splat(0);
  let reachHi = i32x4.splat(0);
  let pastHi = i32x4.splat(0);
  let next = load<u32>(counts, 8);
  let k = 0;
  for (; k < (n & ~15); k += 16) {
    const x0 = fourFrom<T, V>(x, base, k);
    const x1 = fourFrom<T, V>(x, base, k + 4);
    const x2 = fourFrom<T, V>(x, base, k + 8);
    const x3 = fourFrom<T, V>(x, base, k + 12);
    const isPastLo0 = i32x4.gt_s(x0, aboveLo);
    const isPastLo1 = i32x4.gt_s(x1, aboveLo);
    const isPastLo2 = i32x4.gt_s(x2, aboveLo);
    const isPastLo3 = i32x4.gt_s(x3, aboveLo);
    const reachesHi0 = i32x4.gt_s(x0, atLeastHi);
    const reachesHi1 = i32x4.gt_s(x1, atLeastHi);
    const reachesHi2 = i32x4.gt_s(x2, atLeastHi);
    const reachesHi3 = i32x4.gt_s(x3, atLeastHi);
    notBelow = i32x4.add(notBelow, sumOfFour(x0, x1, x2, x3, atLeastLo));
    pastLo = i32x4.add(pastLo, i32x4.add(i32x4.add(isPastLo0, isPastLo1), i32x4.add(isPastLo2, isPastLo3)));
    reachHi = i32x4.add(reachHi, i32x4.add(i32x4.add(reachesHi0, reachesHi1), i32x4.add(reachesHi2, reachesHi3)));
    pastHi = i32x4.add(pastHi, sumOfFour(x0, x1, x2, x3, aboveHi));
    const inside = bitsOf(
      v128.andnot(isPastLo0, reachesHi0),
      v128.andnot(isPastLo1, reachesHi1),
      v128.andnot(isPastLo2, reachesHi2),
      v128.andnot(isPastLo3, reachesHi3),
    );
    if (inside == 0) continue;
    next = append(collected, capacity, next, x0, inside);
    next = append(collected, capacity, next, x1, inside >> 4);
    next = append(collected, capacity, next, x2, inside >> 8);
    next = append(collected, capacity, next, x3, inside >> 12);
  }
  let countAtLeastLo = -sumOf(notBelow);
  let countPastLo = -sumOf(pastLo);
  let countReachHi = -sumOf(reachHi);
  let countPastHi = -sumOf(pastHi);
  for (; k < n; k++) {
    const bits = oneFrom<T, V>(x, base, k);
    countAtLeastLo += i32(bits >= lo);
    countPastLo += i32(bits > lo);
    countReachHi += i32(bits >= hi);
    countPastHi += i32(bits > hi);
    if (bits <= lo || bits >= hi) continue;
    if (next < capacity) store<u32>(collected + ((<usize>next) << 2), bits);
    next++;
  }
  const isPoint = lo == hi;
  addTo(counts, n - countAtLeastLo);
  addTo(counts + 4, countAtLeastLo - countPastLo);
  addTo(counts + 8, isPoint ? 0 : countPastLo - countReachHi);
  addTo(counts + 12, isPoint ? 0 : countReachHi - countPastHi);
  addTo(counts + 16, countPastHi);
}

function fourFrom<T, V>(x: usize, base: usize, k: i32): v128 {
  let values = four<T>(x + <usize>k * sizeof<T>());
  if (isFloat<V>()) values = f32x4.sub(values, v128.load(base + ((<usize>k) << 2)));
  return v128.and(values, i32x4.splat(0x7fffffff));
}

function oneFrom<T, V>(x: usize, base: usize, k: i32): u32 {
  let value = one<T>(x + <usize>k * sizeof<T>());
  if (isFloat<V>()) value -= load<f32>(base + ((<usize>k) << 2));
  return reinterpret<u32>(value) & 0x7fffffff;
}

/** For each set of four: the bytes of its elements, one after another; those past them are 128, which swizzle makes 0. */
// biome-ignore format: a set a line
const bytesOfSets = memory.data<u8>([
  128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
  0, 1, 2, 3, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
  4, 5, 6, 7, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
  0, 1, 2, 3, 4, 5, 6, 7, 128, 128, 128, 128, 128, 128, 128, 128,
  8, 9, 10, 11, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
  0, 1, 2, 3, 8, 9, 10, 11, 128, 128, 128, 128, 128, 128, 128, 128,
  4, 5, 6, 7, 8, 9, 10, 11, 128, 128, 128, 128, 128, 128, 128, 128,
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 128, 128, 128, 128,
  12, 13, 14, 15, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
  0, 1, 2, 3, 12, 13, 14, 15, 128, 128, 128, 128, 128, 128, 128, 128,
  4, 5, 6, 7, 12, 13, 14, 15, 128, 128, 128, 128, 128, 128, 128, 128,
  0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 128, 128, 128, 128,
  8, 9, 10, 11, 12, 13, 14, 15, 128, 128, 128, 128, 128, 128, 128, 128,
  0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 128, 128, 128, 128,
  4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 128, 128, 128, 128,
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
], 16);

/** i32x4 masks of the lanes from the first, second ... fifth on. */
// biome-ignore format: a mask a line
const lanesFrom = memory.data<i32>([
  -1, -1, -1, -1,
  0, -1, -1, -1,
  0, 0, -1, -1,
  0, 0, 0, -1,
  0, 0, 0, 0,
], 16);

/** Of four bits those in `set` go to collected from index `next` on, as far as there is room. Returns the next index. */
function append(collected: usize, capacity: u32, next: u32, bits: v128, set: i32): u32 {
  const chosen = <usize>(set & 15);
  const count = popcnt<u32>(<u32>chosen);
  const at = collected + ((<usize>next) << 2);
  const front = i8x16.swizzle(bits, v128.load(bytesOfSets + (chosen << 4)));
  if (next + 4 <= capacity) {
    // What lies behind is put back as it was.
    v128.store(at, v128.or(front, v128.and(v128.load(at), v128.load(lanesFrom + ((<usize>count) << 4)))));
    return next + count;
  }
  let rest = front;
  for (let j: u32 = 0; j < count; j++) {
    if (next + j < capacity) store<i32>(at + ((<usize>j) << 2), i32x4.extract_lane(rest, 0));
    rest = v128.shuffle<i32>(rest, rest, 1, 2, 3, 0);
  }
  return next + count;
}

/** Of four times four elements, how many a lane lie above the bound, counted down. */
function sumOfFour(x0: v128, x1: v128, x2: v128, x3: v128, bound: v128): v128 {
  const low = i32x4.add(i32x4.gt_s(x0, bound), i32x4.gt_s(x1, bound));
  return i32x4.add(low, i32x4.add(i32x4.gt_s(x2, bound), i32x4.gt_s(x3, bound)));
}

function sumOf(lanes: v128): i32 {
  const pairs = i32x4.add(lanes, v128.shuffle<i32>(lanes, lanes, 2, 3, 0, 1));
  return i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 1);
}

function addTo(at: usize, count: i32): void {
  store<i32>(at, load<i32>(at) + count);
}
