import { expect, test } from "vitest";
import { FarWindows } from "../../runtime/far-windows.ts";
import { type Extent, joinedExtents } from "../../runtime/wanted-extents.ts";
import { WindowMemory } from "../../runtime/window-memory.ts";

const MIB = 2 ** 20;
const byteAt = (input: number, at: number) => (at * 31 + input * 7) & 255;

/** A store whose answers come when they are let. */
class Far {
  readonly asked: string[] = [];
  readonly windows: FarWindows;
  fails = false;
  bytes = 0;

  constructor(capacityBytes: number) {
    this.windows = new FarWindows(capacityBytes, async (input, file, offsetBytes, into) => {
      this.asked.push(`${input}/${file} ${offsetBytes / MIB}+${into.length / MIB}`);
      this.bytes += into.length;
      await new Promise((resolve) => setImmediate(resolve));
      if (this.fails) throw new Error("far away");
      for (let k = 0; k < into.length; k++) into[k] = byteAt(input, offsetBytes + k);
    });
  }

  async read(input: number, offsetBytes: number, count: number): Promise<void> {
    const into = new Uint8Array(count);
    await this.windows.read(input, 0, 1000 * MIB, offsetBytes, into);
    const expected = new Uint8Array(count);
    for (let k = 0; k < count; k++) expected[k] = byteAt(input, offsetBytes + k);
    expect(Buffer.from(into).equals(expected)).toBe(true);
  }
}

const extent = (input: number, fromMib: number, toMib: number): Extent => ({
  ...{ input, file: 0 },
  ...{ fromByte: fromMib * MIB, toByte: toMib * MIB },
});

test("of what is expected each byte is asked for once, in windows, however it is read, and for all rounds", async () => {
  const far = new Far(100 * MIB);
  far.windows.expect([[extent(0, 3, 23), extent(1, 50, 51)]]);
  for (let round = 0; round < 2; round++) {
    for (let at = 3 * MIB; at < 23 * MIB; at += 1.5 * MIB) {
      await far.read(0, at, Math.min(1.5 * MIB, 23 * MIB - at));
      await far.read(1, 50 * MIB + (at % MIB) / 2, 1000);
    }
  }
  expect(far.asked.sort()).toEqual(["0/0 11+8", "0/0 19+4", "0/0 3+8", "1/0 50+1"]);
});

test("the first windows of all are asked for at once, and further ones before they are read", async () => {
  const far = new Far(100 * MIB);
  far.windows.expect([[extent(0, 0, 32), extent(1, 0, 32)]]);
  expect(far.asked).toEqual(["0/0 0+8", "1/0 0+8", "0/0 8+8", "1/0 8+8"]);
  await far.read(0, 0, 1000);
  expect(far.asked.slice(4)).toEqual(["0/0 16+8"]);
});

test("memory is bounded: what was read to its end makes room, windows shrink, and what was given up is asked for again", async () => {
  const far = new Far(12 * MIB);
  far.windows.expect([[extent(0, 0, 16), extent(1, 0, 16)]]);
  let most = 0;
  for (let round = 0; round < 2; round++) {
    for (let at = 0; at < 16 * MIB; at += MIB / 2) {
      for (const input of [0, 1]) await far.read(input, at, MIB / 2);
      most = Math.max(most, far.windows.heldBytes);
    }
  }
  expect(most).toBeLessThanOrEqual(12 * MIB);
  expect(far.asked[0]).toBe("0/0 0+2");
  expect(far.bytes).toBeGreaterThan(32 * MIB);
  expect(far.bytes).toBeLessThanOrEqual(64 * MIB);
});

test("a part that has room is brought once for all its rounds, where the parts together have none, in whatever order they lie", async () => {
  const far = new Far(12 * MIB);
  const parts = [20, 10, 0].map((at) => [extent(0, at, at + 5), extent(1, at, at + 5)]);
  far.windows.expect(parts);
  for (const [first] of parts) {
    const from = first?.fromByte ?? 0;
    for (let round = 0; round < 3; round++)
      for (let at = 0; at < 5 * MIB; at += MIB / 2)
        for (const input of [0, 1]) await far.read(input, from + at, MIB / 2);
    expect(far.windows.heldBytes).toBeLessThanOrEqual(12 * MIB);
  }
  expect(far.bytes).toBe(3 * 2 * 5 * MIB);
});

test.each([
  [110, 0.25],
  [26, 0.125],
  [8, 0],
])(
  "of 200 models %i MiB hold windows of %d MiB, and each byte is asked for once a round",
  async (capacityMib, windowMib) => {
    const far = new Far(capacityMib * MIB);
    const models = Array.from({ length: 200 }, (_, k) => k);
    far.windows.expect([models.map((input) => extent(input, 0, 1))]);
    let most = 0;
    for (let at = 0; at < MIB; at += MIB / 16) {
      for (const input of models) await far.read(input, at, MIB / 16);
      most = Math.max(most, far.windows.heldBytes);
    }
    expect(far.bytes).toBe(200 * MIB);
    expect(most).toBeLessThanOrEqual(capacityMib * MIB);
    const sizes = new Set(far.asked.map((text) => Number(text.split("+")[1])));
    expect([...sizes]).toEqual([windowMib === 0 ? 1 / 16 : windowMib]);
  },
);

test("a sample here and there of what will not be kept is no window", async () => {
  const far = new Far(3 * MIB);
  far.windows.expect([[extent(0, 0, 64)]]);
  far.asked.length = 0;
  for (const at of [40, 10, 50]) await far.read(0, at * MIB + 5, 1024);
  expect(far.asked).toEqual(["40", "10", "50"].map((at) => `0/0 ${Number(at) + 5 / MIB}+${1024 / MIB}`));
});

test("samples that are foreseen are asked for at once, but those that windows hold, and each is brought once", async () => {
  const far = new Far(24 * MIB);
  far.windows.expect([[extent(0, 0, 64)]]);
  far.asked.length = 0;
  const places = [4, 20, 40, 50].map((at) => at * MIB + 5);
  far.windows.foresee(places.map((fromByte) => ({ input: 0, file: 0, fromByte, toByte: fromByte + 1024 })));
  const pieces = places.slice(1).map((at) => `0/0 ${at / MIB}+${1024 / MIB}`);
  expect(far.asked).toEqual(pieces);
  for (const at of places) await far.read(0, at, 1024);
  expect(far.asked.filter((text) => text.endsWith(`+${1024 / MIB}`))).toEqual(pieces);
});

test("of what is foreseen as much is asked for as has room, and the next when one was read; what fails is told", async () => {
  const far = new Far(MIB);
  far.windows.expect([[extent(0, 0, 64)]]);
  far.asked.length = 0;
  const places = Array.from({ length: 5 }, (_, k) => (10 + k) * MIB);
  const piece = 8 * 1024; // two of them are a share of 1 / 64
  far.windows.foresee(places.map((fromByte) => ({ input: 0, file: 0, fromByte, toByte: fromByte + piece })));
  expect(far.asked).toHaveLength(2);
  await far.read(0, 10 * MIB, piece);
  expect(far.asked).toHaveLength(3);
  far.fails = true;
  await expect(far.read(0, 11 * MIB, piece)).rejects.toThrow("far away");
  far.fails = false;
  for (const at of places.slice(1)) await far.read(0, at, piece);
  expect(far.asked.filter((text) => text.endsWith(`+${piece / MIB}`))).toHaveLength(6);
});

test("what was not expected is read a little ahead, and large pieces as they are", async () => {
  const far = new Far(100 * MIB);
  far.windows.expect([[extent(0, 0, 8)]]);
  far.asked.length = 0;
  for (let k = 0; k < 100; k++) await far.read(0, 20 * MIB + k * 1000, 1000);
  await far.read(0, 30 * MIB, 2 * MIB);
  expect(far.asked).toEqual(["0/0 20+1", "0/0 30+2"]);
});

test("what fails is told to who reads it, and asked for anew", async () => {
  const far = new Far(100 * MIB);
  far.fails = true;
  far.windows.expect([[extent(0, 0, 32)]]);
  await expect(far.read(0, 0, 1000)).rejects.toThrow("far away");
  far.fails = false;
  for (let at = 0; at < 32 * MIB; at += 2 * MIB) await far.read(0, at, 2 * MIB);
  expect(far.windows.heldBytes).toBeLessThanOrEqual(100 * MIB);
});

test("memory is used again from assignment to assignment", async () => {
  const far = new Far(48 * MIB);
  for (let assignment = 0; assignment < 5; assignment++) {
    far.windows.expect([[extent(0, assignment * 32, assignment * 32 + 32)]]);
    for (let at = 0; at < 32; at += 4) await far.read(0, (assignment * 32 + at) * MIB, 4 * MIB);
    expect(far.windows.heldBytes).toBeLessThanOrEqual(56 * MIB);
  }
  far.windows.close();
  expect(far.windows.heldBytes).toBe(0);
});

test("memory of windows is cut anew as their size changes, once what it was cut into is free", () => {
  const memory = new WindowMemory(20 * MIB);
  const large = [memory.take(8 * MIB)!, memory.take(8 * MIB)!];
  expect(memory.take(8 * MIB)).toBeUndefined();
  const small = [1, 2, 3].map(() => memory.take(2 * MIB));
  expect(small[2]).toBeUndefined();
  expect(memory.heldBytes).toBe(20 * MIB);
  memory.giveBack(large[0]!.subarray(0, 5));
  const cut = [1, 2, 3, 4].map(() => memory.take(2 * MIB)!);
  expect(new Set(cut.map(({ byteOffset }) => byteOffset / MIB))).toEqual(new Set([0, 2, 4, 6]));
  expect(memory.take(2 * MIB)).toBeUndefined();
  for (const window of cut.slice(1)) memory.giveBack(window);
  expect(memory.take(8 * MIB)).toBeUndefined();
  memory.giveBack(cut[0]!);
  expect(memory.take(8 * MIB)?.length).toBe(8 * MIB);
  expect(memory.heldBytes).toBe(20 * MIB);
});

test("extents of a file that nearly touch are one", () => {
  const bytes = (input: number, file: number, fromByte: number, toByte: number) => ({ input, file, fromByte, toByte });
  expect(
    joinedExtents([
      bytes(1, 0, 100, 200),
      bytes(0, 1, 5, 6),
      bytes(1, 0, 150, 300),
      bytes(1, 0, 400, 500),
      bytes(1, 0, 10 ** 7, 10 ** 7 + 1),
    ]),
  ).toEqual([bytes(1, 0, 100, 500), bytes(1, 0, 10 ** 7, 10 ** 7 + 1), bytes(0, 1, 5, 6)]);
});
