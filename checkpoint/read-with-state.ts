import { StorageError, type Store } from "../storage/index.ts";
import type { Sidecar } from "./checkpoint.ts";

/** A file's bytes, and its state: the same before and after it was read, by the handle that read it. */
export async function readWithState(
  store: Store,
  path: string,
  limitBytes: number,
): Promise<{ readonly bytes: Uint8Array; readonly state: Sidecar }> {
  const file = await store.open(path, "read");
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
    return { bytes, state: { path, sizeBytes, version } };
  } finally {
    await file.close();
  }
}
