import { BF16, E4M3, E5M2, F16, F32, F64, Format, four, one } from "./formats";

/** acc[k] = first ? c * d : acc[k] + c * d, with d = f32(model[k]) - base[k]. acc, base: f32[n]; no overlap. */
export function accumulateDelta(
  acc: usize,
  model: usize,
  dtype: Format,
  base: usize,
  c: f32,
  first: bool,
  n: i32,
): void {
  switch (dtype) {
    case Format.F64:
      return first ? scale<F64>(acc, model, base, c, n) : add<F64>(acc, model, base, c, n);
    case Format.F32:
      return first ? scale<F32>(acc, model, base, c, n) : add<F32>(acc, model, base, c, n);
    case Format.F16:
      return first ? scale<F16>(acc, model, base, c, n) : add<F16>(acc, model, base, c, n);
    case Format.BF16:
      return first ? scale<BF16>(acc, model, base, c, n) : add<BF16>(acc, model, base, c, n);
    case Format.E4M3:
      return first ? scale<E4M3>(acc, model, base, c, n) : add<E4M3>(acc, model, base, c, n);
    default:
      return first ? scale<E5M2>(acc, model, base, c, n) : add<E5M2>(acc, model, base, c, n);
  }
}

/** out[k] = base[k] + lambda * (acc[k] / divisor). f32[n] all; out may be acc. */
export function finishDelta(out: usize, base: usize, acc: usize, divisor: f32, lambda: f32, n: i32): void {
  const divisors = f32x4.splat(divisor);
  const lambdas = f32x4.splat(lambda);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = (<usize>k) << 2;
    const scaled = f32x4.mul(lambdas, f32x4.div(v128.load(acc + at), divisors));
    v128.store(out + at, f32x4.add(v128.load(base + at), scaled));
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    store<f32>(out + at, load<f32>(base + at) + lambda * (load<f32>(acc + at) / divisor));
  }
}

function scale<T>(acc: usize, model: usize, base: usize, c: f32, n: i32): void {
  const coefficient = f32x4.splat(c);
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const from = model + <usize>k * sizeof<T>();
    const at = (<usize>k) << 2;
    const low = f32x4.sub(four<T>(from), v128.load(base + at));
    const high = f32x4.sub(four<T>(from + 4 * sizeof<T>()), v128.load(base + at, 16));
    v128.store(acc + at, f32x4.mul(coefficient, low));
    v128.store(acc + at, f32x4.mul(coefficient, high), 16);
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    store<f32>(acc + at, c * (one<T>(model + <usize>k * sizeof<T>()) - load<f32>(base + at)));
  }
}

function add<T>(acc: usize, model: usize, base: usize, c: f32, n: i32): void {
  const coefficient = f32x4.splat(c);
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const from = model + <usize>k * sizeof<T>();
    const at = (<usize>k) << 2;
    const low = f32x4.sub(four<T>(from), v128.load(base + at));
    const high = f32x4.sub(four<T>(from + 4 * sizeof<T>()), v128.load(base + at, 16));
    v128.store(acc + at, f32x4.add(v128.load(acc + at), f32x4.mul(coefficient, low)));
    v128.store(acc + at, f32x4.add(v128.load(acc + at, 16), f32x4.mul(coefficient, high)), 16);
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    const d = one<T>(model + <usize>k * sizeof<T>()) - load<f32>(base + at);
    store<f32>(acc + at, load<f32>(acc + at) + c * d);
  }
}
