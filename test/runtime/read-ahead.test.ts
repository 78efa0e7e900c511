import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { RangeHashes } from "../../runtime/range-hashes.ts";
import { readAhead } from "../../runtime/read-ahead.ts";
import { SliceUploads, whileSigning } from "../../runtime/slice-uploads.ts";
import { placeOf, type Readable } from "../../storage/index.ts";

const bytes = Uint8Array.from({ length: 1000 }, (_, k) => (k * 2654435761) >>> 24);
const sha256Of = (some: Uint8Array) => createHash("sha256").update(some).digest("hex");

/** Tells how many reads were under way at once, and answers the later the earlier they were asked. */
function slowFile(failAt = Number.POSITIVE_INFINITY) {
  const asked: { readonly at: number; readonly answer: () => void }[] = [];
  let most = 0;
  const file: Readable = {
    place: placeOf("s3://b/a"),
    identity: async () => ({ kind: "file", sizeBytes: bytes.length, version: "1" }),
    close: async () => {},
    read: (at, into) =>
      new Promise<void>((resolve, reject) => {
        const answer = () => {
          asked.splice(asked.indexOf(entry), 1);
          if (at >= failAt) return reject(new Error(`no bytes at ${at}`));
          into.set(bytes.subarray(at, at + into.length));
          resolve();
        };
        const entry = { at, answer };
        asked.push(entry);
        most = Math.max(most, asked.length);
        setImmediate(() => asked.at(-1)?.answer());
      }),
  };
  return { file, most: () => most };
}

test.each([
  [1, 100, 4],
  [1000, 100, 4],
  [1000, 333, 2],
  [1000, 5000, 4],
  [999, 1, 3],
])("%i bytes are read in windows of %i, %i ahead, in order", async (sizeBytes, windowBytes, ahead) => {
  const { file, most } = slowFile();
  const found: number[] = [];
  for await (const window of readAhead(file, sizeBytes, { windowBytes, ahead })) {
    await new Promise((resolve) => setImmediate(resolve)); // others are read meanwhile, not over this one
    found.push(...window);
  }
  expect(found).toEqual([...bytes.subarray(0, sizeBytes)]);
  expect(most()).toBeLessThanOrEqual(ahead);
  if (sizeBytes / windowBytes >= ahead) expect(most()).toBe(ahead);
});

test("a window that cannot be read is said, after those before it", async () => {
  const { file } = slowFile(300);
  const found: number[] = [];
  const reading = (async () => {
    for await (const window of readAhead(file, 1000, { windowBytes: 100, ahead: 4 })) found.push(window.length);
  })();
  await expect(reading).rejects.toThrow("no bytes at 300");
  expect(found).toEqual([100, 100, 100]);
});

test("ranges that follow each other have their hashes, however the bytes come", () => {
  const sizes = [300, 1, 0, 399, 300];
  let offsetBytes = 0;
  const ranges = sizes.map((sizeBytes) => {
    offsetBytes += sizeBytes;
    return { offsetBytes: offsetBytes - sizeBytes, sizeBytes };
  });
  const expected = ranges.map((range) =>
    sha256Of(bytes.subarray(range.offsetBytes, range.offsetBytes + range.sizeBytes)),
  );
  for (const step of [1, 7, 300, 1000]) {
    const hashes = new RangeHashes(ranges);
    for (let at = 0; at < 1000; at += step) hashes.update(bytes.subarray(at, at + step));
    expect(hashes.digests()).toEqual(expected);
  }
  const cut = new RangeHashes(ranges);
  cut.update(bytes.subarray(0, 700));
  expect(cut.digests()).toEqual(expected.slice(0, 4));
});

const noSign = () => undefined;

test("two slices are held at once, and the third waits for one of them to be sent", async () => {
  const uploads = new SliceUploads();
  const sends: (() => void)[] = [];
  const send = (buffer: Uint8Array) => uploads.send(buffer, new Promise<void>((resolve) => void sends.push(resolve)));
  const [first, second] = [await uploads.buffer(10, noSign), await uploads.buffer(10, noSign)];
  const [firstSent] = [send(first), send(second)];
  let third: Uint8Array | undefined;
  const waiting = uploads.buffer(10, noSign).then((buffer) => {
    third = buffer;
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(third).toBeUndefined();
  sends[0]?.();
  await Promise.all([firstSent, waiting]);
  expect(third).toBe(first);
  sends[1]?.();
  await uploads.over();
});

test("memory of a slice that could not be sent is free again, and whoever waits for the slice hears of it", async () => {
  const uploads = new SliceUploads();
  for (let k = 0; k < 5; k++) {
    const buffer = await uploads.buffer(10, noSign);
    await expect(uploads.send(buffer, Promise.reject(new Error(`lost ${k}`)))).rejects.toThrow(`lost ${k}`);
  }
  expect(await uploads.buffer(20, noSign)).toHaveLength(20);
});

test("whoever waits shows that it lives, and stops where that is refused", async () => {
  let signs = 0;
  const forever = new Promise<void>(() => {});
  const waiting = whileSigning(forever, async () => {
    if (++signs === 2) throw new Error("nobody wants this any more");
  });
  await expect(waiting).rejects.toThrow("nobody wants this any more");
  expect(await whileSigning(Promise.resolve(7), noSign)).toBe(7);
});
