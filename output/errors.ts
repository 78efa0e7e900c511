import { CodedError } from "../errors/index.ts";

/** Every code a PublishError may carry. docs/errors.md explains each. */
export const publishCodes = [
  // Whether an output directory may be used
  "publish/not-empty",
  "publish/foreign-file",
  "publish/output-is-input",
  "publish/unsafe-name",
  // Making and placing the files
  "publish/layer-count",
  "publish/stage-missing",
  // The records of an output
  "publish/manifest",
  "publish/sums",
  // Repair
  "publish/unrecoverable",
  "publish/recipe-lost",
  "publish/input-differs",
  "publish/plan-differs",
  "publish/not-reproduced",
] as const;

export type PublishCode = (typeof publishCodes)[number];

/** An output that cannot be published, checked or repaired: what stands there is what it is; a failed read or write is a StorageError. */
export class PublishError extends CodedError<PublishCode> {}
