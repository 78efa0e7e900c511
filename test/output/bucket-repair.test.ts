import { join as joinPath } from "node:path";
import { expect, test } from "vitest";
import { repairSource } from "../../app/repair-source.ts";
import { ObjectOutput, repairBucket } from "../../output/index.ts";
import { FileStore, join, PART_MIN_BYTES, placeOf, readWhole, Stores } from "../../storage/index.ts";
import { MODELS } from "../e2e/cli-process.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { runMerge } from "../support/run-merge.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";
import { sha256 } from "./fake-output.ts";

const OUT = placeOf("mem://bucket/out");

/** A merge of 13 MiB in three parts, in a bucket. */
async function merged(layout?: "parts") {
  const folder = temporaryFolder();
  const models = [1, 2].map((salt) => {
    const values = Float32Array.from({ length: 13 * 2 ** 18 }, (_, k) => Math.sin(k + salt));
    const path = joinPath(folder, `model-${salt}.safetensors`);
    writeSafetensors(path, [
      { name: "a", dtype: "F32", shape: [13 * 2 ** 8, 1024], bytes: Buffer.from(values.buffer) },
    ]);
    return path;
  });
  const recipe = `merge_method: linear\nmodels:\n${models.map((path) => `  - {model: "${path}", parameters: {weight: 0.5}}\n`).join("")}dtype: float32\n`;
  const objects = new MemoryObjects();
  const store = new Stores(new FileStore({ blocking: true }), { mem: async () => objects });
  const settings = { models: MODELS, layout, sliceBytes: PART_MIN_BYTES, store };
  const here = joinPath(folder, "here");
  if (layout === undefined) {
    // As somebody copies an output of a folder into a bucket.
    await runMerge(recipe, here, settings);
    for (const { name } of await store.list(placeOf(here)))
      if (name !== ".deltaworks")
        await objects.put(join(OUT, name), await readWhole(store, placeOf(joinPath(here, name)), 1e9));
  } else await runMerge(recipe, here, { ...settings, bucket: { objects, place: OUT } });
  const source = repairSource({ store, out: OUT, cwd: placeOf(folder), environment: {} });
  const repair = () => repairBucket(store, objects, OUT, source);
  return { objects, repair, contents: () => contentsOf(objects) };
}

async function contentsOf(objects: MemoryObjects): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const { name } of await objects.list(OUT)) found[name] = sha256(await readWhole(objects, join(OUT, name), 1e9));
  return found;
}

async function damage(objects: MemoryObjects, name: string, at: number): Promise<void> {
  const bytes = await readWhole(objects, join(OUT, name), 1e9);
  bytes[at]! ^= 1;
  await objects.put(join(OUT, name), bytes);
}

test("of a shard what is damaged is computed, and the rest is copied by the store", async () => {
  const { objects, repair, contents } = await merged("parts");
  const before = await contents();
  await damage(objects, "model.safetensors", PART_MIN_BYTES + 5);
  await objects.remove(join(OUT, "README.md"));
  await damage(objects, "SHA256SUMS", 3);
  let copied = 0;
  const { copyPart } = objects;
  objects.copyPart = (...args) => {
    copied++;
    return copyPart.apply(objects, args);
  };
  const { repaired, report } = await repair();
  expect(repaired).toContainEqual({ file: "model.safetensors", slices: ["s000001"] });
  expect(report.ok).toBe(true);
  expect(copied).toBe(2 + 3); // aside, and to its place
  expect(await contents()).toEqual(before);
  expect(await objects.listUploads(placeOf("mem://bucket"))).toEqual([]);
  expect(await repair()).toMatchObject({ repaired: [] });
});

test.each([
  ["is not there", (objects: MemoryObjects) => objects.remove(join(OUT, "model.safetensors"))],
  [
    "is cut off",
    async (objects: MemoryObjects) => {
      const bytes = await readWhole(objects, join(OUT, "model.safetensors"), 1e9);
      await objects.put(join(OUT, "model.safetensors"), bytes.subarray(0, PART_MIN_BYTES + 9));
    },
  ],
  ["has another header", (objects: MemoryObjects) => damage(objects, "model.safetensors", 12)],
])("a shard that %s is made anew", async (_, harm) => {
  const { objects, repair, contents } = await merged("parts");
  const before = await contents();
  await harm(objects);
  expect((await repair()).report.ok).toBe(true);
  expect(await contents()).toEqual(before);
});

test("while somebody has the prefix nothing is repaired, and nothing changes", async () => {
  const { objects, repair, contents } = await merged("parts");
  await damage(objects, "model.safetensors", 100);
  const before = await contents();
  const lock = await new ObjectOutput(objects, OUT).lock("a merge");
  await expect(repair()).rejects.toMatchObject({ code: "storage/locked" });
  await lock.release();
  expect(await contents()).toEqual(before);
});

test("a shard that is replaced by somebody while it is repaired stays theirs", async () => {
  const { objects, repair } = await merged("parts");
  await damage(objects, "model.safetensors", 100);
  const { completeUpload } = objects;
  objects.completeUpload = async (place, ...args) => {
    if (place === join(OUT, "model.safetensors")) await objects.put(place, Buffer.from("theirs"));
    return completeUpload.call(objects, place, ...args);
  };
  await expect(repair()).rejects.toMatchObject({ code: "storage/changed" });
  expect(Buffer.from(await readWhole(objects, join(OUT, "model.safetensors"), 100)).toString()).toBe("theirs");
  expect(await objects.listUploads(placeOf("mem://bucket"))).toEqual([]);
});

test("of an output that was made in a folder the parts are computed in which its slices are damaged, and the rest is copied", async () => {
  const { objects, repair, contents } = await merged();
  const before = await contents();
  await objects.remove(join(OUT, "README.md"));
  await damage(objects, "model.safetensors", 2 * PART_MIN_BYTES - 5);
  let [copied, put] = [0, 0];
  const { copyPart, putPart } = objects;
  objects.copyPart = (...args) => {
    if (args[0].includes(".deltaworks")) copied++;
    return copyPart.apply(objects, args);
  };
  objects.putPart = (...args) => {
    if (args[0].includes(".deltaworks")) put++;
    return putPart.apply(objects, args);
  };
  const { repaired, report } = await repair();
  expect(report.ok).toBe(true);
  expect(repaired).toContainEqual({ file: "model.safetensors", slices: [expect.stringMatching(/^s\d+$/)] });
  expect([copied, put]).toEqual([1, 2 + 1]); // in memory a part is copied by being put
  expect(await contents()).toEqual(before);
  expect(await objects.listUploads(placeOf("mem://bucket"))).toEqual([]);
});

test.each([
  ["is not there", (objects: MemoryObjects) => objects.remove(join(OUT, "model.safetensors"))],
  ["has another header", (objects: MemoryObjects) => damage(objects, "model.safetensors", 12)],
  [
    "is cut off",
    async (objects: MemoryObjects) => {
      const bytes = await readWhole(objects, join(OUT, "model.safetensors"), 1e9);
      await objects.put(join(OUT, "model.safetensors"), bytes.subarray(0, PART_MIN_BYTES + 9));
    },
  ],
])("a shard that was made in a folder and %s is made anew", async (_, harm) => {
  const { objects, repair, contents } = await merged();
  const before = await contents();
  await harm(objects);
  expect((await repair()).report.ok).toBe(true);
  expect(await contents()).toEqual(before);
});
