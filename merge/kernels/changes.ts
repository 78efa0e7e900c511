/*
 * RAM (docs/spec/methods.md): an element of a delta is changed where |d| > epsilon; NaN is no change. All buffers f32[n] and disjoint;
 * accumulators start as zeros.
 */

/** Where changed: sum[k] += d[k], count[k] += 1, label[k] = value. sum and label may each be 0: not kept. */
export function accumulateChanged(
  sum: usize,
  count: usize,
  label: usize,
  d: usize,
  epsilon: f32,
  value: f32,
  n: i32,
): void {
  const bound = f32x4.splat(epsilon);
  const ones = f32x4.splat(1);
  const values = f32x4.splat(value);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = (<usize>k) << 2;
    const delta = v128.load(d + at);
    const changed = f32x4.gt(f32x4.abs(delta), bound);
    v128.store(count + at, f32x4.add(v128.load(count + at), v128.and(ones, changed)));
    if (sum) v128.store(sum + at, f32x4.add(v128.load(sum + at), v128.and(delta, changed)));
    if (label) v128.store(label + at, v128.bitselect(values, v128.load(label + at), changed));
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    const delta = load<f32>(d + at);
    if (!(abs<f32>(delta) > epsilon)) continue;
    store<f32>(count + at, load<f32>(count + at) + 1);
    if (sum) store<f32>(sum + at, load<f32>(sum + at) + delta);
    if (label) store<f32>(label + at, value);
  }
}

/** tally (u32) += how many are changed. */
export function countChanged(tally: usize, d: usize, epsilon: f32, n: i32): void {
  const bound = f32x4.splat(epsilon);
  // A comparison that holds gives -1: this counts down.
  let counted = i32x4.splat(0);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    counted = i32x4.add(counted, f32x4.gt(f32x4.abs(v128.load(d + ((<usize>k) << 2))), bound));
  }
  let total =
    i32x4.extract_lane(counted, 0) +
    i32x4.extract_lane(counted, 1) +
    i32x4.extract_lane(counted, 2) +
    i32x4.extract_lane(counted, 3);
  for (; k < n; k++) total -= i32(abs<f32>(load<f32>(d + ((<usize>k) << 2))) > epsilon);
  store<i32>(tally, load<i32>(tally) - total);
}

/** Where count[k] = 1: tallies[label[k]] += 1. tallies: u32, as many as there are labels, whole numbers from 0. */
export function countUnique(tallies: usize, count: usize, label: usize, n: i32): void {
  const one = f32x4.splat(1);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = (<usize>k) << 2;
    // One bit an element: mostly all or none of them are changed by several models.
    for (let rest = i32x4.bitmask(f32x4.eq(v128.load(count + at), one)); rest != 0; rest &= rest - 1) {
      countLabel(tallies, label + at + ((<usize>ctz<i32>(rest)) << 2));
    }
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    if (load<f32>(count + at) == 1) countLabel(tallies, label + at);
  }
}

function countLabel(tallies: usize, label: usize): void {
  const tally = tallies + ((<usize>(<i32>load<f32>(label))) << 2);
  store<u32>(tally, load<u32>(tally) + 1);
}

/**
 * out[k] = base[k] + (count[k] = 1 ? factor[k] * sum[k] : sum[k] / (count[k] < 1 ? 1 : count[k])). factor may be 0: all ones. out may be sum.
 */
export function finishChanged(out: usize, base: usize, sum: usize, count: usize, factor: usize, n: i32): void {
  const one = f32x4.splat(1);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = (<usize>k) << 2;
    const changes = v128.load(count + at);
    const total = v128.load(sum + at);
    let mean = f32x4.div(total, f32x4.pmax(changes, one));
    if (factor) mean = v128.bitselect(f32x4.mul(v128.load(factor + at), total), mean, f32x4.eq(changes, one));
    v128.store(out + at, f32x4.add(v128.load(base + at), mean));
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    const changes = load<f32>(count + at);
    const total = load<f32>(sum + at);
    const scaled = factor && changes == 1 ? load<f32>(factor + at) * total : total / (changes < 1 ? 1 : changes);
    store<f32>(out + at, load<f32>(base + at) + scaled);
  }
}
