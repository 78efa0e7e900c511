import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { repairCommand } from "../../cli/commands/repair.ts";
import { verifyCommand } from "../../cli/commands/verify.ts";
import { FakeOutput, flipBit } from "../output/fake-output.ts";
import { CapturedIo } from "./captured-io.ts";

async function damagedOutput(): Promise<FakeOutput> {
  const fake = await new FakeOutput().publish();
  const { slices } = await fake.plan();
  flipBit(join(fake.out, "model.safetensors"), slices[2]!.offsetBytes * 8);
  return fake;
}

describe("deltaworks verify", () => {
  test("exits 0 and says what it read where all is well", async () => {
    const fake = await new FakeOutput().publish();
    const io = new CapturedIo();
    expect(await verifyCommand([fake.out], { json: false }, io)).toBe(0);
    expect(io.out).toMatch(/^ok {7}6 files, 6 slices, 53\d\.\d KiB, plan [0-9a-f]{12}\n/);
    expect(io.out).toMatch(/\nchecked {2}every byte against its SHA-256; not the values: .* would have stopped .*\n$/);
    expect(io.err).toBe("");
  });

  test("--quiet says nothing of an output that is as it was published, and all of one that is not", async () => {
    const io = new CapturedIo();
    const fake = await new FakeOutput().publish();
    expect(await verifyCommand([fake.out], { json: false, quiet: true }, io)).toBe(0);
    expect(await verifyCommand([fake.out], { json: true, quiet: true }, io)).toBe(0);
    expect(io.out).toBe("");
    expect(await verifyCommand([(await damagedOutput()).out], { json: false, quiet: true }, io)).toBe(3);
    expect(io.out).toContain("damaged  1 finding in ");
  });

  test("exits 3 and lists file, slice, bytes and tensors of the damage", async () => {
    const fake = await damagedOutput();
    const io = new CapturedIo();
    expect(await verifyCommand([fake.out], { json: false }, io)).toBe(3);
    expect(io.out).toMatch(
      /^slice {4}model.safetensors s000002, bytes \d+ to \d+, layers\.0\.b\.weight: its SHA-256 is/,
    );
    expect(io.out).toContain("damaged  1 finding in ");
    expect(io.err).toContain("deltaworks repair");
  });

  test("--json gives an object for each finding, and one for the whole", async () => {
    const fake = await damagedOutput();
    const io = new CapturedIo();
    expect(await verifyCommand([fake.out], { json: true }, io)).toBe(3);
    expect(io.objects()).toMatchObject([
      { event: "finding", file: "model.safetensors", kind: "slice", slice: "s000002", tensors: ["layers.0.b.weight"] },
      { event: "verified", ok: false, measure: "manifest", slices: 6 },
    ]);
    expect(io.err).toBe("");
  });

  test("a directory that is not there is an error with code and hint, exit 1", async () => {
    const io = new CapturedIo();
    expect(await verifyCommand([join(new FakeOutput().root, "nowhere")], { json: false }, io)).toBe(1);
    expect(io.err).toMatch(/^error storage\/not-found {2}.*nowhere.*\n {2}hint {2}/);
    expect(io.out).toBe("");
  });
});

describe("deltaworks repair", () => {
  test("exits 0 once all is as published, and says what it computed", async () => {
    const fake = await damagedOutput();
    const io = new CapturedIo();
    expect(await repairCommand([fake.out], { json: false }, io, fake.source())).toBe(0);
    expect(io.out).toMatch(/^repaired model.safetensors, 1 slice computed again\nok {7}6 files/);
  });

  test("--quiet says nothing where all is as published afterwards", async () => {
    const fake = await damagedOutput();
    const io = new CapturedIo();
    expect(await repairCommand([fake.out], { json: false, quiet: true }, io, fake.source())).toBe(0);
    expect(io.out + io.err).toBe("");
  });

  test("exits 3 where files are left that nobody published", async () => {
    const fake = await damagedOutput();
    writeFileSync(join(fake.out, "stray.safetensors"), "");
    const io = new CapturedIo();
    expect(await repairCommand([fake.out], { json: true }, io, fake.source())).toBe(3);
    expect(io.objects()).toMatchObject([
      { event: "repaired", file: "model.safetensors", slices: ["s000002"] },
      { event: "finding", file: "stray.safetensors", kind: "unexpected" },
      { event: "verified", ok: false },
    ]);
  });

  test("an output beyond repair is an error, exit 1", async () => {
    const fake = await damagedOutput();
    for (const name of ["deltaworks.manifest.json", "SHA256SUMS"]) rmSync(join(fake.out, name));
    const io = new CapturedIo();
    expect(await repairCommand([fake.out], { json: false }, io, fake.source())).toBe(1);
    expect(io.err).toContain("error publish/unrecoverable");
  });
});
