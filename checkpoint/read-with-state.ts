import { type Place, readWithVersion, type Source } from "../storage/index.ts";
import type { Sidecar } from "./checkpoint.ts";

/** A file's bytes, and its state by the handle that read it. */
export async function readWithState(
  store: Source,
  path: Place,
  limitBytes: number,
): Promise<{ readonly bytes: Uint8Array; readonly state: Sidecar }> {
  const { bytes, version } = await readWithVersion(store, path, limitBytes);
  return { bytes, state: { path, sizeBytes: bytes.length, version } };
}
