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
  for (let i: u32 = 0; i < n; i++) {
    const at = bins + ((<usize>((load<u32>(values + ((<usize>i) << 2)) - lo) >> shift)) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
}

function moveToFront(values: usize, n: u32, lo: u32, shift: i32, bin: u32): void {
  let front = values;
  for (let i: u32 = 0; i < n; i++) {
    const at = values + ((<usize>i) << 2);
    const value = load<u32>(at);
    if ((value - lo) >> shift != bin) continue;
    store<u32>(at, load<u32>(front));
    store<u32>(front, value);
    front += 4;
  }
}

function smallest(values: usize, n: u32): u32 {
  let result = u32.MAX_VALUE;
  for (let i: u32 = 0; i < n; i++) result = min<u32>(result, load<u32>(values + ((<usize>i) << 2)));
  return result;
}

function largest(values: usize, n: u32): u32 {
  let result: u32 = 0;
  for (let i: u32 = 0; i < n; i++) result = max<u32>(result, load<u32>(values + ((<usize>i) << 2)));
  return result;
}
