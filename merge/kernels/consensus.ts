import { highLanes, isKept, lowLanes } from "./mask-bits";

/*
 * Terms and consensus by sum (docs/spec/methods.md). All buffers f32[n], apart from masks, and disjoint; accumulators start as zeros, so
 * that adding 0 for an element that takes no part changes nothing.
 */

/** acc[k] += kept ? c * d[k] : 0. */
export function accumulateMasked(acc: usize, d: usize, mask: usize, c: f32, n: i32): void {
  const coefficient = f32x4.splat(c);
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const at = (<usize>k) << 2;
    let low = f32x4.mul(coefficient, v128.load(d + at));
    let high = f32x4.mul(coefficient, v128.load(d + at, 16));
    if (mask) {
      const byte = <i32>load<u8>(mask + (<usize>k >> 3));
      low = v128.and(low, lowLanes(byte));
      high = v128.and(high, highLanes(byte));
    }
    v128.store(acc + at, f32x4.add(v128.load(acc + at), low));
    v128.store(acc + at, f32x4.add(v128.load(acc + at, 16), high), 16);
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    if (isKept(mask, k)) store<f32>(acc + at, load<f32>(acc + at) + c * load<f32>(d + at));
  }
}

/**
 * t = c * d[k] where kept. t > 0: positive[k] += t, positiveWeight[k] += w. t < 0: the same for negative. NaN is neither.
 * The two weight buffers may both be 0: no weights are kept.
 */
export function elect(
  positive: usize,
  negative: usize,
  positiveWeight: usize,
  negativeWeight: usize,
  d: usize,
  mask: usize,
  c: f32,
  w: f32,
  n: i32,
): void {
  const coefficient = f32x4.splat(c);
  const weight = f32x4.splat(w);
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const at = (<usize>k) << 2;
    let low = f32x4.mul(coefficient, v128.load(d + at));
    let high = f32x4.mul(coefficient, v128.load(d + at, 16));
    if (mask) {
      const byte = <i32>load<u8>(mask + (<usize>k >> 3));
      low = v128.and(low, lowLanes(byte));
      high = v128.and(high, highLanes(byte));
    }
    addPositive(positive + at, low);
    addPositive(positive + at + 16, high);
    addNegative(negative + at, low);
    addNegative(negative + at + 16, high);
    if (positiveWeight) {
      const zero = f32x4.splat(0);
      addWhere(positiveWeight + at, f32x4.gt(low, zero), weight);
      addWhere(positiveWeight + at + 16, f32x4.gt(high, zero), weight);
      addWhere(negativeWeight + at, f32x4.lt(low, zero), weight);
      addWhere(negativeWeight + at + 16, f32x4.lt(high, zero), weight);
    }
  }
  for (; k < n; k++) {
    if (!isKept(mask, k)) continue;
    const at = (<usize>k) << 2;
    const term = c * load<f32>(d + at);
    if (term > 0) {
      store<f32>(positive + at, load<f32>(positive + at) + term);
      if (positiveWeight) store<f32>(positiveWeight + at, load<f32>(positiveWeight + at) + w);
    } else if (term < 0) {
      store<f32>(negative + at, load<f32>(negative + at) + term);
      if (negativeWeight) store<f32>(negativeWeight + at, load<f32>(negativeWeight + at) + w);
    }
  }
}

/**
 * plus = positive + negative >= 0, NaN counting as not; mixed = plus ? positive : negative; divisor = the weight of that side, 1
 * where that is 0 or no weights are kept. out[k] = base[k] + lambda * (mixed / divisor). out may be positive.
 */
export function finishElection(
  out: usize,
  base: usize,
  positive: usize,
  negative: usize,
  positiveWeight: usize,
  negativeWeight: usize,
  lambda: f32,
  n: i32,
): void {
  const lambdas = f32x4.splat(lambda);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = (<usize>k) << 2;
    const p = v128.load(positive + at);
    const q = v128.load(negative + at);
    const plus = f32x4.ge(f32x4.add(p, q), f32x4.splat(0));
    let mixed = v128.bitselect(p, q, plus);
    if (positiveWeight) {
      const weight = v128.bitselect(v128.load(positiveWeight + at), v128.load(negativeWeight + at), plus);
      const none = f32x4.eq(weight, f32x4.splat(0));
      mixed = f32x4.div(mixed, v128.bitselect(f32x4.splat(1), weight, none));
    }
    v128.store(out + at, f32x4.add(v128.load(base + at), f32x4.mul(lambdas, mixed)));
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    const p = load<f32>(positive + at);
    const q = load<f32>(negative + at);
    const plus = p + q >= 0;
    let divisor: f32 = 1;
    if (positiveWeight) {
      const weight = load<f32>((plus ? positiveWeight : negativeWeight) + at);
      if (weight != 0) divisor = weight;
    }
    store<f32>(out + at, load<f32>(base + at) + lambda * ((plus ? p : q) / divisor));
  }
}

/**
 * plus = positive + negative >= 0, NaN counting as not; of that side the weighed terms and their weight:
 * out[k] = base[k] + terms / (weight < least ? least : weight). out may be any of the accumulators.
 */
export function finishWeighed(
  out: usize,
  base: usize,
  positive: usize,
  negative: usize,
  positiveTerms: usize,
  negativeTerms: usize,
  positiveWeight: usize,
  negativeWeight: usize,
  least: f32,
  n: i32,
): void {
  const leasts = f32x4.splat(least);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = (<usize>k) << 2;
    const plus = f32x4.ge(f32x4.add(v128.load(positive + at), v128.load(negative + at)), f32x4.splat(0));
    const terms = v128.bitselect(v128.load(positiveTerms + at), v128.load(negativeTerms + at), plus);
    const weight = v128.bitselect(v128.load(positiveWeight + at), v128.load(negativeWeight + at), plus);
    v128.store(out + at, f32x4.add(v128.load(base + at), f32x4.div(terms, f32x4.pmax(weight, leasts))));
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    const plus = load<f32>(positive + at) + load<f32>(negative + at) >= 0;
    const terms = load<f32>((plus ? positiveTerms : negativeTerms) + at);
    const weight = load<f32>((plus ? positiveWeight : negativeWeight) + at);
    store<f32>(out + at, load<f32>(base + at) + terms / (weight < least ? least : weight));
  }
}

/** pmax(0, t) is t where 0 < t, else 0, NaN included: one instruction for compare and select. */
function addPositive(at: usize, terms: v128): void {
  v128.store(at, f32x4.add(v128.load(at), f32x4.pmax(f32x4.splat(0), terms)));
}

function addNegative(at: usize, terms: v128): void {
  v128.store(at, f32x4.add(v128.load(at), f32x4.pmin(f32x4.splat(0), terms)));
}

function addWhere(at: usize, where: v128, value: v128): void {
  v128.store(at, f32x4.add(v128.load(at), v128.and(where, value)));
}
