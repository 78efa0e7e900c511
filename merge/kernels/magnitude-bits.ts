/*
 * |d| is ranked by its bits with the sign cleared. They are below 2^31, so signed comparisons, the cheap ones, order them. Bounds
 * come as any u32; these two clamp one without changing the answer.
 */

/** u32x4 of the four |d| at `at`. */
export function fourBits(at: usize): v128 {
  return v128.and(v128.load(at), i32x4.splat(0x7fffffff));
}

export function bitsAt(at: usize): u32 {
  return load<u32>(at) & 0x7fffffff;
}

/** bits > bound, as gt_s(bits, this). */
export function above(bound: u32): v128 {
  return i32x4.splat(<i32>min<u32>(bound, 0x7fffffff));
}

/** bits >= bound, as gt_s(bits, this). */
export function atLeast(bound: u32): v128 {
  return i32x4.splat(<i32>(min<u32>(bound, 0x80000000) - 1));
}
