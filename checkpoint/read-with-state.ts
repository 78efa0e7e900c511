import { type Place, readWithVersion, type Source, type Version } from "../storage/index.ts";

/** A file beside the weights, as it was found. */
export interface Sidecar {
  /** Where to open it: absolute, links resolved. */
  readonly path: Place;
  readonly sizeBytes: number;
  readonly version: Version;
}

/** A file's bytes, and its state by the handle that read it. */
export async function readWithState(
  store: Source,
  path: Place,
  limitBytes: number,
): Promise<{ readonly bytes: Uint8Array; readonly state: Sidecar }> {
  const { bytes, version } = await readWithVersion(store, path, limitBytes);
  return { bytes, state: { path, sizeBytes: bytes.length, version } };
}
