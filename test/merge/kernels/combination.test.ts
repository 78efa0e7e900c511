import { expect, test } from "vitest";
import type { FloatDtype } from "../../../checkpoint/index.ts";
import { bitsOf, f32, guarded, kernels, lengths, put, u8, within } from "./engine-buffers.ts";
import { mixed, wild } from "./values.ts";

const dtypes: FloatDtype[] = ["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"];
const bytes = { F64: 8, F32: 4, F16: 2, BF16: 2, F8_E4M3: 1, F8_E5M2: 1 } as const;
const r = Math.fround;

/** n values in a dtype, and what they are in f32: formats.test.ts holds narrow and widen. */
function source(dtype: FloatDtype, n: number, seed: number): { codes: Uint8Array; values: Float32Array } {
  return within(() => {
    const codes = guarded(n * bytes[dtype]);
    const values = guarded(4 * n);
    kernels.narrow(codes, put(wild(n, seed)), dtype, n);
    kernels.widen(values, codes, dtype, n);
    return { codes: u8(codes, n * bytes[dtype]), values: f32(values, n) };
  });
}

const cases = dtypes.flatMap((dtype) => lengths.map((n) => [dtype, n] as const));

test.each(cases)(
  "delta, accumulate and accumulateDelta give the bits of the scalar formula: %s, %i elements",
  (dtype, n) => {
    const { codes, values } = source(dtype, n, n + 1);
    const base = mixed(n, n + 2);
    const before = mixed(n, n + 3);
    const c = r(0.3);
    const d = values.map((x, k) => r(x - base[k]!));
    within(() => {
      const [x, b, acc] = [put(codes), put(base), put(before)];
      const out = guarded(4 * n);
      kernels.delta(out, x, dtype, b, n);
      expect(bitsOf(f32(out, n))).toEqual(bitsOf(d));
      kernels.accumulate(out, x, dtype, 0.3, true, n);
      expect(bitsOf(f32(out, n))).toEqual(bitsOf(values.map((value) => c * value)));
      kernels.accumulate(acc, x, dtype, 0.3, false, n);
      const sum = before.map((s, k) => r(s + r(c * values[k]!)));
      expect(bitsOf(f32(acc, n))).toEqual(bitsOf(sum));
      kernels.accumulateDelta(out, x, dtype, b, 0.3, true, n);
      expect(bitsOf(f32(out, n))).toEqual(bitsOf(d.map((value) => c * value)));
      kernels.accumulateDelta(acc, x, dtype, b, 0.3, false, n);
      expect(bitsOf(f32(acc, n))).toEqual(bitsOf(sum.map((s, k) => r(s + r(c * d[k]!)))));
    });
  },
);

test.each(cases.filter(([, n]) => n < 20))(
  "accumulateRows takes a coefficient from each row: %s, rows of %i",
  (dtype, rowLength) => {
    const rows = 3;
    const n = rows * rowLength;
    const { codes, values } = source(dtype, n, n + 1);
    const c = Float32Array.of(0.5, -0.3, 1e-30);
    const before = mixed(n, 9);
    within(() => {
      const [x, coefficients, acc] = [put(codes), put(c), put(before)];
      kernels.accumulateRows(acc, x, dtype, coefficients, false, rows, rowLength);
      expect(bitsOf(f32(acc, n))).toEqual(
        bitsOf(before.map((s, k) => r(s + r(c[Math.floor(k / rowLength)]! * values[k]!)))),
      );
      kernels.accumulateRows(acc, x, dtype, coefficients, true, rows, rowLength);
      expect(bitsOf(f32(acc, n))).toEqual(bitsOf(values.map((x, k) => c[Math.floor(k / rowLength)]! * x)));
    });
  },
);

test.each(lengths)("finishDelta divides, scales and adds, each rounded, over %i elements, in place too", (n) => {
  const base = mixed(n, 1);
  const acc = wild(n, 2);
  const expected = base.map((b, k) => r(b + r(r(0.7) * r(acc[k]! / r(1.3)))));
  within(() => {
    const [b, a, out] = [put(base), put(acc), guarded(4 * n)];
    kernels.finishDelta(out, b, a, 1.3, 0.7, n);
    expect(bitsOf(f32(out, n))).toEqual(bitsOf(expected));
    kernels.finishDelta(a, b, a, 1.3, 0.7, n);
    expect(bitsOf(f32(a, n))).toEqual(bitsOf(expected));
  });
});

test("products and sums are not fused", () => {
  // (1 + 2^-12)^2 = 1 + 2^-11 + 2^-24; the last term is lost by rounding the product, and only a fused form would keep it.
  const x = r(1 + 2 ** -12);
  within(() => {
    const acc = put(new Float32Array(9).fill(-1 - 2 ** -11));
    kernels.accumulate(acc, put(new Float32Array(9).fill(x)), "F32", x, false, 9);
    expect(f32(acc, 9)).toEqual(new Float32Array(9));
  });
});
