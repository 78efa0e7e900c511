/*
 * exp and log of merge/math/exponential.ts, operation for operation, so bit for bit: see there for what they rest on. Two at a time
 * where both arguments are ordinary, else one by one.
 */

const LN2_HIGH: f64 = 0.6931471803691238;
const LN2_LOW: f64 = 1.9082149292705877e-10;
const LOG2E: f64 = 1.4426950408889634;
const SQRT2: f64 = 1.4142135623730951;
const EXP_OVERFLOW: f64 = 709.782712893384;
const EXP_UNDERFLOW: f64 = -745.1332191019412;
/** Between these 2^k is a normal number. */
const EXP_PLAIN_MIN: f64 = -707.0;
const EXP_PLAIN_MAX: f64 = 709.0;
const SMALLEST_NORMAL: f64 = 2.2250738585072014e-308;
const FRACTION: u64 = 0x000fffffffffffff;
const ONE: u64 = 0x3ff0000000000000;

/** f64x2 of e^x. */
export function expOfTwo(x: v128): v128 {
  const plain = v128.and(f64x2.ge(x, f64x2.splat(EXP_PLAIN_MIN)), f64x2.le(x, f64x2.splat(EXP_PLAIN_MAX)));
  if (!i64x2.all_true(plain)) {
    const low = exp(f64x2.extract_lane(x, 0));
    return f64x2.replace_lane(f64x2.splat(low), 1, exp(f64x2.extract_lane(x, 1)));
  }
  const k = f64x2.floor(f64x2.add(f64x2.mul(x, f64x2.splat(LOG2E)), f64x2.splat(0.5)));
  const value = expReduced(x, k);
  const exponent = i64x2.add(i64x2.extend_low_i32x4_s(i32x4.trunc_sat_f64x2_s_zero(k)), i64x2.splat(1023));
  return f64x2.mul(value, i64x2.shl(exponent, 52));
}

/** f64x2 of the natural logarithm. */
export function logOfTwo(x: v128): v128 {
  const plain = v128.and(f64x2.ge(x, f64x2.splat(SMALLEST_NORMAL)), f64x2.lt(x, f64x2.splat(Infinity)));
  if (!i64x2.all_true(plain)) {
    const low = log(f64x2.extract_lane(x, 0));
    return f64x2.replace_lane(f64x2.splat(low), 1, log(f64x2.extract_lane(x, 1)));
  }
  const exponents = i64x2.sub(i64x2.shr_u(x, 52), i64x2.splat(1023));
  const exponent = f64x2.convert_low_i32x4_s(v128.shuffle<i32>(exponents, exponents, 0, 2, 0, 2));
  return logReduced(v128.or(v128.and(x, i64x2.splat(FRACTION)), i64x2.splat(ONE)), exponent);
}

function exp(x: f64): f64 {
  if (x != x) return x;
  if (x > EXP_OVERFLOW) return Infinity;
  if (x < EXP_UNDERFLOW) return 0;
  const k = floor<f64>(x * LOG2E + 0.5);
  const value = f64x2.extract_lane(expReduced(f64x2.splat(x), f64x2.splat(k)), 0);
  if (k > 1023) return value * 2 * powerOfTwo(k - 1);
  if (k < -1021) return value * powerOfTwo(k + 1000) * powerOfTwo(-1000);
  return value * powerOfTwo(k);
}

function log(x: f64): f64 {
  if (x != x || x == Infinity) return x;
  if (x == 0) return -Infinity;
  if (x < 0) return NaN;
  const subnormal = x < SMALLEST_NORMAL;
  const bits = reinterpret<u64>(subnormal ? x * 18014398509481984.0 : x);
  const exponent = <f64>(<i32>(bits >> 52) - 1023 - (subnormal ? 54 : 0));
  const significand = f64x2.splat(reinterpret<f64>((bits & FRACTION) | ONE));
  return f64x2.extract_lane(logReduced(significand, f64x2.splat(exponent)), 0);
}

function powerOfTwo(exponent: f64): f64 {
  return reinterpret<f64>((<i64>exponent + 1023) << 52);
}

/** f64x2 of e^(x - k ln 2): 1 + r + r^2 (1/2! + r/3! + ... + r^12/14!) with what rounding took put back. */
function expReduced(x: v128, k: v128): v128 {
  const high = f64x2.sub(x, f64x2.mul(k, f64x2.splat(LN2_HIGH)));
  const low = f64x2.mul(k, f64x2.splat(LN2_LOW));
  const r = f64x2.sub(high, low);
  const rest = f64x2.sub(f64x2.sub(high, r), low);
  const whole = f64x2.add(f64x2.splat(1), r);
  const lost = f64x2.sub(r, f64x2.sub(whole, f64x2.splat(1)));
  let sum = f64x2.splat(1.0 / 87178291200.0);
  sum = horner(sum, r, 1.0 / 6227020800.0);
  sum = horner(sum, r, 1.0 / 479001600.0);
  sum = horner(sum, r, 1.0 / 39916800.0);
  sum = horner(sum, r, 1.0 / 3628800.0);
  sum = horner(sum, r, 1.0 / 362880.0);
  sum = horner(sum, r, 1.0 / 40320.0);
  sum = horner(sum, r, 1.0 / 5040.0);
  sum = horner(sum, r, 1.0 / 720.0);
  sum = horner(sum, r, 1.0 / 120.0);
  sum = horner(sum, r, 1.0 / 24.0);
  sum = horner(sum, r, 1.0 / 6.0);
  sum = horner(sum, r, 0.5);
  const tail = f64x2.add(f64x2.mul(f64x2.mul(r, r), sum), rest);
  return f64x2.add(whole, f64x2.add(lost, tail));
}

/** f64x2 of ln(significand) + exponent ln 2; significand in [1, 2). */
function logReduced(significand: v128, exponent: v128): v128 {
  const large = f64x2.gt(significand, f64x2.splat(SQRT2));
  const near = v128.bitselect(f64x2.mul(significand, f64x2.splat(0.5)), significand, large);
  const power = f64x2.add(exponent, v128.and(large, f64x2.splat(1)));
  const f = f64x2.sub(near, f64x2.splat(1));
  const s = f64x2.div(f, f64x2.add(f64x2.splat(2), f));
  const z = f64x2.mul(s, s);
  const halfSquare = f64x2.mul(f64x2.mul(f64x2.splat(0.5), f), f);
  let sum = f64x2.splat(2.0 / 25.0);
  sum = horner(sum, z, 2.0 / 23.0);
  sum = horner(sum, z, 2.0 / 21.0);
  sum = horner(sum, z, 2.0 / 19.0);
  sum = horner(sum, z, 2.0 / 17.0);
  sum = horner(sum, z, 2.0 / 15.0);
  sum = horner(sum, z, 2.0 / 13.0);
  sum = horner(sum, z, 2.0 / 11.0);
  sum = horner(sum, z, 2.0 / 9.0);
  sum = horner(sum, z, 2.0 / 7.0);
  sum = horner(sum, z, 2.0 / 5.0);
  sum = horner(sum, z, 2.0 / 3.0);
  const tail = f64x2.mul(s, f64x2.add(halfSquare, f64x2.mul(z, sum)));
  // With a power of 0 this is f - (halfSquare - tail), as merge/math has it, but for the sign of a difference.
  const low = f64x2.add(tail, f64x2.mul(power, f64x2.splat(LN2_LOW)));
  const rest = f64x2.sub(f64x2.sub(halfSquare, low), f);
  return f64x2.sub(f64x2.mul(power, f64x2.splat(LN2_HIGH)), rest);
}

function horner(sum: v128, x: v128, coefficient: f64): v128 {
  return f64x2.add(f64x2.mul(sum, x), f64x2.splat(coefficient));
}
