import { CodedError, type Explanations } from "../errors/index.ts";

/** Every code a PublishError may carry. docs/errors.md is made of this. */
export const publishCodes = {
  // Whether an output directory may be used
  "publish/not-empty": {
    means: "The output directory, or the branch on the Hub, holds something else.",
    advice: "Choose another, or `--overwrite`; on the Hub `--pull-request` asks its owner.",
  },
  "publish/output-is-input": {
    means: "The output directory holds files that the merge reads; they would be written over.",
    advice: "Choose another directory.",
  },
  "publish/foreign-file": {
    means: "A file lies there that no record lists.",
    advice: "Move it away: `--overwrite` removes only what deltaworks wrote.",
  },
  "publish/unsafe-name": {
    means: "A record names a file outside of the output.",
    advice: "deltaworks did not write this record.",
  },
  "publish/target": {
    means: "An output cannot be published to that place.",
    advice: "`hf://owner/name`, `hf://owner/name@branch` or `s3://bucket/prefix`; the message says what is wrong.",
  },
  // Making and placing the files
  "publish/layer-count": {
    means: "The number of layers changes, and `config.json` has no key that holds it, nor a list of their kinds.",
    advice: "Add the key of its model type (`num_hidden_layers`, `n_layer`, `num_layers`, `n_layers`).",
  },
  "publish/stage-missing": {
    means: "A finished file is gone from the stage and from the output.",
    advice: "Run again with `--restart`.",
  },
  // The records of an output
  "publish/manifest": {
    means: "The manifest is damaged.",
    advice: "`deltaworks repair` makes it anew.",
  },
  "publish/sums": {
    means: "SHA256SUMS is damaged.",
    advice: "`deltaworks repair` makes it anew.",
  },
  // Repair
  "publish/unrecoverable": {
    means: "Manifest and SHA256SUMS are both lost.",
    advice: "Nothing says any more what the bytes were: merge again.",
  },
  "publish/recipe-lost": {
    means: "The recipe is damaged in the output and in the model card.",
    advice: "Put its text back as `mergekit_config.yml`, byte by byte.",
  },
  "publish/input-differs": {
    means: "A model is not the one the output was made from.",
    advice: "Bring that version back; `--models-root` says where it is.",
  },
  "publish/plan-differs": {
    means: "Recipe and inputs give another plan now.",
    advice: "An input changed, or this version plans differently: use the version of the manifest.",
  },
  "publish/not-reproduced": {
    means: "What was computed again has other bytes than were published.",
    advice: "An input changed while its header did not, or another version made the output. The output is as it was.",
  },
} satisfies Explanations<"publish">;

export type PublishCode = keyof typeof publishCodes;

/** An output that cannot be published, checked or repaired: what stands there is what it is; a failed read or write is a StorageError. */
export class PublishError extends CodedError<PublishCode> {}
