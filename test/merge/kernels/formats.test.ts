import { expect, test } from "vitest";
import type { FloatDtype } from "../../../checkpoint/index.ts";
import { arena, bitsOf, f32, guarded, kernels, lengths, put, u8, u16, u32, within } from "./engine-buffers.ts";
import { mixed, wild } from "./values.ts";

/** A format as its definition has it: sign, exponent, fraction; value by powers of two. */
interface Small {
  readonly dtype: FloatDtype;
  readonly bits: 8 | 16;
  readonly fractionBits: number;
  readonly bias: number;
  readonly nan: number;
  /** E4M3 has no infinity. */
  readonly hasInfinity: boolean;
}
const small: Small[] = [
  { dtype: "BF16", bits: 16, fractionBits: 7, bias: 127, nan: 0x7fc0, hasInfinity: true },
  { dtype: "F16", bits: 16, fractionBits: 10, bias: 15, nan: 0x7e00, hasInfinity: true },
  { dtype: "F8_E4M3", bits: 8, fractionBits: 3, bias: 7, nan: 0x7f, hasInfinity: false },
  { dtype: "F8_E5M2", bits: 8, fractionBits: 2, bias: 15, nan: 0x7e, hasInfinity: true },
];

function decode(format: Small, code: number): number {
  const signBit = 2 ** (format.bits - 1);
  const magnitude = code % signBit;
  const sign = code >= signBit ? -1 : 1;
  const exponent = Math.floor(magnitude / 2 ** format.fractionBits);
  const fraction = magnitude % 2 ** format.fractionBits;
  const top = 2 ** (format.bits - 1 - format.fractionBits) - 1;
  if (format.hasInfinity && exponent === top) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (!format.hasInfinity && magnitude === signBit - 1) return Number.NaN;
  const unit = 2 ** (1 - format.bias - format.fractionBits);
  if (exponent === 0) return sign * fraction * unit;
  return sign * (2 ** format.fractionBits + fraction) * unit * 2 ** (exponent - 1);
}

const codesOf = (format: Small): Uint16Array | Uint8Array =>
  format.bits === 16 ? Uint16Array.from({ length: 65536 }, (_, k) => k) : Uint8Array.from({ length: 256 }, (_, k) => k);

test.each(small)("widen gives every $dtype code its value", (format) => {
  const codes = codesOf(format);
  const widened = within(() => {
    const dst = guarded(codes.length * 4);
    kernels.widen(dst, put(codes), format.dtype, codes.length);
    return f32(dst, codes.length);
  });
  expect(bitsOf(widened)).toEqual(bitsOf(Float32Array.from(codes, (code) => decode(format, code))));
});

test.each(small)("narrow gives back every $dtype code that is no NaN, and one NaN for all", (format) => {
  const codes = codesOf(format);
  const values = Float32Array.from(codes, (code) => decode(format, code));
  const expected = codes.map((code, k) => (Number.isNaN(values[k]) ? format.nan : code));
  const narrowed = within(() => {
    const dst = guarded(codes.byteLength);
    kernels.narrow(dst, put(values), format.dtype, codes.length);
    return format.bits === 16 ? u16(dst, codes.length) : u8(dst, codes.length);
  });
  expect(narrowed).toEqual(expected);
});

test.each(small)(
  "narrow rounds what lies between two $dtype codes to the nearer, from the middle to the even one",
  (format) => {
    const signBit = 2 ** (format.bits - 1);
    const values: number[] = [];
    const expected: number[] = [];
    for (let code = 0; code + 1 < signBit; code++) {
      const low = decode(format, code);
      if (!Number.isFinite(low)) break;
      // Past the largest finite number comes the place where the next one would be.
      const high = Number.isFinite(decode(format, code + 1))
        ? decode(format, code + 1)
        : low + (low - decode(format, code - 1));
      const middle = low + (high - low) / 2;
      if (!Number.isFinite(Math.fround(middle))) break;
      const even = code % 2 === 0 ? code : code + 1;
      values.push(nextDown(middle), middle, nextUp(middle));
      expected.push(code, even, code + 1);
      values.push(-nextDown(middle), -middle, -nextUp(middle));
      expected.push(code + signBit, even + signBit, code + 1 + signBit);
    }
    const narrowed = within(() => {
      const dst = guarded((values.length * format.bits) / 8);
      kernels.narrow(dst, put(Float32Array.from(values)), format.dtype, values.length);
      return format.bits === 16 ? u16(dst, values.length) : u8(dst, values.length);
    });
    expect(Array.from(narrowed)).toEqual(expected);
  },
);

function nextUp(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer);
  bits[0]! += 1;
  return new Float32Array(bits.buffer)[0]!;
}
function nextDown(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer);
  bits[0]! -= 1;
  return new Float32Array(bits.buffer)[0]!;
}

test.each([
  ["F16", [65519.996, 65520, 1e30, Number.POSITIVE_INFINITY, -65520], [0x7bff, 0x7c00, 0x7c00, 0x7c00, 0xfc00]],
  ["F8_E4M3", [464, 464.00003, 1e30, Number.POSITIVE_INFINITY, -500], [0x7e, 0x7f, 0x7f, 0x7f, 0xff]],
  ["F8_E5M2", [61439.996, 61440, 1e30, Number.POSITIVE_INFINITY, -61440], [0x7b, 0x7c, 0x7c, 0x7c, 0xfc]],
  [
    "BF16",
    [3.38953e38, 3.4028234663852886e38, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -3.4e38],
    [0x7f7f, 0x7f80, 0x7f80, 0xff80, 0xff80],
  ],
] as const)("narrow to %s overflows as PyTorch does", (dtype, values, codes) => {
  const narrowed = within(() => {
    const dst = guarded(2 * values.length);
    kernels.narrow(dst, put(Float32Array.from(values)), dtype, values.length);
    return dtype === "F16" || dtype === "BF16" ? u16(dst, values.length) : u8(dst, values.length);
  });
  expect(Array.from(narrowed)).toEqual([...codes]);
});

test("narrow makes NaN canonical and positive in every dtype, in the loop and in the tail", () => {
  const nans = new Float32Array(Uint32Array.from({ length: 9 }, (_, k) => (k % 2 ? 0xff812345 : 0x7fffffff)).buffer);
  const expected: [FloatDtype, number[]][] = [
    ["F64", [0, 0, 0, 0, 0, 0, 0xf8, 0x7f]],
    ["F32", [0, 0, 0xc0, 0x7f]],
    ["F16", [0, 0x7e]],
    ["BF16", [0xc0, 0x7f]],
    ["F8_E4M3", [0x7f]],
    ["F8_E5M2", [0x7e]],
  ];
  for (const [dtype, bytes] of expected) {
    const narrowed = within(() => {
      const dst = guarded(9 * bytes.length);
      kernels.narrow(dst, put(nans), dtype, 9);
      return u8(dst, 9 * bytes.length);
    });
    expect(Array.from(narrowed), dtype).toEqual(Array.from({ length: 9 }, () => bytes).flat());
  }
});

test.each(lengths)("widen and narrow F32 and F64 exactly over %i elements, F64 rounding once", (n) => {
  const x = mixed(n, n);
  const doubles = Float64Array.from(x, (value, k) => value * (1 + (k % 5) * 2 ** -25));
  within(() => {
    const dst = guarded(8 * n);
    kernels.narrow(dst, put(x), "F64", n);
    expect(new Float64Array(u8(dst, 8 * n).buffer)).toEqual(Float64Array.from(x));
  });
  within(() => {
    const dst = guarded(4 * n);
    kernels.widen(dst, put(doubles), "F64", n);
    expect(bitsOf(f32(dst, n))).toEqual(bitsOf(Float32Array.from(doubles)));
    kernels.widen(dst, put(x), "F32", n);
    expect(bitsOf(f32(dst, n))).toEqual(bitsOf(x));
    kernels.narrow(dst, put(wild(n, n)), "F32", n);
    expect(u32(dst, n)).toEqual(bitsOf(wild(n, n)));
  });
});

test.each(lengths)("narrow and widen touch %i elements and no more", (n) => {
  for (const format of small) {
    const x = mixed(n, 3 * n);
    within(() => {
      const codes = guarded((n * format.bits) / 8);
      const back = guarded(4 * n);
      kernels.narrow(codes, put(x), format.dtype, n);
      kernels.widen(back, codes, format.dtype, n);
      const read = format.bits === 16 ? u16(codes, n) : u8(codes, n);
      expect(bitsOf(f32(back, n))).toEqual(bitsOf(Float32Array.from(read, (code) => decode(format, code))));
    });
  }
});

test("noteNonFinite finds the first NaN or infinity at every place, in every dtype", () => {
  const n = 150;
  const patterns: [FloatDtype, number, number[]][] = [
    ["F64", 8, [0, 0, 0, 0, 0, 0, 0xf0, 0xff]],
    ["F32", 4, [1, 0, 0x80, 0x7f]],
    ["F16", 2, [0, 0x7c]],
    ["BF16", 2, [0x80, 0xff]],
    ["F8_E4M3", 1, [0xff]],
    ["F8_E5M2", 1, [0x7d]],
  ];
  for (const [dtype, width, pattern] of patterns) {
    const source = arena.allocate(n * width);
    const note = arena.allocate(12);
    const index = (elements: number) => {
      arena.staging(note, 12).bytes.fill(0xff);
      kernels.noteNonFinite(note, 3, source, dtype, 0, elements);
      return u32(note, 2)[1];
    };
    for (let place = 0; place <= n; place += 1) {
      // The largest finite exponent next to it is no infinity.
      const bytes = new Uint8Array(n * width).map((_, at) =>
        at % width === width - 1 ? (dtype === "F64" ? 0x47 : 0x7b) : dtype === "F64" || dtype === "F32" ? 0x70 : 0,
      );
      if (dtype === "BF16") bytes.fill(0x70);
      if (place < n) bytes.set(pattern, place * width);
      arena.staging(source, bytes.length).bytes.set(bytes);
      expect(index(n), `${dtype} at ${place}`).toBe(place < n ? place : 0xffffffff);
      if (place < n) expect(index(place), `${dtype} before ${place}`).toBe(0xffffffff);
    }
  }
});
