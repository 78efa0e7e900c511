/** out[k] = x[k] / divisor held within [-limit, limit]; NaN stays NaN. out, x: f32[n], may be the same. */
export function divideWithin(out: usize, x: usize, divisor: f32, limit: f32, n: i32): void {
  const divisors = f32x4.splat(divisor);
  const upper = f32x4.splat(limit);
  const lower = f32x4.splat(-limit);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = (<usize>k) << 2;
    v128.store(out + at, f32x4.max(lower, f32x4.min(upper, f32x4.div(v128.load(x + at), divisors))));
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    store<f32>(out + at, max<f32>(-limit, min<f32>(limit, load<f32>(x + at) / divisor)));
  }
}
