/*
 * Sums in f64 over eight lanes (docs/spec/methods.md, "common rules"): element k of a block goes to lane k mod 8, in order of k, and the
 * lanes are added as ((0+1)+(2+3))+((4+5)+(6+7)). The order is what makes the bits; two lanes make one v128. Kernels that take several
 * blocks have the lanes of one after those of another.
 */

export const LANES_BYTES: usize = 64;

/** f64 of lanes for the kernels that sum a row at a time. */
const rowLanes = memory.data(64, 16);

/** lanes[k mod 8] += f64(a[k]) * f64(b[k]), blocks apart. a, b: f32[n], may be the same; lanes: f64[blocks, 8]. */
export function dot(lanes: usize, a: usize, b: usize, blockElements: i32, n: i32): void {
  for (let done = 0; done < n; done += blockElements) {
    const at = (<usize>done) << 2;
    addProducts(lanes, a + at, b + at, min<i32>(blockElements, n - done));
    lanes += LANES_BYTES;
  }
}

/** Of one block: lanes: f64[8]. */
export function addProducts(lanes: usize, a: usize, b: usize, n: i32): void {
  let sum01 = v128.load(lanes);
  let sum23 = v128.load(lanes, 16);
  let sum45 = v128.load(lanes, 32);
  let sum67 = v128.load(lanes, 48);
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const p = a + ((<usize>k) << 2);
    const q = b + ((<usize>k) << 2);
    sum01 = f64x2.add(sum01, f64x2.mul(two(p), two(q)));
    sum23 = f64x2.add(sum23, f64x2.mul(two(p + 8), two(q + 8)));
    sum45 = f64x2.add(sum45, f64x2.mul(two(p + 16), two(q + 16)));
    sum67 = f64x2.add(sum67, f64x2.mul(two(p + 24), two(q + 24)));
  }
  v128.store(lanes, sum01);
  v128.store(lanes, sum23, 16);
  v128.store(lanes, sum45, 32);
  v128.store(lanes, sum67, 48);
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    addToLane(lanes, k, <f64>load<f32>(a + at) * <f64>load<f32>(b + at));
  }
}

/** sums[r] = the dot of row r. sums: f64[rows]; a, b: f32[rows, rowLength], may be the same. */
export function dotRows(sums: usize, a: usize, b: usize, rows: i32, rowLength: i32): void {
  memory.fill(rowLanes, 0, 64);
  for (let row = 0; row < rows; row++) {
    addProducts(rowLanes, a, b, rowLength);
    foldBlock(sums, rowLanes);
    a += (<usize>rowLength) << 2;
    b += (<usize>rowLength) << 2;
    sums += 8;
  }
}

/** lanes[k mod 8] += a[k] * a[k], blocks apart. a: f64[n]; lanes: f64[blocks, 8]. */
export function squaresF64(lanes: usize, a: usize, blockElements: i32, n: i32): void {
  for (let done = 0; done < n; done += blockElements) {
    addSquares(lanes, a + ((<usize>done) << 3), min<i32>(blockElements, n - done));
    lanes += LANES_BYTES;
  }
}

function addSquares(lanes: usize, a: usize, n: i32): void {
  let sum01 = v128.load(lanes);
  let sum23 = v128.load(lanes, 16);
  let sum45 = v128.load(lanes, 32);
  let sum67 = v128.load(lanes, 48);
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const at = a + ((<usize>k) << 3);
    const a01 = v128.load(at);
    const a23 = v128.load(at, 16);
    const a45 = v128.load(at, 32);
    const a67 = v128.load(at, 48);
    sum01 = f64x2.add(sum01, f64x2.mul(a01, a01));
    sum23 = f64x2.add(sum23, f64x2.mul(a23, a23));
    sum45 = f64x2.add(sum45, f64x2.mul(a45, a45));
    sum67 = f64x2.add(sum67, f64x2.mul(a67, a67));
  }
  v128.store(lanes, sum01);
  v128.store(lanes, sum23, 16);
  v128.store(lanes, sum45, 32);
  v128.store(lanes, sum67, 48);
  for (; k < n; k++) {
    const value = load<f64>(a + ((<usize>k) << 3));
    addToLane(lanes, k, value * value);
  }
}

/** sums[r] = sum of squares of row r. sums: f64[rows]; a: f64[rows, rowLength]. */
export function squaresRowsF64(sums: usize, a: usize, rows: i32, rowLength: i32): void {
  memory.fill(rowLanes, 0, 64);
  for (let row = 0; row < rows; row++) {
    addSquares(rowLanes, a, rowLength);
    foldBlock(sums, rowLanes);
    a += (<usize>rowLength) << 3;
    sums += 8;
  }
}

/** sums[j] = the eight lanes of block j added in their order; all lanes are then zeroed. sums: f64[count]; lanes: f64[count, 8]. */
export function foldLanes(sums: usize, lanes: usize, count: i32): void {
  for (let j = 0; j < count; j++) foldBlock(sums + ((<usize>j) << 3), lanes + <usize>j * LANES_BYTES);
}

/** Of one block. */
export function foldBlock(sum: usize, lanes: usize): void {
  const low = load<f64>(lanes) + load<f64>(lanes, 8) + (load<f64>(lanes, 16) + load<f64>(lanes, 24));
  const high = load<f64>(lanes, 32) + load<f64>(lanes, 40) + (load<f64>(lanes, 48) + load<f64>(lanes, 56));
  store<f64>(sum, low + high);
  memory.fill(lanes, 0, LANES_BYTES);
}

/** The same with the largest lane in place of the sum. */
export function foldMaxima(maxima: usize, lanes: usize, count: i32): void {
  for (let j = 0; j < count; j++) {
    const at = lanes + <usize>j * LANES_BYTES;
    const low = f64x2.max(v128.load(at), v128.load(at, 16));
    const high = f64x2.max(v128.load(at, 32), v128.load(at, 48));
    const both = f64x2.max(low, high);
    store<f64>(maxima + ((<usize>j) << 3), max<f64>(f64x2.extract_lane(both, 0), f64x2.extract_lane(both, 1)));
  }
  memory.fill(lanes, 0, <usize>count * LANES_BYTES);
}

export function addToLane(lanes: usize, k: i32, term: f64): void {
  const lane = lanes + ((<usize>(k & 7)) << 3);
  store<f64>(lane, load<f64>(lane) + term);
}

/** f64x2 of the two f32 at `at`. */
export function two(at: usize): v128 {
  return f64x2.promote_low_f32x4(v128.load64_zero(at));
}
