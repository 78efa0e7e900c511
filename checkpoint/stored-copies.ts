import type { Place, Source } from "../storage/index.ts";
import type { CheckpointFile, TensorEntry } from "./checkpoint.ts";
import { copyNames } from "./tied-weights.ts";

/** Of each tensor so many ranges of so many bytes are compared, evenly spread; shorter ones whole. */
const RANGES = 16;
const RANGE_BYTES = 4096;

/**
 * Which tensors that may be one parameter stored twice have the same bytes. What headers cannot tell: a head that its model's config
 * ties is a copy of the embedding, or one of its own. At most 64 KiB of each are read, and 4 KiB where they differ. Names of both; those
 * that cannot be copies, because dtype or shape differ, have the answer false.
 */
export async function storedCopies(
  store: Source,
  files: readonly CheckpointFile[],
  tensors: ReadonlyMap<string, TensorEntry>,
): Promise<ReadonlyMap<string, boolean>> {
  const answers = new Map<string, boolean>();
  for (const { name, of } of copyNames(tensors)) {
    const [copy, original] = [tensors.get(name), tensors.get(of)];
    if (copy === undefined || original === undefined) continue;
    const isAlike = copy.dtype === original.dtype && copy.shape.join() === original.shape.join();
    const [first, second] = [files[copy.file], files[original.file]];
    if (first === undefined || second === undefined) throw new Error("a tensor lies in a file of its checkpoint");
    const bytes = [
      { ...copy, path: first.path },
      { ...original, path: second.path },
    ] as const;
    answers.set(name, isAlike && (await haveSameBytes(store, ...bytes)));
  }
  return answers;
}

/** Where the bytes of a tensor lie. */
export interface StoredBytes extends Pick<TensorEntry, "offsetBytes" | "sizeBytes"> {
  readonly path: Place;
}

/** Whether two tensors have the same bytes, as far as 64 KiB of each tell. @throws StorageError */
export async function haveSameBytes(store: Source, one: StoredBytes, two: StoredBytes): Promise<boolean> {
  if (one.sizeBytes !== two.sizeBytes) return false;
  const [left, right] = [await store.open(one.path), await store.open(two.path)];
  try {
    for (const [offset, length] of samplesOf(one.sizeBytes)) {
      const [a, b] = [new Uint8Array(length), new Uint8Array(length)];
      await left.read(one.offsetBytes + offset, a);
      await right.read(two.offsetBytes + offset, b);
      if (Buffer.compare(a, b) !== 0) return false;
    }
    return true;
  } finally {
    await left.close();
    await right.close();
  }
}

function samplesOf(sizeBytes: number): [offset: number, length: number][] {
  if (sizeBytes <= RANGES * RANGE_BYTES) return [[0, sizeBytes]];
  const last = sizeBytes - RANGE_BYTES;
  return Array.from({ length: RANGES }, (_, k) => [Math.floor((last * k) / (RANGES - 1)), RANGE_BYTES]);
}
