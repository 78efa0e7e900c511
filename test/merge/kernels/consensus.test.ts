import { expect, test } from "vitest";
import { bitsOf, f32, guarded, isSet, kernels, lengths, put, within } from "./engine-buffers.ts";
import { randomMask, tied, wild } from "./values.ts";

const r = Math.fround;
const coefficients: [number, number][] = [
  [0.6, 0.6],
  [-0.3, 0.9],
  [Number.POSITIVE_INFINITY, 1],
];

/** Accumulators after some models: positive ones only in P, negative ones only in Q; never -0, as they began with 0. */
const sumsOf = (n: number, sign: 1 | -1): Float32Array =>
  wild(n, 3).map((x) => 0 + sign * Math.abs(Number.isFinite(x) ? x : 0));
const weightsOf = (n: number, seed: number): Float32Array => tied(n, seed, 2).map((x) => 0 + x);

test.each(lengths)("accumulateMasked adds what is kept and leaves the rest as it is, over %i elements", (n) => {
  const d = wild(n, 1);
  const bits = randomMask(n, 2);
  const before = sumsOf(n, 1);
  for (const [c] of coefficients) {
    const step = (s: number, k: number): number => r(s + r(r(c) * d[k]!));
    within(() => {
      const [acc, all, x] = [put(before), put(before), put(d)];
      kernels.accumulateMasked(acc, x, put(bits), c, n);
      expect(bitsOf(f32(acc, n))).toEqual(bitsOf(before.map((s, k) => (isSet(bits, k) ? step(s, k) : s))));
      kernels.accumulateMasked(all, x, 0, c, n);
      expect(bitsOf(f32(all, n))).toEqual(bitsOf(before.map(step)));
    });
  }
});

test.each(lengths)(
  "elect adds each kept term to the side of its sign, with its weight or without, over %i elements",
  (n) => {
    const d = wild(n, 4);
    const bits = randomMask(n, 5);
    const [p, q, wp, wq] = [sumsOf(n, 1), sumsOf(n, -1), weightsOf(n, 6), weightsOf(n, 7)];
    for (const [c, w] of coefficients) {
      for (const isMasked of [true, false]) {
        const after = { p: p.slice(), q: q.slice(), wp: wp.slice(), wq: wq.slice() };
        for (let k = 0; k < n; k++) {
          if (isMasked && !isSet(bits, k)) continue;
          const t = r(r(c) * d[k]!);
          if (t > 0) {
            after.p[k]! += t;
            after.wp[k]! += r(w);
          } else if (t < 0) {
            after.q[k]! += t;
            after.wq[k]! += r(w);
          }
        }
        within(() => {
          const [x, mask] = [put(d), isMasked ? put(bits) : 0];
          const [pAt, qAt, wpAt, wqAt] = [put(p), put(q), put(wp), put(wq)];
          kernels.elect(pAt, qAt, wpAt, wqAt, x, mask, c, w, n);
          expect(bitsOf(f32(pAt, n))).toEqual(bitsOf(after.p));
          expect(bitsOf(f32(qAt, n))).toEqual(bitsOf(after.q));
          expect(bitsOf(f32(wpAt, n))).toEqual(bitsOf(after.wp));
          expect(bitsOf(f32(wqAt, n))).toEqual(bitsOf(after.wq));
          const [pAlone, qAlone] = [put(p), put(q)];
          kernels.elect(pAlone, qAlone, 0, 0, x, mask, c, w, n);
          expect(bitsOf(f32(pAlone, n))).toEqual(bitsOf(after.p));
          expect(bitsOf(f32(qAlone, n))).toEqual(bitsOf(after.q));
        });
      }
    }
  },
);

test.each(lengths)(
  "finishElection takes the side of the larger sum, by its weight or by 1, over %i elements, in place too",
  (n) => {
    const base = wild(n, 8);
    const [p, q] = [sumsOf(n, 1), tied(n, 9).map((x) => -Math.abs(x))];
    // Sums that cancel exactly go to the positive side; NaN goes to the negative one.
    for (let k = 0; k < n; k += 5) q[k] = -p[k]!;
    if (n > 3) p[3] = Number.NaN;
    const [wp, wq] = [weightsOf(n, 10), weightsOf(n, 11)];
    for (const hasWeights of [true, false]) {
      const expected = base.map((b, k) => {
        const plus = r(p[k]! + q[k]!) >= 0;
        const weight = plus ? wp[k]! : wq[k]!;
        const divisor = hasWeights && weight !== 0 ? weight : 1;
        return r(b + r(r(0.7) * r((plus ? p[k]! : q[k]!) / divisor)));
      });
      within(() => {
        const [b, pAt, qAt, out] = [put(base), put(p), put(q), guarded(4 * n)];
        const [wpAt, wqAt] = hasWeights ? [put(wp), put(wq)] : [0, 0];
        kernels.finishElection(out, b, pAt, qAt, wpAt, wqAt, 0.7, n);
        expect(bitsOf(f32(out, n))).toEqual(bitsOf(expected));
        kernels.finishElection(pAt, b, pAt, qAt, wpAt, wqAt, 0.7, n);
        expect(bitsOf(f32(pAt, n))).toEqual(bitsOf(expected));
      });
    }
  },
);
