import { CodedError, type Explanations } from "../errors/index.ts";

/** Every code a CheckpointError may carry. docs/errors.md is made of this. */
export const checkpointCodes = {
  // The file around the header
  "checkpoint/truncated": {
    means: "The file ends before its header or data do.",
    advice: "The download is not complete: get the file again.",
  },
  "checkpoint/header-too-large": {
    means: "The header is longer than 100 MB, or than the file.",
    advice: "No safetensors file, or a damaged one.",
  },
  "checkpoint/header-start": {
    means: "The header does not begin with `{`.",
    advice: "No safetensors file, or a damaged one.",
  },
  "checkpoint/header-trailing": {
    means: "Something other than spaces follows the header's JSON.",
    advice: "Write the file again with a sound writer.",
  },
  // JSON, in a header, an index or a config
  "checkpoint/json": {
    means: "The text is no JSON.",
    advice: "The byte is named; get the file again.",
  },
  "checkpoint/json-depth": {
    means: "Values nest deeper than the format needs.",
    advice: "Somebody made this file to do harm, or it is damaged.",
  },
  "checkpoint/json-utf8": {
    means: "Text is no valid UTF-8.",
    advice: "Get the file again.",
  },
  "checkpoint/json-number": {
    means: "A number is negative, not whole or too large where it may not be.",
    advice: "Write the file again with a sound writer.",
  },
  "checkpoint/duplicate-key": {
    means: "A key stands twice in one object; readers would disagree about which counts.",
    advice: "Write the file again.",
  },
  "checkpoint/proto-key": {
    means: "The key `__proto__` stands in it.",
    advice: "Do not trust this file.",
  },
  // One tensor in a header
  "checkpoint/tensor-name": {
    means: "A name is empty, too long (1,000 bytes) or holds control characters.",
    advice: "Rename the tensor.",
  },
  "checkpoint/duplicate-tensor": {
    means: "A tensor stands twice, in one file or in two shards.",
    advice: "Write the checkpoint again.",
  },
  "checkpoint/too-many-tensors": {
    means: "More than 1,000,000 tensors.",
    advice: "No language model has so many.",
  },
  "checkpoint/entry-keys": {
    means: "A tensor's entry lacks dtype, shape or data_offsets, or has other keys.",
    advice: "Write the file again.",
  },
  "checkpoint/dtype-unknown": {
    means: "No dtype of the format.",
    advice: "Write the file again, or use a later version of deltaworks.",
  },
  "checkpoint/shape-rank": {
    means: "More dimensions than allowed.",
    advice: "The file is damaged.",
  },
  "checkpoint/shape-overflow": {
    means: "The product of the dimensions is too large to be a size.",
    advice: "The file is damaged.",
  },
  "checkpoint/offsets-backwards": {
    means: "A tensor ends before it begins.",
    advice: "The file is damaged.",
  },
  "checkpoint/offsets-past-end": {
    means: "A tensor ends past the end of the file.",
    advice: "The download is not complete, or the file is damaged.",
  },
  "checkpoint/offsets-size": {
    means: "The range is not as long as dtype and shape say.",
    advice: "The file is damaged.",
  },
  "checkpoint/offsets-overlap": {
    means: "Two tensors share bytes.",
    advice: "The file is damaged, or made to do harm.",
  },
  "checkpoint/offsets-hole": {
    means: "Bytes that belong to no tensor.",
    advice: "Write the file again with a sound writer.",
  },
  "checkpoint/metadata": {
    means: "`__metadata__` is not a map of strings, or too long.",
    advice: "Write the file again.",
  },
  // Several files
  "checkpoint/index": {
    means: "The index of the shards is no map of names to files.",
    advice: "Get `model.safetensors.index.json` again.",
  },
  "checkpoint/index-path": {
    means: "The index names a file outside of the folder.",
    advice: "Do not trust this checkpoint.",
  },
  "checkpoint/index-missing": {
    means: "Several shards and no index.",
    advice: "Get `model.safetensors.index.json`.",
  },
  "checkpoint/index-tensor-missing": {
    means: "The index names a tensor that its shard does not hold.",
    advice: "Index and shards are of different versions: get both again.",
  },
  "checkpoint/index-tensor-extra": {
    means: "A shard holds a tensor that the index does not name there.",
    advice: "The same.",
  },
  "checkpoint/shard-missing": {
    means: "The index names a shard that is not there.",
    advice: "The download is not complete: get it.",
  },
  "checkpoint/shard-extra": {
    means: "A shard lies there that the index does not name.",
    advice: "Remove it, or get the index that goes with it.",
  },
  // A folder
  "checkpoint/no-weights": {
    means: "The folder or path holds no safetensors tensors.",
    advice: "Check the path.",
  },
  "checkpoint/ambiguous-weights": {
    means:
      "Several sets of weights lie in one folder: `model.safetensors` beside shards and their index, a model beside an adapter, several files of other names. Loaders differ in which they take.",
    advice: "Delete or move what is not the model, or name the `.safetensors` file.",
  },
  "checkpoint/adapter": {
    means: "The folder holds an adapter, no whole model.",
    advice: "Write model+adapter to have it applied.",
  },
  "checkpoint/adapter-config": {
    means: "An adapter lacks its config or weights, or the config says something impossible.",
    advice: "Correct it or get it again.",
  },
  "checkpoint/adapter-unsupported": {
    means: "The adapter is more than plain A and B (DoRA, embeddings, other types); the message names it.",
    advice: "Merge it into its model with PEFT, and name the result.",
  },
  "checkpoint/adapter-tensor": {
    means: "An adapter's file has a half without the other, or several adapters.",
    advice: "Get it again.",
  },
  "checkpoint/pickle": {
    means: "The weights are pickle files, which run code when they are loaded.",
    advice: "The hint is the command that converts them to safetensors.",
  },
  "checkpoint/gguf": {
    means: "The weights are GGUF files, for llama.cpp.",
    advice: "Take the model they were made from, or make values of them with the command in the hint.",
  },
  "checkpoint/config": {
    means: "`config.json` is no JSON object, or too large.",
    advice: "Get it again.",
  },
  "checkpoint/tokenizer": {
    means: "`tokenizer.json` or a file beside it is damaged, or of a kind that is not known.",
    advice: "Get it again, or write it anew with `save_pretrained` of a fast tokenizer.",
  },
  "checkpoint/changed": {
    means:
      "A file beside the weights (a config, a tokenizer, what is carried along) is not what it was when it was looked at first.",
    advice: "Put the old file back and run the same command again, or merge anew with `--restart`.",
  },
  "checkpoint/git-lfs": {
    means:
      "A tokenizer, config or other file that would be carried along is a pointer of git-lfs: the repository was cloned without its large files.",
    advice: "`git lfs pull` in the model's folder.",
  },
  "checkpoint/link-out": {
    means: "A symbolic link leads out of the model's folder.",
    advice:
      "Copy the file to its place. Only links from a snapshot of the Hub's cache into its own blobs are followed.",
  },
  "checkpoint/block-scaled": {
    means:
      "Tensors are codes with scales beside them of a kind that is not known, or whose shapes do not fit; merged as values they would be nonsense.",
    advice: "Convert the checkpoint to bf16.",
  },
  // Where a model is
  "checkpoint/not-found": {
    means: "Nothing is at the path, and it is no name on the Hub.",
    advice:
      "Relative paths count from the working directory, then from the recipe's folder; `--models-root` goes first.",
  },
  "checkpoint/not-in-cache": {
    means: "The model or revision is not in the Hub's cache on this machine.",
    advice: "The hint has the `hf download` command.",
  },
  "checkpoint/cache-damaged": {
    means: "A ref in the cache holds no commit, or a snapshot leads elsewhere.",
    advice: "Get the model again with the command of the hint.",
  },
  "checkpoint/ambiguous-path": {
    means: "The path is there both from the working directory and from the recipe's folder, and they differ.",
    advice: "Give an absolute path.",
  },
  "checkpoint/local-revision": {
    means: "A revision was given for a local folder.",
    advice: "Leave it out, or rename the folder if the Hub's model is meant.",
  },
  "checkpoint/address": {
    means:
      "A model's address (`scheme://…`) names no files: it has a query, a fragment, a password, a revision or a wrong `%`.",
    advice:
      "Write `scheme://host/path/`, percent-encoded: `%40` for `@`, `%2B` for `+`, `%3F` for `?`. Keys and tokens do not belong there; see [storage.md](storage.md).",
  },
} satisfies Explanations<"checkpoint">;

export type CheckpointCode = keyof typeof checkpointCodes;

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
