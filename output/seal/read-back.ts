import { createHash } from "node:crypto";
import { hashDiffers, type Place, type Readable, type Source, type StoredFile } from "../../storage/index.ts";
import { maybePartsHash, partsHashOf, partsHashText } from "../records/parts-hash.ts";

/** Of one read. Two buffers of it are in use at a time. */
export const READ_BACK_CHUNK_BYTES = 8 * 1024 * 1024;

export interface FileHash {
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface ByteRange {
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

/** SHA-256 of a whole file, opened afresh. @throws StorageError `storage/hash` where its store says another */
export async function hashFile(store: Source, path: Place): Promise<FileHash> {
  return withFile(store, path, async (file) => {
    const { sizeBytes, sha256: told } = await file.identity();
    const sha256 = await hashRange(file, { offsetBytes: 0, sizeBytes });
    if (told !== undefined && told !== sha256) throw hashDiffers(path, "SHA-256", sha256, told);
    return { sizeBytes, sha256 };
  });
}

/**
 * What a whole file's bytes are, told as `like` is: its SHA-256, or that of the SHA-256s of its parts. @throws as `hashFile`
 */
export async function digestOfFile(store: Source, path: Place, like: string): Promise<string> {
  const hash = maybePartsHash(like);
  if (hash === undefined) return (await hashFile(store, path)).sha256;
  return withFile(store, path, async (file) => {
    const { sizeBytes } = await file.identity();
    const hashes: string[] = [];
    for (let offsetBytes = 0; offsetBytes < sizeBytes; offsetBytes += hash.partBytes)
      hashes.push(await hashRange(file, { offsetBytes, sizeBytes: Math.min(hash.partBytes, sizeBytes - offsetBytes) }));
    return partsHashText(partsHashOf(hashes, hash.partBytes));
  });
}

/** SHA-256 of each range. @throws StorageError `storage/short-read` where the file ends before a range does */
export async function hashRanges(store: Source, path: Place, ranges: readonly ByteRange[]): Promise<readonly string[]> {
  return withFile(store, path, async (file) => {
    const hashes: string[] = [];
    for (const range of ranges) hashes.push(await hashRange(file, range));
    return hashes;
  });
}

async function hashRange(file: Readable, range: ByteRange): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of chunksOf(file, range)) hash.update(chunk);
  return hash.digest("hex");
}

/** Copies a range to the same place of another file. */
export async function copyRange(from: Readable, to: StoredFile, range: ByteRange): Promise<void> {
  let offsetBytes = range.offsetBytes;
  for await (const chunk of chunksOf(from, range)) {
    await to.write(offsetBytes, chunk);
    offsetBytes += chunk.length;
  }
}

/** The bytes of a range, piece by piece; a piece is valid until the next is asked for, and the next is being read meanwhile. */
async function* chunksOf(file: Readable, range: ByteRange): AsyncGenerator<Uint8Array> {
  const end = range.offsetBytes + range.sizeBytes;
  const buffers = [0, 1].map(() => new Uint8Array(Math.min(READ_BACK_CHUNK_BYTES, range.sizeBytes)));
  const readAt = async (offsetBytes: number, buffer = 0): Promise<Uint8Array> => {
    const chunk = (buffers[buffer] ?? new Uint8Array(0)).subarray(
      0,
      Math.min(READ_BACK_CHUNK_BYTES, end - offsetBytes),
    );
    await file.read(offsetBytes, chunk);
    return chunk;
  };
  let turn = 0;
  let next = range.sizeBytes > 0 ? readAt(range.offsetBytes) : undefined;
  for (let at = range.offsetBytes + READ_BACK_CHUNK_BYTES; next !== undefined; at += READ_BACK_CHUNK_BYTES) {
    const chunk = await next;
    turn = 1 - turn;
    next = at < end ? readAt(at, turn) : undefined;
    // Whoever stops early must not leave a read under way into a file that is being closed.
    next?.catch(() => undefined);
    yield chunk;
  }
}

async function withFile<T>(store: Source, path: Place, use: (file: Readable) => Promise<T>): Promise<T> {
  const file = await store.open(path);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}
