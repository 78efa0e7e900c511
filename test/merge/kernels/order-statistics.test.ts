import { expect, test } from "vitest";
import { arena, guarded, kernels, lengths, magnitudeBits, put, u8, u32, within } from "./engine-buffers.ts";
import { mixed, tied, uniform, wild } from "./values.ts";

const NO_END = 0xffffffff;

/** Bounds that are met, missed, equal, at the ends and outside. */
function boundsFor(d: Float32Array): [number, number][] {
  const sorted = Array.from(magnitudeBits(d)).sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? 1;
  return [
    [at(0.4), at(0.6)],
    [at(0.5), at(0.5)],
    [at(0.2) + 1, at(0.9) + 1],
    [0, 0],
    [0, NO_END],
    [0, 0x7fffffff],
    [at(1), NO_END],
    [0x7fffffff, 0x80000000],
    [0x80000001, NO_END],
  ];
}

const inputs = lengths.flatMap((n) => [
  { name: `${n} extreme values`, d: wild(n, n + 1) },
  { name: `${n} tied values`, d: tied(n, n + 1) },
  { name: `${n} of the largest bits a NaN can have`, d: new Float32Array(new Uint32Array(n).fill(0xffffffff).buffer) },
]);

test.each(inputs)("bracket counts and collects in element order, as far as there is room: $name", ({ d }) => {
  const bits = magnitudeBits(d);
  for (const [lo, hi] of boundsFor(d)) {
    const before = [5, 6, 2, 8, 9] as const;
    const between = Array.from(bits).filter((b) => b > lo && b < hi);
    const counts = [
      before[0] + bits.filter((b) => b < lo).length,
      before[1] + bits.filter((b) => b === lo).length,
      before[2] + between.length,
      before[3] + (lo === hi ? 0 : bits.filter((b) => b === hi).length),
      before[4] + bits.filter((b) => b > hi).length,
    ];
    for (const capacity of [0, 1, 4, 10, d.length + 2]) {
      within(() => {
        const [at, x] = [put(Uint32Array.from(before)), put(d)];
        const collected = put(new Uint32Array(capacity).fill(77));
        kernels.bracket(at, collected, capacity, x, lo, hi, d.length);
        const expected = new Uint32Array(capacity).fill(77);
        expected.set(between.slice(0, Math.max(0, capacity - 2)), Math.min(2, capacity));
        expect(Array.from(u32(at, 5)), `bounds ${lo}, ${hi}`).toEqual(counts);
        expect(u32(collected, capacity), `bounds ${lo}, ${hi}, room for ${capacity}`).toEqual(expected);
      });
    }
  }
});

test.each(inputs)("histogram counts below, in equal steps, and above: $name", ({ d }) => {
  const bits = magnitudeBits(d);
  for (const [lo, shift, binCount] of [
    [0, 15, 65536],
    [0x3a000000, 16, 300],
    [0x3a000001, 0, 5],
    [0, 31, 1],
    [0x7fffffff, 4, 2],
  ] as const) {
    const expected = new Uint32Array(binCount + 2).fill(1);
    for (const b of bits) expected[b < lo ? 0 : 1 + Math.min(binCount, Math.floor((b - lo) / 2 ** shift))]! += 1;
    within(() => {
      const bins = put(new Uint32Array(binCount + 2).fill(1));
      kernels.histogram(bins, put(d), lo, shift, binCount, d.length);
      expect(Buffer.from(u32(bins, binCount + 2).buffer).equals(Buffer.from(expected.buffer))).toBe(true);
    });
  }
});

const random = uniform(5);
const selections: { name: string; values: Uint32Array }[] = [
  { name: "one value", values: Uint32Array.of(7) },
  { name: "all equal", values: new Uint32Array(50).fill(0xffffffff) },
  { name: "the ends of u32", values: Uint32Array.of(0xffffffff, 0, 0xffffffff, 0, 1, 0xfffffffe) },
  { name: "ascending", values: Uint32Array.from({ length: 5000 }, (_, k) => k) },
  { name: "all of u32", values: Uint32Array.from({ length: 3000 }, () => random() * 2 ** 32) },
  { name: "bits of deltas", values: magnitudeBits(mixed(1000, 3)) },
  { name: "tied bits", values: magnitudeBits(tied(1000, 3)) },
];

test.each(selections)(
  "select finds any order statistic, how many are below and equal, and loses no value: $name",
  ({ values }) => {
    const n = values.length;
    const sorted = values.slice().sort();
    for (const k of new Set(
      [0, 1, Math.floor(n / 3), Math.floor(n / 2), n - 2, n - 1].filter((k) => k >= 0 && k < n),
    )) {
      within(() => {
        const [result, at] = [guarded(12), put(values)];
        kernels.select(result, at, k, n);
        const answer = sorted[k]!;
        const below = sorted.indexOf(answer);
        expect(Array.from(u32(result, 3))).toEqual([answer, below, sorted.lastIndexOf(answer) + 1 - below]);
        expect(u32(at, n).sort()).toEqual(sorted);
      });
    }
  },
);

test.each(inputs)("maskBand keeps the band and the numbered ties at its ends: $name", ({ d }) => {
  const bits = magnitudeBits(d);
  const windows = [
    [0, NO_END, 0, NO_END],
    [0, 0, 0, 0],
    [4, 6, 3, 9],
    [20, NO_END, 0, 12],
    [0, 11, 300, NO_END],
  ] as const;
  for (const [lo, hi] of boundsFor(d)) {
    for (const [loFrom, loTo, hiFrom, hiTo] of windows) {
      const seen = [3, 5];
      const expected = new Uint8Array(Math.ceil(d.length / 8));
      bits.forEach((b, k) => {
        let isKept = b > lo && b < hi;
        if (b === lo) {
          isKept = seen[0]! >= loFrom && seen[0]! < loTo;
          seen[0]! += 1;
        } else if (b === hi) {
          isKept = seen[1]! >= hiFrom && seen[1]! < hiTo;
          seen[1]! += 1;
        }
        if (isKept) expected[k >> 3]! |= 1 << (k & 7);
      });
      within(() => {
        const [mask, ties] = [guarded(expected.length), put(Uint32Array.of(3, 5))];
        kernels.maskBand(mask, ties, put(d), lo, loFrom, loTo, hi, hiFrom, hiTo, d.length);
        expect(u8(mask, expected.length), `${lo} ${hi}, ${loFrom} ${loTo} ${hiFrom} ${hiTo}`).toEqual(expected);
        expect(Array.from(u32(ties, 2))).toEqual(seen);
      });
    }
  }
});

test("zero clears the bytes and no others", () => {
  within(() => {
    const at = guarded(100);
    kernels.zero(at + 1, 98);
    const bytes = arena.staging(at, 100).bytes;
    expect([bytes[0], bytes[99]]).toEqual([0xa5, 0xa5]);
    expect(bytes.subarray(1, 99).every((byte) => byte === 0)).toBe(true);
  });
});
