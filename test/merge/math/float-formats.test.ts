import { describe, expect, test } from "vitest";
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

interface Case {
  readonly name: string;
  readonly decode: (code: number) => number;
  readonly encode: (value: number) => number;
  readonly signBit: number;
  /** Codes of the largest finite number, of what overflow gives, and of NaN. */
  readonly largest: number;
  readonly overflow: number;
  readonly nan: number;
  /** Codes and values worked out by hand from the format's definition. */
  readonly known: readonly [code: number, value: number][];
}

const cases: Case[] = [
  {
    name: "bf16",
    decode: f32FromBf16,
    encode: bf16FromF32,
    signBit: 0x8000,
    largest: 0x7f7f,
    overflow: 0x7f80,
    nan: 0x7fc0,
    known: [
      [0x0000, 0],
      [0x8000, -0],
      [0x3f80, 1],
      [0xc049, -3.140625],
      [0x0001, 2 ** -133],
      [0x0080, 2 ** -126],
      [0x7f7f, (2 - 2 ** -7) * 2 ** 127],
      [0x7f80, Number.POSITIVE_INFINITY],
      [0xff80, Number.NEGATIVE_INFINITY],
    ],
  },
  {
    name: "f16",
    decode: f32FromF16,
    encode: f16FromF32,
    signBit: 0x8000,
    largest: 0x7bff,
    overflow: 0x7c00,
    nan: 0x7e00,
    known: [
      [0x0000, 0],
      [0x8000, -0],
      [0x3c00, 1],
      [0xc248, -3.140625],
      [0x0001, 2 ** -24],
      [0x03ff, 2 ** -14 - 2 ** -24],
      [0x0400, 2 ** -14],
      [0x7bff, 65504],
      [0x7c00, Number.POSITIVE_INFINITY],
      [0xfc00, Number.NEGATIVE_INFINITY],
    ],
  },
  {
    name: "fp8 e4m3fn",
    decode: f32FromE4m3,
    encode: e4m3FromF32,
    signBit: 0x80,
    largest: 0x7e,
    overflow: 0x7f,
    nan: 0x7f,
    known: [
      [0x00, 0],
      [0x80, -0],
      [0x38, 1],
      [0xc5, -3.25],
      [0x01, 2 ** -9],
      [0x08, 2 ** -6],
      [0x78, 256],
      [0x7e, 448],
    ],
  },
  {
    name: "fp8 e5m2",
    decode: f32FromE5m2,
    encode: e5m2FromF32,
    signBit: 0x80,
    largest: 0x7b,
    overflow: 0x7c,
    nan: 0x7e,
    known: [
      [0x00, 0],
      [0x80, -0],
      [0x3c, 1],
      [0xc2, -3],
      [0x01, 2 ** -16],
      [0x04, 2 ** -14],
      [0x7b, 57344],
      [0x7c, Number.POSITIVE_INFINITY],
      [0xfc, Number.NEGATIVE_INFINITY],
    ],
  },
];

describe.each(cases)("$name", ({ decode, encode, signBit, largest, overflow, nan, known }) => {
  test("has the values worked out by hand", () => {
    for (const [code, value] of known) {
      expect(decode(code)).toBe(value);
      expect(encode(value)).toBe(code);
    }
  });

  // Codes that fail are collected: an expect for each of 65,536 would take seconds.
  test("comes back as itself for every code; every NaN comes back as the canonical one", () => {
    const codes = Array.from({ length: 2 * signBit }, (_, code) => code);
    const comesBack = (code: number): boolean => {
      const value = decode(code);
      return Object.is(Math.fround(value), value) && encode(value) === (Number.isNaN(value) ? nan : code);
    };
    expect(codes.filter((code) => !comesBack(code))).toEqual([]);
  });

  test("is NaN exactly above infinity, or above the largest number where there is none", () => {
    const codes = Array.from({ length: 2 * signBit }, (_, code) => code);
    const firstNaN = overflow === nan ? nan : overflow + 1;
    expect(codes.filter((code) => Number.isNaN(decode(code)))).toEqual(
      codes.filter((code) => (code & (signBit - 1)) >= firstNaN),
    );
  });

  test("takes the even neighbour half-way between any two codes, the nearer one just beside", () => {
    const wrong: number[] = [];
    for (let code = 0; code < largest; code++) {
      const [below, above] = [decode(code), decode(code + 1)];
      const half = (below + above) / 2;
      const even = code % 2 === 0 ? code : code + 1;
      const isRight =
        above > below &&
        encode(half) === even &&
        encode(-half) === (signBit | even) &&
        encode(nextF32(half, -1)) === code &&
        encode(-nextF32(half, -1)) === (signBit | code) &&
        encode(nextF32(half, 1)) === code + 1 &&
        encode(-nextF32(half, 1)) === (signBit | (code + 1));
      if (!isRight) wrong.push(code);
    }
    expect(wrong).toEqual([]);
  });

  test("overflows from half a step above the largest number on, by parity at the very half", () => {
    const step = decode(largest) - decode(largest - 1);
    const half = decode(largest) + step / 2;
    const atHalf = largest % 2 === 0 ? largest : overflow;
    expect(encode(half)).toBe(atHalf);
    expect(encode(-half)).toBe(atHalf | signBit);
    expect(encode(nextF32(half, -1))).toBe(largest);
    expect(encode(nextF32(half, 1))).toBe(overflow);
    expect(encode(-nextF32(half, 1))).toBe(overflow | signBit);
    expect(encode(3.4028234663852886e38)).toBe(overflow);
    expect(encode(Number.POSITIVE_INFINITY)).toBe(overflow);
    expect(encode(Number.NEGATIVE_INFINITY)).toBe(overflow | signBit);
  });

  test("gives the smallest f32 the zero of its sign", () => {
    expect(encode(2 ** -149)).toBe(0);
    expect(encode(-(2 ** -149))).toBe(signBit);
  });
});

/** The f32 next to a positive one, by its bits. */
function nextF32(value: number, direction: 1 | -1): number {
  const float = Float32Array.of(value);
  new Uint32Array(float.buffer)[0]! += direction;
  return float[0]!;
}
