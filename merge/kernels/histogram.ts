import { bitsAt, fourBits } from "./magnitude-bits";

/**
 * bins (u32[binCount + 2]): bins[0] += how many |d| bits are below lo, bins[1 + j] += how many lie in
 * [lo + j * 2^shift, lo + (j + 1) * 2^shift), bins[binCount + 1] += how many are above all bins. d: f32[n].
 */
export function histogram(bins: usize, d: usize, lo: u32, shift: i32, binCount: i32, n: i32): void {
  const los = i32x4.splat(<i32>lo);
  const past = i32x4.splat(binCount);
  const ones = i32x4.splat(1);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const bits = fourBits(d + ((<usize>k) << 2));
    const inRange = i32x4.ge_u(bits, los);
    const bin = i32x4.add(i32x4.min_u(i32x4.shr_u(i32x4.sub(bits, los), shift), past), ones);
    const at = i32x4.shl(v128.and(bin, inRange), 2);
    countAt(bins + <usize>i32x4.extract_lane(at, 0));
    countAt(bins + <usize>i32x4.extract_lane(at, 1));
    countAt(bins + <usize>i32x4.extract_lane(at, 2));
    countAt(bins + <usize>i32x4.extract_lane(at, 3));
  }
  for (; k < n; k++) {
    const bits = bitsAt(d + ((<usize>k) << 2));
    const bin = bits < lo ? 0 : 1 + min<u32>((bits - lo) >> shift, <u32>binCount);
    countAt(bins + ((<usize>bin) << 2));
  }
}

function countAt(at: usize): void {
  store<u32>(at, load<u32>(at) + 1);
}
