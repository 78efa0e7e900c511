import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { EngineError } from "../../../merge/engines/errors.ts";
import { WasmDevice } from "../../../merge/engines/wasm/index.ts";

const MIB = 2 ** 20;

test("buffers are aligned to 64, lie apart from the kernels' own tables, and do not overlap", async () => {
  const arena = new WasmDevice().open(16 * MIB);
  let end = 1;
  for (const size of [1, 64, 100, 4096, 65536, 65536, 3, 8192]) {
    const address = arena.allocate(size);
    expect(address % 64).toBe(0);
    expect(address).toBeGreaterThanOrEqual(end);
    end = address + size;
  }
  const all = arena.staging(0, end).bytes;
  const first = arena.allocate(0);
  expect(first).toBeGreaterThanOrEqual(all.length);
});

test.each([4096, 65536, 65536 - 1216, 262144, 100_000])(
  "no two of nine buffers of %i bytes begin at nearly the same place within 4 KiB",
  async (size) => {
    const arena = new WasmDevice().open(16 * MIB);
    const places = Array.from({ length: 9 }, () => arena.allocate(size) % 4096);
    for (const [i, a] of places.entries()) {
      for (const b of places.slice(i + 1))
        expect(Math.min(Math.abs(a - b), 4096 - Math.abs(a - b))).toBeGreaterThanOrEqual(320);
    }
  },
);

test("memory released is given out again, and what lies below the mark keeps its bytes through growth", async () => {
  const arena = new WasmDevice().open(8 * MIB);
  const kept = arena.allocate(100);
  arena.staging(kept, 100).bytes.fill(7);
  for (let round = 0; round < 20; round++) {
    const scope = arena.scope();
    const buffer = arena.allocate(5 * MIB);
    arena.staging(buffer, 5 * MIB).bytes.fill(round);
    scope.end();
  }
  expect(Array.from(arena.staging(kept, 100).bytes)).toEqual(new Array(100).fill(7));
});

test("a view staged before a kernel shows what it wrote, and so does download", async () => {
  const arena = new WasmDevice().open(8 * MIB);
  const at = arena.allocate(100);
  const view = arena.staging(at, 100).bytes;
  view.fill(9);
  arena.kernels.zero(at, 50);
  expect(Array.from(await arena.download(at, 51))).toEqual([...new Array(50).fill(0), 9]);
  expect(view[0]).toBe(0);
});

test("beyond its limit an arena says how much it needs and how much it may have", async () => {
  const arena = new WasmDevice().open(2 * MIB);
  arena.allocate(MIB);
  const fault = catchError(() => arena.allocate(MIB));
  expect(fault).toBeInstanceOf(EngineError);
  expect(fault).toMatchObject({
    code: "engine/memory",
    message: expect.stringMatching(/1048576 more; its limit is 2097152/),
  });
  // What was refused took nothing.
  expect(arena.allocate(MIB / 2)).toBeGreaterThan(0);
  expect(catchError(() => new WasmDevice().open(1000))).toMatchObject({ code: "engine/memory" });
});

test("addresses beyond 2 GiB reach kernels as they are", async () => {
  const arena = new WasmDevice().open(4 * 2 ** 30);
  arena.allocate(2 ** 31);
  const at = arena.allocate(64);
  expect(at).toBeGreaterThan(2 ** 31);
  arena.staging(at, 64).bytes.fill(1);
  arena.kernels.zero(at + 8, 48);
  expect(Array.from(arena.staging(at + 7, 3).bytes)).toEqual([1, 0, 0]);
});

test("the kernel id is made from the module's bytes", async () => {
  const bytes = readFileSync(new URL("../../../dist/merge/kernels/kernels.wasm", import.meta.url));
  expect(new WasmDevice().kernelId).toBe(`wasm-${createHash("sha256").update(bytes).digest("hex").slice(0, 12)}`);
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
