import { readdirSync } from "node:fs";
import { join as joinPath } from "node:path";
import { expect, test } from "vitest";
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
