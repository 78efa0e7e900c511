import { BF16, E4M3, E5M2, F16, F32, F64, Format } from "./formats";

/**
 * dst[k] = dtype(src[k]), rounded once to nearest even. src: f32[n]; dst: n elements of dtype; no overlap.
 * Every NaN becomes the positive quiet NaN of the dtype: which payload arithmetic leaves differs from one machine to the next.
 */
export function narrow(dst: usize, src: usize, dtype: Format, n: i32): void {
  switch (dtype) {
    case Format.F64:
      return narrowToF64(dst, src, n);
    case Format.F32:
      return narrowToF32(dst, src, n);
    case Format.F16:
      return narrowTo<F16>(dst, src, n);
    case Format.BF16:
      return narrowTo<BF16>(dst, src, n);
    case Format.E4M3:
      return narrowTo<E4M3>(dst, src, n);
    default:
      return narrowTo<E5M2>(dst, src, n);
  }
}

function narrowTo<T>(dst: usize, src: usize, n: i32): void {
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const from = src + ((<usize>k) << 2);
    const to = dst + <usize>k * sizeof<T>();
    const low = v128.load(from);
    const high = v128.load(from, 16);
    const isNan = i16x8.narrow_i32x4_s(f32x4.ne(low, low), f32x4.ne(high, high));
    const rounded = i16x8.narrow_i32x4_u(narrowCodes<T>(low), narrowCodes<T>(high));
    const codes = v128.bitselect(i16x8.splat(nanOf<T>()), rounded, isNan);
    if (sizeof<T>() == 2) v128.store(to, codes);
    else v128.store64_lane(to, i8x16.narrow_i16x8_u(codes, codes), 0);
  }
  for (; k < n; k++) {
    const x = load<f32>(src + ((<usize>k) << 2));
    const code = x == x ? i32x4.extract_lane(narrowCodes<T>(f32x4.splat(x)), 0) : <i32>nanOf<T>();
    if (sizeof<T>() == 2) store<u16>(dst + ((<usize>k) << 1), <u16>code);
    else store<u8>(dst + <usize>k, <u8>code);
  }
}

/** u32x4 of codes from f32x4 of numbers. Arguments: fraction bits, smallest normal exponent, where numbers end. */
function narrowCodes<T>(x: v128): v128 {
  if (sizeof<T>() == 2) return isSigned<T>() ? narrowBF16(x) : narrowSmall(x, 10, -14, 0x7c00, 16);
  return isSigned<T>() ? narrowSmall(x, 2, -14, 0x7c, 24) : narrowSmall(x, 3, -6, 0x7f, 24);
}

function nanOf<T>(): i16 {
  if (sizeof<T>() == 2) return isSigned<T>() ? 0x7fc0 : 0x7e00;
  return isSigned<T>() ? 0x7e : 0x7f;
}

/** The upper half of the f32 after adding just below half a step, or half a step where the lower neighbour is odd. */
function narrowBF16(x: v128): v128 {
  const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1));
  return i32x4.shr_u(i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd), 16);
}

/**
 * Formats with a smaller exponent range than f32. Normal numbers: the exponent gets the other bias, the fraction is rounded as
 * in narrowBF16, a carry moves the exponent on. Subnormal: adding a power of two whose last place is the format's smallest step
 * lets the f32 addition itself round; the code is what was added to that power of two.
 */
function narrowSmall(x: v128, fractionBits: i32, minimumExponent: i32, overflow: i32, signShift: i32): v128 {
  const shift = 23 - fractionBits;
  const magnitude = v128.and(x, i32x4.splat(0x7fffffff));
  const sign = i32x4.shr_u(v128.andnot(x, i32x4.splat(0x7fffffff)), signShift);
  const odd = v128.and(i32x4.shr_u(magnitude, shift), i32x4.splat(1));
  const rebias = i32x4.splat(((-126 - minimumExponent) << 23) + (1 << (shift - 1)) - 1);
  const normal = i32x4.shr_u(i32x4.add(i32x4.add(magnitude, rebias), odd), shift);
  const step = i32x4.splat((minimumExponent + shift + 127) << 23);
  const subnormal = i32x4.sub(f32x4.add(magnitude, step), step);
  const isNormal = i32x4.gt_s(magnitude, i32x4.splat(((minimumExponent + 127) << 23) - 1));
  const code = i32x4.min_s(v128.bitselect(normal, subnormal, isNormal), i32x4.splat(overflow));
  return v128.or(code, sign);
}

function narrowToF32(dst: usize, src: usize, n: i32): void {
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const x = v128.load(src + ((<usize>k) << 2));
    v128.store(dst + ((<usize>k) << 2), v128.bitselect(i32x4.splat(0x7fc00000), x, f32x4.ne(x, x)));
  }
  for (; k < n; k++) {
    const x = load<f32>(src + ((<usize>k) << 2));
    store<u32>(dst + ((<usize>k) << 2), x == x ? reinterpret<u32>(x) : 0x7fc00000);
  }
}

function narrowToF64(dst: usize, src: usize, n: i32): void {
  let k = 0;
  for (; k < (n & ~1); k += 2) {
    const x = f64x2.promote_low_f32x4(v128.load64_zero(src + ((<usize>k) << 2)));
    v128.store(dst + ((<usize>k) << 3), v128.bitselect(i64x2.splat(0x7ff8000000000000), x, f64x2.ne(x, x)));
  }
  for (; k < n; k++) {
    const x = <f64>load<f32>(src + ((<usize>k) << 2));
    store<u64>(dst + ((<usize>k) << 3), x == x ? reinterpret<u64>(x) : 0x7ff8000000000000);
  }
}
