import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { copyRange, hashFile, hashRanges, READ_BACK_CHUNK_BYTES } from "../../../output/index.ts";
import { FileStore, placeOf } from "../../../storage/index.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const store = new FileStore();
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Bytes that differ from one chunk to the next. */
function bytesOf(sizeBytes: number): Buffer {
  const words = new Uint32Array(Math.ceil(sizeBytes / 4)).map((_, k) => Math.imul(k, 2654435761));
  return Buffer.from(words.buffer, 0, sizeBytes);
}

function fileOf(bytes: Uint8Array): string {
  const path = join(temporaryFolder(), "file");
  writeFileSync(path, bytes);
  return path;
}

describe("reading back", () => {
  // Nothing; less than a chunk; one; one and a tail; three, so that both buffers are used again, and a tail.
  test.each([0, 1, READ_BACK_CHUNK_BYTES, READ_BACK_CHUNK_BYTES + 1, 3 * READ_BACK_CHUNK_BYTES + 5])(
    "hashes a file of %i bytes",
    async (sizeBytes) => {
      const bytes = bytesOf(sizeBytes);
      expect(await hashFile(store, placeOf(fileOf(bytes)))).toEqual({ sizeBytes, sha256: sha256(bytes) });
    },
  );

  test("hashes ranges that begin anywhere and are longer than a chunk", async () => {
    const bytes = bytesOf(3 * READ_BACK_CHUNK_BYTES);
    const ranges = [
      { offsetBytes: 7, sizeBytes: 2 * READ_BACK_CHUNK_BYTES + 3 },
      { offsetBytes: READ_BACK_CHUNK_BYTES - 1, sizeBytes: 2 },
      { offsetBytes: 3 * READ_BACK_CHUNK_BYTES, sizeBytes: 0 },
    ];
    const expected = ranges.map(({ offsetBytes, sizeBytes }) =>
      sha256(bytes.subarray(offsetBytes, offsetBytes + sizeBytes)),
    );
    expect(await hashRanges(store, placeOf(fileOf(bytes)), ranges)).toEqual(expected);
  });

  test("a range past the end is an error", async () => {
    const path = placeOf(fileOf(bytesOf(10)));
    const range = { offsetBytes: 5, sizeBytes: 6 };
    await expect(hashRanges(store, path, [range])).rejects.toMatchObject({ code: "storage/short-read" });
  });

  test("copies a range to its place in another file", async () => {
    const bytes = bytesOf(3 * READ_BACK_CHUNK_BYTES);
    const path = placeOf(fileOf(bytes));
    const copy = placeOf(fileOf(Buffer.alloc(bytes.length)));
    const [from, to] = [await store.open(path), await store.openForWriting(copy)];
    await copyRange(from, to, { offsetBytes: 3, sizeBytes: 2 * READ_BACK_CHUNK_BYTES + 9 });
    await Promise.all([from.close(), to.close()]);
    const expected = Buffer.alloc(bytes.length);
    bytes.copy(expected, 3, 3, 2 * READ_BACK_CHUNK_BYTES + 12);
    expect(sha256(readFileSync(copy))).toBe(sha256(expected));
  });
});
