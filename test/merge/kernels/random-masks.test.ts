import { expect, test } from "vitest";
import type { RandomStream } from "../../../merge/engines/kernels.ts";
import { arena, bitsOf, f32, guarded, isSet, kernels, magnitudeBits, put, u8, within } from "./engine-buffers.ts";
import { bell, mixed, tied, uniform, wild } from "./values.ts";

// ---- Philox4x32-10 by its definition, in whole numbers of any size
const WORD = 2n ** 32n;
function philox(counter: readonly bigint[], key: readonly bigint[]): number[] {
  let [c0, c1, c2, c3] = counter as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key as [bigint, bigint];
  for (let round = 0; round < 10; round++) {
    const p0 = 0xd2511f53n * c0;
    const p1 = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(p1 / WORD) ^ c1 ^ k0, p1 % WORD, (p0 / WORD) ^ c3 ^ k1, p0 % WORD];
    k0 = (k0 + 0x9e3779b9n) % WORD;
    k1 = (k1 + 0xbb67ae85n) % WORD;
  }
  return [c0, c1, c2, c3].map(Number);
}

function wordsOf(stream: RandomStream, first: number, n: number): Uint32Array {
  const words: number[] = [];
  const { seedLow, seedHigh, model, nameLow, nameHigh } = stream;
  for (let group = Math.floor(first / 4); group * 4 < first + n; group++) {
    const counter = [BigInt(group), BigInt(model), BigInt(nameLow), BigInt(nameHigh)];
    words.push(...philox(counter, [BigInt(seedLow), BigInt(seedHigh)]));
  }
  return Uint32Array.from(words.slice(first % 4, (first % 4) + n));
}

/** Words as the kernel draws them, found out by halving: a mask says of 32 thresholds in turn which words are below. */
function drawnWords(stream: RandomStream, first: number, n: number): Uint32Array {
  const low = new Uint32Array(n);
  for (let bit = 31; bit >= 0; bit--) {
    for (const threshold of new Set(low)) {
      const bits = maskRandom(stream, first, threshold + 2 ** bit, n);
      for (let k = 0; k < n; k++) if (low[k] === threshold && !isSet(bits, k)) pending.push(k);
    }
    for (const k of pending) low[k]! += 2 ** bit;
    pending.length = 0;
  }
  return low;
}
const pending: number[] = [];

function maskRandom(stream: RandomStream, first: number, threshold: number, n: number): Uint8Array {
  return within(() => {
    const mask = guarded(Math.ceil(n / 8));
    kernels.maskRandom(mask, stream, first, threshold, n);
    return u8(mask, Math.ceil(n / 8));
  });
}

const name = { nameLow: 0xdc11febb, nameHigh: 0x3a296639 };
const big = 81985529216486895n;

test("the kernel's words are Random123's known answers", () => {
  const known: [RandomStream, number, number[]][] = [
    [
      { seedLow: 0, seedHigh: 0, model: 0, nameLow: 0, nameHigh: 0 },
      0,
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      { seedLow: 0xffffffff, seedHigh: 0xffffffff, model: 0xffffffff, nameLow: 0xffffffff, nameHigh: 0xffffffff },
      0xffffffff * 4,
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      { seedLow: 0xa4093822, seedHigh: 0x299f31d0, model: 0x85a308d3, nameLow: 0x13198a2e, nameHigh: 0x03707344 },
      0x243f6a88 * 4,
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ];
  for (const [stream, first, words] of known) {
    expect(Array.from(drawnWords(stream, first, 4))).toEqual(words);
    expect(Array.from(wordsOf(stream, first, 4))).toEqual(words);
  }
});

test("the kernel's words for a tensor, model and seed are those of docs/spec/random.md", () => {
  const table: [bigint, number, string][] = [
    [0n, 0, "12531c07 9939082a 58e861da 11f929f5 781c0834 44496a48 7a08a8e7 10b51580"],
    [0n, 1, "000311cb 2620e098 186c0cd5 164ae297 ee670be8 4fb7f573 b6004343 01d5b185"],
    [42n, 0, "302e178b 44af240f 9cdab40a 58d5de5e e03cd58b 14292812 3cfa7e94 35b2fbe2"],
    [42n, 2, "00de064f d3ed93f2 85982add 4e4ae850 ce97f6d2 679a8054 b3a18cdd 56a22e1e"],
    [big, 1, "96d34a1e 7aebf490 01f0299b ccbe9528 83a8cbfa 66b228ea 4604b6e8 0f73bdd7"],
  ];
  for (const [seed, model, words] of table) {
    const stream = { seedLow: Number(seed % WORD), seedHigh: Number(seed / WORD), model, ...name };
    const drawn = Array.from(drawnWords(stream, 0, 8), (word) => word.toString(16).padStart(8, "0")).join(" ");
    expect(drawn).toBe(words);
  }
});

test.each([
  [2147483648, 8217, [3, 4, 6, 7, 8, 11, 13, 18, 19, 20]],
  [1288490188, 4940, [3, 4, 6, 7, 20, 24, 29, 33, 34, 36]],
  [429496729, 1662, [3, 4, 6, 7, 24, 29, 36, 37, 50, 53]],
])(
  "threshold %i keeps %i of 16384 elements, the first as docs/spec/random.md has them",
  (threshold, count, firstKept) => {
    const mask = maskRandom({ seedLow: 42, seedHigh: 0, model: 1, ...name }, 0, threshold, 16384);
    const kept = Array.from({ length: 16384 }, (_, k) => k).filter((k) => isSet(mask, k));
    expect(kept.length).toBe(count);
    expect(kept.slice(0, 10)).toEqual(firstKept);
  },
);

const stream = { seedLow: 0xdeadbeef, seedHigh: 0x1234567, model: 3, ...name };

test.each([0, 1, 7, 8, 9, 16, 17, 1024, 1031, 2100])(
  "maskRandom draws the words of its elements, wherever %i of them begin",
  (n) => {
    for (const first of [0, 1, 2, 3, 4096, 4097, 2 ** 32 - 3, 2 ** 34 - n]) {
      const words = wordsOf(stream, first, n);
      const expected = new Uint8Array(Math.ceil(n / 8));
      words.forEach((word, k) => {
        if (word < 0x90000000) expected[k >> 3]! |= 1 << (k & 7);
      });
      expect(maskRandom(stream, first, 0x90000000, n), `from ${first}`).toEqual(expected);
    }
  },
);

test("maskRandom with threshold 0 keeps nothing", () => {
  expect(maskRandom(stream, 0, 0, 1031).every((byte) => byte === 0)).toBe(true);
});

// ---- ranks
/** Ranks by sorting: ascending by magnitude, of equals the lower index first. */
function ranksOf(d: Float32Array): Uint32Array {
  const bits = magnitudeBits(d);
  const order = Array.from(bits.keys()).sort((a, b) => bits[a]! - bits[b]! || a - b);
  const ranks = new Uint32Array(d.length);
  order.forEach((k, rank) => {
    ranks[k] = rank;
  });
  return ranks;
}

function thresholdsOf(rowLength: number, density: number, epsilon: number): Uint32Array {
  return Uint32Array.from({ length: rowLength }, (_, rank) =>
    rowLength === 1 ? density * 2 ** 32 : (density - epsilon + (2 * epsilon * rank) / (rowLength - 1)) * 2 ** 32,
  );
}

const random = uniform(11);
const rowKinds: { kind: string; row: (n: number, seed: number) => Float32Array }[] = [
  { kind: "bell-shaped", row: bell },
  { kind: "extreme", row: mixed },
  { kind: "with NaN and infinity", row: wild },
  { kind: "a few distinct values", row: tied },
  { kind: "three distinct values", row: (n, seed) => tied(n, seed, 1) },
  { kind: "all equal", row: (n) => new Float32Array(n).fill(-0.5) },
  { kind: "all zero, of both signs", row: (n) => Float32Array.from({ length: n }, (_, k) => (k % 2 ? -0 : 0)) },
  { kind: "nine of ten zero", row: (n, seed) => bell(n, seed).map((x) => (random() < 0.9 ? 0 : x)) },
  { kind: "one element dwarfing the others", row: (n, seed) => bell(n, seed).map((x, k) => (k === 3 ? 1e9 : x)) },
  { kind: "descending", row: (n) => Float32Array.from({ length: n }, (_, k) => (n - k) * 1e-6) },
];
const cases = rowKinds.flatMap(({ kind, row }) =>
  [1, 2, 7, 8, 31, 256, 1031].map((rowLength) => ({ kind, row, rowLength })),
);

test.each(cases)(
  "maskRanked compares each word with the threshold of the exact rank: $kind, rows of $rowLength",
  ({ row, rowLength }) => {
    const rows = rowLength > 300 ? 3 : 7;
    const n = rows * rowLength;
    const d = new Float32Array(n);
    for (let r = 0; r < rows; r++) d.set(row(rowLength, r + rowLength), r * rowLength);
    // The last is steep enough to leave most elements open, however few of a row are tied.
    for (const [density, epsilon] of [
      [0.5, 0.15],
      [0.3, 0],
      [0.5, 0.4999],
    ] as const) {
      const thresholds = thresholdsOf(rowLength, density, epsilon);
      for (const first of [0, 3, 2 ** 33 + 1]) {
        const words = wordsOf(stream, first, n);
        const expected = new Uint8Array(Math.ceil(n / 8));
        for (let r = 0; r < rows; r++) {
          ranksOf(d.subarray(r * rowLength, (r + 1) * rowLength)).forEach((rank, k) => {
            const at = r * rowLength + k;
            if (words[at]! < thresholds[rank]!) expected[at >> 3]! |= 1 << (at & 7);
          });
        }
        within(() => {
          const [mask, x, table] = [guarded(expected.length), put(d), put(thresholds)];
          const scratch = guarded(arena.rankScratchBytes(rowLength));
          kernels.maskRanked(mask, x, table, scratch, stream, first, rows, rowLength);
          expect(u8(mask, expected.length), `density ${density}, from ${first}`).toEqual(expected);
        });
      }
    }
  },
);

test.each(cases)(
  "scaleByRank multiplies by the factor of the exact rank, in place too: $kind, rows of $rowLength",
  ({ row, rowLength }) => {
    const d = new Float32Array(2 * rowLength);
    d.set(row(rowLength, 1));
    d.set(row(rowLength, 2), rowLength);
    const table = Float32Array.from({ length: rowLength }, (_, rank) => 1 / (rank + 1.5));
    const expected = new Float32Array(2 * rowLength);
    for (const from of [0, rowLength]) {
      ranksOf(d.subarray(from, from + rowLength)).forEach((rank, k) => {
        expected[from + k] = table[rank]! * d[from + k]!;
      });
    }
    within(() => {
      const [scaled, x, factors] = [guarded(d.byteLength), put(d), put(table)];
      const scratch = guarded(arena.rankScratchBytes(rowLength));
      kernels.scaleByRank(scaled, x, factors, scratch, 2, rowLength);
      expect(bitsOf(f32(scaled, d.length))).toEqual(bitsOf(expected));
      kernels.scaleByRank(x, x, factors, scratch, 2, rowLength);
      expect(bitsOf(f32(x, d.length))).toEqual(bitsOf(expected));
    });
  },
);
