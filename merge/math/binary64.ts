/** IEEE 754 binary64 taken apart and put together. Both views are 64 bits wide, so byte order does not matter. */
const float = new Float64Array(1);
const bits = new BigUint64Array(float.buffer);

const FRACTION_BITS = 52n;
const FRACTION = (1n << FRACTION_BITS) - 1n;
const BIAS = 1023;

/** 2^exponent, exact. exponent: integer in -1022 .. 1023. */
export function powerOfTwo(exponent: number): number {
  bits[0] = BigInt(exponent + BIAS) << FRACTION_BITS;
  return float[0]!;
}

/** value = significand * 2^exponent with significand in [1, 2). value: finite, positive, not subnormal. */
export function splitNormal(value: number): { significand: number; exponent: number } {
  float[0] = value;
  const exponent = Number(bits[0]! >> FRACTION_BITS) - BIAS;
  bits[0] = (bits[0]! & FRACTION) | (BigInt(BIAS) << FRACTION_BITS);
  return { significand: float[0]!, exponent };
}

/** The coefficients lead with the constant term; Horner's rule, multiply and add apart. */
export function polynomial(x: number, coefficients: readonly number[]): number {
  let sum = 0;
  for (let k = coefficients.length - 1; k >= 0; k--) sum = sum * x + coefficients[k]!;
  return sum;
}
