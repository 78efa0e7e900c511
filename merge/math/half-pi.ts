/** Binary places: an f64 may be near 2^1024, and what is left of it after reduction must be known to well below 2^-120. */
const PLACES = 1200n;
/** Places of the remainder that are looked at. The nearest that any f64 comes to a multiple of pi/2 is about 2^-61. */
const REMAINDER_PLACES = 200n;

let halfPi: bigint | undefined;

/** x = (4 n + quarter) * pi/2 + high + low, |high + low| <= pi/4. low: what f64 leaves of the remainder. */
export interface Reduced {
  readonly quarter: number;
  readonly high: number;
  readonly low: number;
}

/** In whole numbers, hence right for every finite x with |x| >= 0.5. */
export function reduceByHalfPi(x: number): Reduced {
  halfPi ??= computePi(PLACES) >> 1n;
  const scaled = fixedPoint(x);
  const nearest = floorDivide(2n * scaled + halfPi, 2n * halfPi);
  const remainder = (scaled - nearest * halfPi) >> (PLACES - REMAINDER_PLACES);
  const unit = 2 ** -Number(REMAINDER_PLACES);
  const high = Number(remainder); // rounds to nearest
  return {
    quarter: Number(BigInt.asUintN(2, nearest)),
    high: high * unit,
    low: Number(remainder - BigInt(high)) * unit,
  };
}

/** x * 2^PLACES. |x| >= 0.5: no bit of x lies below 2^-53. */
function fixedPoint(x: number): bigint {
  // Numbers below 2^53 in size are scaled to whole ones first; larger ones are whole already.
  if (Math.abs(x) < 2 ** 53) return BigInt(x * 2 ** 53) << (PLACES - 53n);
  return BigInt(x) << PLACES;
}

function floorDivide(dividend: bigint, divisor: bigint): bigint {
  const quotient = dividend / divisor;
  return dividend < 0n && quotient * divisor !== dividend ? quotient - 1n : quotient;
}

/** floor(pi * 2^places), by Machin's formula: pi = 16 arctan(1/5) - 4 arctan(1/239). */
export function computePi(places: bigint): bigint {
  const guard = 32n; // each of some 600 terms is cut by less than one unit
  const one = 1n << (places + guard);
  return (16n * arctanOfInverse(5n, one) - 4n * arctanOfInverse(239n, one)) >> guard;
}

/** one * arctan(1/n) = one * (1/n - 1/(3 n^3) + 1/(5 n^5) - ...). */
function arctanOfInverse(n: bigint, one: bigint): bigint {
  let power = one / n;
  let sum = 0n;
  for (let odd = 1n; power !== 0n; odd += 2n) {
    sum += (odd & 2n) === 0n ? power / odd : -(power / odd);
    power /= n * n;
  }
  return sum;
}
