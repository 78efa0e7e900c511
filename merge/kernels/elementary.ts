/*
 * exp and log of merge/math/exponential.ts, operation for operation, so bit for bit: see there for what they rest on. Two a vector where
 * both arguments are ordinary, else one by one; and four vectors at a time, for each step of a polynomial waits for the one before.
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

/** Which function, a constant to asc. */
type Exp = f64;
type Log = i32;

/** x[k] = e^x[k]. x: f64[n]. */
export function expEach(x: usize, n: i32): void {
  each<Exp>(x, n);
}

/** x[k] = ln x[k]. x: f64[n]. */
export function logEach(x: usize, n: i32): void {
  each<Log>(x, n);
}

function each<F>(x: usize, n: i32): void {
  let at = x;
  for (const end = x + ((<usize>(n & ~7)) << 3); at < end; at += 64) {
    const x0 = v128.load(at);
    const x1 = v128.load(at, 16);
    const x2 = v128.load(at, 32);
    const x3 = v128.load(at, 48);
    const plain = v128.and(v128.and(isPlain<F>(x0), isPlain<F>(x1)), v128.and(isPlain<F>(x2), isPlain<F>(x3)));
    if (!i64x2.all_true(plain)) oneByOne<F>(at, 8);
    else if (isFloat<F>()) expOfEight(at, x0, x1, x2, x3);
    else logOfEight(at, x0, x1, x2, x3);
  }
  oneByOne<F>(at, n & 7);
}

function isPlain<F>(x: v128): v128 {
  const least = isFloat<F>() ? EXP_PLAIN_MIN : SMALLEST_NORMAL;
  const most = isFloat<F>() ? EXP_PLAIN_MAX : f64.MAX_VALUE;
  return v128.and(f64x2.ge(x, f64x2.splat(least)), f64x2.le(x, f64x2.splat(most)));
}

function oneByOne<F>(x: usize, n: i32): void {
  for (const end = x + ((<usize>n) << 3); x < end; x += 8) {
    const value = load<f64>(x);
    store<f64>(x, isFloat<F>() ? exp(value) : log(value));
  }
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

/** 1/14!, 1/13! ... 1/2! */
// biome-ignore format: a line
const expTerms = memory.data<f64>([1.0 / 87178291200.0, 1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0, 1.0 / 40320.0, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5], 16);
const EXP_TERMS: usize = 13;

/** 2/25, 2/23 ... 2/3 */
// biome-ignore format: a line
const logTerms = memory.data<f64>([2.0 / 25.0, 2.0 / 23.0, 2.0 / 21.0, 2.0 / 19.0, 2.0 / 17.0, 2.0 / 15.0, 2.0 / 13.0, 2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0], 16);
const LOG_TERMS: usize = 12;

/** e^x where 2^k is a normal number: of e^(x - k ln 2) times that. out: f64[8]. */
function expOfEight(out: usize, x0: v128, x1: v128, x2: v128, x3: v128): void {
  const k0 = nearestPower(x0);
  const k1 = nearestPower(x1);
  const k2 = nearestPower(x2);
  const k3 = nearestPower(x3);
  const r0 = reduced(x0, k0);
  const r1 = reduced(x1, k1);
  const r2 = reduced(x2, k2);
  const r3 = reduced(x3, k3);
  let sum0 = v128.load64_splat(expTerms);
  let sum1 = sum0;
  let sum2 = sum0;
  let sum3 = sum0;
  for (let term = expTerms + 8; term < expTerms + 8 * EXP_TERMS; term += 8) {
    const coefficient = v128.load64_splat(term);
    sum0 = f64x2.add(f64x2.mul(sum0, r0), coefficient);
    sum1 = f64x2.add(f64x2.mul(sum1, r1), coefficient);
    sum2 = f64x2.add(f64x2.mul(sum2, r2), coefficient);
    sum3 = f64x2.add(f64x2.mul(sum3, r3), coefficient);
  }
  v128.store(out, f64x2.mul(expOf(x0, k0, r0, sum0), powersOfTwo(k0)));
  v128.store(out, f64x2.mul(expOf(x1, k1, r1, sum1), powersOfTwo(k1)), 16);
  v128.store(out, f64x2.mul(expOf(x2, k2, r2, sum2), powersOfTwo(k2)), 32);
  v128.store(out, f64x2.mul(expOf(x3, k3, r3, sum3), powersOfTwo(k3)), 48);
}

function expReduced(x: v128, k: v128): v128 {
  const r = reduced(x, k);
  let sum = v128.load64_splat(expTerms);
  for (let term = expTerms + 8; term < expTerms + 8 * EXP_TERMS; term += 8)
    sum = f64x2.add(f64x2.mul(sum, r), v128.load64_splat(term));
  return expOf(x, k, r, sum);
}

function nearestPower(x: v128): v128 {
  return f64x2.floor(f64x2.add(f64x2.mul(x, f64x2.splat(LOG2E)), f64x2.splat(0.5)));
}

/** x - k ln 2 */
function reduced(x: v128, k: v128): v128 {
  const high = f64x2.sub(x, f64x2.mul(k, f64x2.splat(LN2_HIGH)));
  return f64x2.sub(high, f64x2.mul(k, f64x2.splat(LN2_LOW)));
}

/** f64x2 of e^r: 1 + r + r^2 sum with what rounding took put back. sum: 1/2! + r/3! + ... + r^12/14! */
function expOf(x: v128, k: v128, r: v128, sum: v128): v128 {
  const high = f64x2.sub(x, f64x2.mul(k, f64x2.splat(LN2_HIGH)));
  const low = f64x2.mul(k, f64x2.splat(LN2_LOW));
  const rest = f64x2.sub(f64x2.sub(high, r), low);
  const whole = f64x2.add(f64x2.splat(1), r);
  const lost = f64x2.sub(r, f64x2.sub(whole, f64x2.splat(1)));
  const tail = f64x2.add(f64x2.mul(f64x2.mul(r, r), sum), rest);
  return f64x2.add(whole, f64x2.add(lost, tail));
}

/** f64x2 of 2^k, k whole and normal powers: at 2^52 and a half the fraction's last bits are a number's own. */
function powersOfTwo(k: v128): v128 {
  return i64x2.shl(i64x2.add(f64x2.add(k, f64x2.splat(6755399441055744.0)), i64x2.splat(1023)), 52);
}

/** ln x of normal numbers. out: f64[8]. */
function logOfEight(out: usize, x0: v128, x1: v128, x2: v128, x3: v128): void {
  const significand0 = significandOf(x0);
  const significand1 = significandOf(x1);
  const significand2 = significandOf(x2);
  const significand3 = significandOf(x3);
  const f0 = fractionOf(significand0);
  const f1 = fractionOf(significand1);
  const f2 = fractionOf(significand2);
  const f3 = fractionOf(significand3);
  const s0 = f64x2.div(f0, f64x2.add(f64x2.splat(2), f0));
  const s1 = f64x2.div(f1, f64x2.add(f64x2.splat(2), f1));
  const s2 = f64x2.div(f2, f64x2.add(f64x2.splat(2), f2));
  const s3 = f64x2.div(f3, f64x2.add(f64x2.splat(2), f3));
  const z0 = f64x2.mul(s0, s0);
  const z1 = f64x2.mul(s1, s1);
  const z2 = f64x2.mul(s2, s2);
  const z3 = f64x2.mul(s3, s3);
  let sum0 = v128.load64_splat(logTerms);
  let sum1 = sum0;
  let sum2 = sum0;
  let sum3 = sum0;
  for (let term = logTerms + 8; term < logTerms + 8 * LOG_TERMS; term += 8) {
    const coefficient = v128.load64_splat(term);
    sum0 = f64x2.add(f64x2.mul(sum0, z0), coefficient);
    sum1 = f64x2.add(f64x2.mul(sum1, z1), coefficient);
    sum2 = f64x2.add(f64x2.mul(sum2, z2), coefficient);
    sum3 = f64x2.add(f64x2.mul(sum3, z3), coefficient);
  }
  v128.store(out, logOf(significand0, exponentOf(x0), f0, s0, z0, sum0));
  v128.store(out, logOf(significand1, exponentOf(x1), f1, s1, z1, sum1), 16);
  v128.store(out, logOf(significand2, exponentOf(x2), f2, s2, z2, sum2), 32);
  v128.store(out, logOf(significand3, exponentOf(x3), f3, s3, z3, sum3), 48);
}

/** f64x2 of ln(significand) + exponent ln 2; significand in [1, 2). */
function logReduced(significand: v128, exponent: v128): v128 {
  const f = fractionOf(significand);
  const s = f64x2.div(f, f64x2.add(f64x2.splat(2), f));
  const z = f64x2.mul(s, s);
  let sum = v128.load64_splat(logTerms);
  for (let term = logTerms + 8; term < logTerms + 8 * LOG_TERMS; term += 8)
    sum = f64x2.add(f64x2.mul(sum, z), v128.load64_splat(term));
  return logOf(significand, exponent, f, s, z, sum);
}

/** f64x2 in [1, 2) of normal numbers. */
function significandOf(x: v128): v128 {
  return v128.or(v128.and(x, i64x2.splat(FRACTION)), i64x2.splat(ONE));
}

/** Of normal numbers, as f64x2. */
function exponentOf(x: v128): v128 {
  const exponents = i64x2.sub(i64x2.shr_u(x, 52), i64x2.splat(1023));
  return f64x2.convert_low_i32x4_s(v128.shuffle<i32>(exponents, exponents, 0, 2, 0, 2));
}

/** How far the significand, halved where it is large, lies from 1. */
function fractionOf(significand: v128): v128 {
  const half = f64x2.mul(significand, f64x2.splat(0.5));
  return f64x2.sub(v128.bitselect(half, significand, isLarge(significand)), f64x2.splat(1));
}

function isLarge(significand: v128): v128 {
  return f64x2.gt(significand, f64x2.splat(SQRT2));
}

/** s = f / (2 + f), z = s^2, sum: 2/3 + 2/5 z + ... + 2/25 z^11 */
function logOf(significand: v128, exponent: v128, f: v128, s: v128, z: v128, sum: v128): v128 {
  const power = f64x2.add(exponent, v128.and(isLarge(significand), f64x2.splat(1)));
  const halfSquare = f64x2.mul(f64x2.mul(f64x2.splat(0.5), f), f);
  const tail = f64x2.mul(s, f64x2.add(halfSquare, f64x2.mul(z, sum)));
  // With a power of 0 this is f - (halfSquare - tail), as merge/math has it, but for the sign of a difference.
  const low = f64x2.add(tail, f64x2.mul(power, f64x2.splat(LN2_LOW)));
  const rest = f64x2.sub(f64x2.sub(halfSquare, low), f);
  return f64x2.sub(f64x2.mul(power, f64x2.splat(LN2_HIGH)), rest);
}
