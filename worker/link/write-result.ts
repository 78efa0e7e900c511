import { type Files, linkless, type Place, type StoredFile, type Stores } from "../../storage/index.ts";

/** One call writes so much: seldom enough to cost nothing, small enough that a slow disk takes one within its time. */
const PIECE_BYTES = 4 * 1024 * 1024;

/** Around every call that may change storage. */
export interface IoFence {
  /** Whether one may begin now, and still be over before the lease is. */
  mayBegin(): boolean;
  began(): void;
  ended(): void;
}

export interface ResultPlace {
  /** Absolute, every link resolved. It must be there: nothing is made. */
  readonly path: Place;
  readonly offsetBytes: number;
}

/**
 * Writes a granted result to its place and makes it durable. False: the fence closed; no call is under way then. The file is opened
 * for this result alone, so that its sync speaks of nothing else, and closed after: network file systems report the last errors there.
 * @throws StorageError
 */
export async function writeResult(
  store: Files,
  { path, offsetBytes }: ResultPlace,
  bytes: Uint8Array,
  fence: IoFence,
): Promise<boolean> {
  let file: StoredFile | undefined;
  const calls = [
    async () => {
      file = await linkless(store).openForWriting(path, { mustExist: true });
    },
    ...piecesOf(bytes).map(
      ({ at, piece }) =>
        async () =>
          file?.write(offsetBytes + at, piece),
    ),
    async () => file?.sync(),
    async () => {
      const open = file;
      file = undefined;
      await open?.close();
    },
  ];
  try {
    for (const call of calls) {
      if (!(await fenced(fence, call))) return false;
    }
    return true;
  } finally {
    // After a failure its own error would hide the first; and closing writes nothing that a call before has not.
    await file?.close().catch(() => undefined);
  }
}

async function fenced(fence: IoFence, call: () => Promise<void>): Promise<boolean> {
  if (!fence.mayBegin()) return false;
  fence.began();
  try {
    await call();
  } finally {
    fence.ended();
  }
  return true;
}

/** The same in a bucket, with keys of this worker: one call, durable once it is answered. @throws StorageError */
export function putResult(
  putPart: Stores["putPart"],
  { path, offsetBytes }: ResultPlace,
  { bytes, sha256 }: { readonly bytes: Uint8Array; readonly sha256: string },
  fence: IoFence,
): Promise<boolean> {
  return fenced(fence, async () => void (await putPart(path, offsetBytes, bytes, sha256)));
}

function piecesOf(bytes: Uint8Array): { readonly at: number; readonly piece: Uint8Array }[] {
  return Array.from({ length: Math.ceil(bytes.length / PIECE_BYTES) }, (_, k) => ({
    at: k * PIECE_BYTES,
    piece: bytes.subarray(k * PIECE_BYTES, Math.min(bytes.length, (k + 1) * PIECE_BYTES)),
  }));
}
