import type { Source } from "../storage/index.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { CheckpointError, quoted } from "./errors.ts";
import { Folder } from "./folder.ts";
import { readWithState } from "./read-with-state.ts";

/**
 * A file beside a checkpoint's weights, all of it, in the state in which it was found when the checkpoint was opened.
 * @throws CheckpointError `checkpoint/changed` naming the file; StorageError, `storage/too-large` among them
 */
export async function readSidecar(
  store: Source,
  checkpoint: Pick<Checkpoint, "root" | "sidecars">,
  name: string,
  limitBytes: number,
): Promise<Uint8Array> {
  const known = checkpoint.sidecars?.get(name);
  if (known === undefined) {
    const folder = await Folder.open(store, { root: checkpoint.root }, checkpoint.root);
    return folder.readWhole(name, limitBytes);
  }
  const { bytes, state } = await readWithState(store, known.path, limitBytes);
  if (state.sizeBytes === known.sizeBytes && state.version === known.version) return bytes;
  throw new CheckpointError("checkpoint/changed", `${quoted(known.path)} changed since it was looked at first`, {
    hint: "Put the old file back and run the same command again, or merge anew from what is there now with --restart.",
  });
}

/** As `readSidecar`, for who plans with it: what was read when the checkpoint was opened need not be read again. */
export async function plannedSidecar(
  store: Source,
  checkpoint: Pick<Checkpoint, "root" | "sidecars" | "read">,
  name: string,
  limitBytes: number,
): Promise<Uint8Array> {
  const read = checkpoint.read?.get(name);
  return read !== undefined && read.length <= limitBytes ? read : readSidecar(store, checkpoint, name, limitBytes);
}
