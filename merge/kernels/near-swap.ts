/**
 * g = t / (|base[k] - x[k]| raised to 1e-6 where it is below), cut to [0, 1]; out[k] = g * x[k] + (1 - g) * base[k], NaN passed on.
 * f32[n] all; out may be x or base. pmax(a, b) is b where a < b, else a: one instruction, where max takes eight.
 */
export function nearSwap(out: usize, base: usize, x: usize, t: f32, n: i32): void {
  const ts = f32x4.splat(t);
  const least = f32x4.splat(1e-6);
  const zero = f32x4.splat(0);
  const one = f32x4.splat(1);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = (<usize>k) << 2;
    const b = v128.load(base + at);
    const model = v128.load(x + at);
    const distance = f32x4.pmax(f32x4.abs(f32x4.sub(b, model)), least);
    const share = f32x4.pmin(f32x4.pmax(f32x4.div(ts, distance), zero), one);
    v128.store(out + at, f32x4.add(f32x4.mul(share, model), f32x4.mul(f32x4.sub(one, share), b)));
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    const b = load<f32>(base + at);
    const model = load<f32>(x + at);
    const distance = abs<f32>(b - model);
    let share = t / (distance < <f32>1e-6 ? <f32>1e-6 : distance);
    if (share < 0) share = 0;
    if (share > 1) share = 1;
    store<f32>(out + at, share * model + (1 - share) * b);
  }
}
