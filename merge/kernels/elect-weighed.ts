import { BF16, E4M3, E5M2, F16, F32, F64, Format, four, one } from "./formats";
import { highLanes, isKept, lowLanes } from "./mask-bits";

/**
 * d = f32(model[k]) - base[k] where kept. d > 0: positive[k] += d, positiveTerms[k] += w * d, positiveWeight[k] += w. d < 0: the same
 * for negative. NaN is neither. All f32[n] but model and mask; no overlap; accumulators start as zeros.
 */
export function electWeighed(
  positive: usize,
  negative: usize,
  positiveTerms: usize,
  negativeTerms: usize,
  positiveWeight: usize,
  negativeWeight: usize,
  model: usize,
  dtype: Format,
  base: usize,
  mask: usize,
  w: f32,
  n: i32,
): void {
  const p = positive;
  const q = negative;
  const tp = positiveTerms;
  const tq = negativeTerms;
  const wp = positiveWeight;
  const wq = negativeWeight;
  switch (dtype) {
    case Format.F64:
      return elect<F64>(p, q, tp, tq, wp, wq, model, base, mask, w, n);
    case Format.F32:
      return elect<F32>(p, q, tp, tq, wp, wq, model, base, mask, w, n);
    case Format.F16:
      return elect<F16>(p, q, tp, tq, wp, wq, model, base, mask, w, n);
    case Format.BF16:
      return elect<BF16>(p, q, tp, tq, wp, wq, model, base, mask, w, n);
    case Format.E4M3:
      return elect<E4M3>(p, q, tp, tq, wp, wq, model, base, mask, w, n);
    default:
      return elect<E5M2>(p, q, tp, tq, wp, wq, model, base, mask, w, n);
  }
}

function elect<T>(
  p: usize,
  q: usize,
  tp: usize,
  tq: usize,
  wp: usize,
  wq: usize,
  model: usize,
  base: usize,
  mask: usize,
  w: f32,
  n: i32,
): void {
  const weight = f32x4.splat(w);
  const zero = f32x4.splat(0);
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const from = model + <usize>k * sizeof<T>();
    const at = (<usize>k) << 2;
    let low = f32x4.sub(four<T>(from), v128.load(base + at));
    let high = f32x4.sub(four<T>(from + 4 * sizeof<T>()), v128.load(base + at, 16));
    if (mask) {
      const byte = <i32>load<u8>(mask + (<usize>k >> 3));
      if (byte == 0) continue; // adding zeros changes nothing, and where few are kept most bytes are empty
      low = v128.and(low, lowLanes(byte));
      high = v128.and(high, highLanes(byte));
    }
    addSide(p + at, tp + at, wp + at, low, f32x4.gt(low, zero), weight);
    addSide(p + at + 16, tp + at + 16, wp + at + 16, high, f32x4.gt(high, zero), weight);
    addSide(q + at, tq + at, wq + at, low, f32x4.lt(low, zero), weight);
    addSide(q + at + 16, tq + at + 16, wq + at + 16, high, f32x4.lt(high, zero), weight);
  }
  for (; k < n; k++) {
    if (!isKept(mask, k)) continue;
    const at = (<usize>k) << 2;
    const d = one<T>(model + <usize>k * sizeof<T>()) - load<f32>(base + at);
    if (d > 0) addOne(p + at, tp + at, wp + at, d, w);
    else if (d < 0) addOne(q + at, tq + at, wq + at, d, w);
  }
}

function addSide(sum: usize, terms: usize, weights: usize, d: v128, where: v128, weight: v128): void {
  v128.store(sum, f32x4.add(v128.load(sum), v128.and(d, where)));
  v128.store(terms, f32x4.add(v128.load(terms), v128.and(f32x4.mul(weight, d), where)));
  v128.store(weights, f32x4.add(v128.load(weights), v128.and(weight, where)));
}

function addOne(sum: usize, terms: usize, weights: usize, d: f32, w: f32): void {
  store<f32>(sum, load<f32>(sum) + d);
  store<f32>(terms, load<f32>(terms) + w * d);
  store<f32>(weights, load<f32>(weights) + w);
}
