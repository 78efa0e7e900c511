import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { inspectCommand } from "../../cli/commands/inspect.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";
import { CapturedIo } from "./captured-io.ts";

const TINY = "examples/models/tiny-base";

describe("deltaworks inspect", () => {
  test("prints every tensor of a sharded model and what they come to", async () => {
    const io = new CapturedIo();
    expect(await inspectCommand([TINY], { json: false }, io)).toBe(0);
    const lines = io.out.split("\n");
    expect(lines[0]).toMatch(/^tensor +dtype +shape +bytes +file$/);
    expect(io.out).toMatch(
      /^model\.embed_tokens\.weight +BF16 +\[2000, 128\] +512000 +model-0000\d-of-00003\.safetensors$/m,
    );
    expect(io.out).toMatch(/^model type +llama$/m);
    expect(io.out).toMatch(/^layers +6$/m);
  });

  test("--json gives an object a tensor and a summary that adds up", async () => {
    const io = new CapturedIo();
    expect(await inspectCommand([TINY], { json: true }, io)).toBe(0);
    const objects = io.objects();
    const tensors = objects.slice(0, -1) as { shape: number[]; sizeBytes: number }[];
    const parameters = tensors.reduce(
      (sum, { shape }) => sum + shape.reduce((product, length) => product * length, 1),
      0,
    );
    const sizeBytes = tensors.reduce((sum, tensor) => sum + tensor.sizeBytes, 0);
    const summary = { event: "summary", modelType: "llama", tensors: tensors.length, parameters, sizeBytes, layers: 6 };
    expect(objects.at(-1)).toMatchObject({ ...summary, dtypes: { BF16: parameters } });
    expect(objects.at(-1)?.files).toHaveLength(3);
  });

  test("takes a single file without a config", async () => {
    const path = join(temporaryFolder(), "one.safetensors");
    writeSafetensors(path, [
      { name: "x", dtype: "F32", shape: [2, 3], bytes: Buffer.alloc(24) },
      { name: "n", dtype: "I64", shape: [], bytes: Buffer.alloc(8) },
    ]);
    const io = new CapturedIo();
    expect(await inspectCommand([path], { json: false }, io)).toBe(0);
    expect(io.out).toMatch(/^x +F32 +\[2, 3\] +24 +one\.safetensors$/m);
    expect(io.out).toMatch(/^dtypes +F32 6, I64 1$/m);
    expect(io.out).toMatch(/^tensors +2 tensors, 32 bytes$/m);
  });

  test("a path where nothing is: error with code and hint, exit 2", async () => {
    const io = new CapturedIo();
    expect(await inspectCommand(["./nowhere"], { json: false }, io)).toBe(2);
    expect(io.err).toMatch(/^error checkpoint\/not-found {2}.*nowhere/);
  });
});
