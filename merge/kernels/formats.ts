/*
 * The float formats of safetensors, widened to f32 four elements at a time. A format is named by an AssemblyScript type of its
 * width, so a generic function is compiled once for each format: isFloat<T>(), sizeof<T>() and isSigned<T>() are constants to asc.
 */

export type F64 = f64;
export type F32 = f32;
export type F16 = u16;
export type BF16 = i16;
export type E4M3 = u8;
export type E5M2 = i8;

/** What the engine passes for a dtype; the order is known to merge/engines/wasm. */
export const enum Format {
  F64 = 0,
  F32 = 1,
  F16 = 2,
  BF16 = 3,
  E4M3 = 4,
  E5M2 = 5,
}

export function bytesOf(dtype: Format): i32 {
  if (dtype == Format.F64) return 8;
  if (dtype == Format.F32) return 4;
  return dtype < Format.E4M3 ? 2 : 1;
}

/** f32x4 of the four elements at `at`. Exact; F64 rounds to nearest even. */
export function four<T>(at: usize): v128 {
  if (isFloat<T>()) {
    if (sizeof<T>() == 4) return v128.load(at);
    const low = f32x4.demote_f64x2_zero(v128.load(at));
    return v128.shuffle<f32>(low, f32x4.demote_f64x2_zero(v128.load(at, 16)), 0, 1, 4, 5);
  }
  if (sizeof<T>() == 2) return widenCodes<T>(v128.load16x4_u(at));
  return widenCodes<T>(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(at))));
}

/** The element at `at`, by the same arithmetic. */
export function one<T>(at: usize): f32 {
  if (isFloat<T>()) return <f32>load<T>(at);
  const code = sizeof<T>() == 2 ? <i32>load<u16>(at) : <i32>load<u8>(at);
  return f32x4.extract_lane(widenCodes<T>(i32x4.splat(code)), 0);
}

/** codes: u32x4, upper bits zero. */
function widenCodes<T>(codes: v128): v128 {
  if (sizeof<T>() == 2) return isSigned<T>() ? i32x4.shl(codes, 16) : widenF16(codes);
  return isSigned<T>() ? widenF16(i32x4.shl(codes, 8)) : widenE4M3(codes);
}

/**
 * Exponent and fraction are put where f32 has them and the difference of the biases, 127 - 15, is made up by an exact
 * multiplication, which takes care of subnormals too. The topmost exponent stands for infinity and NaN.
 * An E5M2 code is the upper half of an F16 code.
 */
function widenF16(codes: v128): v128 {
  const magnitude = i32x4.shl(v128.and(codes, i32x4.splat(0x7fff)), 13);
  const special = v128.and(i32x4.gt_s(magnitude, i32x4.splat(0x0f7fffff)), i32x4.splat(0x7f800000));
  const sign = i32x4.shl(v128.and(codes, i32x4.splat(0x8000)), 16);
  return v128.or(f32x4.mul(magnitude, f32x4.splat(5192296858534827628530496329220096.0)), v128.or(special, sign));
}

/** The same with 127 - 7. E4M3 has no infinity, and NaN is the one code with all bits set; it has the payload of arithmetic's NaN. */
function widenE4M3(codes: v128): v128 {
  const magnitude = i32x4.shl(v128.and(codes, i32x4.splat(0x7f)), 20);
  const isNaN = i32x4.eq(magnitude, i32x4.splat(0x07f00000));
  const sign = i32x4.shl(v128.and(codes, i32x4.splat(0x80)), 24);
  const finite = f32x4.mul(magnitude, f32x4.splat(1329227995784915872903807060280344576.0));
  return v128.or(v128.bitselect(i32x4.splat(0x7fc00000), finite, isNaN), sign);
}
