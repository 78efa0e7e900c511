import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { repairOutput, verifyOutput } from "../../output/index.ts";
import { placeOf } from "../../storage/index.ts";
import { Crash, crashingStore, FakeOutput, flipBit, pseudoRandom, RECIPE } from "./fake-output.ts";

const THREE_SHARDS = { shardBytes: 250_000 };
const MANIFEST = "deltaworks.manifest.json";

describe("repairOutput", () => {
  test("leaves a sound output alone: nothing is opened for it", async () => {
    const fake = await new FakeOutput().publish();
    const before = fake.contents();
    const source = { ...fake.source(), openInputs: () => Promise.reject(new Error("not needed")) };
    expect(await repairOutput(fake.store, fake.out, source)).toMatchObject({
      repaired: [],
      report: { ok: true },
    });
    expect(fake.contents()).toEqual(before);
    expect(existsSync(join(fake.out, ".deltaworks"))).toBe(false);
  });

  test("restores every file after a flipped bit anywhere, and names what it repaired", async () => {
    const fake = await new FakeOutput({ ...THREE_SHARDS, hashInputs: true }).publish();
    const before = fake.contents();
    const names = Object.keys(before);
    const random = pseudoRandom(2);
    for (let k = 0; k < 5 * names.length; k++) {
      const name = names[k % names.length]!;
      const path = join(fake.out, name);
      const bit = random(statSync(path).size * 8);
      flipBit(path, bit);
      const { repaired, report } = await repairOutput(fake.store, fake.out, fake.source());
      expect(report.findings, `${name} bit ${bit}`).toEqual([]);
      expect(repaired.map(({ file }) => file)).toEqual([name]);
      expect(fake.contents()).toEqual(before);
    }
    expect(existsSync(join(fake.out, ".deltaworks"))).toBe(false);
  });

  test("computes only the damaged slices", async () => {
    const fake = await new FakeOutput().publish();
    const { slices } = await fake.plan();
    for (const slice of [1, 3]) flipBit(join(fake.out, "model.safetensors"), slices[slice]!.offsetBytes * 8);
    const { repaired } = await repairOutput(fake.store, fake.out, fake.source());
    expect(fake.recomputed).toEqual([1, 3]);
    expect(repaired).toEqual([{ file: "model.safetensors", slices: ["s000001", "s000003"] }]);
  });

  test("writes a damaged header again without computing anything", async () => {
    const fake = await new FakeOutput().publish();
    const before = fake.contents();
    flipBit(join(fake.out, "model.safetensors"), 77);
    await repairOutput(fake.store, fake.out, fake.source());
    expect([fake.recomputed, fake.contents()]).toEqual([[], before]);
  });

  test("restores files that are missing, cut short or longer, several at once", async () => {
    const fake = await new FakeOutput(THREE_SHARDS).publish();
    const before = fake.contents();
    rmSync(join(fake.out, "model-00001-of-00003.safetensors"));
    truncateSync(join(fake.out, "model-00002-of-00003.safetensors"), 140_000);
    truncateSync(join(fake.out, "model-00003-of-00003.safetensors"), 1_000_000);
    for (const name of ["config.json", "model.safetensors.index.json", "mergekit_config.yml", "SHA256SUMS"]) {
      rmSync(join(fake.out, name));
    }
    rmSync(join(fake.out, "additional_chat_templates"), { recursive: true });
    await repairOutput(fake.store, fake.out, fake.source());
    expect(fake.contents()).toEqual(before);
    // The first shard whole, the lost end of the second, nothing of the third.
    expect(fake.recomputed).toEqual([0, 2, 3, 4]);
  });

  test.each([
    ["the manifest alone", [MANIFEST]],
    ["the manifest and a shard, of which all slices are then computed", [MANIFEST, "model-00002-of-00003.safetensors"]],
    ["the manifest, the recipe and the config", [MANIFEST, "mergekit_config.yml", "config.json"]],
    ["the sums, the card and the index", ["SHA256SUMS", "README.md", "model.safetensors.index.json"]],
  ])("from what is left restores %s", async (_, names) => {
    for (const hashInputs of [false, true]) {
      const fake = await new FakeOutput({ ...THREE_SHARDS, hashInputs }).publish();
      const before = fake.contents();
      for (const name of names) flipBit(join(fake.out, name), 555);
      await repairOutput(fake.store, fake.out, fake.source());
      expect(fake.contents()).toEqual(before);
    }
  });

  test("needs no inputs for the sums and the recipe", async () => {
    const fake = await new FakeOutput().publish();
    const before = fake.contents();
    rmSync(join(fake.out, "SHA256SUMS"));
    flipBit(join(fake.out, "mergekit_config.yml"), 100);
    rmSync(fake.model, { recursive: true });
    await repairOutput(fake.store, fake.out, fake.source());
    expect(fake.contents()).toEqual(before);
  });

  test("a recipe that both its copies lost can be handed in, if it is that recipe", async () => {
    const fake = await new FakeOutput().publish();
    const before = fake.contents();
    rmSync(join(fake.out, "mergekit_config.yml"));
    rmSync(join(fake.out, "README.md"));
    const repair = (recipeText?: string) => repairOutput(fake.store, fake.out, fake.source(), { recipeText });
    await expect(repair()).rejects.toMatchObject({ code: "publish/recipe-lost" });
    await expect(repair(`${RECIPE}\n`)).rejects.toMatchObject({ code: "publish/recipe-lost" });
    await repair(RECIPE);
    expect(fake.contents()).toEqual(before);
  });

  test("an output that lost both records is given up, and says why", async () => {
    const fake = await new FakeOutput().publish();
    flipBit(join(fake.out, MANIFEST), 555);
    flipBit(join(fake.out, "SHA256SUMS"), 555);
    await expect(repairOutput(fake.store, fake.out, fake.source())).rejects.toMatchObject({
      code: "publish/unrecoverable",
      message: expect.stringMatching(/deltaworks.manifest.json.*SHA256SUMS/),
    });
  });

  test("an input with another header or size is named, and nothing is touched", async () => {
    const fake = await new FakeOutput().publish();
    flipBit(join(fake.out, "model.safetensors"), 1_000_000);
    const before = fake.contents();
    const { size } = statSync(join(fake.model, "model.safetensors"));
    fake.writeModel(40);
    await expect(repairOutput(fake.store, fake.out, fake.source())).rejects.toMatchObject({
      code: "publish/input-differs",
      message: expect.stringContaining(
        `base is not what the output was made from: model.safetensors has ${size + 8} bytes, the manifest says ${size}`,
      ),
    });
    expect(fake.contents()).toEqual(before);
  });

  test("an input whose bytes changed is named where the manifest has its hash", async () => {
    const fake = await new FakeOutput({ hashInputs: true }).publish();
    flipBit(join(fake.out, "config.json"), 100);
    const model = join(fake.model, "model.safetensors");
    flipBit(model, statSync(model).size * 8 - 1);
    await expect(repairOutput(fake.store, fake.out, fake.source())).rejects.toMatchObject({
      code: "publish/input-differs",
      message: expect.stringMatching(/base .* model.safetensors has SHA-256/),
    });
  });

  test("slices, shards and documents that come out differently are not put in place", async () => {
    const fake = await new FakeOutput().publish();
    const source = fake.source();
    const shard = join(fake.out, "model.safetensors");
    flipBit(shard, 1_000_000);
    const before = fake.contents();
    const wrongHash = { ...source, recomputeSlices: async () => ["0".repeat(64)] };
    await expect(repairOutput(fake.store, fake.out, wrongHash)).rejects.toMatchObject({
      code: "publish/not-reproduced",
      message: expect.stringContaining("slice s000001 of model.safetensors"),
    });
    // Says that it wrote the slice, and did not.
    const wrongBytes = {
      ...source,
      recomputeSlices: async () => [JSON.parse(readFileSync(join(fake.out, MANIFEST), "utf8")).slices[1].sha256],
    };
    await expect(repairOutput(fake.store, fake.out, wrongBytes)).rejects.toMatchObject({
      code: "publish/not-reproduced",
    });
    expect(fake.contents()).toEqual(before);
    await repairOutput(fake.store, fake.out, source);

    flipBit(join(fake.out, "tokenizer.json"), 10);
    writeFileSync(join(fake.model, "tokenizer.json"), "{}");
    await expect(repairOutput(fake.store, fake.out, source)).rejects.toMatchObject({
      code: "publish/not-reproduced",
      message: expect.stringContaining("tokenizer.json"),
    });
  });

  test("another plan than the recorded one is refused", async () => {
    const fake = await new FakeOutput().publish();
    flipBit(join(fake.out, "config.json"), 100);
    const source = { ...fake.source(), planFor: async () => ({ plan: { ...(await fake.plan()), seed: "99" } }) };
    await expect(repairOutput(fake.store, fake.out, source)).rejects.toMatchObject({
      code: "publish/plan-differs",
    });
  });

  test("files that nobody published stay, and are still reported", async () => {
    const fake = await new FakeOutput().publish();
    writeFileSync(join(fake.out, "stray.safetensors"), "mine");
    flipBit(join(fake.out, "tokenizer.json"), 10);
    const { repaired, report } = await repairOutput(fake.store, fake.out, fake.source());
    expect(repaired).toEqual([{ file: "tokenizer.json" }]);
    expect(report.findings).toMatchObject([{ file: "stray.safetensors", kind: "unexpected" }]);
    expect(readFileSync(join(fake.out, "stray.safetensors"), "utf8")).toBe("mine");
  });

  test("killed at any operation it leaves nothing worse, and the same call restores all", async () => {
    const published = await new FakeOutput(THREE_SHARDS).publish();
    const whole = published.contents();
    const damaged = ["model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors", "config.json", MANIFEST];
    for (const name of damaged) flipBit(join(published.out, name), 2000);
    let crashes = 0;
    for (let operations = 0; ; operations++) {
      const fake = new FakeOutput(THREE_SHARDS);
      cpSync(published.out, fake.out, { recursive: true });
      const store = crashingStore(fake.store, operations);
      const crashed = await repairOutput(store, fake.out, fake.source(store)).then(
        () => false,
        (error) => {
          if (error instanceof Crash) return true;
          throw error;
        },
      );
      const found = fake.contents();
      const isNoWorse = (name: string) => found[name] === whole[name] || (damaged.includes(name) && name in found);
      expect(Object.keys(whole).filter((name) => !isNoWorse(name))).toEqual([]);
      if (!crashed) break;
      crashes++;
      await repairOutput(fake.store, fake.out, fake.source());
      expect(fake.contents()).toEqual(whole);
      rmSync(fake.root, { recursive: true });
    }
    expect(crashes).toBeGreaterThan(20);
  });

  test("waits for nobody: an output that another process writes to is refused", async () => {
    const fake = await new FakeOutput().publish();
    flipBit(join(fake.out, "config.json"), 100);
    mkdirSync(join(fake.out, ".deltaworks"));
    const lock = await fake.store.lock(placeOf(join(fake.out, ".deltaworks", "lock")));
    await expect(repairOutput(fake.store, fake.out, fake.source())).rejects.toMatchObject({
      code: "storage/locked",
    });
    await lock.release();
    await repairOutput(fake.store, fake.out, fake.source());
    expect((await verifyOutput(fake.store, fake.out)).ok).toBe(true);
  });

  test("a journal beside the output stays where it is", async () => {
    const fake = await new FakeOutput().publish();
    mkdirSync(join(fake.out, ".deltaworks"));
    writeFileSync(join(fake.out, ".deltaworks", "journal"), "facts");
    flipBit(join(fake.out, "config.json"), 100);
    await repairOutput(fake.store, fake.out, fake.source());
    expect(readdirSync(join(fake.out, ".deltaworks"))).toEqual(["journal"]);
  });

  test("where nothing is, nothing is made", async () => {
    const fake = new FakeOutput();
    await expect(repairOutput(fake.store, fake.out, fake.source())).rejects.toMatchObject({
      code: "storage/not-found",
    });
    expect(existsSync(fake.out)).toBe(false);
  });
});
