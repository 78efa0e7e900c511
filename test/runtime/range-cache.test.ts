import { crc32 } from "node:zlib";
import { expect, test } from "vitest";
import { type CachedStretch, isGivenUp, layOutCache, RangeCache, rangeCacheTable } from "../../runtime/range-cache.ts";

const KIB = 1024;
const GRAIN = 128 * KIB;
const byteAt = (at: number) => (Math.imul(at, 2654435761) >>> 24) & 255;
const bytesFrom = (from: number, count: number) => Uint8Array.from({ length: count }, (_, k) => byteAt(from + k));
const extent = (fromByte: number, toByte: number, file = 0) => ({ input: 0, file, fromByte, toByte });

/** A disk in memory. */
class Disk {
  readonly bytes: Uint8Array;
  isFull = false;
  written = 0;

  constructor(sizeBytes: number) {
    this.bytes = new Uint8Array(sizeBytes);
  }

  async read(offsetBytes: number, into: Uint8Array): Promise<void> {
    into.set(this.bytes.subarray(offsetBytes, offsetBytes + into.length));
  }

  async write(offsetBytes: number, bytes: Uint8Array): Promise<void> {
    if (this.isFull) throw new Error("full");
    this.bytes.set(bytes, offsetBytes);
    this.written += bytes.length;
  }
}

function begun(...extents: Parameters<typeof layOutCache>[1]) {
  const { stretches, sizeBytes } = layOutCache(Number.POSITIVE_INFINITY, extents);
  const disk = new Disk(sizeBytes);
  const table = rangeCacheTable(sizeBytes);
  return { stretches, disk, table, cache: new RangeCache({ stretches, table }, disk) };
}

async function got(cache: RangeCache, stretch: CachedStretch, fromByte: number, count: number): Promise<boolean> {
  const into = new Uint8Array(count);
  const isThere = await cache.read(stretch, fromByte, into);
  if (isThere) expect(Buffer.from(into).equals(bytesFrom(fromByte, count))).toBe(true);
  return isThere;
}

test("stretches have places of their own, as many as there is room for, and none twice", () => {
  const extents = [extent(5, 5 + GRAIN + 1), extent(0, 9 * GRAIN, 1), extent(7, 9), extent(0, GRAIN, 2)];
  const { stretches, sizeBytes } = layOutCache(3 * GRAIN, extents);
  expect(stretches.map(({ file, at }) => [file, at])).toEqual([
    [0, 0],
    [2, 2 * GRAIN],
  ]);
  expect(sizeBytes).toBe(3 * GRAIN);
});

test("what was put is found, by another thread too, however it is cut", async () => {
  const from = 1000;
  const end = from + 5 * GRAIN + 77;
  const { stretches, disk, table, cache } = begun(extent(from, end));
  const [stretch] = stretches;
  expect(await got(cache, stretch!, from, 10)).toBe(false);
  await cache.put(stretch!, from, bytesFrom(from, 2 * GRAIN));
  await cache.put(stretch!, from + 2 * GRAIN, bytesFrom(from + 2 * GRAIN, end - from - 2 * GRAIN));
  const other = new RangeCache({ stretches, table }, disk);
  const wanted = [
    [from, end - from],
    [from, 1],
    [end - 1, 1],
    [from + 5, GRAIN],
    [from + GRAIN - 1, 2],
    [from + GRAIN, 3 * GRAIN],
    [from + GRAIN + 9, 3 * GRAIN],
    [from + 5 * GRAIN, 77],
    [from + 4 * GRAIN + 3, GRAIN + 74],
  ] as const;
  for (const [at, count] of wanted) expect(await got(other, stretch!, at, count)).toBe(true);
});

test("of what was put in part, whole grains alone count", async () => {
  const { stretches, cache } = begun(extent(0, 10 * GRAIN));
  const [stretch] = stretches;
  await cache.put(stretch!, GRAIN / 2, bytesFrom(GRAIN / 2, 2 * GRAIN));
  expect(await got(cache, stretch!, GRAIN, GRAIN)).toBe(true);
  for (const at of [GRAIN / 2, GRAIN - 1, 2 * GRAIN]) expect(await got(cache, stretch!, at, 10)).toBe(false);
  await cache.put(stretch!, 5 * GRAIN, bytesFrom(5 * GRAIN, 100));
  expect(await got(cache, stretch!, 5 * GRAIN, 100)).toBe(false);
});

test("a damaged grain is not taken, counts no more, and what is brought anew is", async () => {
  const { stretches, disk, cache } = begun(extent(0, 3 * GRAIN));
  const [stretch] = stretches;
  await cache.put(stretch!, 0, bytesFrom(0, 3 * GRAIN));
  disk.bytes[GRAIN + 12_345]! ^= 1;
  expect(await got(cache, stretch!, 0, 3 * GRAIN)).toBe(false);
  const written = disk.written;
  expect(await got(cache, stretch!, 0, GRAIN)).toBe(true);
  expect(await got(cache, stretch!, GRAIN + 1, 5)).toBe(false);
  expect(disk.written).toBe(written);
  await cache.put(stretch!, 0, bytesFrom(0, 3 * GRAIN));
  expect(await got(cache, stretch!, 0, 3 * GRAIN)).toBe(true);
  expect(crc32(disk.bytes.subarray(0, GRAIN))).toBe(crc32(bytesFrom(0, GRAIN)));
});

test("once the disk is full nothing more is kept, and what is there stays", async () => {
  const { stretches, disk, table, cache } = begun(extent(0, 3 * GRAIN));
  const [stretch] = stretches;
  await cache.put(stretch!, 0, bytesFrom(0, GRAIN));
  disk.isFull = true;
  await cache.put(stretch!, GRAIN, bytesFrom(GRAIN, GRAIN));
  expect(isGivenUp({ table })).toBe(true);
  disk.isFull = false;
  await cache.put(stretch!, GRAIN, bytesFrom(GRAIN, GRAIN));
  expect(await got(cache, stretch!, 0, GRAIN)).toBe(true);
  expect(await got(cache, stretch!, GRAIN, GRAIN)).toBe(false);
});

test("what is wanted is cut where stretches begin and end", () => {
  const { cache } = begun(extent(100, 200), extent(200, 250), extent(300, 400));
  const pieces = cache
    .piecesOf(extent(50, 350))
    .map(({ fromByte, toByte, stretch }) => [fromByte, toByte, stretch?.at]);
  expect(pieces).toEqual([
    [50, 100, undefined],
    [100, 200, 0],
    [200, 250, GRAIN],
    [250, 300, undefined],
    [300, 350, 2 * GRAIN],
  ]);
  expect(cache.piecesOf(extent(0, 10, 3))).toEqual([{ fromByte: 0, toByte: 10, stretch: undefined }]);
});
