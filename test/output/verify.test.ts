import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { verifyOutput } from "../../output/index.ts";
import { FakeOutput, flipBit, pseudoRandom } from "./fake-output.ts";

describe("verifyOutput", () => {
  test("finds nothing in an output as it was published", async () => {
    const fake = await new FakeOutput({ shardBytes: 250_000 }).publish();
    const report = await verifyOutput(fake.store, fake.out);
    expect(report).toMatchObject({ ok: true, measure: "manifest", findings: [], notes: [], files: 9 });
    expect(report.slices).toBe((await fake.plan()).slices.length);
  });

  test("finds a flipped bit wherever it is, and says in which file", async () => {
    const fake = await new FakeOutput({ shardBytes: 250_000 }).publish();
    const names = Object.keys(fake.contents());
    const random = pseudoRandom(1);
    for (let k = 0; k < 100; k++) {
      const name = names[k % names.length]!;
      const path = join(fake.out, name);
      const bit = random(statSync(path).size * 8);
      flipBit(path, bit);
      const { ok, findings } = await verifyOutput(fake.store, fake.out);
      expect(ok, `${name} bit ${bit}`).toBe(false);
      expect(new Set(findings.map(({ file }) => file)), `${name} bit ${bit}`).toEqual(new Set([name]));
      flipBit(path, bit);
    }
  });

  test("says which slices of a shard are damaged, with their tensors and bytes", async () => {
    const fake = await new FakeOutput().publish();
    const plan = await fake.plan();
    const damaged = [plan.slices[2]!, plan.slices.at(-1)!];
    for (const { offsetBytes, sizeBytes } of damaged)
      flipBit(join(fake.out, "model.safetensors"), (offsetBytes + sizeBytes) * 8 - 1);
    const { findings } = await verifyOutput(fake.store, fake.out);
    expect(findings).toMatchObject([
      {
        kind: "slice",
        slice: "s000002",
        tensors: ["layers.0.b.weight"],
        offsetBytes: damaged[0]!.offsetBytes,
        sizeBytes: 131_072,
      },
      {
        kind: "slice",
        slice: damaged[1]!.id,
        tensors: ["layers.1.c.weight", "norm.weight"],
        offsetBytes: damaged[1]!.offsetBytes,
      },
    ]);
  });

  test("tells the header of a shard from its slices", async () => {
    const fake = await new FakeOutput().publish();
    flipBit(join(fake.out, "model.safetensors"), 100);
    const { findings } = await verifyOutput(fake.store, fake.out);
    expect(findings).toMatchObject([{ file: "model.safetensors", kind: "header", offsetBytes: 0 }]);
  });

  test("finds what is missing, cut short or longer than it was", async () => {
    const fake = await new FakeOutput({ shardBytes: 250_000 }).publish();
    rmSync(join(fake.out, "config.json"));
    const shard = join(fake.out, "model-00002-of-00003.safetensors");
    const bytes = readFileSync(shard);
    writeFileSync(shard, bytes.subarray(0, -1));
    writeFileSync(join(fake.out, "tokenizer.json"), '{"version":"1.0"}\r\n\n');
    const { findings } = await verifyOutput(fake.store, fake.out);
    expect(findings.map(({ file, kind, slice }) => [file, kind, slice])).toEqual([
      ["config.json", "missing", undefined],
      ["model-00002-of-00003.safetensors", "size", undefined],
      ["model-00002-of-00003.safetensors", "slice", "s000004"],
      ["tokenizer.json", "size", undefined],
    ]);
    expect(findings[1]!.message).toBe(`it has ${bytes.length - 1} bytes, ${bytes.length} were published`);
  });

  test("a file that cannot be read as one is damaged, and the rest is still checked", async () => {
    const fake = await new FakeOutput().publish();
    rmSync(join(fake.out, "config.json"));
    mkdirSync(join(fake.out, "config.json"));
    flipBit(join(fake.out, "tokenizer.json"), 8);
    const { findings } = await verifyOutput(fake.store, fake.out);
    expect(findings.map(({ file }) => file)).toEqual(["config.json", "tokenizer.json"]);
  });

  test.each([
    "model-00009-of-00009.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "adapter_config.json",
  ])("a stray %s is a finding", async (name) => {
    const fake = await new FakeOutput().publish();
    writeFileSync(join(fake.out, name), "");
    expect((await verifyOutput(fake.store, fake.out)).findings).toMatchObject([{ file: name, kind: "unexpected" }]);
  });

  test.each(["notes.txt", "sub/model.safetensors"])("a stray %s is only noted", async (name) => {
    const fake = await new FakeOutput().publish();
    mkdirSync(join(fake.out, name, ".."), { recursive: true });
    writeFileSync(join(fake.out, name), "");
    expect(await verifyOutput(fake.store, fake.out)).toMatchObject({ ok: true, notes: [name] });
  });

  test("the work directory is none of its business, and links to the right bytes are right", async () => {
    const fake = await new FakeOutput().publish();
    mkdirSync(join(fake.out, ".deltaworks", "stage"), { recursive: true });
    writeFileSync(join(fake.out, ".deltaworks", "stage", "model.safetensors"), "");
    renameSync(join(fake.out, "tokenizer.json"), join(fake.root, "blob"));
    symlinkSync(join(fake.root, "blob"), join(fake.out, "tokenizer.json"));
    expect(await verifyOutput(fake.store, fake.out)).toMatchObject({ ok: true, notes: [] });
  });

  test("with a damaged manifest the files are compared with SHA256SUMS", async () => {
    const fake = await new FakeOutput().publish();
    flipBit(join(fake.out, "deltaworks.manifest.json"), 800);
    flipBit(join(fake.out, "model.safetensors"), 8_000_000 / 8);
    expect(await verifyOutput(fake.store, fake.out)).toMatchObject({
      measure: "sums",
      findings: [
        { file: "deltaworks.manifest.json", kind: "damaged" },
        { file: "model.safetensors", kind: "damaged" },
      ],
    });
  });

  test("with both records damaged it says so and vouches for nothing", async () => {
    const fake = await new FakeOutput().publish();
    flipBit(join(fake.out, "deltaworks.manifest.json"), 800);
    rmSync(join(fake.out, "SHA256SUMS"));
    expect(await verifyOutput(fake.store, fake.out)).toMatchObject({
      ok: false,
      measure: "nothing",
      files: 0,
    });
  });

  test("a manifest and sums of two different merges do not pass for one", async () => {
    const [fake, other] = [await new FakeOutput().publish(), await new FakeOutput({ salt: 1 }).publish()];
    writeFileSync(join(fake.out, "SHA256SUMS"), readFileSync(join(other.out, "SHA256SUMS")));
    expect((await verifyOutput(fake.store, fake.out)).findings).toMatchObject([
      { file: "SHA256SUMS", kind: "damaged" },
    ]);
  });

  test("a directory that is not there is an error, not a finding", async () => {
    const fake = new FakeOutput();
    await expect(verifyOutput(fake.store, fake.out)).rejects.toMatchObject({ code: "storage/not-found" });
    expect(readdirSync(fake.root)).toEqual(["base"]);
  });
});
