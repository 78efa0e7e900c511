import { polynomial } from "./binary64.ts";
import { inverseFactorials } from "./exponential.ts";
import { reduceByHalfPi } from "./half-pi.ts";

/*
 * sin, cos and acos for f64, below 1 ulp, with nothing but + - * / sqrt and integers (see exponential.ts for the reason).
 * sin and cos: reduction modulo pi/2 in whole numbers, so that no argument is too large, then Taylor series on
 * [-pi/4, pi/4] with the reduced argument in two parts. acos: Taylor series of asin up to 1/2, above it the half angle.
 */

const QUARTER_PI = Math.PI / 4;
const HALF_PI = Math.PI / 2;
/** What f64 leaves of pi/2. */
const HALF_PI_LOW = 6.123233995736766e-17;

/** -1/3!, 1/5!, ... 1/17!: sin r = r + r^3 * (these, in r^2). The next term is below 2^-62 of r on [-pi/4, pi/4]. */
const SIN_TAIL: readonly number[] = everySecondAlternating(inverseFactorials(3, 17));
/** -1/4!, 1/6!, ... 1/18!, sign turned: cos r = 1 - r^2/2 - r^4 * (these, in r^2). */
const COS_TAIL: readonly number[] = everySecondAlternating(inverseFactorials(4, 18));

/** NaN for infinities. */
export function sin(x: number): number {
  if (!Number.isFinite(x)) return Number.NaN;
  if (x === 0) return x; // keeps the sign, which a sum would lose
  if (Math.abs(x) <= QUARTER_PI) return sinReduced(x, 0);
  const { quarter, high, low } = reduceByHalfPi(x);
  const value = quarter % 2 === 0 ? sinReduced(high, low) : cosReduced(high, low);
  return quarter < 2 ? value : -value;
}

/** NaN for infinities. */
export function cos(x: number): number {
  if (!Number.isFinite(x)) return Number.NaN;
  if (Math.abs(x) <= QUARTER_PI) return cosReduced(x, 0);
  const { quarter, high, low } = reduceByHalfPi(x);
  const value = quarter % 2 === 0 ? cosReduced(high, low) : sinReduced(high, low);
  return quarter === 0 || quarter === 3 ? value : -value;
}

/** In [0, pi]; NaN outside [-1, 1]. */
export function acos(x: number): number {
  if (!(Math.abs(x) <= 1)) return Number.NaN;
  if (Math.abs(x) <= 0.5) return HALF_PI - (x - (HALF_PI_LOW - x * asinTail(x * x)));
  if (x > 0) {
    // acos x = 2 asin(root) with root^2 = (1 - x) / 2, which is exact. The root's own rounding is put back at the end.
    const square = (1 - x) * 0.5;
    if (square === 0) return 0;
    const root = Math.sqrt(square);
    const { upper, lower } = halves(root);
    const rootLow = (square - upper * upper - 2 * upper * lower - lower * lower) / (2 * root);
    return 2 * (root + (root * asinTail(square) + rootLow));
  }
  const square = (1 + x) * 0.5;
  const root = Math.sqrt(square);
  return Math.PI - 2 * (root + (root * asinTail(square) - HALF_PI_LOW));
}

/** sin(high + low) for |high| <= pi/4; low: below half an ulp of high. */
function sinReduced(high: number, low: number): number {
  const square = high * high;
  return high + (high * square * polynomial(square, SIN_TAIL) + low * (1 - 0.5 * square));
}

/** cos(high + low) likewise. */
function cosReduced(high: number, low: number): number {
  const square = high * high;
  const half = 0.5 * square;
  const whole = 1 - half;
  const lost = 1 - whole - half; // what rounding took from 1 - r^2/2
  return whole + (lost - (square * square * polynomial(square, COS_TAIL) + high * low));
}

/**
 * asin(x) = x + x * asinTail(x^2). Its coefficients, from n = 1: binomial(2n, n) / (4^n (2n + 1)).
 * Up to n = 26 the binomials stay exact; for x^2 <= 1/4 the next term is below 2^-62.
 */
const ASIN_TAIL: readonly number[] = asinCoefficients(26);

function asinTail(square: number): number {
  return square * polynomial(square, ASIN_TAIL);
}

function asinCoefficients(count: number): number[] {
  const coefficients: number[] = [];
  let binomial = 1;
  for (let n = 1; n <= count; n++) {
    binomial = (binomial * (4 * n - 2)) / n;
    coefficients.push(binomial / (2 * n + 1) / 4 ** n);
  }
  return coefficients;
}

function everySecondAlternating(values: readonly number[]): number[] {
  return values.filter((_, n) => n % 2 === 0).map((value, n) => (n % 2 === 0 ? -value : value));
}

/** value = upper + lower, each of at most 26 bits, so that products of the parts are exact (Dekker 1971; Veltkamp's splitting). */
function halves(value: number): { upper: number; lower: number } {
  const scaled = value * (2 ** 27 + 1);
  const upper = scaled - (scaled - value);
  return { upper, lower: value - upper };
}
