import fc from "fast-check";
import type { FloatDtype } from "../../../checkpoint/index.ts";
import {
  bf16FromF32,
  e4m3FromF32,
  e5m2FromF32,
  f16FromF32,
  f32FromBf16,
  f32FromE4m3,
  f32FromE5m2,
  f32FromF16,
} from "../../../merge/math/index.ts";
import type { TypedBuffer } from "./kernel-call.ts";

export const FLOAT_DTYPES: readonly FloatDtype[] = ["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"];

/** 0: nothing; below and above 4, 8 and 16: only a tail, whole turns of a loop, and both; 1000s: many turns. */
export const elementCounts = fc.constantFrom(
  0,
  1,
  2,
  3,
  5,
  7,
  8,
  9,
  15,
  16,
  17,
  31,
  33,
  64,
  100,
  1000,
  1023,
  1024,
  1031,
);

export const rowLengths = fc.constantFrom(1, 2, 3, 7, 8, 9, 31, 64, 100, 1023, 1024, 2816);

/** Coefficients and the like: plain, zero of both signs, subnormal as f32, large, more digits than f32 has. */
export const coefficients = fc.oneof(
  fc.constantFrom(0, -0, 1, -1, 0.5, 0.3, -1.7, 1e-40, 3e38, 1 / 3, 1 + 2 ** -24, 1 + 3 * 2 ** -25),
  fc.double({ min: -4, max: 4, noNaN: true }),
);

/** How far buffers start from where they are allocated, in elements. */
export const shifts = fc.nat({ max: 5 });

const seeds = fc.nat({ max: 0xffffffff });

/** u32 at random (Marsaglia's xorshift, seeded through a multiplication): arrays from a seed are quick to draw and to shrink. */
export function randomSource(seed: number): () => number {
  let state = Math.imul(seed ^ 0x5bd1e995, 0x9e3779b1) || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

const f32 = new Float32Array(1);
const f32Bits = new Uint32Array(f32.buffer);

function f32FromBits(bits: number): number {
  f32Bits[0] = bits;
  return f32[0]!;
}

const EXTREMES = [
  0,
  -0,
  1,
  -1,
  2 ** -149,
  -(2 ** -126),
  2 ** -126,
  3.4028234663852886e38,
  -3.4028234663852886e38,
  1e-30,
  65520,
];

/** Ways to fill an f32 buffer; each takes random u32 and gives an element. */
const finiteStyles: Readonly<Record<string, (next: () => number) => number>> = {
  // What fine-tuning leaves of bf16 checkpoints: few distinct steps, so that ties abound.
  quantised: (next) => ((next() % 17) - 8) * 2 ** -10,
  sparse: (next) => (next() % 16 === 0 ? (next() % 5) - 2 : next() % 2 === 0 ? 0 : -0),
  denormal: (next) => f32FromBits((next() & 0x80000fff) >>> 0),
  extreme: (next) => EXTREMES[next() % EXTREMES.length]!,
  ordinary: (next) => Math.fround((next() / 2 ** 32 - 0.5) * 0.1),
  anyFinite: (next) => {
    const value = f32FromBits(next());
    return Number.isFinite(value) ? value : -0;
  },
};

const styles: typeof finiteStyles = {
  ...finiteStyles,
  nonfinite: (next) => [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1, -2, 0, 3e38][next() % 7]!,
};

/** A recipe for values: a style and a seed; "equal" is one value of the style everywhere. */
export interface Values {
  readonly style: string;
  readonly equal: boolean;
  readonly seed: number;
}

function valuesOf(names: string[]): fc.Arbitrary<Values> {
  return fc.record({
    style: fc.constantFrom(...names),
    equal: fc.integer({ min: 0, max: 5 }).map((n) => n === 5),
    seed: seeds,
  });
}

export const finiteValues = valuesOf(Object.keys(finiteStyles));
export const anyValues = valuesOf(Object.keys(styles));

export function f32Of({ style, equal, seed }: Values, count: number): Float32Array {
  const next = randomSource(seed);
  const draw = styles[style]!;
  if (equal) return new Float32Array(count).fill(draw(next));
  return Float32Array.from({ length: count }, () => draw(next));
}

/** f64 accumulators: the same styles with bits that f32 does not have. */
export function f64Of(values: Values, count: number): Float64Array {
  return Float64Array.from(f32Of(values, count), (value, k) => value * (1 + k * 2 ** -40));
}

interface Coding {
  readonly decode: (code: number) => number;
  readonly encode: (value: number) => number;
  readonly codes: number;
  readonly array: (codes: ArrayLike<number>) => Uint8Array | Uint16Array;
}

/** The formats narrower than f32. */
export const codings: Readonly<Record<Exclude<FloatDtype, "F32" | "F64">, Coding>> = {
  F16: { decode: f32FromF16, encode: f16FromF32, codes: 65536, array: (codes) => Uint16Array.from(codes) },
  BF16: { decode: f32FromBf16, encode: bf16FromF32, codes: 65536, array: (codes) => Uint16Array.from(codes) },
  F8_E4M3: { decode: f32FromE4m3, encode: e4m3FromF32, codes: 256, array: (codes) => Uint8Array.from(codes) },
  F8_E5M2: { decode: f32FromE5m2, encode: e5m2FromF32, codes: 256, array: (codes) => Uint8Array.from(codes) },
};

/** A tensor as stored: the values rounded to the dtype; F64 gets bits below f32's last, half-way cases and overflow among them. */
export function storedOf(values: Values, dtype: FloatDtype, count: number): TypedBuffer {
  const floats = f32Of(values, count);
  if (dtype === "F32") return floats;
  if (dtype === "F64") {
    const factors = [1, 1 + 2 ** -24, 1 + 2 ** -25, 1 - 2 ** -26, 1 + 3 * 2 ** -25, 2, 1 + 2 ** -40];
    return Float64Array.from(floats, (value, k) => value * factors[k % factors.length]!);
  }
  const { encode, array } = codings[dtype];
  return array(Array.from(floats, encode));
}

/** Room for a tensor of the dtype. */
export function emptyOf(dtype: FloatDtype, count: number): TypedBuffer {
  if (dtype === "F64") return new Float64Array(count);
  if (dtype === "F32") return new Float32Array(count);
  return codings[dtype].array(new Uint8Array(count));
}

/** How a mask is filled: undefined is EVERYTHING. */
export const masks = fc.oneof(
  fc.constant(undefined),
  fc.record({ density: fc.constantFrom(0, 0.1, 0.5, 1), seed: seeds }),
);

/** Bits past the count are 0, as every kernel leaves them. */
export function maskOf(
  mask: { readonly density: number; readonly seed: number } | undefined,
  count: number,
): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(count / 8));
  if (mask === undefined) return bytes;
  const next = randomSource(mask.seed);
  for (let k = 0; k < count; k++) if (next() < mask.density * 2 ** 32) bytes[k >> 3]! |= 1 << (k & 7);
  return bytes;
}

/** First elements of a range: in every position of a group of four and of a byte, and where u32 arithmetic would end. */
export const firstElements = fc
  .tuple(
    fc.constantFrom(0, 64, 65536, 2 ** 31 - 1024, 2 ** 32 - 512, 2 ** 33 - 64, 2 ** 34 - 20_000),
    fc.nat({ max: 9 }),
  )
  .map(([start, offset]) => start + offset);

const word = fc.oneof(fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xffffffff), seeds);

export const streams = fc.record({
  seedLow: word,
  seedHigh: word,
  model: fc.nat({ max: 300 }),
  nameLow: word,
  nameHigh: word,
});
