const BIN_BITS = 11;
const bins = memory.data(8192, 16);

/**
 * result (u32[3]): the k-th smallest (k from 0) of values (u32[n], 0 <= k < n), how many are below it, how many equal it.
 * values is reordered. A histogram over the range that still holds the answer, then the members of one bin move to the front and
 * become the range: at most three turns, whatever the values.
 */
export function select(result: usize, values: usize, k: u32, n: u32): void {
  let below: u32 = 0;
  let candidates = n;
  let lo = smallest(values, n);
  let hi = largest(values, n);
  while (lo < hi) {
    const shift = max<i32>(0, 32 - BIN_BITS - <i32>clz<u32>(hi - lo));
    countBins(values, candidates, lo, shift);
    let bin: u32 = 0;
    let inBin = load<u32>(bins);
    while (k - below >= inBin) {
      below += inBin;
      bin++;
      inBin = load<u32>(bins + ((<usize>bin) << 2));
    }
    moveToFront(values, candidates, lo, shift, bin);
    candidates = inBin;
    lo += bin << shift;
    hi = lo + min<u32>(hi - lo, (1 << shift) - 1); // lo + 2^shift can lie beyond u32
  }
  store<u32>(result, lo);
  store<u32>(result, below, 4);
  store<u32>(result, candidates, 8);
}

function countBins(values: usize, n: u32, lo: u32, shift: i32): void {
  memory.fill(bins, 0, 4 << BIN_BITS);
  const los = i32x4.splat(lo);
  let i: u32 = 0;
  for (; i < (n & ~3); i += 4) {
    const at = i32x4.shl(i32x4.shr_u(i32x4.sub(v128.load(values + ((<usize>i) << 2)), los), shift), 2);
    countOne(bins + i32x4.extract_lane(at, 0));
    countOne(bins + i32x4.extract_lane(at, 1));
    countOne(bins + i32x4.extract_lane(at, 2));
    countOne(bins + i32x4.extract_lane(at, 3));
  }
  for (; i < n; i++) countOne(bins + ((<usize>((load<u32>(values + ((<usize>i) << 2)) - lo) >> shift)) << 2));
}

function countOne(at: usize): void {
  store<u32>(at, load<u32>(at) + 1);
}

function moveToFront(values: usize, n: u32, lo: u32, shift: i32, bin: u32): void {
  const los = i32x4.splat(lo);
  const bins = i32x4.splat(bin);
  const end = values + ((<usize>n) << 2);
  let front = values;
  let at = values;
  for (const last = values + ((<usize>(n & ~7)) << 2); at < last; at += 32) {
    // Of so many bins one has hardly any.
    const isIn0 = i32x4.eq(i32x4.shr_u(i32x4.sub(v128.load(at), los), shift), bins);
    const isIn1 = i32x4.eq(i32x4.shr_u(i32x4.sub(v128.load(at, 16), los), shift), bins);
    if (v128.any_true(v128.or(isIn0, isIn1))) front = moveSome(front, at, at + 32, lo, shift, bin);
  }
  moveSome(front, at, end, lo, shift, bin);
}

/** Of those from `at` to `end`. Returns the new front. */
function moveSome(front: usize, at: usize, end: usize, lo: u32, shift: i32, bin: u32): usize {
  for (; at < end; at += 4) {
    const value = load<u32>(at);
    if ((value - lo) >> shift != bin) continue;
    store<u32>(at, load<u32>(front));
    store<u32>(front, value);
    front += 4;
  }
  return front;
}

function smallest(values: usize, n: u32): u32 {
  let lanes = i32x4.splat(-1);
  let i: u32 = 0;
  for (; i < (n & ~3); i += 4) lanes = i32x4.min_u(lanes, v128.load(values + ((<usize>i) << 2)));
  let result = min<u32>(
    min<u32>(i32x4.extract_lane(lanes, 0), i32x4.extract_lane(lanes, 1)),
    min<u32>(i32x4.extract_lane(lanes, 2), i32x4.extract_lane(lanes, 3)),
  );
  for (; i < n; i++) result = min<u32>(result, load<u32>(values + ((<usize>i) << 2)));
  return result;
}

function largest(values: usize, n: u32): u32 {
  let lanes = i32x4.splat(0);
  let i: u32 = 0;
  for (; i < (n & ~3); i += 4) lanes = i32x4.max_u(lanes, v128.load(values + ((<usize>i) << 2)));
  let result = max<u32>(
    max<u32>(i32x4.extract_lane(lanes, 0), i32x4.extract_lane(lanes, 1)),
    max<u32>(i32x4.extract_lane(lanes, 2), i32x4.extract_lane(lanes, 3)),
  );
  for (; i < n; i++) result = max<u32>(result, load<u32>(values + ((<usize>i) << 2)));
  return result;
}
