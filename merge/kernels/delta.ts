import { BF16, E4M3, E5M2, F16, F32, F64, Format, four, one } from "./formats";

/** d[k] = f32(model[k]) - base[k]. d, base: f32[n]; model: n elements of dtype; no overlap. */
export function delta(d: usize, model: usize, dtype: Format, base: usize, n: i32): void {
  switch (dtype) {
    case Format.F64:
      return deltaFrom<F64>(d, model, base, n);
    case Format.F32:
      return deltaFrom<F32>(d, model, base, n);
    case Format.F16:
      return deltaFrom<F16>(d, model, base, n);
    case Format.BF16:
      return deltaFrom<BF16>(d, model, base, n);
    case Format.E4M3:
      return deltaFrom<E4M3>(d, model, base, n);
    default:
      return deltaFrom<E5M2>(d, model, base, n);
  }
}

function deltaFrom<T>(d: usize, model: usize, base: usize, n: i32): void {
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const from = model + <usize>k * sizeof<T>();
    const at = (<usize>k) << 2;
    v128.store(d + at, f32x4.sub(four<T>(from), v128.load(base + at)));
    v128.store(d + at, f32x4.sub(four<T>(from + 4 * sizeof<T>()), v128.load(base + at, 16)), 16);
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    store<f32>(d + at, one<T>(model + <usize>k * sizeof<T>()) - load<f32>(base + at));
  }
}
