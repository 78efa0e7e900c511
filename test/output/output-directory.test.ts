import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkOutputDirectory } from "../../output/index.ts";
import { planDigest } from "../../plan/index.ts";
import { placeOf } from "../../storage/index.ts";
import { FakeOutput, flipBit } from "./fake-output.ts";

const claim = { planDigest: "f".repeat(64), overwrite: false };

describe("checkOutputDirectory", () => {
  test.each(["nothing", "an empty directory", "a work directory alone"])("%s is fresh", async (what) => {
    const { store, out } = new FakeOutput();
    if (what !== "nothing")
      mkdirSync(what === "an empty directory" ? out : join(out, ".deltaworks"), { recursive: true });
    expect(await checkOutputDirectory(store, placeOf(out), claim)).toEqual({ state: "fresh", replaced: [] });
  });

  test("the same plan, published, is complete", async () => {
    const fake = await new FakeOutput().publish();
    const own = planDigest(await fake.plan());
    expect(await checkOutputDirectory(fake.store, fake.out, { ...claim, planDigest: own })).toMatchObject({
      state: "complete",
    });
  });

  test.each(["tokenizer.json", "SHA256SUMS"])(
    "the same plan without its %s is to be resumed, if the journal knows it",
    async (name) => {
      const fake = await new FakeOutput().publish();
      rmSync(join(fake.out, name));
      const own = planDigest(await fake.plan());
      const resumed = { ...claim, planDigest: own, journalledPlan: own };
      expect(await checkOutputDirectory(fake.store, fake.out, resumed)).toMatchObject({ state: "resume" });
      await expect(checkOutputDirectory(fake.store, fake.out, { ...claim, planDigest: own })).rejects.toMatchObject({
        code: "publish/not-empty",
      });
    },
  );

  test("a file cut short is not complete", async () => {
    const fake = await new FakeOutput().publish();
    truncateSync(join(fake.out, "model.safetensors"), 1000);
    const own = planDigest(await fake.plan());
    await expect(checkOutputDirectory(fake.store, fake.out, { ...claim, planDigest: own })).rejects.toMatchObject({
      code: "publish/not-empty",
    });
  });

  test("another plan's output is refused, and with overwrite replaced: all of its files and no other", async () => {
    const fake = await new FakeOutput().publish();
    await expect(checkOutputDirectory(fake.store, fake.out, claim)).rejects.toMatchObject({
      code: "publish/not-empty",
    });
    const found = await checkOutputDirectory(fake.store, fake.out, { ...claim, overwrite: true });
    expect(found.state).toBe("replace");
    expect([...found.replaced].sort()).toEqual(Object.keys(fake.contents()).sort());
  });

  test.each(["notes.txt", "additional_chat_templates/mine.jinja", "sub/model.safetensors"])(
    "overwrite stops at %s, which no record lists, and names it",
    async (name) => {
      const fake = await new FakeOutput().publish();
      mkdirSync(join(fake.out, name, ".."), { recursive: true });
      writeFileSync(join(fake.out, name), "mine");
      await expect(checkOutputDirectory(fake.store, fake.out, { ...claim, overwrite: true })).rejects.toMatchObject({
        code: "publish/foreign-file",
        message: expect.stringContaining(name),
      });
    },
  );

  test("a link is a file of its own, not what it leads to", async () => {
    const fake = await new FakeOutput().publish();
    symlinkSync(fake.model, join(fake.out, "elsewhere"));
    await expect(checkOutputDirectory(fake.store, fake.out, { ...claim, overwrite: true })).rejects.toMatchObject({
      message: expect.stringMatching(/lists: elsewhere$/),
    });
  });

  test("without any record, overwrite replaces nothing, whatever the names", async () => {
    const { store, out } = new FakeOutput();
    mkdirSync(out);
    writeFileSync(join(out, "deltaworks.manifest.json"), "{}");
    writeFileSync(join(out, "SHA256SUMS"), "");
    await expect(checkOutputDirectory(store, placeOf(out), { ...claim, overwrite: true })).rejects.toMatchObject({
      code: "publish/foreign-file",
    });
  });

  test("a damaged manifest leaves its names in SHA256SUMS, and the journal has those of an unfinished job", async () => {
    const fake = await new FakeOutput().publish();
    const all = Object.keys(fake.contents()).sort();
    flipBit(join(fake.out, "deltaworks.manifest.json"), 4000);
    const overwrite = { ...claim, overwrite: true };
    expect([...(await checkOutputDirectory(fake.store, fake.out, overwrite)).replaced].sort()).toEqual(all);
    flipBit(join(fake.out, "SHA256SUMS"), 4000);
    const journalled = { ...overwrite, journalledPlan: "0".repeat(64), journalledFiles: all };
    expect([...(await checkOutputDirectory(fake.store, fake.out, journalled)).replaced].sort()).toEqual(all);
  });

  test("an unfinished job of another plan is not discarded unasked", async () => {
    const { store, out } = new FakeOutput();
    mkdirSync(join(out, ".deltaworks"), { recursive: true });
    const other = { ...claim, journalledPlan: "0".repeat(64) };
    await expect(checkOutputDirectory(store, placeOf(out), other)).rejects.toMatchObject({ code: "publish/not-empty" });
    expect(await checkOutputDirectory(store, placeOf(out), { ...other, overwrite: true })).toEqual({
      state: "fresh",
      replaced: [],
    });
  });
});
