/** Rows at once: each one's sum waits for itself, element after element. */
const ROWS = 4;

/**
 * values[r, k] = f32(values[r, k] * (magnitudes[r] / the square root of the sum of squares of row r)), everything in f64 but the last
 * rounding; the sum in order of k. values: f32[rows, rowLength]; magnitudes: f32[rows].
 */
export function normRows(values: usize, magnitudes: usize, rows: i32, rowLength: i32): void {
  const rowBytes = (<usize>rowLength) << 2;
  let row = 0;
  for (; row < (rows & ~(ROWS - 1)); row += ROWS) {
    let s0: f64 = 0;
    let s1: f64 = 0;
    let s2: f64 = 0;
    let s3: f64 = 0;
    const row1 = values + rowBytes;
    const row2 = row1 + rowBytes;
    const row3 = row2 + rowBytes;
    for (let at: usize = 0; at < rowBytes; at += 4) {
      s0 += squareAt(values + at);
      s1 += squareAt(row1 + at);
      s2 += squareAt(row2 + at);
      s3 += squareAt(row3 + at);
    }
    multiply(values, factorOf(magnitudes, s0), rowLength);
    multiply(row1, factorOf(magnitudes + 4, s1), rowLength);
    multiply(row2, factorOf(magnitudes + 8, s2), rowLength);
    multiply(row3, factorOf(magnitudes + 12, s3), rowLength);
    values = row3 + rowBytes;
    magnitudes += 4 * ROWS;
  }
  for (; row < rows; row++) {
    let sum: f64 = 0;
    for (let at: usize = 0; at < rowBytes; at += 4) sum += squareAt(values + at);
    multiply(values, factorOf(magnitudes, sum), rowLength);
    values += rowBytes;
    magnitudes += 4;
  }
}

function squareAt(at: usize): f64 {
  const value = <f64>load<f32>(at);
  return value * value;
}

function factorOf(magnitude: usize, squares: f64): f64 {
  return <f64>load<f32>(magnitude) / sqrt<f64>(squares);
}

function multiply(values: usize, factor: f64, n: i32): void {
  const factors = f64x2.splat(factor);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = values + ((<usize>k) << 2);
    const low = f64x2.mul(f64x2.promote_low_f32x4(v128.load64_zero(at)), factors);
    const high = f64x2.mul(f64x2.promote_low_f32x4(v128.load64_zero(at, 8)), factors);
    v128.store(at, v128.shuffle<f32>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 1, 4, 5));
  }
  for (; k < n; k++) {
    const at = values + ((<usize>k) << 2);
    store<f32>(at, <f32>(<f64>load<f32>(at) * factor));
  }
}
