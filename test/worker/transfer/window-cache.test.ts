import { expect, test } from "vitest";
import { type Pieces, WindowCache } from "../../../worker/transfer/index.ts";

const FILE_BYTES = 1000;
const byteAt = (offset: number) => (offset * 7) & 0xff;

/** A file of which every byte says where it is, handed out in pieces of 30 bytes. */
function cacheOf(options: Partial<ConstructorParameters<typeof WindowCache>[0]> = {}) {
  const fetched: string[] = [];
  const cache = new WindowCache({
    windowBytes: 100,
    capacityBytes: 400,
    ahead: 2,
    fetch: async (file, offsetBytes, sizeBytes): Promise<Pieces> => {
      fetched.push(`${file}@${offsetBytes}+${sizeBytes}`);
      const all = Uint8Array.from({ length: sizeBytes }, (_, k) => byteAt(offsetBytes + k));
      return Array.from({ length: Math.ceil(sizeBytes / 30) }, (_, k) => all.subarray(k * 30, (k + 1) * 30));
    },
    ...options,
  });
  return { cache, fetched };
}

async function read(cache: WindowCache, offset: number, size: number, file = "a"): Promise<void> {
  const into = new Uint8Array(size);
  await cache.read(file, FILE_BYTES, offset, into);
  expect(into).toEqual(Uint8Array.from({ length: size }, (_, k) => byteAt(offset + k)));
}

// Inside a piece, over pieces, over windows, up to the end of the file.
test.each([
  [0, 1],
  [29, 2],
  [95, 10],
  [50, 333],
  [990, 10],
  [0, FILE_BYTES],
])("gives the bytes from %i on, %i of them", async (offset, size) => {
  await read(cacheOf().cache, offset, size);
});

test("what is read in sequence is fetched ahead, once, and not beyond the end of the file", async () => {
  const { cache, fetched } = cacheOf({ capacityBytes: 10_000 });
  for (let at = 0; at < FILE_BYTES; at += 20) await read(cache, at, 20);
  expect(fetched).toEqual(Array.from({ length: 10 }, (_, k) => `a@${k * 100}+100`));
});

test("a jump fetches what it needs and nothing ahead of it", async () => {
  const { cache, fetched } = cacheOf();
  await read(cache, 720, 5);
  await read(cache, 120, 5);
  expect(fetched).toEqual(["a@700+100", "a@100+100"]);
});

test("no more than the capacity is kept, and what was used last stays", async () => {
  const { cache, fetched } = cacheOf({ ahead: 0, capacityBytes: 300 });
  for (const offset of [0, 300, 600]) await read(cache, offset, 5);
  await read(cache, 0, 5);
  await read(cache, 900, 5);
  expect(cache.bytes).toBe(300);
  await read(cache, 0, 5);
  await read(cache, 300, 5);
  expect(fetched).toEqual(["a@0+100", "a@300+100", "a@600+100", "a@900+100", "a@300+100"]);
});

test("a fetch that failed is told to the reader, and made again by the next one", async () => {
  let calls = 0;
  const { cache } = cacheOf({
    ahead: 0,
    fetch: async () => {
      calls++;
      if (calls === 1) throw new Error("cut off");
      return [Uint8Array.from({ length: 100 }, (_, k) => byteAt(k))];
    },
  });
  await expect(read(cache, 0, 5)).rejects.toThrow("cut off");
  await read(cache, 0, 5);
  expect(cache.bytes).toBe(100);
});
