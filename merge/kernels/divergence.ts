import { expEach, logEach } from "./elementary";
import { addToLane, foldBlock, two } from "./lanes";

/** f64 of lanes for the row at hand. */
const lanes = memory.data(64, 16);
const total = memory.data(8, 8);
/** Keeps the divergence finite where a probability is next to nothing. */
const FLOOR: f64 = 1e-8;

/**
 * divergences[r] (f32) = max(0, sum of p ln(p / q)), all f64 and rounded once; p = softmax(row r of x) + 1e-8, q likewise of base;
 * softmax(v) = exp(v - max v) / sum of those. Sums in eight lanes a row, as dotRows. x, base: f32[rows, rowLength];
 * scratch: f64[2 * rowLength].
 */
export function divergenceRows(
  divergences: usize,
  x: usize,
  base: usize,
  scratch: usize,
  rows: i32,
  rowLength: i32,
): void {
  const rowBytes = (<usize>rowLength) << 2;
  const q = scratch + ((<usize>rowLength) << 3);
  for (let row = 0; row < rows; row++) {
    const sumOfP = exponentials(scratch, x, rowLength);
    const sumOfQ = exponentials(q, base, rowLength);
    const divergence = divergenceOf(scratch, sumOfP, q, sumOfQ, rowLength);
    store<f32>(divergences, <f32>max<f64>(divergence, 0));
    x += rowBytes;
    base += rowBytes;
    divergences += 4;
  }
}

/** out[k] = |d[k]| * factors[(firstColumn + k) / rowLength]. out, d: f32[n]; factors: f32, one a row. */
export function importance(out: usize, d: usize, factors: usize, firstColumn: i32, rowLength: i32, n: i32): void {
  let column = firstColumn;
  for (let done = 0; done < n; ) {
    const run = min<i32>(rowLength - column, n - done);
    const at = (<usize>done) << 2;
    scaleMagnitudes(out + at, d + at, load<f32>(factors), run);
    factors += 4;
    done += run;
    column = 0;
  }
}

/** out[k] = base[k] + (rank[k] >= bound ? d[k] : 0). f32[n] all; out may be d. */
export function addAtLeast(out: usize, base: usize, d: usize, rank: usize, bound: f32, n: i32): void {
  const bounds = f32x4.splat(bound);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = (<usize>k) << 2;
    const kept = v128.and(v128.load(d + at), f32x4.ge(v128.load(rank + at), bounds));
    v128.store(out + at, f32x4.add(v128.load(base + at), kept));
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    const kept: f32 = load<f32>(rank + at) >= bound ? load<f32>(d + at) : 0;
    store<f32>(out + at, load<f32>(base + at) + kept);
  }
}

/** exponentials[k] = exp(v[k] - max v); their sum. */
function exponentials(exponentials: usize, v: usize, n: i32): f64 {
  const largest = f64x2.splat(<f64>largestOf(v, n));
  let k = 0;
  for (; k < (n & ~1); k += 2) {
    v128.store(exponentials + ((<usize>k) << 3), f64x2.sub(two(v + ((<usize>k) << 2)), largest));
  }
  if (k < n) {
    const last = f64x2.splat(<f64>load<f32>(v + ((<usize>k) << 2)));
    v128.store64_lane(exponentials + ((<usize>k) << 3), f64x2.sub(last, largest), 0);
  }
  expEach(exponentials, n);
  return sumOf(exponentials, n);
}

/** Overwrites both: p's exponentials with the terms, q's with their logarithms. */
function divergenceOf(p: usize, sumOfP: f64, q: usize, sumOfQ: f64, n: i32): f64 {
  const sumsOfP = f64x2.splat(sumOfP);
  const sumsOfQ = f64x2.splat(sumOfQ);
  let k = 0;
  for (; k < (n & ~1); k += 2) {
    const at = (<usize>k) << 3;
    const share = shareOf(v128.load(p + at), sumsOfP);
    v128.store(p + at, share);
    v128.store(q + at, f64x2.div(share, shareOf(v128.load(q + at), sumsOfQ)));
  }
  if (k < n) {
    const at = (<usize>k) << 3;
    const share = shareOf(v128.load64_splat(p + at), sumsOfP);
    v128.store64_lane(p + at, share, 0);
    v128.store64_lane(q + at, f64x2.div(share, shareOf(v128.load64_splat(q + at), sumsOfQ)), 0);
  }
  logEach(q, n);
  for (k = 0; k < (n & ~1); k += 2) {
    const at = (<usize>k) << 3;
    v128.store(p + at, f64x2.mul(v128.load(p + at), v128.load(q + at)));
  }
  if (k < n) {
    const at = (<usize>k) << 3;
    store<f64>(p + at, load<f64>(p + at) * load<f64>(q + at));
  }
  return sumOf(p, n);
}

function shareOf(exponentials: v128, sums: v128): v128 {
  return f64x2.add(f64x2.div(exponentials, sums), f64x2.splat(FLOOR));
}

function sumOf(values: usize, n: i32): f64 {
  let sum01 = f64x2.splat(0);
  let sum23 = f64x2.splat(0);
  let sum45 = f64x2.splat(0);
  let sum67 = f64x2.splat(0);
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const at = values + ((<usize>k) << 3);
    sum01 = f64x2.add(sum01, v128.load(at));
    sum23 = f64x2.add(sum23, v128.load(at, 16));
    sum45 = f64x2.add(sum45, v128.load(at, 32));
    sum67 = f64x2.add(sum67, v128.load(at, 48));
  }
  v128.store(lanes, sum01);
  v128.store(lanes, sum23, 16);
  v128.store(lanes, sum45, 32);
  v128.store(lanes, sum67, 48);
  for (; k < n; k++) addToLane(lanes, k, load<f64>(values + ((<usize>k) << 3)));
  foldBlock(total, lanes);
  return load<f64>(total);
}

function largestOf(v: usize, n: i32): f32 {
  let largest: f32 = -Infinity;
  let k = 0;
  if (n >= 8) {
    // Two chains: one would wait for itself.
    let even = v128.load(v);
    let odd = v128.load(v, 16);
    for (k = 8; k < (n & ~7); k += 8) {
      even = f32x4.max(even, v128.load(v + ((<usize>k) << 2)));
      odd = f32x4.max(odd, v128.load(v + ((<usize>k) << 2), 16));
    }
    const both = f32x4.max(even, odd);
    largest = max<f32>(
      max<f32>(f32x4.extract_lane(both, 0), f32x4.extract_lane(both, 1)),
      max<f32>(f32x4.extract_lane(both, 2), f32x4.extract_lane(both, 3)),
    );
  }
  for (; k < n; k++) largest = max<f32>(largest, load<f32>(v + ((<usize>k) << 2)));
  return largest;
}

function scaleMagnitudes(out: usize, d: usize, factor: f32, n: i32): void {
  const factors = f32x4.splat(factor);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = (<usize>k) << 2;
    v128.store(out + at, f32x4.mul(f32x4.abs(v128.load(d + at)), factors));
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    store<f32>(out + at, abs<f32>(load<f32>(d + at)) * factor);
  }
}
