import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { EngineError } from "../../../merge/engines/errors.ts";
import { createWasmEngine } from "../../../merge/engines/wasm/index.ts";

const MIB = 2 ** 20;

test("buffers are aligned to 64, lie apart from the kernels' own tables, and do not overlap", async () => {
  const engine = await createWasmEngine({ maximumBytes: 16 * MIB });
  let end = 1;
  for (const size of [1, 64, 100, 4096, 65536, 65536, 3, 8192]) {
    const address = engine.allocate(size);
    expect(address % 64).toBe(0);
    expect(address).toBeGreaterThanOrEqual(end);
    end = address + size;
  }
  const all = engine.stage(0, end);
  const first = engine.allocate(0);
  expect(first).toBeGreaterThanOrEqual(all.length);
});

test.each([4096, 65536, 65536 - 1216, 262144, 100_000])(
  "no two of nine buffers of %i bytes begin at nearly the same place within 4 KiB",
  async (size) => {
    const engine = await createWasmEngine({ maximumBytes: 16 * MIB });
    const places = Array.from({ length: 9 }, () => engine.allocate(size) % 4096);
    for (const [i, a] of places.entries()) {
      for (const b of places.slice(i + 1))
        expect(Math.min(Math.abs(a - b), 4096 - Math.abs(a - b))).toBeGreaterThanOrEqual(320);
    }
  },
);

test("memory released is given out again, and what lies below the mark keeps its bytes through growth", async () => {
  const engine = await createWasmEngine({ maximumBytes: 8 * MIB });
  const kept = engine.allocate(100);
  engine.stage(kept, 100).fill(7);
  const mark = engine.mark();
  for (let round = 0; round < 20; round++) {
    const buffer = engine.allocate(5 * MIB);
    engine.stage(buffer, 5 * MIB).fill(round);
    engine.release(mark);
  }
  expect(Array.from(engine.stage(kept, 100))).toEqual(new Array(100).fill(7));
});

test("a view staged before a kernel shows what it wrote, and so does download", async () => {
  const engine = await createWasmEngine({ maximumBytes: 8 * MIB });
  const at = engine.allocate(100);
  const view = engine.stage(at, 100);
  view.fill(9);
  engine.upload(at, 100);
  engine.kernels.zero(at, 50);
  expect(Array.from(await engine.download(at, 51))).toEqual([...new Array(50).fill(0), 9]);
  expect(view[0]).toBe(0);
});

test("beyond its limit the engine says how much it needs and how much it may have", async () => {
  const engine = await createWasmEngine({ maximumBytes: 2 * MIB });
  engine.allocate(MIB);
  const fault = catchError(() => engine.allocate(MIB));
  expect(fault).toBeInstanceOf(EngineError);
  expect(fault).toMatchObject({
    code: "engine/memory",
    message: expect.stringMatching(/1048576 more; its limit is 2097152/),
  });
  // What was refused took nothing.
  expect(engine.allocate(MIB / 2)).toBeGreaterThan(0);
  await expect(createWasmEngine({ maximumBytes: 1000 })).rejects.toMatchObject({ code: "engine/memory" });
});

test("addresses beyond 2 GiB reach kernels as they are", async () => {
  const engine = await createWasmEngine({ maximumBytes: 4 * 2 ** 30 });
  engine.allocate(2 ** 31);
  const at = engine.allocate(64);
  expect(at).toBeGreaterThan(2 ** 31);
  engine.stage(at, 64).fill(1);
  engine.kernels.zero(at + 8, 48);
  expect(Array.from(engine.stage(at + 7, 3))).toEqual([1, 0, 0]);
});

test("the kernel id is made from the module's bytes", async () => {
  const bytes = readFileSync(new URL("../../../dist/merge/kernels/kernels.wasm", import.meta.url));
  const engine = await createWasmEngine({ maximumBytes: MIB });
  expect(engine.kernelId).toBe(`wasm-${createHash("sha256").update(bytes).digest("hex").slice(0, 12)}`);
});

test("the module imports nothing but its memory", () => {
  const bytes = readFileSync(new URL("../../../dist/merge/kernels/kernels.wasm", import.meta.url));
  const { WebAssembly } = globalThis as unknown as { WebAssembly: { Module: WebAssemblyModule } };
  expect(WebAssembly.Module.imports(new WebAssembly.Module(bytes))).toEqual([
    { module: "env", name: "memory", kind: "memory" },
  ]);
});

interface WebAssemblyModule {
  new (bytes: Uint8Array): object;
  imports(module: object): { module: string; name: string; kind: string }[];
}

function catchError(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}
