import { polynomial, powerOfTwo, splitNormal } from "./binary64.ts";

/*
 * exp and log for f64, below 1 ulp, with nothing but + - * / and bit operations: the same bits on every machine and in
 * every version of V8, whose Math.exp and Math.log have changed. Argument reduction by powers of two after Cody and Waite,
 * "Software Manual for the Elementary Functions", 1980; the polynomials are Taylor series, long enough for the reduced range.
 */

/** ln 2 in two parts. The first ends in 21 zero bits: times any exponent of f64 it is exact. */
const LN2_HIGH = 0.6931471803691238;
const LN2_LOW = 1.9082149292705877e-10;

/** Above, exp is infinite; below the other, less than half of the smallest subnormal. */
const EXP_OVERFLOW = 709.782712893384;
const EXP_UNDERFLOW = -745.1332191019412;

/** 1/2!, 1/3!, ... 1/14!: e^r = 1 + r + r^2 * (these). For |r| <= 0.3466 the next term is below 2^-62. */
const EXP_TAIL: readonly number[] = inverseFactorials(2, 14);

/** e^x. */
export function exp(x: number): number {
  if (Number.isNaN(x)) return x;
  if (x > EXP_OVERFLOW) return Number.POSITIVE_INFINITY;
  if (x < EXP_UNDERFLOW) return 0;
  const k = Math.floor(x * Math.LOG2E + 0.5);
  const high = x - k * LN2_HIGH;
  const low = k * LN2_LOW;
  const r = high - low;
  const rest = high - r - low; // what rounding took from r
  const whole = 1 + r;
  const lost = r - (whole - 1); // what rounding took from 1 + r: exact, as |r| < 1
  const value = whole + (lost + (r * r * polynomial(r, EXP_TAIL) + rest));
  // 2^k itself may be out of range although value * 2^k is not. The last product is the only one that can round.
  if (k > 1023) return value * 2 * powerOfTwo(k - 1);
  if (k < -1021) return value * powerOfTwo(k + 1000) * powerOfTwo(-1000);
  return value * powerOfTwo(k);
}

/** 2/3, 2/5, ... 2/25: 2 atanh(s) = 2s + s^3 * (these, in s^2). For |s| <= 0.1716 the next term is below 2^-67 of the sum. */
const ATANH_TAIL: readonly number[] = Array.from({ length: 12 }, (_, n) => 2 / (2 * n + 3));

/** The natural logarithm: -Infinity at 0 (of either sign), NaN below. */
export function log(x: number): number {
  if (Number.isNaN(x) || x === Number.POSITIVE_INFINITY) return x;
  if (x === 0) return Number.NEGATIVE_INFINITY;
  if (x < 0) return Number.NaN;
  const isSubnormal = x < 2 ** -1022;
  let { significand, exponent } = splitNormal(isSubnormal ? x * 2 ** 54 : x);
  if (isSubnormal) exponent -= 54;
  if (significand > Math.SQRT2) {
    significand /= 2;
    exponent += 1;
  }
  // ln(1 + f) = 2 atanh(s) with s = f / (2 + f). As 2s = f - s f and s f = f^2/2 - s f^2/2, the sum can be led by f, which is exact.
  const f = significand - 1;
  const s = f / (2 + f);
  const z = s * s;
  const halfSquare = 0.5 * f * f;
  const tail = s * (halfSquare + z * polynomial(z, ATANH_TAIL));
  if (exponent === 0) return f - (halfSquare - tail);
  return exponent * LN2_HIGH - (halfSquare - (tail + exponent * LN2_LOW) - f);
}

/** 1/first!, ... 1/last!, each rounded once: factorials up to 18! are exact in f64. */
export function inverseFactorials(first: number, last: number): number[] {
  const inverses: number[] = [];
  let factorial = 1;
  for (let n = 1; n <= last; n++) {
    factorial *= n;
    if (n >= first) inverses.push(1 / factorial);
  }
  return inverses;
}
