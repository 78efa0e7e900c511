import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { join, type Objects, PART_MIN_BYTES, type Place, readWhole } from "../../storage/index.ts";
import { bytesOf, sourceContract, textOf } from "./source.contract.ts";

export interface ObjectsRig {
  readonly objects: Objects;
  /** Of its own, without objects. */
  readonly folder: Place;
}

/** What every object store keeps to: that of a source, and what is put. */
export function objectsContract(name: string, begin: () => Promise<ObjectsRig>): void {
  sourceContract(name, async () => {
    const { objects, folder } = await begin();
    return { source: objects, folder, put: async (place, bytes) => void (await objects.put(place, bytes)) };
  });

  describe(`${name} keeps the contract of objects`, () => {
    test("what is put is there, whole, in the version that was told", async () => {
      const { objects, place } = await withPlace(begin);
      const first = await objects.put(place, bytesOf("one"));
      expect(await objects.identity(place)).toMatchObject({ kind: "file", sizeBytes: 3, version: first });
      const second = await objects.put(place, bytesOf("other"));
      expect(second).not.toBe(first);
      expect(textOf(await readWhole(objects, place, 10))).toBe("other");
    });

    test("conditions: only where nothing is, or what is known", async () => {
      const { objects, place } = await withPlace(begin);
      await expect(objects.put(place, bytesOf("x"), { ifVersion: "none" })).rejects.toMatchObject({
        code: "storage/changed",
      });
      const first = await objects.put(place, bytesOf("one"), { ifAbsent: true });
      await expect(objects.put(place, bytesOf("x"), { ifAbsent: true })).rejects.toMatchObject({
        code: "storage/exists",
        message: expect.stringContaining(place),
      });
      const second = await objects.put(place, bytesOf("two"), { ifVersion: first });
      await expect(objects.put(place, bytesOf("x"), { ifVersion: first })).rejects.toMatchObject({
        code: "storage/changed",
      });
      await expect(objects.remove(place, { ifVersion: first })).rejects.toMatchObject({ code: "storage/changed" });
      expect(textOf(await readWhole(objects, place, 10))).toBe("two");
      await objects.remove(place, { ifVersion: second });
      await objects.remove(place);
      expect(await objects.identity(place)).toBeUndefined();
    });

    test("of many that want to be the first, one is", async () => {
      const { objects, place } = await withPlace(begin);
      const all = await Promise.allSettled(
        Array.from({ length: 8 }, (_, k) => objects.put(place, bytesOf(`${k}`), { ifAbsent: true })),
      );
      const winners = all.flatMap(({ status }, k) => (status === "fulfilled" ? [`${k}`] : []));
      expect(winners).toHaveLength(1);
      expect(textOf(await readWhole(objects, place, 10))).toBe(winners[0]);
    });

    test("parts in any order, again, and with gaps make one object, that nobody sees before", async () => {
      const { objects, folder, place } = await withPlace(begin);
      const upload = await objects.beginUpload(place);
      const large = (fill: number) => new Uint8Array(PART_MIN_BYTES).fill(fill);
      const last = await objects.putPart(place, upload, 7, bytesOf("end"));
      await objects.putPart(place, upload, 2, large(9));
      const first = await objects.putPart(place, upload, 2, large(1));
      const second = await objects.putPart(place, upload, 5, large(2));
      expect(first).toMatchObject({ number: 2, sizeBytes: PART_MIN_BYTES, sha256: sha256Of(large(1)) });
      expect(await objects.listParts(place, upload)).toEqual([first, second, last]);
      expect(await objects.identity(place)).toBeUndefined();
      await expect(objects.list(folder)).rejects.toMatchObject({ code: "storage/not-found" });
      const version = await objects.completeUpload(place, upload, [first, second, last], { ifAbsent: true });
      expect(await objects.completeUpload(place, upload, [first, second, last], { ifAbsent: true })).toBe(version);
      const whole = Buffer.concat([large(1), large(2), bytesOf("end")]);
      expect(await objects.identity(place)).toMatchObject({ sizeBytes: whole.length, version });
      expect(sha256Of(await readWhole(objects, place, whole.length))).toBe(sha256Of(whole));
    });

    test("an upload is not completed of parts that are not there as they are said to be, or over what it must not replace", async () => {
      const { objects, place } = await withPlace(begin);
      const upload = await objects.beginUpload(place);
      const old = await objects.putPart(place, upload, 1, bytesOf("old"));
      const part = await objects.putPart(place, upload, 1, bytesOf("new"));
      await expect(objects.completeUpload(place, upload, [old])).rejects.toMatchObject({ code: "storage/changed" });
      await objects.put(place, bytesOf("another's"));
      await expect(objects.completeUpload(place, upload, [part], { ifAbsent: true })).rejects.toMatchObject({
        code: "storage/exists",
      });
      expect(textOf(await readWhole(objects, place, 100))).toBe("another's");
    });

    test("of an upload that was given up nothing is left, and nothing more is taken", async () => {
      const { objects, place } = await withPlace(begin);
      const upload = await objects.beginUpload(place);
      await objects.putPart(place, upload, 1, bytesOf("x"));
      await objects.abortUpload(place, upload);
      await objects.abortUpload(place, upload);
      for (const call of [
        () => objects.putPart(place, upload, 2, bytesOf("y")),
        () => objects.listParts(place, upload),
      ])
        await expect(call()).rejects.toMatchObject({ code: "storage/not-found" });
      expect(await objects.identity(place)).toBeUndefined();
    });
  });
}

async function withPlace(begin: () => Promise<ObjectsRig>) {
  const { objects, folder } = await begin();
  return { objects, folder, place: join(folder, "a") };
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
