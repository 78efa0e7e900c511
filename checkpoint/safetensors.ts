import type { Place, Source } from "../storage/index.ts";
import type { CheckpointFile, TensorEntry } from "./checkpoint.ts";
import { CheckpointError } from "./errors.ts";
import { sha256Hex } from "./hash.ts";
import { scanHeader } from "./header-scan.ts";

/** Of the JSON text; the limit of the safetensors library, too. */
export const MAX_HEADER_BYTES = 100_000_000;
const PREFIX_BYTES = 8;
/** Read at once, since a request may cost more than its bytes: headers of shards are mostly shorter. */
const FIRST_BYTES = 65_536;

export interface SafetensorsHeader {
  /** All of a CheckpointFile but its name. */
  readonly file: Omit<CheckpointFile, "name">;
  /** In the order of their offsets. */
  readonly entries: readonly TensorEntry[];
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Reads and checks the header of a safetensors file; no tensor byte is read.
 * `label` names the file in messages; `fileIndex` is what entries carry as `file`.
 * @throws CheckpointError if the file is not what it should be, StorageError if it cannot be read
 */
export async function readSafetensorsHeader(
  store: Source,
  path: Place,
  label: string,
  fileIndex = 0,
): Promise<SafetensorsHeader> {
  const stored = await store.open(path, { firstBytes: FIRST_BYTES });
  try {
    const { sizeBytes, version } = await stored.identity();
    if (sizeBytes < PREFIX_BYTES) {
      throw truncated(label, `the file has ${sizeBytes} bytes, the length of the header alone takes ${PREFIX_BYTES}`);
    }
    const first = new Uint8Array(Math.min(sizeBytes, FIRST_BYTES));
    await stored.read(0, first);
    const headerBytes = checkedLength(first.subarray(0, PREFIX_BYTES), sizeBytes, label);
    // Prefix and header in one piece: that is what the hash is taken of.
    let head = first.subarray(0, PREFIX_BYTES + headerBytes);
    if (head.length < PREFIX_BYTES + headerBytes) {
      head = new Uint8Array(PREFIX_BYTES + headerBytes);
      head.set(first);
      await stored.read(first.length, head.subarray(first.length));
    }
    const dataBytes = sizeBytes - head.length;
    const { entries, metadata } = scanHeader(head.subarray(PREFIX_BYTES), dataBytes, label, fileIndex);
    return { file: { path, sizeBytes, version, headerSha256: sha256Hex(head) }, entries, metadata };
  } finally {
    await stored.close();
  }
}

function checkedLength(prefix: Uint8Array, sizeBytes: number, label: string): number {
  const length = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    // The first eight bytes of what git leaves in place of a large file when git-lfs is not there.
    const isPointer = Buffer.from(prefix).toString("latin1") === "version ";
    throw new CheckpointError(
      "checkpoint/header-too-large",
      `${label}: its header is said to have ${length} bytes, at most ${MAX_HEADER_BYTES} are allowed`,
      {
        hint: isPointer
          ? 'This is a pointer of git-lfs in place of the file: run "git lfs pull" in its folder.'
          : "This is no safetensors file, or it is damaged: get it again.",
      },
    );
  }
  const headerBytes = Number(length);
  if (PREFIX_BYTES + headerBytes > sizeBytes) {
    throw truncated(label, `its header ends at byte ${PREFIX_BYTES + headerBytes}, the file has ${sizeBytes} bytes`);
  }
  return headerBytes;
}

function truncated(label: string, found: string): CheckpointError {
  return new CheckpointError("checkpoint/truncated", `${label}: ${found}`, {
    hint: "The file was cut short, perhaps by a download that broke off: get it again.",
  });
}
