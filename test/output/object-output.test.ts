import { expect, test } from "vitest";
import { ObjectOutput } from "../../output/index.ts";
import { join, type Place, placeOf, readWhole, StorageError, UploadSlots } from "../../storage/index.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { bucketRig } from "./bucket-rig.ts";
import { fakePlan, sha256, sliceBytes } from "./fake-output.ts";
import { outputContract, staged } from "./output.contract.ts";

const place = placeOf("mem://bucket/models/out");

outputContract("a bucket in memory", async () => bucketRig(new MemoryObjects(), place));

test("nothing is left in a bucket but what was published, claims and uploads included", async () => {
  const objects = new MemoryObjects();
  const rig = bucketRig(objects, place);
  const lock = await rig.open().lock("job 1");
  await rig.open().publish(await staged(rig, rig.open()), []);
  await lock.release();
  expect(await objects.identity(join(place, ".deltaworks"))).toBeUndefined();
  expect(await objects.listUploads(placeOf("mem://bucket"))).toEqual([]);
});

test("whoever holds a prefix is named, and is succeeded if somebody says that it has ended", async () => {
  const objects = new MemoryObjects();
  const held = await new ObjectOutput(objects, place).lock();
  const refused = await new ObjectOutput(objects, place).lock().catch((error: Error) => error);
  expect(refused).toMatchObject({ code: "storage/locked", message: expect.stringContaining(place) });
  const [, holder = ""] = /--take-over (\S+)$/.exec((refused as { hint?: string }).hint ?? "") ?? [];
  const next = await new ObjectOutput(objects, place, { takeOver: holder }).lock();
  await held.release(); // of one that has lost it: the other's stays
  await expect(new ObjectOutput(objects, place).lock()).rejects.toMatchObject({ code: "storage/locked" });
  await next.release();
});

test("of many who want a prefix at once one has it", async () => {
  const objects = new MemoryObjects();
  const all = await Promise.allSettled(Array.from({ length: 8 }, () => new ObjectOutput(objects, place).lock()));
  expect(all.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
});

test("a file that somebody put there meanwhile is not written over, nor one that replaced what was to be replaced", async () => {
  const objects = new MemoryObjects();
  const rig = bucketRig(objects, place);
  const files = await staged(rig, rig.open());
  const name = files.find((file) => file.name.startsWith("model-"))?.name ?? "";
  await objects.put(join(place, name), Buffer.from("theirs"));
  await expect(rig.open().publish(files, [])).rejects.toMatchObject({
    code: "publish/foreign-file",
    message: expect.stringContaining(name),
  });
  expect(Buffer.from(await readWhole(objects, join(place, name), 100)).toString()).toBe("theirs");
  await objects.remove(join(place, name));
  await rig.open().publish(files, []);
  expect(await rig.open().verify()).toMatchObject({ ok: true });
});

test("of what the journal has as done, what is not in the bucket, or not so, is to be computed again", async () => {
  const objects = new MemoryObjects();
  const plan = fakePlan({ shardBytes: 300_000, layout: "parts" });
  const output = new ObjectOutput(objects, place);
  await output.prepare(plan);
  const [first, second] = plan.slices;
  const bytes = sliceBytes(plan, first!);
  const slots = new UploadSlots(objects);
  await slots.put(output.slots(plan)[first!.shard]!, first!.offsetBytes, bytes, sha256(bytes));
  const done = (...entries: [string, string][]) => output.prepare(plan, undefined, new Map(entries));
  expect(await done([first!.id, sha256(bytes)])).toEqual([]);
  expect(await done([first!.id, sha256(Buffer.from("another"))])).toEqual([0]);
  expect(await done([first!.id, sha256(bytes)], [second!.id, sha256(bytes)])).toEqual([1]);
});

test("what is to be replaced is replaced as it was seen: another one that came meanwhile is not removed", async () => {
  const objects = new MemoryObjects();
  const rig = bucketRig(objects, place);
  await rig.open().publish(await staged(rig, rig.open(), 1), []);
  const { replaced } = await rig.open().claim({ planDigest: "new", overwrite: true });
  const files = await staged(rig, rig.open(), 2);
  const { remove } = objects;
  const way = join(place, "model.safetensors.index.json");
  objects.remove = async (at, condition) => {
    if (at === way) await objects.put(way, Buffer.from("theirs"));
    return remove.call(objects, at, condition);
  };
  await expect(rig.open().publish(files, replaced)).rejects.toMatchObject({ code: "storage/changed" });
  expect(Buffer.from(await readWhole(objects, way, 100)).toString()).toBe("theirs");
});

test("what comes between the look at a place and the last step stays: the step itself has the condition", async () => {
  const objects = new MemoryObjects();
  const rig = bucketRig(objects, place);
  const files = await staged(rig, rig.open());
  const { completeUpload, put } = objects;
  let theirs: Place | undefined;
  objects.completeUpload = async (at, ...rest) => {
    if (!at.includes(".deltaworks") && theirs === undefined) {
      theirs = at;
      await put.call(objects, at, Buffer.from("theirs"));
    }
    return completeUpload.call(objects, at, ...rest);
  };
  await expect(rig.open().publish(files, [])).rejects.toMatchObject({ code: "publish/foreign-file" });
  expect(Buffer.from(await readWhole(objects, theirs!, 100)).toString()).toBe("theirs");
  await objects.remove(theirs!);
  objects.put = async (at, ...rest) => {
    if (at === join(place, "config.json")) await put.call(objects, at, Buffer.from("theirs"));
    return put.call(objects, at, ...rest);
  };
  await expect(rig.open().publish(files, [])).rejects.toMatchObject({ code: "publish/foreign-file" });
  expect(Buffer.from(await readWhole(objects, join(place, "config.json"), 100)).toString()).toBe("theirs");
});

test("an upload that was begun and not noted any more before a crash is given up with the stage", async () => {
  const objects = new MemoryObjects();
  const rig = bucketRig(objects, place);
  await staged(rig, rig.open());
  await objects.beginUpload(join(place, ".deltaworks/stage/model.safetensors"));
  await rig.open().discard();
  expect(await objects.listUploads(placeOf("mem://bucket"))).toEqual([]);
});

test("an old way in that is the same bytes as the new one goes before what it leads to is replaced", async () => {
  const way = "model.safetensors.index.json";
  for (let change = 0; ; change++) {
    const objects = new MemoryObjects();
    const rig = bucketRig(objects, place);
    await rig.open().publish(await staged(rig, rig.open(), 1), []);
    const index = await readWhole(objects, join(place, way), 1e6);
    const { replaced } = await rig.open().claim({ planDigest: "new", overwrite: true });
    const files = await staged(rig, rig.open(), 2);
    await objects.put(join(place, ".deltaworks/stage", way), index);
    const alike = files.map((file) =>
      file.name === way ? { ...file, sizeBytes: index.length, sha256: sha256(index) } : file,
    );
    const before = await rig.published();
    const crashed = await rig.crashing(change, (output) => output.publish(alike, replaced));
    const seen = await rig.published();
    const isOf = (name: string) => sha256(seen[name] ?? new Uint8Array()) === sha256(before[name]!);
    const shards = Object.keys(before).filter((name) => name.endsWith(".safetensors"));
    const isNew = shards.every(
      (name) => sha256(seen[name] ?? new Uint8Array()) === files.find((file) => file.name === name)?.sha256,
    );
    if (seen[way] !== undefined) expect(isNew || shards.every(isOf)).toBe(true);
    if (!crashed) return expect(change).toBeGreaterThan(10);
  }
});

/** A store that does what it is asked to put, and answers as if it had been asked before: somebody between asked it twice. */
function askedTwice(objects: MemoryObjects): MemoryObjects {
  return new Proxy(objects, {
    get: (target, name: keyof MemoryObjects) => {
      if (name !== "put") return (target[name] as () => unknown).bind(target);
      return async (...[at, bytes, condition]: Parameters<MemoryObjects["put"]>) => {
        const version = await target.put(at, bytes, condition);
        return condition === undefined ? version : target.put(at, bytes, condition);
      };
    },
  });
}

test("what a store says the second time, to whoever asked it once, is understood: claims, slots and documents", async () => {
  const objects = askedTwice(new MemoryObjects());
  const rig = bucketRig(objects, place);
  const lock = await rig.open().lock("job 1");
  await expect(rig.open().lock()).rejects.toMatchObject({ code: "storage/locked" });
  await rig.open().publish(await staged(rig, rig.open()), []);
  await lock.release();
  expect(await rig.open().verify()).toMatchObject({ ok: true });
  expect(await objects.identity(join(place, ".deltaworks"))).toBeUndefined();
});

test("uploads that were begun at places of slots, and are named nowhere, go with the stage; those of others stay", async () => {
  const objects = new MemoryObjects();
  const rig = bucketRig(objects, place);
  const [shard = ""] = (await staged(rig, rig.open())).map(({ name }) => name);
  await objects.beginUpload(join(place, shard));
  const theirs = [join(place, "video.bin"), join(place, "sub", shard)];
  for (const at of theirs) await objects.beginUpload(at);
  await rig.open().discard();
  expect((await objects.listUploads(placeOf("mem://bucket"))).map(({ place: at }) => at)).toEqual(theirs.toSorted());
});

test("a store that passes over conditions is not written to", async () => {
  const objects = new MemoryObjects();
  const { put } = objects;
  objects.put = (at, bytes) => put.call(objects, at, bytes);
  await expect(new ObjectOutput(objects, place).lock("job 1")).rejects.toMatchObject({ code: "storage/no-conditions" });
  expect(await objects.identity(join(place, ".deltaworks"))).toBeUndefined();
});

test("where it cannot be told whether conditions are kept to, nothing is held", async () => {
  const objects = new MemoryObjects();
  const { put } = objects;
  let left = 1;
  objects.put = async (...args) => {
    if (left-- === 0) throw new StorageError("storage/network", "500", { hint: "", retryable: true });
    return put.apply(objects, args);
  };
  await expect(new ObjectOutput(objects, place).lock("job 1")).rejects.toMatchObject({ code: "storage/network" });
  await (await new ObjectOutput(objects, place).lock("job 2")).release();
});
