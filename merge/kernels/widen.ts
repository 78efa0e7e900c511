import { BF16, E4M3, E5M2, F16, F32, F64, Format, four, one } from "./formats";

/** dst[k] = f32(src[k]). dst: f32[n]; src: n elements of dtype; no overlap. */
export function widen(dst: usize, src: usize, dtype: Format, n: i32): void {
  switch (dtype) {
    case Format.F64:
      return widenFrom<F64>(dst, src, n);
    case Format.F32:
      return memory.copy(dst, src, (<usize>n) << 2);
    case Format.F16:
      return widenFrom<F16>(dst, src, n);
    case Format.BF16:
      return widenFrom<BF16>(dst, src, n);
    case Format.E4M3:
      return widenFrom<E4M3>(dst, src, n);
    default:
      return widenFrom<E5M2>(dst, src, n);
  }
}

function widenFrom<T>(dst: usize, src: usize, n: i32): void {
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const from = src + <usize>k * sizeof<T>();
    const to = dst + ((<usize>k) << 2);
    v128.store(to, four<T>(from));
    v128.store(to, four<T>(from + 4 * sizeof<T>()), 16);
  }
  for (; k < n; k++) store<f32>(dst + ((<usize>k) << 2), one<T>(src + <usize>k * sizeof<T>()));
}
