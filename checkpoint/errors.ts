import { CodedError } from "../errors/index.ts";

/** Every code a CheckpointError may carry. docs/errors.md explains each. */
export const checkpointCodes = [
  // The file around the header
  "checkpoint/truncated",
  "checkpoint/header-too-large",
  "checkpoint/header-start",
  "checkpoint/header-trailing",
  // JSON, in a header, an index or a config
  "checkpoint/json",
  "checkpoint/json-depth",
  "checkpoint/json-utf8",
  "checkpoint/json-number",
  "checkpoint/duplicate-key",
  "checkpoint/proto-key",
  // One tensor in a header
  "checkpoint/tensor-name",
  "checkpoint/duplicate-tensor",
  "checkpoint/too-many-tensors",
  "checkpoint/entry-keys",
  "checkpoint/dtype-unknown",
  "checkpoint/shape-rank",
  "checkpoint/shape-overflow",
  "checkpoint/offsets-backwards",
  "checkpoint/offsets-past-end",
  "checkpoint/offsets-size",
  "checkpoint/offsets-overlap",
  "checkpoint/offsets-hole",
  "checkpoint/metadata",
  // Several files
  "checkpoint/index",
  "checkpoint/index-path",
  "checkpoint/index-missing",
  "checkpoint/index-tensor-missing",
  "checkpoint/index-tensor-extra",
  "checkpoint/shard-missing",
  "checkpoint/shard-extra",
  // A folder
  "checkpoint/no-weights",
  "checkpoint/ambiguous-weights",
  "checkpoint/adapter",
  "checkpoint/adapter-config",
  "checkpoint/adapter-unsupported",
  "checkpoint/adapter-tensor",
  "checkpoint/pickle",
  "checkpoint/gguf",
  "checkpoint/config",
  "checkpoint/tokenizer",
  "checkpoint/git-lfs",
  "checkpoint/link-out",
  "checkpoint/changed",
  "checkpoint/block-scaled",
  // Where a model is
  "checkpoint/not-found",
  "checkpoint/not-in-cache",
  "checkpoint/cache-damaged",
  "checkpoint/ambiguous-path",
  "checkpoint/local-revision",
  "checkpoint/scheme",
] as const;

export type CheckpointCode = (typeof checkpointCodes)[number];

/** Never retryable: the bytes are what they are; a failed read is a StorageError. */
export class CheckpointError extends CodedError<CheckpointCode> {}

/** Text from a file, fit for a message: quoted, control characters escaped, long ones cut. */
export function quoted(text: string): string {
  const cut = text.length > 200 ? `${text.slice(0, 200)}…` : text;
  // JSON leaves DEL and the C1 controls as they are; a terminal obeys them.
  return JSON.stringify(cut).replace(
    /[\u007f-\u009f]/g,
    (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
