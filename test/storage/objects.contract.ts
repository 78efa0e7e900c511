import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { join, type Objects, PART_MIN_BYTES, type Place, readWhole } from "../../storage/index.ts";
import { bytesOf, sourceContract, textOf } from "./source.contract.ts";

export interface ObjectsRig {
  readonly objects: Objects;
  /** Of its own, without objects. */
  readonly folder: Place;
  readonly hasLinks?: boolean;
}

/** What every object store keeps to: that of a source, and what is put. */
export function objectsContract(name: string, begin: () => Promise<ObjectsRig>): void {
  sourceContract(name, async () => {
    const { objects, folder, hasLinks = true } = await begin();
    return { source: objects, folder, hasLinks, put: async (place, bytes) => void (await objects.put(place, bytes)) };
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

    test("parts are copied from a version of another object, and from no other", async () => {
      const { objects, folder, place } = await withPlace(begin);
      const from = join(folder, "b c+d");
      const bytes = Uint8Array.from({ length: PART_MIN_BYTES + 100 }, (_, k) => k % 251);
      const version = await putInParts(objects, from, bytes);
      const upload = await objects.beginUpload(place, "copied");
      const range = { place: from, version, offsetBytes: 10, sizeBytes: PART_MIN_BYTES };
      await objects.copyPart(place, upload, 1, range);
      await objects.copyPart(place, upload, 2, { ...range, offsetBytes: PART_MIN_BYTES + 10, sizeBytes: 90 });
      await objects.put(
        from,
        bytes.map((byte) => 255 - byte),
      );
      await expect(objects.copyPart(place, upload, 3, range)).rejects.toMatchObject({ code: "storage/changed" });
      await objects.completeUpload(place, upload, await objects.listParts(place, upload), { ifAbsent: true });
      expect(sha256Of(await readWhole(objects, place, bytes.length))).toBe(sha256Of(bytes.subarray(10)));
    });

    test("a part that is not what it is said to be is refused", async () => {
      const { objects, place } = await withPlace(begin);
      const upload = await objects.beginUpload(place);
      const other = sha256Of(bytesOf("other"));
      await expect(objects.putPart(place, upload, 1, bytesOf("x"), other)).rejects.toMatchObject({
        code: "storage/hash",
      });
      expect(await objects.listParts(place, upload)).toEqual([]);
      expect((await objects.putPart(place, upload, 1, bytesOf("other"), other)).sha256).toBe(other);
    });

    test("uploads that were begun are found below their folder, until they are completed or given up", async () => {
      const { objects, folder } = await begin();
      const places = ["b", "a/x", "a/y"].map((name) => join(folder, name));
      const [b = "", x = "", y = ""] = await Promise.all(places.map((place) => objects.beginUpload(place)));
      const found = async (at: Place) =>
        (await objects.listUploads(at)).map(({ place, upload, begunMs }) => {
          expect(begunMs).toBeGreaterThan(Date.now() - 3_600_000);
          return [place, upload];
        });
      expect(await found(folder)).toEqual([
        [places[1], x],
        [places[2], y],
        [places[0], b],
      ]);
      expect(await found(join(folder, "a"))).toEqual([
        [places[1], x],
        [places[2], y],
      ]);
      await objects.abortUpload(places[1] as Place, x);
      const part = await objects.putPart(places[2] as Place, y, 1, bytesOf("y"));
      await objects.completeUpload(places[2] as Place, y, [part]);
      expect(await found(folder)).toEqual([[places[0], b]]);
    });

    test("of what was completed of parts with hashes the hash of these is told, and of nothing else", async () => {
      const { objects, folder, place } = await withPlace(begin);
      const bytes = new Uint8Array(PART_MIN_BYTES + 9).fill(5);
      const version = await putInParts(objects, place, bytes);
      const hashes = [bytes.subarray(0, PART_MIN_BYTES), bytes.subarray(PART_MIN_BYTES)].map(sha256Of);
      const all = Buffer.from(hashes.join(""), "hex");
      expect(await objects.partsSha256(place)).toBe(`${sha256Of(all)}-2`);
      const [whole, copy] = [join(folder, "whole"), join(folder, "copy")];
      await objects.put(whole, bytesOf("x"));
      expect(await objects.partsSha256(whole)).toBeUndefined();
      const upload = await objects.beginUpload(copy, "copied");
      await objects.copyPart(copy, upload, 1, { place, version, offsetBytes: 0, sizeBytes: bytes.length });
      await objects.completeUpload(copy, upload, await objects.listParts(copy, upload));
      await objects.partsSha256(copy); // whatever it says, there is no harm in it
      await expect(objects.partsSha256(join(folder, "none"))).rejects.toMatchObject({ code: "storage/not-found" });
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

async function putInParts(objects: Objects, place: Place, bytes: Uint8Array) {
  const upload = await objects.beginUpload(place);
  const parts = [bytes.subarray(0, PART_MIN_BYTES), bytes.subarray(PART_MIN_BYTES)];
  const put = await Promise.all(parts.map((part, k) => objects.putPart(place, upload, k + 1, part)));
  return objects.completeUpload(place, upload, put);
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
