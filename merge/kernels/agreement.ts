import { BF16, E4M3, E5M2, F16, F32, F64, Format, four, one } from "./formats";

/*
 * TALL masks (docs/spec/methods.md, consensus): a model votes for an element where its delta weighs against what the others add to it.
 * base, total, votes: f32[n]; no overlap.
 */

/** d = f32(model[k]) - base[k]; votes[k] += |d| > tau * |total[k] - d| ? 1 : 0. NaN votes for nothing. */
export function agree(votes: usize, model: usize, dtype: Format, base: usize, total: usize, tau: f32, n: i32): void {
  switch (dtype) {
    case Format.F64:
      return vote<F64>(votes, model, base, total, tau, n);
    case Format.F32:
      return vote<F32>(votes, model, base, total, tau, n);
    case Format.F16:
      return vote<F16>(votes, model, base, total, tau, n);
    case Format.BF16:
      return vote<BF16>(votes, model, base, total, tau, n);
    case Format.E4M3:
      return vote<E4M3>(votes, model, base, total, tau, n);
    default:
      return vote<E5M2>(votes, model, base, total, tau, n);
  }
}

/** out[k] = base[k] + lambda * (votes[k] >= least ? total[k] : 0). out may be total. */
export function finishAgreement(
  out: usize,
  base: usize,
  total: usize,
  votes: usize,
  least: f32,
  lambda: f32,
  n: i32,
): void {
  const bound = f32x4.splat(least);
  const lambdas = f32x4.splat(lambda);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = (<usize>k) << 2;
    const kept = v128.and(v128.load(total + at), f32x4.ge(v128.load(votes + at), bound));
    v128.store(out + at, f32x4.add(v128.load(base + at), f32x4.mul(lambdas, kept)));
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    const kept: f32 = load<f32>(votes + at) >= least ? load<f32>(total + at) : 0;
    store<f32>(out + at, load<f32>(base + at) + lambda * kept);
  }
}

function vote<T>(votes: usize, model: usize, base: usize, total: usize, tau: f32, n: i32): void {
  const taus = f32x4.splat(tau);
  const ones = f32x4.splat(1);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = (<usize>k) << 2;
    const d = f32x4.sub(four<T>(model + <usize>k * sizeof<T>()), v128.load(base + at));
    const others = f32x4.abs(f32x4.sub(v128.load(total + at), d));
    const agrees = f32x4.gt(f32x4.abs(d), f32x4.mul(taus, others));
    v128.store(votes + at, f32x4.add(v128.load(votes + at), v128.and(ones, agrees)));
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    const d = one<T>(model + <usize>k * sizeof<T>()) - load<f32>(base + at);
    const others = abs<f32>(load<f32>(total + at) - d);
    if (abs<f32>(d) > tau * others) store<f32>(votes + at, load<f32>(votes + at) + 1);
  }
}
