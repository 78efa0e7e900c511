import { BF16, bytesOf, E4M3, E5M2, F16, F32, F64, Format, four, one } from "./formats";

/**
 * acc[k] = c * f32(x[k]) if first, else acc[k] + c * f32(x[k]). acc: f32[n]; x: n elements of dtype; no overlap.
 * Multiply and add stay apart: a fused or relaxed form rounds differently from one machine to the next.
 */
export function accumulate(acc: usize, x: usize, dtype: Format, c: f32, first: bool, n: i32): void {
  switch (dtype) {
    case Format.F64:
      return first ? scale<F64>(acc, x, c, n) : add<F64>(acc, x, c, n);
    case Format.F32:
      return first ? scale<F32>(acc, x, c, n) : add<F32>(acc, x, c, n);
    case Format.F16:
      return first ? scale<F16>(acc, x, c, n) : add<F16>(acc, x, c, n);
    case Format.BF16:
      return first ? scale<BF16>(acc, x, c, n) : add<BF16>(acc, x, c, n);
    case Format.E4M3:
      return first ? scale<E4M3>(acc, x, c, n) : add<E4M3>(acc, x, c, n);
    default:
      return first ? scale<E5M2>(acc, x, c, n) : add<E5M2>(acc, x, c, n);
  }
}

/** The same with a coefficient per row. c: f32[rows]; acc, x: [rows, rowLength]. */
export function accumulateRows(
  acc: usize,
  x: usize,
  dtype: Format,
  c: usize,
  first: bool,
  rows: i32,
  rowLength: i32,
): void {
  const rowBytes = rowLength * bytesOf(dtype);
  for (let row = 0; row < rows; row++) {
    accumulate(acc, x, dtype, load<f32>(c), first, rowLength);
    acc += (<usize>rowLength) << 2;
    x += <usize>rowBytes;
    c += 4;
  }
}

/** acc[k] = c * f32(x[k]). */
export function scale<T>(acc: usize, x: usize, c: f32, n: i32): void {
  const coefficient = f32x4.splat(c);
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const from = x + <usize>k * sizeof<T>();
    const at = acc + ((<usize>k) << 2);
    v128.store(at, f32x4.mul(coefficient, four<T>(from)));
    v128.store(at, f32x4.mul(coefficient, four<T>(from + 4 * sizeof<T>())), 16);
  }
  for (; k < n; k++) store<f32>(acc + ((<usize>k) << 2), c * one<T>(x + <usize>k * sizeof<T>()));
}

function add<T>(acc: usize, x: usize, c: f32, n: i32): void {
  const coefficient = f32x4.splat(c);
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const from = x + <usize>k * sizeof<T>();
    const at = acc + ((<usize>k) << 2);
    v128.store(at, f32x4.add(v128.load(at), f32x4.mul(coefficient, four<T>(from))));
    v128.store(at, f32x4.add(v128.load(at, 16), f32x4.mul(coefficient, four<T>(from + 4 * sizeof<T>()))), 16);
  }
  for (; k < n; k++) {
    const at = acc + ((<usize>k) << 2);
    store<f32>(at, load<f32>(at) + c * one<T>(x + <usize>k * sizeof<T>()));
  }
}
