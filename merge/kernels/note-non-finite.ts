import { BF16, bytesOf, E4M3, E5M2, F16, F32, F64, Format } from "./formats";
import { widen } from "./widen";

const NOTHING: i32 = -1;

/** note (u32[3]), unless there is one: the tag, the index of the first NaN or infinity, and its bits. E4M3 has NaN only. */
export function noteNonFinite(note: usize, tag: i32, src: usize, dtype: Format, values: usize, n: i32): void {
  if (load<i32>(note) != NOTHING) return;
  const index = firstOf(src, dtype, n);
  if (index < 0) return;
  store<i32>(note, tag);
  store<i32>(note, index, 4);
  if (values != 0) store<f32>(note, load<f32>(values + <usize>index * 4), 8);
  else widen(note + 8, src + <usize>index * bytesOf(dtype), dtype, 1);
  const value = load<f32>(note, 8);
  if (value != value) store<i32>(note, 0x7fc00000, 8);
}

function firstOf(src: usize, dtype: Format, n: i32): i32 {
  switch (dtype) {
    case Format.F64:
      return first<F64>(src, n);
    case Format.F32:
      return first<F32>(src, n);
    case Format.F16:
      return first<F16>(src, n);
    case Format.BF16:
      return first<BF16>(src, n);
    case Format.E4M3:
      return first<E4M3>(src, n);
    default:
      return first<E5M2>(src, n);
  }
}

/** 64 bytes a turn; only the turn that holds one, and the tail, are looked through one by one. */
function first<T>(src: usize, n: i32): i32 {
  const perTurn = 64 / sizeof<T>();
  let k = 0;
  for (; k + <i32>perTurn <= n; k += <i32>perTurn) {
    const at = src + <usize>k * sizeof<T>();
    const low = v128.or(nonFinite<T>(v128.load(at)), nonFinite<T>(v128.load(at, 16)));
    const high = v128.or(nonFinite<T>(v128.load(at, 32)), nonFinite<T>(v128.load(at, 48)));
    if (v128.any_true(v128.or(low, high))) break;
  }
  for (; k < n; k++) if (isNonFinite<T>(src + <usize>k * sizeof<T>())) return k;
  return -1;
}

/** All bits of a lane set where its exponent is all ones; of two f64 the lower lanes, once they are rounded to f32. */
function nonFinite<T>(codes: v128): v128 {
  if (sizeof<T>() >= 4) {
    const exponent = i32x4.splat(0x7f800000);
    const singles = sizeof<T>() == 8 ? f32x4.demote_f64x2_zero(codes) : codes;
    return i32x4.eq(v128.and(singles, exponent), exponent);
  }
  if (sizeof<T>() == 2) {
    const exponent = i16x8.splat(isSigned<T>() ? 0x7f80 : 0x7c00);
    return i16x8.eq(v128.and(codes, exponent), exponent);
  }
  const exponent = i8x16.splat(isSigned<T>() ? 0x7c : 0x7f);
  return i8x16.eq(v128.and(codes, exponent), exponent);
}

function isNonFinite<T>(at: usize): bool {
  if (sizeof<T>() == 8) return v128.any_true(nonFinite<T>(v128.load64_zero(at)));
  if (sizeof<T>() == 4) return v128.any_true(nonFinite<T>(v128.load32_zero(at)));
  if (sizeof<T>() == 2) return v128.any_true(nonFinite<T>(i16x8.splat(load<i16>(at))));
  return v128.any_true(nonFinite<T>(i8x16.splat(load<i8>(at))));
}
