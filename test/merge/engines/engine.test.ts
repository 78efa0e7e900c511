import { describe, expect, test } from "vitest";
import { type Arena, EngineError, engineNames, openDevice, put } from "../../../merge/engines/index.ts";

// What every arena owes its callers apart from arithmetic.

describe.each(engineNames)("memory of the %s engine", (name) => {
  const create = async (maximumBytes: number): Promise<Arena> => (await openDevice(name)).open(maximumBytes);

  test("lies at addresses above 0 that are multiples of 64 and do not overlap", async () => {
    const arena = await create(16 << 20);
    let end = 1;
    for (const sizeBytes of [1, 63, 64, 65, 0, 100_000, 7, 1 << 20]) {
      const address = arena.allocate(sizeBytes);
      expect(address % 64).toBe(0);
      expect(address).toBeGreaterThanOrEqual(end);
      end = address + sizeBytes;
    }
  });

  test("keeps its content when it grows", async () => {
    const arena = await create(64 << 20);
    const address = arena.allocate(1000);
    put(arena, address, new Uint8Array(1000).fill(0x5a));
    arena.allocate(20 << 20);
    expect((await arena.download(address, 1000)).every((byte) => byte === 0x5a)).toBe(true);
  });

  test("is given back as a stack: what lay below the mark is not given out again", async () => {
    const arena = await create(16 << 20);
    const kept = arena.allocate(1000);
    put(arena, kept, new Uint8Array(1000).fill(0x5a));
    const scope = arena.scope();
    arena.allocate(5000);
    scope.end();
    const next = arena.allocate(5000);
    expect(next).toBeGreaterThanOrEqual(kept + 1000);
    arena.kernels.zero(next, 5000);
    expect((await arena.download(kept, 1000)).every((byte) => byte === 0x5a)).toBe(true);
  });

  test("can be taken and given back without end below the limit", async () => {
    const arena = await create(16 << 20);
    for (let round = 0; round < 200; round++) {
      const scope = arena.scope();
      arena.allocate(4 << 20);
      scope.end();
    }
    expect(arena.allocate(4 << 20)).toBeGreaterThan(0);
  });

  test("beyond the limit is refused with the numbers, and what was there stays usable", async () => {
    const arena = await create(16 << 20);
    const address = arena.allocate(8);
    const allocate = (): number => arena.allocate(17 << 20);
    expect(allocate).toThrow(EngineError);
    expect(allocate).toThrow(expect.objectContaining({ code: "engine/memory", retryable: false }));
    expect(allocate).toThrow(/17825792/);
    arena.kernels.zero(address, 8);
    expect([...(await arena.download(address, 8))]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect(arena.allocate(1 << 20)).toBeGreaterThan(address);
  });

  test("comes with a name and the identity of its kernels", async () => {
    const arena = await create(16 << 20);
    expect(arena.device.name).toBe(name);
    expect(arena.device.kernelId).toMatch(/\S/);
    expect(arena.rankScratchBytes(1024)).toBeGreaterThanOrEqual(0);
  });
});
