import { cpSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { checkOutputDirectory, type PublishStep, publish, verifyOutput } from "../../output/index.ts";
import { Crash, contentsOf, crashingStore, FakeOutput, watchedStore } from "./fake-output.ts";

const THREE_SHARDS = 250_000;

async function stepsOf(fake: FakeOutput, replaced: readonly string[] = []): Promise<string[]> {
  const steps: string[] = [];
  const onStep = ({ kind, name }: PublishStep) => void steps.push(kind === "placed" ? name : `-${name}`);
  await publish(fake.store, fake.out, { stage: fake.stage, files: await fake.fill(), replaced, onStep });
  return steps;
}

describe("publish", () => {
  test("places shards, config, companions, card and recipe, manifest, index, sums, in this order", async () => {
    const steps = await stepsOf(new FakeOutput({ shardBytes: THREE_SHARDS }));
    expect(steps).toEqual([
      "model-00001-of-00003.safetensors",
      "model-00002-of-00003.safetensors",
      "model-00003-of-00003.safetensors",
      "config.json",
      "additional_chat_templates/tool.jinja",
      "tokenizer.json",
      "README.md",
      "mergekit_config.yml",
      "deltaworks.manifest.json",
      "model.safetensors.index.json",
      "SHA256SUMS",
    ]);
  });

  test("places the only shard after everything that a reader of it needs", async () => {
    const steps = await stepsOf(new FakeOutput());
    expect(steps.slice(-3)).toEqual(["deltaworks.manifest.json", "model.safetensors", "SHA256SUMS"]);
    expect(steps[0]).toBe("config.json");
  });

  test("withdraws the old checkpoint's sums, way in and manifest before anything else changes", async () => {
    const old = await new FakeOutput({ shardBytes: THREE_SHARDS, salt: 1 }).publish();
    const fake = new FakeOutput();
    renameSync(old.out, fake.out);
    const claim = { planDigest: "another", overwrite: true };
    const { replaced } = await checkOutputDirectory(fake.store, fake.out, claim);
    const steps = await stepsOf(fake, replaced);
    expect(steps.slice(0, 6)).toEqual([
      "-SHA256SUMS",
      "-model.safetensors.index.json",
      "-deltaworks.manifest.json",
      "-model-00001-of-00003.safetensors",
      "-model-00002-of-00003.safetensors",
      "-model-00003-of-00003.safetensors",
    ]);
    expect((await verifyOutput(fake.store, fake.out)).ok).toBe(true);
  });

  test.each([
    ["one shard over three", {}, { shardBytes: THREE_SHARDS, salt: 1 }],
    ["three shards over one", { shardBytes: THREE_SHARDS }, { salt: 1 }],
    ["three shards over three", { shardBytes: THREE_SHARDS }, { shardBytes: THREE_SHARDS, salt: 1 }],
  ])(
    "killed at any operation, %s: never a way into a mix, and the same call ends in the same files",
    async (_, next, before) => {
      const old = await new FakeOutput(before).publish();
      const reference = new FakeOutput(next);
      const files = await reference.fill();
      const oldContents = old.contents();
      const newContents = contentsOf(reference.stage);
      const { replaced } = await checkOutputDirectory(old.store, old.out, {
        planDigest: "another",
        overwrite: true,
      });
      let crashes = 0;
      for (let operations = 0; ; operations++) {
        const fake = new FakeOutput(next);
        cpSync(old.out, fake.out, { recursive: true });
        cpSync(reference.stage, fake.stage, { recursive: true });
        const publication = { stage: fake.stage, files, replaced };
        const crashed = await publish(crashingStore(fake.store, operations), fake.out, publication).then(
          () => false,
          (error) => {
            if (error instanceof Crash) return true;
            throw error;
          },
        );
        const found = fake.contents();
        for (const wayIn of ["model.safetensors", "model.safetensors.index.json"]) {
          if (!(wayIn in found)) continue;
          // SHA256SUMS goes before the way in and comes after it.
          const isWhole = (one: Record<string, string>) =>
            wayIn in one && Object.keys(one).every((name) => name === "SHA256SUMS" || one[name] === found[name]);
          expect([oldContents, newContents].some(isWhole)).toBe(true);
        }
        if (!crashed) break;
        crashes++;
        await publish(fake.store, fake.out, publication);
        expect(fake.contents()).toEqual(newContents);
        rmSync(fake.root, { recursive: true });
      }
      expect(crashes).toBeGreaterThan(20);
    },
  );

  test("the old way in is durably gone before the rest changes, the new one durable before the sums", async () => {
    const fake = new FakeOutput();
    await publish(fake.store, fake.out, { stage: fake.stage, files: await fake.fill(), replaced: [] });
    const replaced = Object.keys(fake.contents());
    const operations: string[] = [];
    const store = watchedStore(fake.store, (operation, path) =>
      operations.push(`${operation} ${relative(fake.out, path)}`),
    );
    await publish(store, fake.out, { stage: fake.stage, files: await fake.fill(), replaced });
    const at = (operation: string) => operations.indexOf(operation);
    const isSynced = (from: number, to: number) => operations.slice(from + 1, to).includes("syncDirectory ");
    const firstPlaced = operations.findIndex((operation) => operation.startsWith("rename"));
    const wayIn = at("rename .deltaworks/stage/model.safetensors");
    expect(isSynced(at("remove model.safetensors"), firstPlaced)).toBe(true);
    expect(isSynced(at("rename .deltaworks/stage/deltaworks.manifest.json"), wayIn)).toBe(true);
    expect(isSynced(wayIn, at("rename .deltaworks/stage/SHA256SUMS"))).toBe(true);
    expect(isSynced(at("rename .deltaworks/stage/SHA256SUMS"), operations.length)).toBe(true);
  });

  test("called again after it ended it changes nothing", async () => {
    const fake = new FakeOutput();
    const files = await fake.fill();
    await publish(fake.store, fake.out, { stage: fake.stage, files, replaced: [] });
    const before = fake.contents();
    rmSync(fake.stage, { recursive: true });
    const steps: PublishStep[] = [];
    const onStep = (step: PublishStep) => void steps.push(step);
    await publish(fake.store, fake.out, { stage: fake.stage, files, replaced: [], onStep });
    expect([fake.contents(), steps]).toEqual([before, []]);
  });

  test("refuses to write over a file that appeared meanwhile", async () => {
    const fake = new FakeOutput();
    const files = await fake.fill();
    writeFileSync(join(fake.out, "README.md"), "mine");
    await expect(publish(fake.store, fake.out, { stage: fake.stage, files, replaced: [] })).rejects.toMatchObject({
      code: "publish/foreign-file",
    });
    expect(readFileSync(join(fake.out, "README.md"), "utf8")).toBe("mine");
    expect(existsSync(join(fake.out, "model.safetensors"))).toBe(false);
  });

  test("names a file that is neither staged nor in place with the right bytes", async () => {
    const fake = new FakeOutput();
    const files = await fake.fill();
    rmSync(join(fake.stage, "tokenizer.json"));
    writeFileSync(join(fake.out, "tokenizer.json"), '{"version":"1.1"}\r\n'); // as long as the right one
    const publication = { stage: fake.stage, files, replaced: ["tokenizer.json"] };
    await expect(publish(fake.store, fake.out, publication)).rejects.toMatchObject({
      code: "publish/stage-missing",
      message: expect.stringContaining("tokenizer.json"),
    });
  });

  test.each(["../outside", "/etc/passwd", "a/../../b", ".deltaworks/journal", "a\\b", ""])(
    "refuses to remove %j",
    async (name) => {
      const fake = new FakeOutput();
      const publication = { stage: fake.stage, files: await fake.fill(), replaced: [name] };
      await expect(publish(fake.store, fake.out, publication)).rejects.toMatchObject({
        code: "publish/unsafe-name",
      });
    },
  );
});
