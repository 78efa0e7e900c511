import { BF16, E4M3, E5M2, F16, F32, F64, Format, four, one } from "./formats";

/**
 * Welford's sums over models, one model a call: d = f32(model[k]) - base[k]; o = d - mean[k]; mean[k] += o / number;
 * spread[k] += o * (d - mean[k]), each operation rounded. number: how many models there are with this one. base, mean, spread: f32[n],
 * the last two starting as zeros; no overlap.
 */
export function addToVariance(
  mean: usize,
  spread: usize,
  model: usize,
  dtype: Format,
  base: usize,
  number: f32,
  n: i32,
): void {
  switch (dtype) {
    case Format.F64:
      return add<F64>(mean, spread, model, base, number, n);
    case Format.F32:
      return add<F32>(mean, spread, model, base, number, n);
    case Format.F16:
      return add<F16>(mean, spread, model, base, number, n);
    case Format.BF16:
      return add<BF16>(mean, spread, model, base, number, n);
    case Format.E4M3:
      return add<E4M3>(mean, spread, model, base, number, n);
    default:
      return add<E5M2>(mean, spread, model, base, number, n);
  }
}

function add<T>(mean: usize, spread: usize, model: usize, base: usize, number: f32, n: i32): void {
  const numbers = f32x4.splat(number);
  // By a power of two, multiplying by the inverse is the same to the bit, and a third of the time.
  const isPowerOfTwo = (reinterpret<u32>(number) & 0x007fffff) == 0;
  const inverses = f32x4.splat(1 / number);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = (<usize>k) << 2;
    const d = f32x4.sub(four<T>(model + <usize>k * sizeof<T>()), v128.load(base + at));
    const before = v128.load(mean + at);
    const off = f32x4.sub(d, before);
    const share = isPowerOfTwo ? f32x4.mul(off, inverses) : f32x4.div(off, numbers);
    const after = f32x4.add(before, share);
    v128.store(mean + at, after);
    v128.store(spread + at, f32x4.add(v128.load(spread + at), f32x4.mul(off, f32x4.sub(d, after))));
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    const d = one<T>(model + <usize>k * sizeof<T>()) - load<f32>(base + at);
    const before = load<f32>(mean + at);
    const off = d - before;
    const after = before + off / number;
    store<f32>(mean + at, after);
    store<f32>(spread + at, load<f32>(spread + at) + off * (d - after));
  }
}
