import { two } from "./lanes";

/* A tensor as vectors along its first dimension: element k belongs to column (firstColumn + k) mod columns. No overlap. */

/** sums[block, column] += f64(a[k]) * f64(b[k]), in order of k. sums: f64[blocks, columns]; a, b: f32[n], may be the same. */
export function dotColumns(
  sums: usize,
  a: usize,
  b: usize,
  firstColumn: i32,
  columns: i32,
  blockElements: i32,
  n: i32,
): void {
  let column = firstColumn;
  let blockEnd = blockElements;
  for (let done = 0; done < n; ) {
    const run = min<i32>(columns - column, min<i32>(blockEnd, n) - done);
    const from = (<usize>done) << 2;
    multiplyAdd(sums + ((<usize>column) << 3), a + from, b + from, run);
    done += run;
    column += run;
    if (column == columns) column = 0;
    if (done < blockEnd) continue;
    blockEnd += blockElements;
    sums += (<usize>columns) << 3;
  }
}

/** acc[k] = first ? c[column] * x[k] : acc[k] + c[column] * x[k]. acc, x: f32[n]; c: f32[columns]. */
export function accumulateColumns(
  acc: usize,
  x: usize,
  c: usize,
  first: bool,
  firstColumn: i32,
  columns: i32,
  n: i32,
): void {
  let column = firstColumn;
  for (let done = 0; done < n; ) {
    const run = min<i32>(columns - column, n - done);
    const at = (<usize>done) << 2;
    combine(acc + at, x + at, c + ((<usize>column) << 2), first, run);
    done += run;
    column = 0;
  }
}

function multiplyAdd(sums: usize, a: usize, b: usize, n: i32): void {
  let k = 0;
  for (; k < (n & ~1); k += 2) {
    const from = (<usize>k) << 2;
    const at = sums + ((<usize>k) << 3);
    v128.store(at, f64x2.add(v128.load(at), f64x2.mul(two(a + from), two(b + from))));
  }
  if (k == n) return;
  const from = (<usize>k) << 2;
  const at = sums + ((<usize>k) << 3);
  store<f64>(at, load<f64>(at) + <f64>load<f32>(a + from) * <f64>load<f32>(b + from));
}

function combine(acc: usize, x: usize, c: usize, first: bool, n: i32): void {
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = (<usize>k) << 2;
    const term = f32x4.mul(v128.load(c + at), v128.load(x + at));
    v128.store(acc + at, first ? term : f32x4.add(v128.load(acc + at), term));
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    const term = load<f32>(c + at) * load<f32>(x + at);
    store<f32>(acc + at, first ? term : load<f32>(acc + at) + term);
  }
}
