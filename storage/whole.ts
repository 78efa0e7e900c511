import { dirname } from "node:path";
import { StorageError } from "./errors.ts";
import type { OpenOptions, Store, Version } from "./store.ts";

/** All bytes of a file that holds at most `limitBytes`. @throws `storage/too-large` before anything is read */
export async function readWhole(store: Store, path: string, limitBytes: number): Promise<Uint8Array> {
  return (await readWithVersion(store, path, limitBytes)).bytes;
}

/** Small files come with their opening. */
const FIRST_BYTES = 2 ** 20;

/** As `readWhole`, with the file's version by the handle that read it. */
export async function readWithVersion(
  store: Store,
  path: string,
  limitBytes: number,
): Promise<{ readonly bytes: Uint8Array; readonly version: Version }> {
  const file = await store.open(path, "read", { firstBytes: Math.min(limitBytes, FIRST_BYTES) });
  try {
    const { sizeBytes, version } = await file.identity();
    if (sizeBytes > limitBytes) {
      throw new StorageError(
        "storage/too-large",
        `cannot read ${path} as a whole: it has ${sizeBytes} bytes, at most ${limitBytes} are allowed`,
        { hint: "Check that this is the right file." },
      );
    }
    const bytes = new Uint8Array(sizeBytes);
    await file.read(0, bytes);
    return { bytes, version };
  } finally {
    await file.close();
  }
}

/**
 * Puts a whole file in place: whatever happens, a reader finds the old bytes or the new ones. Durable when it resolves.
 * Passes through `<path>.partial`, which a crash may leave behind and the next call uses again. `by`: of whoever may write it while others
 * do, and stands in the name too: two that shared a file could still change it once one of them has put it in place.
 */
export async function writeWhole(
  store: Store,
  path: string,
  bytes: Uint8Array,
  { by, ...options }: OpenOptions & { readonly by?: string } = {},
): Promise<void> {
  const partial = by === undefined ? `${path}.partial` : `${path}.${by}.partial`;
  const file = await store.open(partial, "write", options);
  try {
    await file.truncate(0);
    await file.write(0, bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  await store.rename(partial, path);
  await store.syncDirectory(dirname(path));
}
