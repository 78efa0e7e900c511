import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { join, PART_MIN_BYTES, placeOf, readWhole, StorageError, UploadSlots } from "../../storage/index.ts";
import { MemoryObjects } from "../support/memory-objects.ts";

const slot = placeOf("mem://bucket/stage/model.safetensors");
const shape = { sizeBytes: 2 * PART_MIN_BYTES + 7, partBytes: PART_MIN_BYTES };
const sha256Of = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const parts = [1, 2, 3].map((fill, k) => new Uint8Array(k < 2 ? PART_MIN_BYTES : 7).fill(fill));
const hashes = parts.map(sha256Of);

async function filled(objects: MemoryObjects) {
  const slots = new UploadSlots(objects);
  expect(await slots.begin(slot, shape)).toBeUndefined();
  for (const [k, bytes] of parts.entries())
    await new UploadSlots(objects).put(slot, k * PART_MIN_BYTES, bytes, sha256Of(bytes));
  return slots;
}

const held = async (objects: MemoryObjects) => {
  const found = await new UploadSlots(objects).begin(slot, shape);
  return found === undefined || found === "closed" ? found : [...found].map(([number, { sha256 }]) => [number, sha256]);
};

test("parts are put by who knows the place alone, and are there for who comes next", async () => {
  const objects = new MemoryObjects();
  const slots = await filled(objects);
  expect(await held(objects)).toEqual(hashes.map((sha256, k) => [k + 1, sha256]));
  expect(await objects.identity(slot)).toBeUndefined();
  await slots.close(slot, hashes);
  await slots.close(slot, hashes);
  expect(await held(objects)).toBe("closed");
  expect(sha256Of(await readWhole(objects, slot, 1e8))).toBe(sha256Of(Buffer.concat(parts)));
});

test("a slot of another shape is made anew", async () => {
  const objects = new MemoryObjects();
  await filled(objects);
  expect(await new UploadSlots(objects).begin(slot, { ...shape, sizeBytes: 5 })).toBeUndefined();
  expect(await new UploadSlots(objects).begin(slot, { ...shape, sizeBytes: 5 })).toEqual(new Map());
});

test("what is not a part of the grid is no part", async () => {
  const slots = await filled(new MemoryObjects());
  await expect(slots.put(slot, 5, parts[2]!, "")).rejects.toThrow("no part");
  await expect(slots.put(slot, 0, parts[2]!, "")).rejects.toThrow("no part");
});

test("a slot with a part that is missing, or another one than was put, is not closed", async () => {
  const objects = new MemoryObjects();
  const slots = new UploadSlots(objects);
  await slots.begin(slot, shape);
  await slots.put(slot, 0, parts[0]!, hashes[0]!);
  await expect(slots.close(slot, hashes)).rejects.toMatchObject({
    code: "storage/changed",
    message: expect.stringContaining("part 2 of 3 is not there"),
  });
  await filled(objects).catch(() => undefined);
  for (const [k, bytes] of parts.entries()) await slots.put(slot, k * PART_MIN_BYTES, bytes, hashes[k]!);
  await expect(slots.close(slot, [hashes[0]!, hashes[0]!, hashes[2]!])).rejects.toMatchObject({
    code: "storage/changed",
    message: expect.stringContaining("part 2 of 3 is another one"),
  });
});

test("a part that is put once a slot is closed opens it again, for several at once, and all others stay", async () => {
  const objects = new MemoryObjects();
  await (await filled(objects)).close(slot, hashes);
  const now = [8, 9].map((fill) => new Uint8Array(PART_MIN_BYTES).fill(fill));
  const writers = now.map(async (bytes, k) => {
    const writer = new UploadSlots(objects);
    await writer.begin(slot, shape);
    await writer.put(slot, k * PART_MIN_BYTES, bytes, sha256Of(bytes));
  });
  await Promise.all(writers);
  await new UploadSlots(objects).close(slot, [...now.map(sha256Of), hashes[2]!]);
  expect(sha256Of(await readWhole(objects, slot, 1e8))).toBe(sha256Of(Buffer.concat([...now, parts[2]!])));
  expect(await objects.listUploads(placeOf("mem://bucket/stage"))).toEqual([]);
});

test("an upload that somebody else gave up is said, and not taken for one that was closed", async () => {
  const objects = new MemoryObjects();
  const slots = await filled(objects);
  const [{ upload } = { upload: "" }] = await objects.listUploads(placeOf("mem://bucket/stage"));
  await objects.abortUpload(slot, upload);
  for (const call of [() => slots.close(slot, hashes), () => slots.put(slot, 0, parts[0]!, hashes[0]!)])
    await expect(call()).rejects.toMatchObject({
      code: "storage/changed",
      message: expect.stringContaining("given up by somebody else"),
    });
  expect(await held(objects)).toBeUndefined();
});

test("a closed slot is put at its place, from where an earlier call was stopped, on a condition", async () => {
  const objects = new MemoryObjects();
  const slots = await filled(objects);
  await slots.close(slot, hashes);
  const to = placeOf("mem://bucket/model.safetensors");
  expect(await slots.placing(slot)).toBeUndefined();
  let left = 1;
  const stopped = new Proxy(objects, {
    get: (target, name: keyof MemoryObjects) =>
      name === "copyPart"
        ? (...args: Parameters<MemoryObjects["copyPart"]>) => {
            if (left-- <= 0) throw new Error("stopped");
            return target.copyPart(...args);
          }
        : (target[name] as () => unknown).bind(target),
  });
  await expect(new UploadSlots(stopped).place(slot, to, { ifAbsent: true })).rejects.toThrow("stopped");
  expect(await new UploadSlots(objects).placing(slot)).toBe("under way");
  expect(await objects.listUploads(placeOf("mem://bucket"))).toHaveLength(1);
  const version = await new UploadSlots(objects).place(slot, to, { ifAbsent: true });
  expect(await new UploadSlots(objects).placing(slot)).toBe("over");
  expect(await objects.identity(to)).toMatchObject({ version, sizeBytes: shape.sizeBytes });
  await expect(new UploadSlots(objects).place(slot, to, { ifAbsent: true })).rejects.toMatchObject({
    code: "storage/exists",
  });
  await new UploadSlots(objects).discard(slot);
  expect(await objects.listUploads(placeOf("mem://bucket"))).toEqual([]);
  expect(await objects.identity(to)).toBeDefined();
});

test("of a slot that was discarded nothing is left", async () => {
  const objects = new MemoryObjects();
  await (await filled(objects)).discard(slot);
  await (await filled(objects)).close(slot, hashes);
  await new UploadSlots(objects).discard(slot);
  await new UploadSlots(objects).discard(slot);
  expect(await objects.identity(join(slot, ".."))).toBeUndefined();
  expect(await objects.listUploads(placeOf("mem://bucket"))).toEqual([]);
});

test("a store that says of an upload which it knows no more that it has failed itself is asked whether it is there", async () => {
  const objects = new MemoryObjects();
  const slots = await filled(objects);
  await slots.close(slot, hashes);
  const { putPart } = objects;
  objects.putPart = async (...args) => {
    try {
      return await putPart.apply(objects, args);
    } catch {
      throw new StorageError("storage/network", "500", { hint: "", retryable: true });
    }
  };
  const bytes = new Uint8Array(PART_MIN_BYTES).fill(9);
  await slots.put(slot, 0, bytes, sha256Of(bytes));
  objects.putPart = async () => {
    throw new StorageError("storage/network", "500", { hint: "", retryable: true });
  };
  await expect(slots.put(slot, 0, bytes, sha256Of(bytes))).rejects.toMatchObject({ code: "storage/network" });
});

test("a part is signed for its upload, and for the next one where a slot was closed; what is there is told part by part", async () => {
  const objects = new MemoryObjects();
  const slots = await filled(objects);
  const signed: unknown[] = [];
  const signing = {
    signRead: async () => ({ url: "", headers: {} }),
    signPart: async (...asked: unknown[]) => {
      signed.push(asked);
      return { url: String(asked[1]), headers: {} };
    },
  };
  const part = { offsetBytes: PART_MIN_BYTES, sizeBytes: PART_MIN_BYTES, sha256: hashes[1] ?? "" };
  const sign = (isGone: boolean, by = slots) => by.signPart(signing, slot, part, { lastsMs: 7, isGone });
  const { url: first } = await sign(false);
  const { offsetBytes: _, ...bytes } = part;
  expect(signed).toEqual([[slot, first, { ...bytes, number: 2 }, 7]]);
  // Whoever says that it is gone while it is there changes nothing.
  expect((await sign(true)).url).toBe(first);
  const other = new UploadSlots(objects);
  expect(await other.has(slot, part)).toBe(true);
  for (const wrong of [{ sha256: hashes[0] ?? "" }, { sizeBytes: 7 }, { offsetBytes: 3 * PART_MIN_BYTES }])
    expect(await other.has(slot, { ...part, ...wrong }), JSON.stringify(wrong)).toBe(false);
  await slots.close(slot, hashes);
  expect(await other.has(slot, part)).toBe(false);
  // It is opened once, by whoever comes first, however many ask meanwhile.
  const { beginUpload } = objects;
  let begun = 0;
  objects.beginUpload = (...asked) => {
    begun++;
    return beginUpload.apply(objects, asked);
  };
  const [{ url: next }, ...others] = await Promise.all([sign(true), sign(true), sign(true)]);
  expect(next).not.toBe(first);
  expect([others.map(({ url }) => url), begun]).toEqual([[next, next], 1]);
  // Of several who find it gone the second goes by what the first has opened.
  expect((await sign(true, other)).url).toBe(next);
  expect(await other.has(slot, part)).toBe(true);
  expect(await held(objects)).toEqual(hashes.map((sha256, k) => [k + 1, sha256]));
});
