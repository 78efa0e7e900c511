import { above, atLeast, bitsAt, fourBits } from "./magnitude-bits";
import { bitsOf, storeBits } from "./mask-bits";

/** No |d| has these bits. */
const NEVER: u32 = 0xffffffff;

/**
 * bit k = lo < |d| < hi, or |d| = lo with tie number in [loFrom, loTo), or |d| = hi with tie number in [hiFrom, hiTo); if lo = hi
 * only the lo window counts. Tie numbers go on from ties (u32[2]: seen so far at lo, at hi), which is updated. d: f32[n];
 * mask: ceil(n / 8) bytes, bits past n are 0.
 */
export function maskBand(
  mask: usize,
  ties: usize,
  d: usize,
  lo: u32,
  loFrom: u32,
  loTo: u32,
  hi: u32,
  hiFrom: u32,
  hiTo: u32,
  n: i32,
): void {
  const aboveLo = above(lo);
  const atLeastHi = atLeast(hi);
  const equalLo = i32x4.splat(<i32>lo);
  const upperTie = lo == hi ? NEVER : hi;
  const equalHi = i32x4.splat(<i32>upperTie);
  let seenLo = load<u32>(ties);
  let seenHi = load<u32>(ties, 4);
  let k = 0;
  for (; k < (n & ~15); k += 16) {
    const at = d + ((<usize>k) << 2);
    const x0 = fourBits(at);
    const x1 = fourBits(at + 16);
    const x2 = fourBits(at + 32);
    const x3 = fourBits(at + 48);
    let bits = bitsOf(
      between(x0, aboveLo, atLeastHi),
      between(x1, aboveLo, atLeastHi),
      between(x2, aboveLo, atLeastHi),
      between(x3, aboveLo, atLeastHi),
    );
    const tied = v128.or(
      v128.or(tie(x0, equalLo, equalHi), tie(x1, equalLo, equalHi)),
      v128.or(tie(x2, equalLo, equalHi), tie(x3, equalLo, equalHi)),
    );
    if (v128.any_true(tied)) {
      const atLo = bitsOf(i32x4.eq(x0, equalLo), i32x4.eq(x1, equalLo), i32x4.eq(x2, equalLo), i32x4.eq(x3, equalLo));
      const atHi = bitsOf(i32x4.eq(x0, equalHi), i32x4.eq(x1, equalHi), i32x4.eq(x2, equalHi), i32x4.eq(x3, equalHi));
      bits |= inWindow(atLo, seenLo, loFrom, loTo) | inWindow(atHi, seenHi, hiFrom, hiTo);
      seenLo += popcnt<u32>(atLo);
      seenHi += popcnt<u32>(atHi);
    }
    store<u16>(mask + (<usize>k >> 3), <u16>bits);
  }
  if (k < n) {
    let bits = 0;
    let atLo = 0;
    let atHi = 0;
    for (let j = k; j < n; j++) {
      const magnitude = bitsAt(d + ((<usize>j) << 2));
      bits |= i32(magnitude > lo && magnitude < hi) << (j - k);
      atLo |= i32(magnitude == lo) << (j - k);
      atHi |= i32(magnitude == upperTie) << (j - k);
    }
    bits |= inWindow(atLo, seenLo, loFrom, loTo) | inWindow(atHi, seenHi, hiFrom, hiTo);
    seenLo += popcnt<u32>(atLo);
    seenHi += popcnt<u32>(atHi);
    storeBits(mask + (<usize>k >> 3), bits, n - k);
  }
  store<u32>(ties, seenLo);
  store<u32>(ties, seenHi, 4);
}

function between(bits: v128, aboveLo: v128, atLeastHi: v128): v128 {
  return v128.andnot(i32x4.gt_s(bits, aboveLo), i32x4.gt_s(bits, atLeastHi));
}

function tie(bits: v128, equalLo: v128, equalHi: v128): v128 {
  return v128.or(i32x4.eq(bits, equalLo), i32x4.eq(bits, equalHi));
}

/** Of the tied elements of a turn, numbered from `seen`, those with numbers in [from, to). */
function inWindow(tied: i32, seen: u32, from: u32, to: u32): i32 {
  const end = seen + popcnt<u32>(tied);
  if (seen >= from && end <= to) return tied;
  if (end <= from || seen >= to) return 0;
  let kept = 0;
  for (let rest = tied, number = seen; rest != 0; rest &= rest - 1, number++) {
    if (number >= from && number < to) kept |= rest & -rest;
  }
  return kept;
}
