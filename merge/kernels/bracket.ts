import { above, atLeast, bitsAt, fourBits } from "./magnitude-bits";
import { bitsOf } from "./mask-bits";

/**
 * counts (u32[5]) += how many |d| are below lo, equal lo, strictly between, equal hi, above hi; lo <= hi, and if lo = hi every
 * equal counts as equal lo. Those between go to collected (u32[capacity]) in element order, from index counts[2] before the call
 * on, while there is room. d: f32[n].
 * The four comparisons are counted without a branch, however many values are tied; only the few between cost more.
 */
export function bracket(counts: usize, collected: usize, capacity: u32, d: usize, lo: u32, hi: u32, n: i32): void {
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
    const at = d + ((<usize>k) << 2);
    const x0 = fourBits(at);
    const x1 = fourBits(at + 16);
    const x2 = fourBits(at + 32);
    const x3 = fourBits(at + 48);
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
    for (let rest = inside; rest != 0; rest &= rest - 1) {
      if (next < capacity) store<u32>(collected + ((<usize>next) << 2), bitsAt(at + ((<usize>ctz<i32>(rest)) << 2)));
      next++;
    }
  }
  let countAtLeastLo = -sumOf(notBelow);
  let countPastLo = -sumOf(pastLo);
  let countReachHi = -sumOf(reachHi);
  let countPastHi = -sumOf(pastHi);
  for (; k < n; k++) {
    const bits = bitsAt(d + ((<usize>k) << 2));
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
