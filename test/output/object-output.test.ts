import { expect, test } from "vitest";
import { ObjectOutput } from "../../output/index.ts";
import { join, placeOf, readWhole } from "../../storage/index.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { bucketRig } from "./bucket-rig.ts";
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
