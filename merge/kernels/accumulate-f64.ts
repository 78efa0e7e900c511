/** acc[k] += f64(d[k]) * c, product rounded, then added. acc: f64[n]; d: f32[n]; no overlap. */
export function accumulateF64(acc: usize, d: usize, c: f64, n: i32): void {
  const coefficient = f64x2.splat(c);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const from = d + ((<usize>k) << 2);
    const at = acc + ((<usize>k) << 3);
    const low = f64x2.mul(f64x2.promote_low_f32x4(v128.load64_zero(from)), coefficient);
    const high = f64x2.mul(f64x2.promote_low_f32x4(v128.load64_zero(from, 8)), coefficient);
    v128.store(at, f64x2.add(v128.load(at), low));
    v128.store(at, f64x2.add(v128.load(at, 16), high), 16);
  }
  for (; k < n; k++) {
    const at = acc + ((<usize>k) << 3);
    store<f64>(at, load<f64>(at) + <f64>load<f32>(d + ((<usize>k) << 2)) * c);
  }
}

/** The same with a coefficient per row. c: f64[rows]; acc: f64, d: f32, both [rows, rowLength]. */
export function accumulateRowsF64(acc: usize, d: usize, c: usize, rows: i32, rowLength: i32): void {
  for (let row = 0; row < rows; row++) {
    accumulateF64(acc, d, load<f64>(c), rowLength);
    acc += (<usize>rowLength) << 3;
    d += (<usize>rowLength) << 2;
    c += 8;
  }
}
