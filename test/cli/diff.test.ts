import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { diffCommand } from "../../cli/commands/diff.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { type WriteTensor, writeSafetensors, writeSharded } from "../support/write-safetensors.ts";
import { CapturedIo } from "./captured-io.ts";

function f32(name: string, values: readonly number[], shape = [values.length]): WriteTensor {
  return { name, dtype: "F32", shape, bytes: Buffer.from(Float32Array.from(values).buffer) };
}

async function diffOf(a: readonly WriteTensor[], b: readonly WriteTensor[]) {
  const folder = temporaryFolder();
  const paths = [join(folder, "a.safetensors"), join(folder, "b.safetensors")];
  writeSafetensors(paths[0]!, a);
  writeSafetensors(paths[1]!, b);
  const io = new CapturedIo();
  const exit = await diffCommand(paths, { json: true }, io);
  const text = new CapturedIo();
  expect(await diffCommand(paths, { json: false }, text)).toBe(exit);
  const objects = io.objects();
  return { exit, tensors: objects.slice(0, -1), summary: objects.at(-1), text: text.out };
}

describe("deltaworks diff", () => {
  test("exits 0 for the same tensors, however they lie in files", async () => {
    const folder = temporaryFolder();
    const [x, y] = [f32("x", [1, 2]), f32("y", [3])];
    writeSafetensors(join(folder, "one", "model.safetensors"), [x, y]);
    writeSharded(join(folder, "two"), [[y], [x]]);
    const io = new CapturedIo();
    expect(await diffCommand([join(folder, "one"), join(folder, "two")], { json: false }, io)).toBe(0);
    expect(io.out).toBe("equal: 2 tensors, bit by bit\n");
  });

  test("measures the largest and the root mean square difference, and the cosine", async () => {
    // Differences 0, 3, -4, 0; a·b = 1 + 2·5 + 4·0 + 2·2, |a|² = 25, |b|² = 30.
    const { exit, tensors, summary, text } = await diffOf(
      [f32("same", [7]), f32("x", [1, 2, 4, 2])],
      [f32("same", [7]), f32("x", [1, 5, 0, 2])],
    );
    expect(exit).toBe(1);
    expect(tensors).toEqual([
      expect.objectContaining({
        event: "tensor",
        name: "same",
        equalBits: true,
        maxDifference: 0,
        rmsDifference: 0,
        cosine: 1,
      }),
      expect.objectContaining({ event: "tensor", name: "x", equalBits: false, maxDifference: 4, rmsDifference: 2.5 }),
    ]);
    expect(tensors[1]?.cosine).toBeCloseTo(15 / Math.sqrt(25 * 30), 12);
    expect(summary).toEqual({ event: "summary", tensors: 2, equal: 1, different: 1 });
    expect(text).toMatch(/^x +F32 +4\.00000 +2\.50000 +0\.547722558$/m);
    expect(text).toMatch(/\n1 tensor of 2 differ/);
  });

  test("goes on over more elements than one chunk has", async () => {
    const values = Array.from({ length: 2 * 1024 * 1024 + 3 }, () => 1);
    const changed = [...values.slice(0, -1), 3];
    const { tensors } = await diffOf([f32("x", values)], [f32("x", changed)]);
    expect(tensors[0]).toMatchObject({ equalBits: false, maxDifference: 2 });
    expect(tensors[0]?.rmsDifference).toBeCloseTo(2 / Math.sqrt(values.length), 12);
    expect((await diffOf([f32("x", changed)], [f32("x", changed)])).exit).toBe(0);
  });

  test("tells tensors that one side lacks, and shapes that differ", async () => {
    const { exit, tensors, text } = await diffOf(
      [f32("a", [1]), f32("s", [1, 2])],
      [f32("b", [1]), f32("s", [1, 2], [2, 1])],
    );
    expect(exit).toBe(1);
    expect(tensors).toMatchObject([
      { event: "only-in", name: "a", side: "a" },
      { event: "shapes-differ", name: "s", a: { shape: [2] }, b: { shape: [2, 1] } },
      { event: "only-in", name: "b", side: "b" },
    ]);
    expect(text).toContain("only in B");
    expect(text).toContain("[2] against [2, 1]");
  });

  const narrow: [string, Uint8Array][] = [
    ["F64", new Uint8Array(Float64Array.of(1.5, -2, 0).buffer)],
    ["BF16", new Uint8Array(Uint16Array.of(0x3fc0, 0xc000, 0).buffer)],
    ["F16", new Uint8Array(Uint16Array.of(0x3e00, 0xc000, 0).buffer)],
    ["F8_E4M3", Uint8Array.of(0x3c, 0xc0, 0)],
    ["F8_E5M2", Uint8Array.of(0x3e, 0xc0, 0)],
  ];
  test.each(narrow)("compares %s with F32 as numbers; equal numbers are not equal bits", async (dtype, bytes) => {
    const { exit, tensors } = await diffOf([f32("x", [1.5, -2, 0])], [{ name: "x", dtype, shape: [3], bytes }]);
    expect(exit).toBe(1);
    expect(tensors[0]).toMatchObject({
      equalBits: false,
      maxDifference: 0,
      rmsDifference: 0,
      a: { dtype: "F32" },
      b: { dtype },
    });
    expect(tensors[0]?.cosine).toBeCloseTo(1, 12);
  });

  const integers: [string, Uint8Array][] = [
    ["I64", new Uint8Array(BigInt64Array.of(-3n, 5n).buffer)],
    ["I32", new Uint8Array(Int32Array.of(-3, 5).buffer)],
    ["I16", new Uint8Array(Int16Array.of(-3, 5).buffer)],
    ["I8", new Uint8Array(Int8Array.of(-3, 5).buffer)],
  ];
  test.each(integers)("compares %s as numbers", async (dtype, bytes) => {
    const { tensors } = await diffOf([f32("x", [-3, 4])], [{ name: "x", dtype, shape: [2], bytes }]);
    expect(tensors[0]).toMatchObject({ maxDifference: 1, rmsDifference: Math.sqrt(0.5) });
  });

  test("NaN equals NaN and differs from all else; a tensor of zeros has no cosine", async () => {
    const nan = (payload: number) => Buffer.from(Uint32Array.of(0x7fc00000 + payload, 0x3f800000).buffer);
    const like = { name: "x", dtype: "F32", shape: [2] };
    const same = await diffOf([{ ...like, bytes: nan(0) }], [{ ...like, bytes: nan(1) }]);
    expect(same.tensors[0]).toMatchObject({ equalBits: false, maxDifference: 0, cosine: 1 });
    const other = await diffOf([{ ...like, bytes: nan(0) }], [f32("x", [2, 1])]);
    expect(other.text).toMatch(/Infinity +Infinity/);
    const zero = await diffOf([f32("x", [0, 0])], [f32("x", [0, 1])]);
    expect(zero.text).toMatch(/1\.00000 +0\.707107 +-$/m);
  });
});
