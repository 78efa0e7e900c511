import { BF16, E4M3, E5M2, F16, F32, F64, Format, four, one } from "./formats";
import { highLanes, isKept, lowLanes } from "./mask-bits";

/*
 * Masked deltas of several models, added up in one pass: d = f32(x_i[k]) - base[k], x_i at x + i * stride. Sums stay in registers from one
 * model to the next, so that of each element hardly more than the models themselves is read. Order of models and roundings are those
 * of accumulateMasked and elect, one model after another.
 *
 * Generic functions are compiled once for each format and each of these, which are constants to asc.
 */
/** Sums by sign with their weights, by sign, or in one. */
type Weighed = f64;
type Signed = f32;
type Plain = i32;
/** Masks are bands or bits. */
type Bands = f32;
type Bits = i32;

/** Elements looked at for ties at once: what that needs lies in the first-level cache. */
const RUN: i32 = 1024;
const TO_THE_END: u32 = 0xffffffff;
/** u32[6] of a model's band: lo, loFrom, loTo, hi, hiFrom, hiTo; then f32[2]: coefficient and weight. */
const BAND_BYTES: usize = 32;
/** Of a model, as the loop wants it: above which bits its elements stay, up to which; coefficient and weight. */
const TERM_BYTES: usize = 16;
const terms = memory.data(256, 16); // of 16 models
/** Of a model: how many equals of its lower and of its upper end a run has. */
const counted = memory.data(128, 16);

/**
 * t = c_i * d where the band of model i keeps it, 0 where not. Without `negative` (0): positive[k] += t. Else t > 0 is added to positive and
 * w_i to its weight, t < 0 to negative and its; both weights may be 0: not kept. bands: u32[models, 8]; ties: u32[models, 2], updated.
 */
export function combineBands(
  positive: usize,
  negative: usize,
  positiveWeight: usize,
  negativeWeight: usize,
  x: usize,
  stride: u32,
  dtype: Format,
  base: usize,
  bands: usize,
  ties: usize,
  models: i32,
  n: i32,
): void {
  combine<Bands>(dtype, positive, negative, positiveWeight, negativeWeight, x, stride, base, bands, 0, ties, models, n);
}

/** The same with mask bits of model i at masks + i * maskStride; factors: f32[models, 2], coefficient and weight. */
export function combineMasked(
  positive: usize,
  negative: usize,
  positiveWeight: usize,
  negativeWeight: usize,
  x: usize,
  stride: u32,
  dtype: Format,
  base: usize,
  masks: usize,
  maskStride: u32,
  factors: usize,
  models: i32,
  n: i32,
): void {
  for (let i = 0; i < models; i++) {
    store<u64>(terms + <usize>i * TERM_BYTES, load<u64>(factors + ((<usize>i) << 3)), 8);
  }
  combine<Bits>(
    dtype,
    positive,
    negative,
    positiveWeight,
    negativeWeight,
    x,
    stride,
    base,
    masks,
    maskStride,
    0,
    models,
    n,
  );
}

/** p, q, pw, qw: positive, negative and their weights. masks: of bits, or the bands. */
function combine<M>(
  dtype: Format,
  p: usize,
  q: usize,
  pw: usize,
  qw: usize,
  x: usize,
  stride: u32,
  base: usize,
  masks: usize,
  maskStride: u32,
  ties: usize,
  models: i32,
  n: i32,
): void {
  switch (dtype) {
    case Format.F64:
      return ofFormat<F64, M>(p, q, pw, qw, x, stride, base, masks, maskStride, ties, models, n);
    case Format.F32:
      return ofFormat<F32, M>(p, q, pw, qw, x, stride, base, masks, maskStride, ties, models, n);
    case Format.F16:
      return ofFormat<F16, M>(p, q, pw, qw, x, stride, base, masks, maskStride, ties, models, n);
    case Format.BF16:
      return ofFormat<BF16, M>(p, q, pw, qw, x, stride, base, masks, maskStride, ties, models, n);
    case Format.E4M3:
      return ofFormat<E4M3, M>(p, q, pw, qw, x, stride, base, masks, maskStride, ties, models, n);
    default:
      return ofFormat<E5M2, M>(p, q, pw, qw, x, stride, base, masks, maskStride, ties, models, n);
  }
}

function ofFormat<T, M>(
  p: usize,
  q: usize,
  pw: usize,
  qw: usize,
  x: usize,
  stride: u32,
  base: usize,
  masks: usize,
  maskStride: u32,
  ties: usize,
  models: i32,
  n: i32,
): void {
  if (isFloat<M>()) runs<T>(p, q, pw, qw, x, stride, base, masks, ties, models, n);
  else sum<T, M>(p, q, pw, qw, x, stride, base, masks, maskStride, models, n);
}

/**
 * Which equals of a band's end stay changes at two tie numbers at most. Elements are taken in runs within which it does not change for any
 * model, so that nothing in the loop depends on ties.
 */
function runs<T>(
  p: usize,
  q: usize,
  pw: usize,
  qw: usize,
  x: usize,
  stride: u32,
  base: usize,
  bands: usize,
  ties: usize,
  models: i32,
  n: i32,
): void {
  for (let k = 0; k < n; ) {
    const from = x + <usize>k * sizeof<T>();
    const at = (<usize>k) << 2;
    const limit = min<i32>(RUN, n - k);
    let length = limit;
    for (let i = 0; i < models; i++) {
      const model = from + <usize>i * stride;
      const band = bands + <usize>i * BAND_BYTES;
      const seen = ties + ((<usize>i) << 3);
      const equals = counted + ((<usize>i) << 3);
      length = lengthOfRun<T>(model, base + at, band, load<u32>(seen), equals, length, limit);
      if (load<u32>(band) != load<u32>(band, 12))
        length = lengthOfRun<T>(model, base + at, band + 12, load<u32>(seen, 4), equals + 4, length, limit);
      else store<u32>(equals, 0, 4);
    }
    for (let i = 0; i < models; i++) {
      const model = from + <usize>i * stride;
      const band = bands + <usize>i * BAND_BYTES;
      const seen = ties + ((<usize>i) << 3);
      const equals = counted + ((<usize>i) << 3);
      if (length < limit) {
        if (load<u32>(equals) != 0) store<u32>(equals, countEquals<T>(model, base + at, load<u32>(band), length));
        if (load<u32>(equals, 4) != 0)
          store<u32>(equals, countEquals<T>(model, base + at, load<u32>(band, 12), length), 4);
      }
      setTerm(terms + <usize>i * TERM_BYTES, band, load<u32>(seen), load<u32>(seen, 4));
      store<u32>(seen, load<u32>(seen) + load<u32>(equals));
      store<u32>(seen, load<u32>(seen, 4) + load<u32>(equals, 4), 4);
    }
    sum<T, Bands>(
      p + at,
      q ? q + at : 0,
      pw ? pw + at : 0,
      qw ? qw + at : 0,
      from,
      stride,
      base + at,
      0,
      0,
      models,
      length,
    );
    k += length;
  }
}

/** end: u32[3], the bits of an end and its window. Whether the equals with this tie number stay. */
function isInside(end: usize, seen: u32): bool {
  return seen >= load<u32>(end, 4) && seen < load<u32>(end, 8);
}

/** The next tie number at which that changes. */
function nextChange(end: usize, seen: u32): u32 {
  const from = load<u32>(end, 4);
  const to = load<u32>(end, 8);
  if (seen < from && from < to) return from;
  return seen < to ? to : TO_THE_END;
}

/**
 * How far, of `length` elements at most, the equals of an end stay or go alike. equals: u32, how many there are in `limit` elements, 0
 * where they need not be counted any more.
 */
function lengthOfRun<T>(model: usize, base: usize, end: usize, seen: u32, equals: usize, length: i32, limit: i32): i32 {
  store<u32>(equals, 0);
  const change = nextChange(end, seen);
  if (change == TO_THE_END) return length;
  const bits = load<u32>(end);
  const count = countEquals<T>(model, base, bits, limit);
  store<u32>(equals, count);
  if (count <= change - seen) return length;
  return min<i32>(length, placeOfEqual<T>(model, base, bits, change - seen));
}

function setTerm(term: usize, band: usize, seenLo: u32, seenHi: u32): void {
  const lo = load<u32>(band);
  const hi = load<u32>(band, 12);
  store<u32>(term, isInside(band, seenLo) ? least(lo) : most(lo));
  store<u32>(term, lo == hi || isInside(band + 12, seenHi) ? most(hi) : least(hi), 4);
  store<u64>(term, load<u64>(band, 24), 8);
}

/** As `above` and `atLeast`, of one: bits are more than this, or this and more, where they are greater than what is returned. */
function most(bound: u32): u32 {
  return min<u32>(bound, 0x7fffffff);
}

function least(bound: u32): u32 {
  return min<u32>(bound, 0x80000000) - 1;
}

function countEquals<T>(model: usize, base: usize, bits: u32, n: i32): u32 {
  const equal = i32x4.splat(<i32>bits);
  let counts = i32x4.splat(0);
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const from = model + <usize>k * sizeof<T>();
    const at = base + ((<usize>k) << 2);
    counts = i32x4.sub(counts, i32x4.eq(magnitudes(f32x4.sub(four<T>(from), v128.load(at))), equal));
    const high = f32x4.sub(four<T>(from + 4 * sizeof<T>()), v128.load(at, 16));
    counts = i32x4.sub(counts, i32x4.eq(magnitudes(high), equal));
  }
  const pairs = i32x4.add(counts, v128.shuffle<i32>(counts, counts, 2, 3, 0, 1));
  let count = <u32>(i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 1));
  for (; k < n; k++) count += u32(magnitudeAt<T>(model, base, k) == bits);
  return count;
}

/** Where the equal is that has this number; there is one. */
function placeOfEqual<T>(model: usize, base: usize, bits: u32, number: u32): i32 {
  let k = 0;
  for (let left = number; ; k++) {
    if (magnitudeAt<T>(model, base, k) != bits) continue;
    if (left == 0) break;
    left--;
  }
  return k;
}

function magnitudes(d: v128): v128 {
  return v128.and(d, i32x4.splat(0x7fffffff));
}

function deltaAt<T>(model: usize, base: usize, k: i32): f32 {
  return one<T>(model + <usize>k * sizeof<T>()) - load<f32>(base + ((<usize>k) << 2));
}

function magnitudeAt<T>(model: usize, base: usize, k: i32): u32 {
  return reinterpret<u32>(deltaAt<T>(model, base, k)) & 0x7fffffff;
}

function sum<T, M>(
  p: usize,
  q: usize,
  pw: usize,
  qw: usize,
  x: usize,
  stride: u32,
  base: usize,
  masks: usize,
  maskStride: u32,
  models: i32,
  n: i32,
): void {
  if (!q) add<T, M, Plain>(p, 0, 0, 0, x, stride, base, masks, maskStride, models, n);
  else if (!pw) add<T, M, Signed>(p, q, 0, 0, x, stride, base, masks, maskStride, models, n);
  else add<T, M, Weighed>(p, q, pw, qw, x, stride, base, masks, maskStride, models, n);
}

function add<T, M, S>(
  p: usize,
  q: usize,
  pw: usize,
  qw: usize,
  x: usize,
  stride: u32,
  base: usize,
  masks: usize,
  maskStride: u32,
  models: i32,
  n: i32,
): void {
  const zero = f32x4.splat(0);
  const last = terms + <usize>models * TERM_BYTES;
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const at = (<usize>k) << 2;
    const base0 = v128.load(base + at);
    const base1 = v128.load(base + at, 16);
    let p0 = v128.load(p + at);
    let p1 = v128.load(p + at, 16);
    let q0 = zero;
    let q1 = zero;
    let pw0 = zero;
    let pw1 = zero;
    let qw0 = zero;
    let qw1 = zero;
    if (isFloat<S>()) {
      q0 = v128.load(q + at);
      q1 = v128.load(q + at, 16);
    }
    if (isFloat<S>() && sizeof<S>() == 8) {
      pw0 = v128.load(pw + at);
      pw1 = v128.load(pw + at, 16);
      qw0 = v128.load(qw + at);
      qw1 = v128.load(qw + at, 16);
    }
    let from = x + <usize>k * sizeof<T>();
    let mask = masks + (<usize>k >> 3);
    for (let term = terms; term < last; term += TERM_BYTES) {
      const d0 = f32x4.sub(four<T>(from), base0);
      const d1 = f32x4.sub(four<T>(from + 4 * sizeof<T>()), base1);
      const coefficient = v128.load32_splat(term, 8);
      let t0 = f32x4.mul(coefficient, d0);
      let t1 = f32x4.mul(coefficient, d1);
      if (isFloat<M>()) {
        const above = v128.load32_splat(term);
        const upTo = v128.load32_splat(term, 4);
        const x0 = magnitudes(d0);
        const x1 = magnitudes(d1);
        t0 = v128.and(t0, v128.andnot(i32x4.gt_s(x0, above), i32x4.gt_s(x0, upTo)));
        t1 = v128.and(t1, v128.andnot(i32x4.gt_s(x1, above), i32x4.gt_s(x1, upTo)));
      } else {
        const byte = <i32>load<u8>(mask);
        t0 = v128.and(t0, lowLanes(byte));
        t1 = v128.and(t1, highLanes(byte));
        mask += maskStride;
      }
      if (isFloat<S>()) {
        p0 = f32x4.add(p0, f32x4.pmax(zero, t0));
        p1 = f32x4.add(p1, f32x4.pmax(zero, t1));
        q0 = f32x4.add(q0, f32x4.pmin(zero, t0));
        q1 = f32x4.add(q1, f32x4.pmin(zero, t1));
        if (sizeof<S>() == 8) {
          const weight = v128.load32_splat(term, 12);
          pw0 = f32x4.add(pw0, v128.and(f32x4.gt(t0, zero), weight));
          pw1 = f32x4.add(pw1, v128.and(f32x4.gt(t1, zero), weight));
          qw0 = f32x4.add(qw0, v128.and(f32x4.lt(t0, zero), weight));
          qw1 = f32x4.add(qw1, v128.and(f32x4.lt(t1, zero), weight));
        }
      } else {
        p0 = f32x4.add(p0, t0);
        p1 = f32x4.add(p1, t1);
      }
      from += stride;
    }
    v128.store(p + at, p0);
    v128.store(p + at, p1, 16);
    if (isFloat<S>()) {
      v128.store(q + at, q0);
      v128.store(q + at, q1, 16);
    }
    if (isFloat<S>() && sizeof<S>() == 8) {
      v128.store(pw + at, pw0);
      v128.store(pw + at, pw1, 16);
      v128.store(qw + at, qw0);
      v128.store(qw + at, qw1, 16);
    }
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    let model = x;
    let mask = masks;
    for (let term = terms; term < last; term += TERM_BYTES) {
      const d = deltaAt<T>(model, base, k);
      const t = load<f32>(term, 8) * d;
      let keeps = false;
      if (isFloat<M>()) {
        const bits = reinterpret<i32>(d) & 0x7fffffff;
        keeps = bits > load<i32>(term) && bits <= load<i32>(term, 4);
      } else keeps = isKept(mask, k);
      if (keeps) {
        if (isFloat<S>()) {
          if (t > 0) addOne<S>(p + at, pw + at, t, load<f32>(term, 12));
          else if (t < 0) addOne<S>(q + at, qw + at, t, load<f32>(term, 12));
        } else store<f32>(p + at, load<f32>(p + at) + t);
      }
      model += stride;
      mask += maskStride;
    }
  }
}

function addOne<S>(sum: usize, weights: usize, t: f32, weight: f32): void {
  store<f32>(sum, load<f32>(sum) + t);
  if (sizeof<S>() == 8) store<f32>(weights, load<f32>(weights) + weight);
}
