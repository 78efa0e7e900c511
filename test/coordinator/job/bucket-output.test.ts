import { readdirSync } from "node:fs";
import { join as joinPath } from "node:path";
import { expect, test } from "vitest";
import { repairSource } from "../../../app/repair-source.ts";
import { ObjectOutput, repairBucket, verifyOutput } from "../../../output/index.ts";
import {
  FileStore,
  join,
  type Objects,
  PART_MIN_BYTES,
  type Place,
  placeOf,
  readWhole,
  Stores,
} from "../../../storage/index.ts";
import { MODELS } from "../../e2e/cli-process.ts";
import { contentsOf, sha256 } from "../../output/fake-output.ts";
import { MemoryObjects } from "../../support/memory-objects.ts";
import { runMerge } from "../../support/run-merge.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const OUT = placeOf("mem://bucket/out");

const RECIPE = `merge_method: ties
base_model: tiny-base
models:
  - {model: tiny-python, parameters: {weight: 0.5, density: 0.5}}
  - {model: tiny-prose, parameters: {weight: 0.5, density: 0.5}}
dtype: float32
tokenizer_source: base
`;

function settings(objects: Objects) {
  const store = new Stores(new FileStore({ blocking: true }), { mem: async () => objects });
  return {
    ...{ models: MODELS, layout: "parts" as const, sliceBytes: PART_MIN_BYTES, store },
    bucket: { objects, place: OUT },
  };
}

async function contents(objects: Objects, folder: Place = OUT): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const { name } of await objects.list(folder))
    found[name] = sha256(await readWhole(objects, join(folder, name), 1e9));
  return found;
}

async function expected(): Promise<Record<string, string>> {
  const out = joinPath(temporaryFolder(), "here");
  await runMerge(RECIPE, out, { models: MODELS, layout: "parts", sliceBytes: PART_MIN_BYTES });
  expect(readdirSync(out)).toContain("model.safetensors");
  return contentsOf(out);
}

test("a merge into a bucket publishes the very files of one into a folder of the same layout", async () => {
  const objects = new MemoryObjects();
  const run = await runMerge(RECIPE, temporaryFolder(), settings(objects));
  expect(run.outcome.outcome).toBe("done");
  expect(await contents(objects)).toEqual(await expected());
  expect(await objects.listUploads(placeOf("mem://bucket"))).toEqual([]);
});

test("what the bucket gives back otherwise than it was written is computed and put anew", async () => {
  const objects = new MemoryObjects();
  let damaged = 0;
  const doubtful = new Proxy(objects, {
    get(target, name: keyof MemoryObjects) {
      if (name !== "open") return (target[name] as (() => unknown) | undefined)?.bind(target);
      return async (place: Place) => {
        const file = await target.open(place);
        if (damaged > 0 || !place.endsWith("stage/model.safetensors")) return file;
        return {
          ...file,
          read: async (offsetBytes: number, into: Uint8Array) => {
            await file.read(offsetBytes, into);
            if (damaged++ === 0) into[100]! ^= 1;
          },
        };
      };
    },
  });
  const run = await runMerge(RECIPE, temporaryFolder(), settings(doubtful));
  expect(run.outcome).toEqual({ outcome: "done" });
  expect(damaged).toBeGreaterThan(0);
  expect(run.counters.get("lost-slice")).toBe(1);
  expect(await contents(objects)).toEqual(await expected());
  expect(await objects.listUploads(placeOf("mem://bucket"))).toEqual([]);
});

test("uploads that somebody gave up while the merge ran end it with what happened; the next run computes what is lost", async () => {
  const objects = new MemoryObjects();
  const folder = temporaryFolder();
  let aborted: Promise<void> | undefined;
  const onReport = () => {
    aborted ??= objects.listUploads(OUT).then(async (uploads) => {
      for (const { place, upload } of uploads) await objects.abortUpload(place, upload);
    });
  };
  const run = await runMerge(RECIPE, folder, { ...settings(objects), onReport });
  await aborted;
  expect(run.outcome).toMatchObject({ outcome: "failed", cause: { code: "storage/changed" } });
  expect((await runMerge(RECIPE, folder, settings(objects))).outcome).toEqual({ outcome: "done" });
  expect(await contents(objects)).toEqual(await expected());
});

const sums = { seal: "checksums" as const };

test("sealed by the store's checksums nothing is read back, and all is the same but the manifest, and SHA256SUMS, which is left out", async () => {
  const objects = new MemoryObjects();
  let read = 0;
  const watched = new Proxy(objects, {
    get(target, name: keyof MemoryObjects) {
      if (name !== "open") return (target[name] as (() => unknown) | undefined)?.bind(target);
      return (place: Place) => {
        if (place.endsWith("stage/model.safetensors")) read++;
        return target.open(place);
      };
    },
  });
  const folder = temporaryFolder();
  expect((await runMerge(RECIPE, folder, { ...settings(watched), ...sums })).outcome).toEqual({ outcome: "done" });
  expect(read).toBe(0);
  const { SHA256SUMS: _sums, "deltaworks.manifest.json": _manifest, ...others } = await expected();
  const { "deltaworks.manifest.json": manifest, ...found } = await contents(objects);
  expect(found).toEqual(others);
  expect(manifest).toBeDefined();
  const output = new ObjectOutput(objects, OUT);
  expect(await output.verify()).toMatchObject({ ok: true, measure: "manifest", notes: [] });
  const again = await runMerge(RECIPE, temporaryFolder(), { ...settings(objects), ...sums });
  expect(again.begun.state).toBe("complete");
});

test("damage of an output without SHA256SUMS is found and repaired, and a manifest that is lost is said to be", async () => {
  const objects = new MemoryObjects();
  await runMerge(RECIPE, temporaryFolder(), { ...settings(objects), ...sums });
  const before = await contents(objects);
  const shard = join(OUT, "model.safetensors");
  const bytes = await readWhole(objects, shard, 1e9);
  bytes[70_000]! ^= 1;
  await objects.put(shard, bytes);
  const store = new Stores(new FileStore({ blocking: true }), { mem: async () => objects });
  expect(await verifyOutput(objects, OUT)).toMatchObject({ ok: false, findings: [{ kind: "slice" }] });
  const source = repairSource({ store, out: OUT, cwd: placeOf(MODELS), environment: {} });
  expect((await repairBucket(store, objects, OUT, source)).report.ok).toBe(true);
  expect(await contents(objects)).toEqual(before);
  await objects.remove(join(OUT, "deltaworks.manifest.json"));
  await expect(repairBucket(store, objects, OUT, source)).rejects.toMatchObject({ code: "publish/unrecoverable" });
});

test.each([
  ["no checksum", undefined, "storage/no-checksums"],
  ["another one", `${"0".repeat(64)}-1`, "storage/hash"],
])(
  "a store that tells %s of what it put together: nothing is published, and --seal read goes on with all of it",
  async (_, told, code) => {
    const objects = new MemoryObjects();
    const folder = temporaryFolder();
    const { partsSha256 } = objects;
    objects.partsSha256 = async () => told;
    const run = await runMerge(RECIPE, folder, { ...settings(objects), ...sums });
    expect(run.outcome).toMatchObject({ outcome: "failed", cause: { code } });
    expect(await objects.identity(join(OUT, "model.safetensors"))).toBeUndefined();
    objects.partsSha256 = partsSha256;
    const next = await runMerge(RECIPE, folder, settings(objects));
    expect(next).toMatchObject({ outcome: { outcome: "done" }, begun: { state: "resumed" } });
    expect(next.begun.slicesDone).toBe(next.plan.slices.length);
    expect(await contents(objects)).toEqual(await expected());
  },
);
