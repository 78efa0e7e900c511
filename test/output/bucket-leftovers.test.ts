import { expect, test } from "vitest";
import { findLeftovers, ObjectOutput, removeLeftover } from "../../output/index.ts";
import { join, placeOf } from "../../storage/index.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { bucketRig } from "./bucket-rig.ts";
import { fakePlan } from "./fake-output.ts";
import { staged } from "./output.contract.ts";

const BUCKET = placeOf("mem://bucket");
const at = (name: string) => join(BUCKET, "models", name);
const plan = fakePlan({ shardBytes: 300_000, layout: "parts" });

test("what was begun and not ended is found below a place, with whose it is, and nothing of other programs", async () => {
  const objects = new MemoryObjects();
  const begunMs = Date.now();
  await new ObjectOutput(objects, at("stopped")).prepare(plan, "job 1");
  await new ObjectOutput(objects, at("running/now")).prepare(plan, "job 2");
  const lock = await new ObjectOutput(objects, at("running/now")).lock("job 2");
  const rig = bucketRig(objects, at("whole"));
  await rig.open().publish(await staged(rig, rig.open()), []);
  await objects.beginUpload(at("another program's"));
  const found = await findLeftovers(objects, BUCKET);
  expect(found).toEqual([
    {
      out: at("running/now"),
      uploads: plan.shards.length,
      lastMs: expect.any(Number),
      owner: "job 2",
      holder: expect.stringMatching(/./),
    },
    { out: at("stopped"), uploads: plan.shards.length, lastMs: expect.any(Number), owner: "job 1" },
  ]);
  for (const { lastMs } of found) expect(lastMs).toBeGreaterThanOrEqual(begunMs);
  expect(await findLeftovers(objects, at("stopped"))).toHaveLength(1);
  expect(await findLeftovers(objects, at("whole"))).toEqual([]);
  expect(await findLeftovers(objects, at("none"))).toEqual([]);
  await lock.release();
});

test("a stage without uploads is found at its own place", async () => {
  const objects = new MemoryObjects();
  const rig = bucketRig(objects, at("sealed"));
  await staged(rig, rig.open());
  expect(await objects.listUploads(BUCKET)).toEqual([]);
  expect(await findLeftovers(objects, at("sealed"))).toEqual([{ out: at("sealed"), uploads: 0 }]);
});

test("a merge that ended while its shards were on their way to their places is found by those uploads", async () => {
  const objects = new MemoryObjects();
  const rig = bucketRig(objects, at("publishing"));
  const [shard = ""] = (await staged(rig, rig.open())).map(({ name }) => name);
  await objects.beginUpload(join(at("publishing"), shard));
  await objects.beginUpload(join(at("others"), shard));
  const found = [{ out: at("publishing"), uploads: 1, lastMs: expect.any(Number) }];
  expect(await findLeftovers(objects, BUCKET)).toEqual(found);
  expect(await removeLeftover(objects, at("publishing"), undefined)).toBe(true);
  expect((await objects.listUploads(BUCKET)).map(({ place }) => place)).toEqual([join(at("others"), shard)]);
});

test("of a repair that ended before it had noted its upload nothing is left", async () => {
  const objects = new MemoryObjects();
  await objects.beginUpload(join(at("repaired"), ".deltaworks/repair/model.safetensors"));
  expect(await findLeftovers(objects, BUCKET)).toMatchObject([{ out: at("repaired"), uploads: 1 }]);
  expect(await removeLeftover(objects, at("repaired"), undefined)).toBe(true);
  expect(await objects.listUploads(BUCKET)).toEqual([]);
});

test("what was left is removed, what was published stays, and what somebody has is not touched", async () => {
  const objects = new MemoryObjects();
  const rig = bucketRig(objects, at("a"));
  await rig.open().publish(await staged(rig, rig.open()), []);
  const before = Object.keys(await rig.published());
  await rig.open().prepare(plan, "job 1");
  const lock = await rig.open().lock("job 1");
  expect(await removeLeftover(objects, at("a"), undefined)).toBe(false);
  expect(await objects.listUploads(BUCKET)).toHaveLength(plan.shards.length);
  const [{ holder } = {}] = await findLeftovers(objects, at("a"));
  expect(await removeLeftover(objects, at("a"), holder)).toBe(true);
  await lock.release();
  expect(await objects.listUploads(BUCKET)).toEqual([]);
  expect(await objects.identity(join(at("a"), ".deltaworks"))).toBeUndefined();
  expect(Object.keys(await rig.published())).toEqual(before);
  expect(await rig.open().verify()).toMatchObject({ ok: true });
});
