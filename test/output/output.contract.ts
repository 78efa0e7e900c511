import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { Plan } from "../../merge/work/index.ts";
import { buildManifest, fileOfDocument, type Output, type OutputFile, recordDocuments } from "../../output/index.ts";
import { planDigest } from "../../plan/index.ts";
import type { Place } from "../../storage/index.ts";
import { fakePlan, shardBytes, sliceBytes } from "./fake-output.ts";

/** An output, and what the world does to it. */
export interface OutputRig {
  /** The output again, as another process sees it. */
  open(): Output;
  /** As plans for it have it. */
  readonly layout?: "parts";
  /** Writes a slice to a slot, durably. */
  write(slot: Place, offsetBytes: number, bytes: Uint8Array): Promise<void>;
  /** What a reader finds, by names; nothing that is still staged. */
  published(): Promise<Readonly<Record<string, Uint8Array>>>;
  /** Does what it is given with an output that fails for good at its n-th change of anything; false if it made fewer. */
  crashing(change: number, run: (output: Output) => Promise<void>): Promise<boolean>;
}

const BY = "1-test";

/** What every place keeps to that merges are written to. */
export function outputContract(name: string, begin: () => Promise<OutputRig>): void {
  describe(`${name} keeps the contract of an output`, () => {
    test("what is staged is seen by nobody; once published all of it is there, whole, and verified", async () => {
      const rig = await begin();
      const output = rig.open();
      expect(await output.staged()).toBeUndefined();
      const files = await staged(rig, output);
      expect(await output.staged()).toEqual({ owner: undefined });
      expect(await rig.published()).toEqual({});
      await output.publish(files, []);
      expect(hashesOf(await rig.published())).toEqual(
        Object.fromEntries(files.map((file) => [file.name, file.sha256])),
      );
      expect(await output.staged()).toBeUndefined();
      expect(await output.verify()).toMatchObject({ ok: true });
    });

    test("what was prepared stays, and who prepares again is told what had to be made, or is not there", async () => {
      const rig = await begin();
      const plan = planOf(rig);
      const all = [...plan.slices.keys()];
      expect(await rig.open().prepare(plan, "job 1")).toEqual(all);
      const written = plan.slices.filter(({ shard }) => shard === 0);
      const done = new Map<string, string>();
      for (const slice of written) {
        await rig.write(rig.open().slots(plan)[0]!, slice.offsetBytes, sliceBytes(plan, slice));
        done.set(slice.id, sha256Of(sliceBytes(plan, slice)));
      }
      expect(await rig.open().staged()).toEqual({ owner: "job 1" });
      expect(await rig.open().prepare(plan, "job 1", done)).toEqual([]);
      await rig.open().discard();
      await rig.open().discard();
      expect(await rig.open().staged()).toBeUndefined();
      expect(await rig.open().prepare(plan, undefined, done)).toEqual(all);
    });

    test("what was written is read back once slots are closed, and what is written then too", async () => {
      const rig = await begin();
      const plan = planOf(rig);
      await filled(rig, rig.open(), plan);
      const hashes = plan.slices.map((slice) => sha256Of(sliceBytes(plan, slice)));
      await rig.open().closeSlots(plan, hashes);
      await rig.open().closeSlots(plan, hashes);
      const [slot] = rig.open().slots(plan);
      const ranges = plan.slices.filter(({ shard }) => shard === 0);
      const expected = hashes.slice(0, ranges.length);
      expect(await rig.open().readBack(slot!, ranges)).toEqual(expected);
      expect(await rig.open().prepare(plan, undefined, new Map([[plan.slices[0]!.id, hashes[0]!]]))).toEqual([]);
      const other = sliceBytes(plan, plan.slices[0]!).map((byte) => 255 - byte);
      await rig.write(slot!, ranges[0]!.offsetBytes, other);
      await rig.open().closeSlots(plan, [sha256Of(other), ...hashes.slice(1)]);
      expect(await rig.open().readBack(slot!, ranges)).toEqual([sha256Of(other), ...expected.slice(1)]);
    });

    test("an output is claimed by who may have it: fresh, complete, another's", async () => {
      const rig = await begin();
      const output = rig.open();
      const claim = { planDigest: planDigest(planOf(rig)), overwrite: false };
      expect(await output.claim(claim)).toEqual({ state: "fresh", replaced: [] });
      await output.publish(await staged(rig, output), []);
      expect(await output.claim(claim)).toEqual({ state: "complete", replaced: [] });
      const other = { ...claim, planDigest: "other" };
      await expect(output.claim(other)).rejects.toMatchObject({ code: "publish/not-empty" });
      const { state, replaced } = await output.claim({ ...other, overwrite: true });
      expect(state).toBe("replace");
      expect([...replaced].sort()).toEqual(Object.keys(await rig.published()).sort());
    });

    test("one has the lock; the next coordinator of the same job takes it over", async () => {
      const rig = await begin();
      const lock = await rig.open().lock();
      await expect(rig.open().lock()).rejects.toMatchObject({ code: "storage/locked" });
      await lock.release();
      const owned = await rig.open().lock("job 1");
      await expect(rig.open().lock("job 2")).rejects.toMatchObject({ code: "storage/locked" });
      await owned.release();
      await (await rig.open().lock()).release();
    });

    test("one that may have lost it changes nothing more", async () => {
      const rig = await begin();
      const files = await staged(rig, rig.open());
      const lost = rig.open().fenced(async () => {
        throw new Error("another leads");
      });
      const document = { name: "a.txt", bytes: Buffer.from("a") };
      const changes = [
        () => lost.publish(files, []),
        () => lost.discard(),
        () => lost.prepare(planOf(rig)),
        () => lost.stage([document], BY),
        () => lost.makeAnew(true),
      ];
      for (const change of changes) await expect(change()).rejects.toThrow("another leads");
      expect(await rig.published()).toEqual({});
      expect(await rig.open().staged()).toBeDefined();
      await rig.open().publish(files, []);
      expect(await rig.open().verify()).toMatchObject({ ok: true });
    });

    test("published over another one, and killed at any change: never a mix, and said again it ends in the same bytes", async () => {
      const way = "model.safetensors.index.json";
      let crashes = 0;
      for (let change = 0; ; change++) {
        const rig = await begin();
        const old = rig.open();
        await old.publish(await staged(rig, old, 1), []);
        const before = hashesOf(await rig.published());
        const { replaced } = await old.claim({ planDigest: "new", overwrite: true });
        const files = await staged(rig, rig.open(), 2);
        const after = Object.fromEntries(files.map((file) => [file.name, file.sha256]));
        const ended = await rig.crashing(change, (output) => output.publish(files, replaced));
        const seen = hashesOf(await rig.published());
        // Who finds a way in finds all that it leads to; that all is as it was written is said last.
        if (seen[way] !== undefined) {
          const { SHA256SUMS: _, ...whole } = seen[way] === after[way] ? after : before;
          expect(seen).toMatchObject(whole);
        }
        if (seen.SHA256SUMS !== undefined) expect([before, after]).toContainEqual(seen);
        await rig.open().publish(files, replaced);
        expect(hashesOf(await rig.published())).toEqual(after);
        expect(await rig.open().verify()).toMatchObject({ ok: true });
        if (!ended) break;
        crashes++;
      }
      expect(crashes).toBeGreaterThan(10);
    });
  });
}

function planOf({ layout }: OutputRig, salt = 1): Plan {
  return fakePlan({ shardBytes: 300_000, salt, ...(layout && { layout }) });
}

/** Every slice in its slot; of a shard what is in no slice, its header, besides. */
async function filled(rig: OutputRig, output: Output, plan: Plan): Promise<void> {
  await output.prepare(plan);
  const slots = output.slots(plan);
  for (const slice of plan.slices) await rig.write(slots[slice.shard]!, slice.offsetBytes, sliceBytes(plan, slice));
}

/** Shards, a document and the records in the stage: all files of the output. */
export async function staged(rig: OutputRig, output: Output, salt = 1): Promise<readonly OutputFile[]> {
  const plan = planOf(rig, salt);
  await filled(rig, output, plan);
  const sliceSha256s = plan.slices.map((slice) => sha256Of(sliceBytes(plan, slice)));
  await output.closeSlots(plan, sliceSha256s);
  const shards = plan.shards.map(({ name }, k) => fileOfDocument({ name, bytes: shardBytes(plan, k) }));
  const documents = [
    { name: "config.json", bytes: Buffer.from(`{"salt": ${salt}}`) },
    { name: "model.safetensors.index.json", bytes: Buffer.from(`{"weight_map": {}, "salt": ${salt}}`) },
    { name: "folder/template.jinja", bytes: Buffer.from("{{ x }}") },
    ...(salt === 1 ? [{ name: "only-old.txt", bytes: Buffer.from("old") }] : []),
  ];
  const manifest = buildManifest({
    plan,
    planDigest: planDigest(plan),
    toolVersion: "0.0.1",
    sliceSha256s,
    files: [...shards, ...documents.map(fileOfDocument)],
    inputSha256s: undefined,
  });
  const all = [...documents, ...recordDocuments(manifest)];
  await output.stage(all, BY);
  return [...shards, ...all.map(fileOfDocument)];
}

function hashesOf(files: Readonly<Record<string, Uint8Array>>): Record<string, string> {
  return Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name, sha256Of(bytes)]));
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
