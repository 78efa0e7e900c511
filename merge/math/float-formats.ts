/*
 * Binary floating-point formats narrower than f32, one value at a time. A code is the format's bits as an unsigned integer.
 * Decoding is exact. Encoding takes an f32 and rounds once, to nearest, ties to even.
 */

interface Format {
  readonly fractionBits: number;
  /** Of the smallest normal number; subnormals share it. */
  readonly minimumExponent: number;
  readonly signBit: number;
  /** The code where numbers end; rounding beyond it stays on it. Infinity, but in E4M3fn, which has none, NaN. */
  readonly overflow: number;
  /** Codes above, sign apart, are NaN. */
  readonly largest: number;
  readonly infinity: number | undefined;
  readonly nan: number;
}

const BF16: Format = {
  fractionBits: 7,
  minimumExponent: -126,
  signBit: 0x8000,
  largest: 0x7f7f,
  overflow: 0x7f80,
  infinity: 0x7f80,
  nan: 0x7fc0,
};
const F16: Format = {
  fractionBits: 10,
  minimumExponent: -14,
  signBit: 0x8000,
  largest: 0x7bff,
  overflow: 0x7c00,
  infinity: 0x7c00,
  nan: 0x7e00,
};
const F8_E5M2: Format = {
  fractionBits: 2,
  minimumExponent: -14,
  signBit: 0x80,
  largest: 0x7b,
  overflow: 0x7c,
  infinity: 0x7c,
  nan: 0x7e,
};
/** "fn": finite, with one NaN where infinity would be expected. Micikevicius et al., "FP8 formats for deep learning", 2022. */
const F8_E4M3: Format = {
  fractionBits: 3,
  minimumExponent: -6,
  signBit: 0x80,
  largest: 0x7e,
  overflow: 0x7f,
  infinity: undefined,
  nan: 0x7f,
};

export const f32FromBf16 = (code: number): number => decode(BF16, code);
export const f32FromF16 = (code: number): number => decode(F16, code);
export const f32FromE4m3 = (code: number): number => decode(F8_E4M3, code);
export const f32FromE5m2 = (code: number): number => decode(F8_E5M2, code);

/** Overflow and infinity give infinity, NaN 0x7fc0. */
export const bf16FromF32 = (value: number): number => encode(BF16, value);
/** Overflow and infinity give infinity, NaN 0x7e00. */
export const f16FromF32 = (value: number): number => encode(F16, value);
/** Overflow and infinity give NaN with their sign (0x7f, 0xff), NaN 0x7f. */
export const e4m3FromF32 = (value: number): number => encode(F8_E4M3, value);
/** Overflow and infinity give infinity, NaN 0x7e. */
export const e5m2FromF32 = (value: number): number => encode(F8_E5M2, value);

function decode(format: Format, code: number): number {
  const magnitude = code & (format.signBit - 1);
  const sign = code & format.signBit ? -1 : 1;
  if (magnitude === format.infinity) return sign * Number.POSITIVE_INFINITY;
  if (magnitude > format.largest) return Number.NaN;
  const fraction = magnitude % 2 ** format.fractionBits;
  const exponentField = (magnitude - fraction) / 2 ** format.fractionBits;
  const quantum = 2 ** (format.minimumExponent - format.fractionBits);
  if (exponentField === 0) return sign * fraction * quantum;
  return sign * (2 ** format.fractionBits + fraction) * quantum * 2 ** (exponentField - 1);
}

function encode(format: Format, value: number): number {
  if (Number.isNaN(value)) return format.nan;
  const sign = value < 0 || Object.is(value, -0) ? format.signBit : 0;
  const magnitude = Math.abs(value);
  if (magnitude === Number.POSITIVE_INFINITY) return sign | format.overflow;
  const exponent = Math.max(exponentOf(magnitude), format.minimumExponent);
  // The distance of codes around the value: a power of two, so the quotient is exact and rounding happens once.
  const quantum = 2 ** (exponent - format.fractionBits);
  const steps = roundToEven(magnitude / quantum);
  // A normal number's hidden bit counts as one exponent step, and so does a fraction that rounds up to the next power of two.
  const code = (exponent - format.minimumExponent) * 2 ** format.fractionBits + steps;
  return sign | Math.min(code, format.overflow);
}

const f32 = new Float32Array(1);
const f32Bits = new Uint32Array(f32.buffer);

/** floor(log2(value)) for a normal positive f32; -127 for zero and subnormals, which lie below every format's minimum. */
function exponentOf(value: number): number {
  f32[0] = value;
  return (f32Bits[0]! >>> 23) - 127;
}

function roundToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest > 0.5 || (rest === 0.5 && below % 2 === 1)) return below + 1;
  return below;
}
