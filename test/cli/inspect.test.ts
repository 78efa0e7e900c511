import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type InspectOptions, inspectCommand } from "../../cli/commands/inspect.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";
import { CapturedIo } from "./captured-io.ts";

const TINY = "examples/models/tiny-base";

describe("deltaworks inspect", () => {
  const text = async (path: string, options: Partial<InspectOptions> = {}, columns?: number) => {
    const io = Object.assign(new CapturedIo(), { columns });
    expect(await inspectCommand([path], { json: false, tensors: false, ...options }, io)).toBe(0);
    return io.out;
  };

  test("says what a model is, and prints tensors that are alike in one line", async () => {
    const out = await text(TINY);
    expect(out).toMatch(/^model +LlamaForCausalLM, llama$/m);
    expect(out).toMatch(/^parameters +1\.62 M \(1,619,584\)$/m);
    expect(out).toMatch(/^layers +6$/m);
    expect(out).toMatch(/^vocabulary +2,000 rows; a head of its own$/m);
    expect(out).toMatch(/^model\.layers\.\{0-5\}\.mlp\.up_proj\.weight +BF16 +\[352, 128\] +6 +528\.0 KiB$/m);
    expect(out).not.toMatch(/experts|quantised/);
  });

  test.each([
    ["a tied head", "examples/models/gpt2-base", /^vocabulary +2,000 rows; the head is tied to it$/m],
    ["the layout of experts", "examples/models/experts-a", /^experts +4 a layer, each in tensors of its own$/m],
    ["every tower", "examples/models/vision-a", /^layers +3 \(language_model\.model\.layers\), 2 \(vision_tower/m],
    ["rows beyond the tokens", "examples/models/tiny-c", /^vocabulary +2,016 rows/m],
  ])("names %s", async (_, path, line) => {
    expect(await text(path)).toMatch(line);
  });

  test("names who packed the weights, and counts layers that are missing", async () => {
    const folder = temporaryFolder();
    writeFileSync(
      join(folder, "config.json"),
      JSON.stringify({
        model_type: "llama",
        num_hidden_layers: 4,
        quantization_config: { quant_method: "gptq", bits: 4 },
      }),
    );
    writeSafetensors(join(folder, "model.safetensors"), [
      { name: "model.layers.1.mlp.up_proj.qweight", dtype: "I32", shape: [1, 8], bytes: Buffer.alloc(32) },
      { name: "model.layers.1.mlp.up_proj.scales", dtype: "F16", shape: [1, 8], bytes: Buffer.alloc(16) },
      { name: "model.layers.1.mlp.up_proj.qzeros", dtype: "I32", shape: [1, 1], bytes: Buffer.alloc(4) },
    ]);
    const out = await text(folder);
    expect(out).toMatch(/^quantised +GPTQ/m);
    expect(out).toMatch(/^layers +2 \(model\.layers, its config counts 4\)$/m);
  });

  test("--tensors prints every tensor of a sharded model", async () => {
    const out = await text(TINY, { tensors: true });
    expect(out).toMatch(/^tensor +dtype +shape +bytes +file$/m);
    expect(out).toMatch(
      /^model\.embed_tokens\.weight +BF16 +\[2000, 128\] +512000 +model-0000\d-of-00003\.safetensors$/m,
    );
    expect(out.match(/^model\.layers\.\d\.mlp\.up_proj\.weight /gm)).toHaveLength(6);
  });

  test("on a terminal no line is longer than it is wide", async () => {
    for (const options of [{}, { tensors: true }]) {
      const lines = (await text("examples/models/vision-a", options, 90)).split("\n");
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(90);
      expect(lines.some((line) => line.includes("…"))).toBe(true);
    }
  });

  test("--json gives an object a tensor and a summary that adds up", async () => {
    const io = new CapturedIo();
    expect(await inspectCommand([TINY], { json: true, tensors: false }, io)).toBe(0);
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
    expect(await inspectCommand([path], { json: false, tensors: true }, io)).toBe(0);
    expect(io.out).toMatch(/^x +F32 +\[2, 3\] +24 +one\.safetensors$/m);
    expect(io.out).toMatch(/^dtypes +F32 6, I64 1$/m);
    expect(io.out).toMatch(/^tensors +2 tensors, 32 bytes$/m);
  });

  test("a path where nothing is: error with code and hint, exit 2", async () => {
    const io = new CapturedIo();
    expect(await inspectCommand(["./nowhere"], { json: false, tensors: false }, io)).toBe(2);
    expect(io.err).toMatch(/^error checkpoint\/not-found {2}.*nowhere/);
  });
});
