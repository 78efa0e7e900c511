/** t = c * d[k]; best[k] = |t| >= |best[k]| ? t : best[k]: of equals the later one, NaN never. best, d: f32[n]. */
export function keepLargest(best: usize, d: usize, c: f32, n: i32): void {
  const coefficient = f32x4.splat(c);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = (<usize>k) << 2;
    const term = f32x4.mul(coefficient, v128.load(d + at));
    const known = v128.load(best + at);
    const larger = f32x4.ge(f32x4.abs(term), f32x4.abs(known));
    v128.store(best + at, v128.bitselect(term, known, larger));
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    const term = c * load<f32>(d + at);
    if (abs<f32>(term) >= abs<f32>(load<f32>(best + at))) store<f32>(best + at, term);
  }
}
