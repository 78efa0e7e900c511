import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Arena, EVERYTHING, type Kernels, openDevice, put as putBytes } from "../../../merge/engines/index.ts";
import { philox4x32 } from "../../../merge/math/index.ts";

// The reference engine is what others are measured against; here it is measured against results worked out by hand.

let arena: Arena;
let kernels: Kernels;
/** Sizes, by address. */
let memory: Map<number, number>;

beforeAll(async () => {
  arena = (await openDevice("reference")).open(1 << 20);
  kernels = arena.kernels;
});

beforeEach(() => {
  memory = new Map();
});

type Typed = Float32Array | Float64Array | Uint32Array | Uint16Array | Uint8Array;

function put(content: Typed): number {
  const address = arena.allocate(content.byteLength);
  putBytes(arena, address, content);
  memory.set(address, content.byteLength);
  return address;
}

async function bytesAt(address: number): Promise<ArrayBuffer> {
  return (await arena.download(address, memory.get(address) ?? 0)).slice().buffer;
}

const f32 = (...values: number[]): number => put(Float32Array.from(values));
const f64 = (...values: number[]): number => put(Float64Array.from(values));
const u32 = (...values: number[]): number => put(Uint32Array.from(values));
const bytes = (...values: number[]): number => put(Uint8Array.from(values));
const f32At = async (address: number): Promise<number[]> => [...new Float32Array(await bytesAt(address))];
const f64At = async (address: number): Promise<number[]> => [...new Float64Array(await bytesAt(address))];
const u32At = async (address: number): Promise<number[]> => [...new Uint32Array(await bytesAt(address))];
const u8At = async (address: number): Promise<number[]> => [...new Uint8Array(await bytesAt(address))];

const bitsOf = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0]!;
const room = (count: number): number[] => new Array<number>(count).fill(99);

describe("conversion", () => {
  test("widen is exact, and rounds F64 to nearest even", async () => {
    const dst = f32(...room(3));
    kernels.widen(dst, put(Uint16Array.of(0x3f80, 0xc049, 0x8000)), "BF16", 3);
    expect(await f32At(dst)).toEqual([1, -3.140625, -0]);
    kernels.widen(dst, f64(1 + 2 ** -24, 1 + 3 * 2 ** -24, 1e300), "F64", 3);
    expect(await f32At(dst)).toEqual([1, 1 + 2 ** -22, Number.POSITIVE_INFINITY]);
  });

  test("narrow rounds to nearest even and makes NaN canonical", async () => {
    const dst = put(new Uint16Array(4));
    kernels.narrow(dst, put(Uint32Array.of(0x3f808000, 0x3f818000, 0xffc12345, 0x7f7fffff)), "BF16", 4);
    expect([...new Uint16Array(await bytesAt(dst))]).toEqual([0x3f80, 0x3f82, 0x7fc0, 0x7f80]);
    const wide = put(new Float64Array(2));
    kernels.narrow(wide, put(Uint32Array.of(0xffc12345, 0xbf800000)), "F64", 2);
    expect(await u32At(wide)).toEqual([0, 0x7ff80000, 0, 0xbff00000]);
    const same = put(new Float32Array(2));
    kernels.narrow(same, put(Uint32Array.of(0xff812345, 0x80000000)), "F32", 2);
    expect(await u32At(same)).toEqual([0x7fc00000, 0x80000000]);
  });

  test("noteNonFinite names the first of the first call that finds one, and its value", async () => {
    const note = u32(0xffffffff, 5, 5);
    kernels.noteNonFinite(note, 1, f32(1, 2, 3.4e38, 0), "F32", 0, 4);
    expect(await u32At(note)).toEqual([0xffffffff, 5, 5]);
    kernels.noteNonFinite(note, 2, f32(1, 2, Number.NEGATIVE_INFINITY, Number.NaN), "F32", 0, 4);
    expect(await u32At(note)).toEqual([2, 2, 0xff800000]);
    kernels.noteNonFinite(note, 3, bytes(0x7e, 0xff), "F8_E4M3", 0, 2);
    expect(await u32At(note)).toEqual([2, 2, 0xff800000]);
  });

  test("noteNonFinite notes what was rounded, where it is asked to", async () => {
    const note = u32(0xffffffff, 5, 5);
    kernels.noteNonFinite(note, 2, put(Uint16Array.of(0x3c00, 0x7c00)), "F16", f32(1, 65536), 2);
    expect(await u32At(note)).toEqual([2, 1, 0x47800000]);
  });

  test("noteNonFinite judges F64 as it is widened", async () => {
    const note = u32(0xffffffff, 5, 5);
    kernels.noteNonFinite(note, 0, f64(1, 1e300, Number.NaN), "F64", 0, 3);
    expect(await u32At(note)).toEqual([0, 1, 0x7f800000]);
  });

  test("copy moves bytes as they are", async () => {
    const dst = put(new Uint8Array(4).fill(9));
    kernels.copy(dst, bytes(1, 2, 0xff), 3);
    expect(await u8At(dst)).toEqual([1, 2, 0xff, 9]);
  });

  test("delta is the model minus the base", async () => {
    const d = f32(...room(2));
    kernels.delta(d, put(Uint16Array.of(0x3f80, 0x4000)), "BF16", f32(0.25, 2), 2);
    expect(await f32At(d)).toEqual([0.75, 0]);
  });
});

describe("linear combinations", () => {
  // 0.1 is no f32, and three times the f32 next to it is none either.
  const tenth = Math.fround(0.1);
  const third = Math.fround(1 / 3);
  /** Rounds to 1, but would carry 2^24 - 1 to 2^24 if it did not. */
  const nearlyOne = 1 + 2 ** -24 - 2 ** -40;

  test("accumulate rounds coefficient, product and sum apart", async () => {
    const acc = f32(7, 7);
    kernels.accumulate(acc, f32(3, 2 ** 24 - 1), "F32", 0.1, true, 2);
    expect((await f32At(acc))[0]).toBe(Math.fround(tenth * 3));
    kernels.accumulate(acc, f32(3, 2 ** 24 - 1), "F32", nearlyOne, true, 2);
    expect(await f32At(acc)).toEqual([3, 2 ** 24 - 1]);
    const opposite = f32(-Math.fround(tenth * 3), 2 ** 24);
    kernels.accumulate(opposite, f32(3, 10), "F32", 0.1, false, 2);
    expect(await f32At(opposite)).toEqual([0, 2 ** 24]);
  });

  test("accumulateRows takes a coefficient per row", async () => {
    const acc = f32(...room(6));
    kernels.accumulateRows(acc, f32(1, 2, 3, 4, 5, 6), "F32", f32(10, 100), true, 2, 3);
    expect(await f32At(acc)).toEqual([10, 20, 30, 400, 500, 600]);
    kernels.accumulateRows(acc, f32(1, 1, 1, 1, 1, 1), "F32", f32(1, 2), false, 2, 3);
    expect(await f32At(acc)).toEqual([11, 21, 31, 402, 502, 602]);
  });

  test("accumulateDelta adds the weighted delta", async () => {
    const acc = f32(1, 1);
    kernels.accumulateDelta(acc, f32(3, 5), "F32", f32(1, 9), 0.5, false, 2);
    expect(await f32At(acc)).toEqual([2, -1]);
    kernels.accumulateDelta(acc, f32(3, 5), "F32", f32(1, 9), 0.5, true, 2);
    expect(await f32At(acc)).toEqual([1, -2]);
  });

  test("accumulateDelta rounds coefficient and delta before it multiplies", async () => {
    const acc = f32(0, 0);
    // The first delta, 1 + 2^-24, is half-way between f32 1 and the next, and rounds to even.
    kernels.accumulateDelta(acc, f32(1, 2 ** 24 - 1), "F32", f32(-(2 ** -24), 0), 1 + 2 ** -23, true, 1);
    expect((await f32At(acc))[0]).toBe(1 + 2 ** -23);
    kernels.accumulateDelta(acc, f32(1, 2 ** 24 - 1), "F32", f32(0, 0), nearlyOne, true, 2);
    expect(await f32At(acc)).toEqual([1, 2 ** 24 - 1]);
  });

  test("finishDelta divides, scales and adds the base, and rounds each time", async () => {
    const acc = f32(6, -9);
    kernels.finishDelta(acc, f32(1, 1), acc, 3, 0.5, 2);
    expect(await f32At(acc)).toEqual([2, -0.5]);
    const out = f32(...room(1));
    kernels.finishDelta(out, f32(-Math.fround(5 * third)), f32(1), 3, 5, 1);
    expect(await f32At(out)).toEqual([0]);
  });
});

describe("blocks and rows", () => {
  // Rows 3 and 4 of a matrix of three columns, in blocks of 2 x 2: rows 2 and 3 are of the second row of blocks, row 4 of the third.
  const grid = [3, 1, 3, 2, 2, 4] as const;

  test("scaleBlocks multiplies by the number of the block, rounding once", async () => {
    const out = f32(...room(4));
    const scales = f32(9, 9, 0.1, 10, 100, 1000);
    kernels.scaleBlocks(out, bytes(0x44, 0x38, 0x40, 0x40), "F8_E4M3", scales, ...grid);
    expect(await f32At(out)).toEqual([Math.fround(Math.fround(0.1) * 3), 10, 200, 200]);
  });

  test("divideBlocks holds quotients within the limit, but NaN", async () => {
    const out = f32(...room(4));
    kernels.divideBlocks(out, f32(3, -5000, 5, Number.NaN), f32(9, 9, 10, 10, 2, 1000), 448, ...grid);
    expect(await f32At(out)).toEqual([Math.fround(3 / 10), -448, 2.5, Number.NaN]);
  });

  test("blockMaxima passes over NaN and keeps what is larger already", async () => {
    const maxima = f32(9, 9, 0, 7, 0, 9);
    kernels.blockMaxima(maxima, f32(-3, -5, 5, Number.NaN), ...grid);
    expect(await f32At(maxima)).toEqual([9, 9, 3, 7, 5, 9]);
  });

  test("normRows gives each row its length, in f64 with one rounding", async () => {
    const values = f32(3, 4, 1, 1);
    kernels.normRows(values, f32(10, 1), 2, 2);
    expect(await f32At(values)).toEqual([6, 8, Math.fround(1 / Math.sqrt(2)), Math.fround(1 / Math.sqrt(2))]);
    // Squares of small values count, one after another: in f32 each would be lost.
    const small = f32(4096, 1, 1);
    kernels.normRows(small, f32(1), 1, 3);
    expect((await f32At(small))[1]).toBe(Math.fround(1 / Math.sqrt(4096 ** 2 + 2)));
  });
});

describe("sums in f64", () => {
  const nine = [1, 2, 3, 4, 5, 6, 7, 8, 9];

  test("dot puts element k into lane k mod 8 and adds to what is there", async () => {
    const lanes = f64(100, 0, 0, 0, 0, 0, 0, 0);
    kernels.dot(lanes, f32(...nine), f32(...nine), 16, 9);
    expect(await f64At(lanes)).toEqual([100 + 1 + 81, 4, 9, 16, 25, 36, 49, 64]);
  });

  /** Of blocks of ten the second begins with lane 0 again, and is short. */
  const twelve = [...nine, 10, 11, 12];
  const inBlocks = (from: number[], to: number[]) => [...from, ...to, ...new Array<number>(8 - to.length).fill(0)];
  const zeros = () => f64(...new Array<number>(16).fill(0));

  test("each block of several has lanes of its own", async () => {
    const squares = inBlocks([1 + 81, 4 + 100, 9, 16, 25, 36, 49, 64], [121, 144]);
    const [x, wide] = [f32(...twelve), f64(...twelve)];
    const [dots, all, kept, ofF64, ofDeltas] = [zeros(), zeros(), zeros(), zeros(), zeros()];
    kernels.dot(dots, x, x, 10, 12);
    expect(await f64At(dots)).toEqual(squares);
    kernels.squaresF64(ofF64, wide, 10, 12);
    expect(await f64At(ofF64)).toEqual(squares);
    // Elements 1, 9 and 11 stay.
    const mask = bytes(0b00000010, 0b1010);
    kernels.magnitudes(all, kept, x, mask, "l2", 10, 12);
    expect(await f64At(all)).toEqual(squares);
    expect(await f64At(kept)).toEqual(inBlocks([0, 4 + 100, 0, 0, 0, 0, 0, 0], [0, 144]));
    kernels.deltaSquares(ofDeltas, x, "F32", f32(...new Array<number>(12).fill(1)), mask, 10, 12);
    expect(await f64At(ofDeltas)).toEqual(inBlocks([0, 1 + 81, 0, 0, 0, 0, 0, 0], [0, 121]));
    const four = [zeros(), zeros(), zeros(), zeros()] as const;
    kernels.dotFour(...four, x, x, x, f32(...new Array<number>(12).fill(2)), x, 10, 12);
    expect(await f64At(four[2])).toEqual(squares);
    expect(await f64At(four[3])).toEqual(inBlocks([2 + 18, 4 + 20, 6, 8, 10, 12, 14, 16], [22, 24]));
  });

  test("foldLanes and foldMaxima make one number of each block's lanes and leave zeros", async () => {
    const values = [1, 2, 3, 4, 5, 6, 7, 8, 0, 30, 0, 20, 0, 0, 0, 10];
    const [sums, maxima, lanes, others] = [f64(5, 5), f64(5, 5), f64(...values), f64(...values)];
    kernels.foldLanes(sums, lanes, 2);
    expect(await f64At(sums)).toEqual([36, 60]);
    expect(await f64At(lanes)).toEqual(new Array(16).fill(0));
    kernels.foldMaxima(maxima, others, 2);
    expect(await f64At(maxima)).toEqual([8, 30]);
    expect(await f64At(others)).toEqual(new Array(16).fill(0));
  });

  test("dotColumns sums the columns of each block apart", async () => {
    const sums = f64(0, 0, 0, 100, 0, 0);
    kernels.dotColumns(sums, f32(1, 2, 3, 4, 5, 6), f32(1, 1, 1, 1, 1, 1), 2, 3, 4, 6);
    // Columns 2, 0, 1, 2 | 0, 1.
    expect(await f64At(sums)).toEqual([2, 3, 1 + 4, 100 + 5, 6, 0]);
  });

  test("foldLanes adds neighbours first and leaves zeros", async () => {
    const big = 2 ** 53; // 1 more is lost to it, 2 more are not
    const sum = f64(5);
    const lanes = f64(big, 0, 0, 0, 1, 0, 1, 0);
    kernels.foldLanes(sum, lanes, 1);
    expect(await f64At(sum)).toEqual([big + 2]);
    expect(await f64At(lanes)).toEqual(new Array(8).fill(0));
  });

  test("dotRows and squaresRowsF64 give one sum per row, in lanes of the row's own", async () => {
    const sums = f64(5, 5);
    kernels.dotRows(sums, f32(1, 2, 3, 4, 5, 6), f32(1, 1, 1, 2, 2, 2), 2, 3);
    expect(await f64At(sums)).toEqual([6, 30]);
    kernels.squaresRowsF64(sums, f64(1, 2, 3, 4, 5, 6), 2, 3);
    expect(await f64At(sums)).toEqual([14, 77]);
  });

  test("accumulateF64 and accumulateRowsF64 do not round to f32", async () => {
    const acc = f64(1, 1, 1, 1);
    kernels.accumulateF64(acc, f32(1, 2, 3, 4), 0.1, 4);
    expect(await f64At(acc)).toEqual([1 + 0.1, 1 + 0.2, 1 + 3 * 0.1, 1 + 0.4]);
    kernels.accumulateRowsF64(acc, f32(1, 2, 3, 4), f64(0, 2), 2, 2);
    expect(await f64At(acc)).toEqual([1 + 0.1, 1 + 0.2, 1 + 3 * 0.1 + 6, 1 + 0.4 + 8]);
  });

  test("squaresF64 squares in lanes", async () => {
    const lanes = f64(...new Array<number>(8).fill(0));
    kernels.squaresF64(lanes, f64(...nine), 16, 9);
    expect(await f64At(lanes)).toEqual([82, 4, 9, 16, 25, 36, 49, 64]);
  });

  test.each([
    ["l1", [1 + 9, 2, 3, 4, 5, 6, 7, 8], [9, 2, 0, 4, 0, 0, 0, 0]],
    ["l2", [1 + 81, 4, 9, 16, 25, 36, 49, 64], [81, 4, 0, 16, 0, 0, 0, 0]],
    ["linf", [9, 2, 3, 4, 5, 6, 7, 8], [9, 2, 0, 4, 0, 0, 0, 0]],
  ] as const)("magnitudes by %s count the kept apart", async (kind, all, kept) => {
    const [allAt, keptAt] = [f64(0, 0, 0, 0, 0, 0, 0, 0), f64(0, 0, 0, 0, 0, 0, 0, 0)];
    const d = f32(...nine.map((value) => (value % 2 === 0 ? -value : value)));
    kernels.magnitudes(allAt, keptAt, d, bytes(0b00001010, 0b1), kind, 16, 9);
    expect(await f64At(allAt)).toEqual(all);
    expect(await f64At(keptAt)).toEqual(kept);
  });

  test("the largest magnitude passes over NaN", async () => {
    const [all, kept] = [f64(0, 0, 0, 0, 0, 0, 0, 0), f64(0, 0, 0, 0, 0, 0, 0, 0)];
    kernels.magnitudes(all, kept, f32(Number.NaN, -2), EVERYTHING, "linf", 16, 2);
    expect(await f64At(all)).toEqual([0, 2, 0, 0, 0, 0, 0, 0]);
    expect(await f64At(kept)).toEqual([0, 2, 0, 0, 0, 0, 0, 0]);
  });
});

describe("order statistics", () => {
  const d = [1, -2, 3, 2, -3, 0.5, 2.5, -2.5, 4, -0];

  test("bracket counts five ways and collects the inside in order of elements", async () => {
    const counts = u32(0, 0, 1, 0, 0);
    const collected = u32(1, 2, 3);
    kernels.bracket(counts, collected, 3, f32(...d), bitsOf(2), bitsOf(3), d.length);
    expect(await u32At(counts)).toEqual([3, 2, 3, 2, 1]);
    expect(await u32At(collected)).toEqual([1, bitsOf(2.5), bitsOf(2.5)]);
  });

  test("bracket goes on counting when there is no more room", async () => {
    const counts = u32(0, 0, 0, 0, 0);
    const collected = u32(7, 8);
    kernels.bracket(counts, collected, 1, f32(...d), bitsOf(0.5), bitsOf(4), d.length);
    expect(await u32At(counts)).toEqual([1, 1, 7, 1, 0]);
    expect(await u32At(collected)).toEqual([bitsOf(1), 8]);
  });

  test("bracket of a single value counts all equal ones once, as the lower end", async () => {
    const counts = u32(0, 0, 0, 0, 0);
    kernels.bracket(counts, u32(7), 1, f32(...d), bitsOf(2), bitsOf(2), d.length);
    expect(await u32At(counts)).toEqual([3, 2, 0, 0, 5]);
  });

  test("histogram sorts into bins between what is below and what is above", async () => {
    const bins = u32(0, 0, 0, 1, 0);
    // Bins of one exponent each: [1, 2), [2, 4), [4, 8).
    kernels.histogram(bins, f32(...d, 100), bitsOf(1), 23, 3, d.length + 1);
    expect(await u32At(bins)).toEqual([2, 1, 6, 2, 1]);
  });

  test("select finds the k-th smallest, how many are below and how many equal", async () => {
    const result = u32(0, 0, 0);
    kernels.select(result, u32(7, 0xffffffff, 7, 1, 9, 7), 2, 6);
    expect(await u32At(result)).toEqual([7, 1, 3]);
    kernels.select(result, u32(7, 0xffffffff, 7, 1, 9, 7), 5, 6);
    expect(await u32At(result)).toEqual([0xffffffff, 5, 1]);
  });
});

describe("masks", () => {
  test("maskBand keeps the inside and the ties in their windows, and counts ties on", async () => {
    const mask = bytes(0xff, 0xff);
    const ties = u32(1, 0);
    // Magnitudes:   1  2  3  2  3  2  5  9  3  2
    const d = f32(1, 2, 3, -2, -3, 2, 5, 9, 3, 2);
    kernels.maskBand(mask, ties, d, bitsOf(2), 2, 4, bitsOf(9), 0, 1, 10);
    // Ties at 2 are numbered 1, 2, 3, 4: the second and third stay. 3 and 5 are inside. 9 is tie 0 of the upper end.
    expect(await u8At(mask)).toEqual([0b11111100, 0b01]);
    expect(await u32At(ties)).toEqual([5, 1]);
  });

  test("maskBand without an upper end keeps all above, and with equal ends only the lower window counts", async () => {
    const mask = bytes(0xff);
    const ties = u32(0, 0);
    const d = f32(1, -2, 3, Number.POSITIVE_INFINITY);
    kernels.maskBand(mask, ties, d, bitsOf(2), 1, 0xffffffff, 0xffffffff, 0, 0xffffffff, 4);
    expect(await u8At(mask)).toEqual([0b1100]);
    // The only 2 now has number 1: outside of the lower window; the upper one, which holds it, is not asked.
    kernels.maskBand(mask, ties, d, bitsOf(2), 0, 1, bitsOf(2), 0, 9, 4);
    expect(await u8At(mask)).toEqual([0]);
    expect(await u32At(ties)).toEqual([2, 0]);
  });

  const stream = { seedLow: 42, seedHigh: 0, model: 1, nameLow: 5, nameHigh: 6 };
  const wordsFrom = (group: number): number[] => philox4x32([group, 1, 5, 6], [42, 0]);

  test("maskRandom keeps where the word is below the threshold, from the middle of a group on", async () => {
    const words = [...wordsFrom(10), ...wordsFrom(11)].slice(3);
    const threshold = words[2]!; // the element with just this word is out
    const mask = bytes(0xff);
    kernels.maskRandom(mask, stream, 43, threshold, 5);
    const expected = words.reduce((bits, word, k) => bits | (word < threshold ? 1 << k : 0), 0);
    expect(await u8At(mask)).toEqual([expected]);
  });

  test("maskRanked draws each rank against its own threshold, rows apart, equal magnitudes in order", async () => {
    const mask = bytes(0xff);
    // Row 0: ranks 1, 0, 2 (a tie at 1 and 2: lower index first). Row 1: all equal: 0, 1, 2.
    const d = f32(-5, 1, 5, 2, -2, 2);
    // Only rank 1 can be kept, and always is.
    kernels.maskRanked(mask, d, u32(0, 0xffffffff, 0), put(new Uint8Array(8)), stream, 40, 2, 3);
    expect(await u8At(mask)).toEqual([0b010001]);
  });

  test("maskRanked draws the words of the elements' places in the tensor", async () => {
    const mask = bytes(0xff);
    const words = [...wordsFrom(10), ...wordsFrom(11)].slice(1, 7);
    const threshold = 0x80000000;
    const thresholds = u32(threshold, threshold, threshold);
    kernels.maskRanked(mask, f32(1, 2, 3, 4, 5, 6), thresholds, put(new Uint8Array(8)), stream, 41, 2, 3);
    const expected = words.reduce((bits, word, k) => bits | (word < threshold ? 1 << k : 0), 0);
    expect(await u8At(mask)).toEqual([expected]);
  });

  test("scaleByRank multiplies by the factor of the rank", async () => {
    const scaled = f32(...room(6));
    kernels.scaleByRank(scaled, f32(-5, 1, 5, 2, -2, 2), f32(10, 100, 1000), put(new Uint8Array(8)), 2, 3);
    expect(await f32At(scaled)).toEqual([-500, 10, 5000, 20, -200, 2000]);
  });
});

describe("consensus", () => {
  test("accumulateMasked adds where kept", async () => {
    const acc = f32(1, 1, 1);
    kernels.accumulateMasked(acc, f32(1, 2, 3), bytes(0b101), 2, 3);
    expect(await f32At(acc)).toEqual([3, 1, 7]);
    kernels.accumulateMasked(acc, f32(1, 2, 3), EVERYTHING, 1, 3);
    expect(await f32At(acc)).toEqual([4, 3, 10]);
  });

  test("elect sends terms by their sign, not the delta's, and zeros and the masked nowhere", async () => {
    const [positive, negative, plus, minus] = [f32(0, 0, 0, 0), f32(0, 0, 0, 0), f32(0, 0, 0, 0), f32(0, 0, 0, 0)];
    kernels.elect(positive, negative, plus, minus, f32(1, -2, 0, 5), bytes(0b0111), -3, 0.5, 4);
    expect(await f32At(positive)).toEqual([0, 6, 0, 0]);
    expect(await f32At(negative)).toEqual([-3, 0, 0, 0]);
    expect(await f32At(plus)).toEqual([0, 0.5, 0, 0]);
    expect(await f32At(minus)).toEqual([0.5, 0, 0, 0]);
    kernels.elect(positive, negative, 0, 0, f32(1, -2, 0, 5), EVERYTHING, 1, 0.5, 4);
    expect(await f32At(positive)).toEqual([1, 6, 0, 5]);
    expect(await f32At(negative)).toEqual([-3, -2, 0, 0]);
    expect(await f32At(plus)).toEqual([0, 0.5, 0, 0]);
  });

  test("finishElection takes plus at a tie, divides by the weights that agree, and by 1 where none do", async () => {
    const out = f32(...room(4));
    const [positive, negative] = [f32(3, 2, 1, 0), f32(-3, -8, -0.5, 0)];
    kernels.finishElection(out, f32(10, 10, 10, 10), positive, negative, f32(2, 2, 0, 0), f32(5, 4, 5, 0), 1, 4);
    expect(await f32At(out)).toEqual([11.5, 8, 11, 10]);
    kernels.finishElection(positive, f32(10, 10, 10, 10), positive, negative, 0, 0, 0.5, 4);
    expect(await f32At(positive)).toEqual([11.5, 6, 10.5, 10]);
  });
});
