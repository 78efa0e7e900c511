import { describe, expect, test } from "vitest";
import { createEngine, type Engine, EngineError } from "../../../merge/engines/index.ts";

// What every engine owes its callers apart from arithmetic.

describe.each(["reference", "wasm"] as const)("memory of the %s engine", (name) => {
  const create = (maximumBytes: number): Promise<Engine> => createEngine(name, { maximumBytes });

  test("lies at addresses above 0 that are multiples of 64 and do not overlap", async () => {
    const engine = await create(16 << 20);
    let end = 1;
    for (const sizeBytes of [1, 63, 64, 65, 0, 100_000, 7, 1 << 20]) {
      const address = engine.allocate(sizeBytes);
      expect(address % 64).toBe(0);
      expect(address).toBeGreaterThanOrEqual(end);
      end = address + sizeBytes;
    }
  });

  test("keeps its content when it grows", async () => {
    const engine = await create(64 << 20);
    const address = engine.allocate(1000);
    engine.stage(address, 1000).fill(0x5a);
    engine.upload(address, 1000);
    engine.allocate(20 << 20);
    expect((await engine.download(address, 1000)).every((byte) => byte === 0x5a)).toBe(true);
  });

  test("is given back as a stack: what lay below the mark is not given out again", async () => {
    const engine = await create(16 << 20);
    const kept = engine.allocate(1000);
    engine.stage(kept, 1000).fill(0x5a);
    engine.upload(kept, 1000);
    const mark = engine.mark();
    engine.allocate(5000);
    engine.release(mark);
    const next = engine.allocate(5000);
    expect(next).toBeGreaterThanOrEqual(kept + 1000);
    engine.kernels.zero(next, 5000);
    expect((await engine.download(kept, 1000)).every((byte) => byte === 0x5a)).toBe(true);
  });

  test("can be taken and given back without end below the limit", async () => {
    const engine = await create(16 << 20);
    for (let round = 0; round < 200; round++) {
      const mark = engine.mark();
      engine.allocate(4 << 20);
      engine.release(mark);
    }
    expect(engine.allocate(4 << 20)).toBeGreaterThan(0);
  });

  test("beyond the limit is refused with the numbers, and what was there stays usable", async () => {
    const engine = await create(16 << 20);
    const address = engine.allocate(8);
    const allocate = (): number => engine.allocate(17 << 20);
    expect(allocate).toThrow(EngineError);
    expect(allocate).toThrow(expect.objectContaining({ code: "engine/memory", retryable: false }));
    expect(allocate).toThrow(/17825792/);
    engine.kernels.zero(address, 8);
    expect([...(await engine.download(address, 8))]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect(engine.allocate(1 << 20)).toBeGreaterThan(address);
  });

  test("comes with a name and the identity of its kernels", async () => {
    const engine = await create(16 << 20);
    expect(engine.name).toBe(name);
    expect(engine.kernelId).toMatch(/\S/);
    expect(engine.rankScratchBytes(1024)).toBeGreaterThanOrEqual(0);
  });
});
