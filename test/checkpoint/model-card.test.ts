import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { locateModel, openCheckpoint } from "../../checkpoint/index.ts";
import { originIn } from "../../checkpoint/model-card.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

const card = (head: string) => `---\n${head}\n---\n# A model\nlicense: not-this-one\n`;

describe("the head of a model's card", () => {
  test.each([
    ["license: apache-2.0", { license: "apache-2.0" }],
    ['license: "mit" # as the base', { license: "mit" }],
    ["license:\n- mit", { license: "mit" }],
    ["license:\n  - mit\n  - apache-2.0", {}],
    [
      "license: other\nlicense_name: llama-3\nlicense_link: LICENSE",
      { license: "other", licenseName: "llama-3", licenseLink: "LICENSE" },
    ],
    ["base_model: a/b", { baseModels: ["a/b"] }],
    ["base_model: [a/b, 'c/d']", { baseModels: ["a/b", "c/d"] }],
    ["base_model:\n- a/b\n- c/d\ntags:\n- x", { baseModels: ["a/b", "c/d"] }],
    ["model:\n  license: mit", {}],
    ["license:", {}],
  ])("%j", (head, expected) => {
    expect(originIn(card(head))).toEqual(expected);
    expect(originIn(card(head).replaceAll("\n", "\r\n")).license).toBe((expected as { license?: string }).license);
  });

  test.each(["", "license: mit", "---\nlicense: mit\n", `---\nlicense: "${"x".repeat(400)}"\n---\n`])(
    "says nothing: %#",
    (text) => {
      expect(originIn(text)).toEqual({});
    },
  );
});

test("a model in the Hub's cache is known by its name there; a card that cannot be read says nothing", async () => {
  const cache = temporaryFolder();
  const commit = "0".repeat(40);
  const snapshot = join(cache, "models--owner--name", "snapshots", commit);
  const blobs = join(cache, "models--owner--name", "blobs");
  for (const folder of [snapshot, blobs, join(cache, "models--owner--name", "refs")])
    mkdirSync(folder, { recursive: true });
  writeFileSync(join(cache, "models--owner--name", "refs", "main"), commit);
  writeSafetensors(join(blobs, "w"), [{ name: "x", dtype: "F32", shape: [1], bytes: Buffer.alloc(4) }]);
  symlinkSync("../../blobs/w", join(snapshot, "model.safetensors"));
  writeFileSync(join(snapshot, "README.md"), card("license: mit"));
  const store = new FileStore();
  const surroundings = {
    cwd: placeOf(temporaryFolder()),
    recipeDirectory: placeOf(cache),
    environment: { HF_HUB_CACHE: cache },
  };
  const location = await locateModel(store, { path: "owner/name" }, surroundings);
  expect((await openCheckpoint(store, location, "name")).origin).toEqual({ hubId: "owner/name", license: "mit" });
  writeFileSync(join(snapshot, "README.md"), Buffer.alloc(5_000_000, " "));
  expect((await openCheckpoint(store, location, "name")).origin).toEqual({ hubId: "owner/name" });
});
