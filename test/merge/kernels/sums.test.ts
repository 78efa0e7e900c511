import { expect, test } from "vitest";
import type { SumKind } from "../../../merge/engines/kernels.ts";
import { bitsOfF64, f64, guarded, isSet, kernels, lengths, put, within } from "./engine-buffers.ts";
import { mixed, randomMask, wild } from "./values.ts";

/** Longer than what is summed here. */
const BLOCK = 2 ** 20;
const start = Float64Array.from({ length: 8 }, (_, lane) => lane * 1e-7);

/** lanes[k mod 8] op= term(k), in order of k. */
function laneSums(n: number, from: Float64Array, term: (k: number) => number): Float64Array {
  const lanes = from.slice();
  for (let k = 0; k < n; k++) lanes[k % 8]! += term(k);
  return lanes;
}

function folded(l: Float64Array): number {
  return l[0]! + l[1]! + (l[2]! + l[3]!) + (l[4]! + l[5]! + (l[6]! + l[7]!));
}

test.each(lengths)("dot and squaresF64 add element k to lane k mod 8, over %i elements", (n) => {
  const a = mixed(n, 1).map((x) => (Math.abs(x) > 1e20 ? 1 : x));
  const b = wild(n, 2);
  const doubles = Float64Array.from(a, (x) => x * 1.0000000001);
  within(() => {
    const lanes = put(start);
    const [x, y] = [put(a), put(b)];
    kernels.dot(lanes, x, y, BLOCK, n);
    expect(bitsOfF64(f64(lanes, 8))).toEqual(bitsOfF64(laneSums(n, start, (k) => a[k]! * b[k]!)));
    const same = put(start);
    kernels.dot(same, x, x, BLOCK, n);
    expect(bitsOfF64(f64(same, 8))).toEqual(bitsOfF64(laneSums(n, start, (k) => a[k]! * a[k]!)));
    const squares = put(start);
    kernels.squaresF64(squares, put(doubles), BLOCK, n);
    expect(bitsOfF64(f64(squares, 8))).toEqual(bitsOfF64(laneSums(n, start, (k) => doubles[k]! * doubles[k]!)));
  });
});

test("foldLanes adds the lanes in pairs and zeroes them", () => {
  const lanes = Float64Array.of(1e16, 1, -1e16, 1, 3, 1e-5, 7, 1e16);
  within(() => {
    const [sum, at] = [guarded(8), put(lanes)];
    kernels.foldLanes(sum, at, 1);
    expect(f64(sum, 1)[0]).toBe(folded(lanes));
    expect(f64(at, 8)).toEqual(new Float64Array(8));
  });
});

test.each(lengths)("dotRows and squaresRowsF64 sum each row on lanes of its own, rows of %i", (rowLength) => {
  const rows = 3;
  const n = rows * rowLength;
  const a = mixed(n, 1);
  const b = mixed(n, 2);
  const doubles = Float64Array.from(b, (x) => x / 3);
  const zeros = new Float64Array(8);
  const expectedOf = (term: (k: number) => number): Float64Array =>
    Float64Array.from({ length: rows }, (_, row) =>
      folded(laneSums(rowLength, zeros, (k) => term(row * rowLength + k))),
    );
  within(() => {
    const sums = guarded(8 * rows);
    kernels.dotRows(sums, put(a), put(b), rows, rowLength);
    expect(bitsOfF64(f64(sums, rows))).toEqual(bitsOfF64(expectedOf((k) => a[k]! * b[k]!)));
    kernels.squaresRowsF64(sums, put(doubles), rows, rowLength);
    expect(bitsOfF64(f64(sums, rows))).toEqual(bitsOfF64(expectedOf((k) => doubles[k]! * doubles[k]!)));
  });
});

test.each(lengths)("accumulateF64 and its form by rows round the product, then the sum, over %i elements", (n) => {
  const d = wild(2 * n, 4);
  const before = Float64Array.from(mixed(2 * n, 5), (x) => x / 7);
  const c = Float64Array.of(1 / 3, -1e-9);
  within(() => {
    const acc = put(before.subarray(0, n));
    kernels.accumulateF64(acc, put(d), c[0]!, n);
    expect(bitsOfF64(f64(acc, n))).toEqual(bitsOfF64(before.subarray(0, n).map((s, k) => s + d[k]! * c[0]!)));
    const byRows = put(before);
    kernels.accumulateRowsF64(byRows, put(d), put(c), 2, n);
    expect(bitsOfF64(f64(byRows, 2 * n))).toEqual(bitsOfF64(before.map((s, k) => s + d[k]! * c[k < n ? 0 : 1]!)));
  });
});

const join: Record<SumKind, (lane: number, magnitude: number) => number> = {
  l1: (lane, magnitude) => lane + magnitude,
  l2: (lane, magnitude) => lane + magnitude * magnitude,
  linf: (lane, magnitude) => (Number.isNaN(magnitude) ? lane : Math.max(lane, magnitude)),
};

test.each((["l1", "l2", "linf"] as const).flatMap((kind) => lengths.map((n) => [kind, n] as const)))(
  "magnitudes %s measures all and the kept, over %i elements",
  (kind, n) => {
    const d = wild(n, 6);
    const bits = randomMask(n, 7);
    const all = start.slice();
    const kept = start.slice();
    for (let k = 0; k < n; k++) {
      all[k % 8] = join[kind](all[k % 8]!, Math.abs(d[k]!));
      if (isSet(bits, k)) kept[k % 8] = join[kind](kept[k % 8]!, Math.abs(d[k]!));
    }
    within(() => {
      const [x, mask] = [put(d), put(bits)];
      const [allLanes, keptLanes] = [put(start), put(start)];
      kernels.magnitudes(allLanes, keptLanes, x, mask, kind, BLOCK, n);
      expect(bitsOfF64(f64(allLanes, 8))).toEqual(bitsOfF64(all));
      expect(bitsOfF64(f64(keptLanes, 8))).toEqual(bitsOfF64(kept));
      const [unmasked, everything] = [put(start), put(start)];
      kernels.magnitudes(unmasked, everything, x, 0, kind, BLOCK, n);
      expect(bitsOfF64(f64(unmasked, 8))).toEqual(bitsOfF64(all));
      expect(bitsOfF64(f64(everything, 8))).toEqual(bitsOfF64(all));
    });
  },
);
