import { StorageError } from "./errors.ts";
import { type Place, parentOf, placeOf } from "./place.ts";
import type { Files, Source, Version, WriteOptions } from "./port.ts";

/** All bytes of a file that holds at most `limitBytes`. @throws `storage/too-large` before anything is read */
export async function readWhole(source: Source, place: Place, limitBytes: number): Promise<Uint8Array> {
  return (await readWithVersion(source, place, limitBytes)).bytes;
}

/** Small files come with their opening. */
const FIRST_BYTES = 2 ** 20;

/** As `readWhole`, with the file's version by the handle that read it. */
export async function readWithVersion(
  source: Source,
  place: Place,
  limitBytes: number,
): Promise<{ readonly bytes: Uint8Array; readonly version: Version }> {
  const { bytes, sizeBytes, version } = await readIfShort(source, place, limitBytes);
  if (bytes !== undefined) return { bytes, version };
  throw new StorageError(
    "storage/too-large",
    `cannot read ${place} as a whole: it has ${sizeBytes} bytes, at most ${limitBytes} are allowed`,
    { hint: "Check that this is the right file." },
  );
}

/** The state of a file, and all its bytes where it has no more than `limitBytes`: one request for both. */
export async function readIfShort(
  source: Source,
  place: Place,
  limitBytes: number,
): Promise<{ readonly sizeBytes: number; readonly version: Version; readonly bytes?: Uint8Array }> {
  const file = await source.open(place, { firstBytes: Math.min(limitBytes, FIRST_BYTES) });
  try {
    const { sizeBytes, version } = await file.identity();
    if (sizeBytes > limitBytes) return { sizeBytes, version };
    const bytes = new Uint8Array(sizeBytes);
    await file.read(0, bytes);
    return { sizeBytes, version, bytes };
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
  files: Files,
  place: Place,
  bytes: Uint8Array,
  { by, ...options }: WriteOptions & { readonly by?: string } = {},
): Promise<void> {
  const partial = placeOf(by === undefined ? `${place}.partial` : `${place}.${by}.partial`);
  const file = await files.openForWriting(partial, options);
  try {
    await file.truncate(0);
    await file.write(0, bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  await files.rename(partial, place);
  await files.syncDirectory(parentOf(place));
}
