import { addProducts, LANES_BYTES, two } from "./lanes";

/** Elements of a turn: four rows and the fifth of them lie in the first-level cache. A multiple of 8. */
const TURN = 1024;

/**
 * As dot of x with each of four rows, to the bit, in less time: x is promoted once for all four. lanes0 .. lanes3: f64[blocks, 8] each;
 * a0 .. a3, x: f32[n]; rows may be x. Sixteen accumulators would not fit the registers, so each turn is gone through twice, for
 * lanes 0 .. 3 and for lanes 4 .. 7.
 */
export function dotFour(
  lanes0: usize,
  lanes1: usize,
  lanes2: usize,
  lanes3: usize,
  a0: usize,
  a1: usize,
  a2: usize,
  a3: usize,
  x: usize,
  blockElements: i32,
  n: i32,
): void {
  let lanes: usize = 0;
  for (let done = 0; done < n; done += blockElements) {
    const at = (<usize>done) << 2;
    addFour(
      lanes0 + lanes,
      lanes1 + lanes,
      lanes2 + lanes,
      lanes3 + lanes,
      a0 + at,
      a1 + at,
      a2 + at,
      a3 + at,
      x + at,
      min<i32>(blockElements, n - done),
    );
    lanes += LANES_BYTES;
  }
}

function addFour(
  lanes0: usize,
  lanes1: usize,
  lanes2: usize,
  lanes3: usize,
  a0: usize,
  a1: usize,
  a2: usize,
  a3: usize,
  x: usize,
  n: i32,
): void {
  const even = n & ~7;
  for (let k = 0; k < even; k += TURN) {
    const from = (<usize>k) << 2;
    const elements = min<i32>(TURN, even - k);
    addHalves(lanes0, lanes1, lanes2, lanes3, a0 + from, a1 + from, a2 + from, a3 + from, x + from, elements);
    addHalves(
      lanes0 + 32,
      lanes1 + 32,
      lanes2 + 32,
      lanes3 + 32,
      a0 + from + 16,
      a1 + from + 16,
      a2 + from + 16,
      a3 + from + 16,
      x + from + 16,
      elements,
    );
  }
  const rest = (<usize>even) << 2;
  addProducts(lanes0, a0 + rest, x + rest, n - even);
  addProducts(lanes1, a1 + rest, x + rest, n - even);
  addProducts(lanes2, a2 + rest, x + rest, n - even);
  addProducts(lanes3, a3 + rest, x + rest, n - even);
}

/** Four lanes from `lanes` on: of every eight elements the four at the front. */
function addHalves(
  lanes0: usize,
  lanes1: usize,
  lanes2: usize,
  lanes3: usize,
  a0: usize,
  a1: usize,
  a2: usize,
  a3: usize,
  x: usize,
  n: i32,
): void {
  let low0 = v128.load(lanes0);
  let high0 = v128.load(lanes0, 16);
  let low1 = v128.load(lanes1);
  let high1 = v128.load(lanes1, 16);
  let low2 = v128.load(lanes2);
  let high2 = v128.load(lanes2, 16);
  let low3 = v128.load(lanes3);
  let high3 = v128.load(lanes3, 16);
  for (let k = 0; k < n; k += 8) {
    const at = (<usize>k) << 2;
    const x01 = two(x + at);
    const x23 = two(x + at + 8);
    low0 = f64x2.add(low0, f64x2.mul(two(a0 + at), x01));
    high0 = f64x2.add(high0, f64x2.mul(two(a0 + at + 8), x23));
    low1 = f64x2.add(low1, f64x2.mul(two(a1 + at), x01));
    high1 = f64x2.add(high1, f64x2.mul(two(a1 + at + 8), x23));
    low2 = f64x2.add(low2, f64x2.mul(two(a2 + at), x01));
    high2 = f64x2.add(high2, f64x2.mul(two(a2 + at + 8), x23));
    low3 = f64x2.add(low3, f64x2.mul(two(a3 + at), x01));
    high3 = f64x2.add(high3, f64x2.mul(two(a3 + at + 8), x23));
  }
  v128.store(lanes0, low0);
  v128.store(lanes0, high0, 16);
  v128.store(lanes1, low1);
  v128.store(lanes1, high1, 16);
  v128.store(lanes2, low2);
  v128.store(lanes2, high2, 16);
  v128.store(lanes3, low3);
  v128.store(lanes3, high3, 16);
}
