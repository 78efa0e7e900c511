/** Rows and columns of sums that are carried along together: eight registers, which is what can be busy at once. */
const ROWS = 4;
const COLUMNS = 4;

/**
 * values[k] = f32(values[k] + scale * s), s = sum over j of left[r, j] * right[j, c]: see addLowRank in merge/engines/kernels.ts. The
 * matrix is walked from element `first` on, which may lie inside a row. Factors are f64 already: widened here, each of them would be
 * widened again for every sum it goes into, on the two ports that multiply and add.
 */
export function addLowRank(
  values: usize,
  left: usize,
  right: usize,
  scale: f64,
  rank: i32,
  columns: i32,
  first: i32,
  n: i32,
): void {
  let done = 0;
  while (done < n) {
    const row = (first + done) / columns;
    const column = (first + done) % columns;
    const rowLeft = left + ((<usize>(row * rank)) << 3);
    const rows = column == 0 ? (n - done) / columns : 0;
    const at = values + ((<usize>done) << 2);
    if (rows >= ROWS) {
      wholeRows(at, rowLeft, right, scale, rank, columns);
      done += ROWS * columns;
    } else {
      const run = min(columns - column, n - done);
      partOfRow(at, rowLeft, right + ((<usize>column) << 3), scale, rank, columns, run);
      done += run;
    }
  }
}

/** Four whole rows, four columns at a time. */
function wholeRows(values: usize, left: usize, right: usize, scale: f64, rank: i32, columns: i32): void {
  const rowBytes = (<usize>columns) << 2;
  const rightBytes = (<usize>columns) << 3;
  const rankBytes = (<usize>rank) << 3;
  let c = 0;
  for (; c <= columns - COLUMNS; c += COLUMNS) {
    let low0 = f64x2.splat(0);
    let high0 = low0;
    let low1 = low0;
    let high1 = low0;
    let low2 = low0;
    let high2 = low0;
    let low3 = low0;
    let high3 = low0;
    let from = right + ((<usize>c) << 3);
    let factor = left;
    for (let k = 0; k < rank; k++) {
      const low = v128.load(from);
      const high = v128.load(from, 16);
      const l0 = v128.load64_splat(factor);
      low0 = f64x2.add(low0, f64x2.mul(l0, low));
      high0 = f64x2.add(high0, f64x2.mul(l0, high));
      const l1 = v128.load64_splat(factor + rankBytes);
      low1 = f64x2.add(low1, f64x2.mul(l1, low));
      high1 = f64x2.add(high1, f64x2.mul(l1, high));
      const l2 = v128.load64_splat(factor + 2 * rankBytes);
      low2 = f64x2.add(low2, f64x2.mul(l2, low));
      high2 = f64x2.add(high2, f64x2.mul(l2, high));
      const l3 = v128.load64_splat(factor + 3 * rankBytes);
      low3 = f64x2.add(low3, f64x2.mul(l3, low));
      high3 = f64x2.add(high3, f64x2.mul(l3, high));
      from += rightBytes;
      factor += 8;
    }
    const at = values + ((<usize>c) << 2);
    finish(at, low0, high0, scale);
    finish(at + rowBytes, low1, high1, scale);
    finish(at + 2 * rowBytes, low2, high2, scale);
    finish(at + 3 * rowBytes, low3, high3, scale);
  }
  if (c == columns) return;
  for (let row = 0; row < ROWS; row++) {
    const at = values + <usize>row * rowBytes + ((<usize>c) << 2);
    partOfRow(at, left + <usize>row * rankBytes, right + ((<usize>c) << 3), scale, rank, columns, columns - c);
  }
}

/** Sixteen columns at a time: fewer sums would wait for each other. */
function partOfRow(values: usize, left: usize, right: usize, scale: f64, rank: i32, columns: i32, n: i32): void {
  const rightBytes = (<usize>columns) << 3;
  let c = 0;
  for (; c <= n - 16; c += 16) {
    let s0 = f64x2.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let s4 = s0;
    let s5 = s0;
    let s6 = s0;
    let s7 = s0;
    let from = right + ((<usize>c) << 3);
    for (let k = 0; k < rank; k++) {
      const factor = v128.load64_splat(left + ((<usize>k) << 3));
      s0 = f64x2.add(s0, f64x2.mul(factor, v128.load(from)));
      s1 = f64x2.add(s1, f64x2.mul(factor, v128.load(from, 16)));
      s2 = f64x2.add(s2, f64x2.mul(factor, v128.load(from, 32)));
      s3 = f64x2.add(s3, f64x2.mul(factor, v128.load(from, 48)));
      s4 = f64x2.add(s4, f64x2.mul(factor, v128.load(from, 64)));
      s5 = f64x2.add(s5, f64x2.mul(factor, v128.load(from, 80)));
      s6 = f64x2.add(s6, f64x2.mul(factor, v128.load(from, 96)));
      s7 = f64x2.add(s7, f64x2.mul(factor, v128.load(from, 112)));
      from += rightBytes;
    }
    const at = values + ((<usize>c) << 2);
    finish(at, s0, s1, scale);
    finish(at + 16, s2, s3, scale);
    finish(at + 32, s4, s5, scale);
    finish(at + 48, s6, s7, scale);
  }
  for (; c < n; c++) {
    let sum: f64 = 0;
    let from = right + ((<usize>c) << 3);
    for (let k = 0; k < rank; k++) {
      sum += load<f64>(left + ((<usize>k) << 3)) * load<f64>(from);
      from += rightBytes;
    }
    const at = values + ((<usize>c) << 2);
    store<f32>(at, <f32>(<f64>load<f32>(at) + scale * sum));
  }
}

/** values[0..4) = f32(values + scale * sum). */
function finish(at: usize, low: v128, high: v128, scale: f64): void {
  const factor = f64x2.splat(scale);
  const a = f64x2.add(f64x2.promote_low_f32x4(v128.load64_zero(at)), f64x2.mul(factor, low));
  const b = f64x2.add(f64x2.promote_low_f32x4(v128.load64_zero(at, 8)), f64x2.mul(factor, high));
  const lowHalf = f32x4.demote_f64x2_zero(a);
  const highHalf = f32x4.demote_f64x2_zero(b);
  v128.store(at, v128.shuffle<f32>(lowHalf, highHalf, 0, 1, 4, 5));
}
