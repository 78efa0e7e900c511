import type { DirectoryEntry } from "../storage/index.ts";
import { CheckpointError } from "./errors.ts";
import { INDEX_NAME, parseShardIndex } from "./shard-index.ts";

/** The files that hold a model's tensors. */
export interface Weights {
  /** Sorted by name. */
  readonly files: readonly string[];
  /** The file of each tensor, where an index says so. */
  readonly shards: ReadonlyMap<string, string> | undefined;
}

const SINGLE_NAME = "model.safetensors";
const ADAPTER_NAME = "adapter_model.safetensors";
const shardName = /^model-\d+-of-\d+\.safetensors$/;
const pickleName = /\.(?:bin|pt|pth|ckpt)$/;
/** Pickled files that are no weights. */
const notWeights = /^(?:training_args\.bin|optimizer\.pt|scheduler\.pt|rng_state.*\.pth|scaler\.pt)$/;

/**
 * Which of a folder's files are the model. Index and single file both there: the index, if any of its shards is there.
 * (transformers takes the single file; where a library wrote both, they hold the same.)
 * @throws CheckpointError
 */
export async function chooseWeights(
  entries: readonly DirectoryEntry[],
  label: string,
  readIndex: () => Promise<Uint8Array>,
  exists: (name: string) => Promise<boolean>,
): Promise<Weights> {
  const names = entries.filter((entry) => entry.kind !== "directory").map((entry) => entry.name);
  if (names.includes(INDEX_NAME)) {
    const shards = parseShardIndex(await readIndex(), `${label}: ${INDEX_NAME}`);
    const files = [...new Set(shards.values())].sort();
    const present = new Set<string>();
    for (const file of files) if (await exists(file)) present.add(file);
    const isStale = present.size === 0 && names.includes(SINGLE_NAME);
    if (!isStale) {
      checkShards(files, present, names, label);
      return { files, shards };
    }
  }
  if (names.includes(SINGLE_NAME)) return { files: [SINGLE_NAME], shards: undefined };
  return { files: [onlyFile(names, label)], shards: undefined };
}

function checkShards(
  files: readonly string[],
  present: ReadonlySet<string>,
  names: readonly string[],
  label: string,
): void {
  const missing = files.filter((file) => !present.has(file));
  if (missing.length > 0) {
    throw new CheckpointError(
      "checkpoint/shard-missing",
      `${label}: ${missing.length} of the ${files.length} files that ${INDEX_NAME} names are not there: ${some(missing)}`,
      { hint: "Get the missing files." },
    );
  }
  const extra = names.filter((name) => shardName.test(name) && !present.has(name));
  if (extra.length > 0) {
    throw new CheckpointError(
      "checkpoint/shard-extra",
      `${label}: ${some(extra)} beside ${INDEX_NAME}, which does not name ${extra.length === 1 ? "it" : "them"}`,
      { hint: "They may be left over from another version of the model. Remove them, or get the right index." },
    );
  }
}

function onlyFile(names: readonly string[], label: string): string {
  const candidates = names.filter((name) => name.endsWith(".safetensors") && name !== ADAPTER_NAME);
  const [only, another] = candidates;
  if (only !== undefined && another === undefined && !shardName.test(only)) return only;
  if (only !== undefined && candidates.some((name) => /-\d+-of-\d+\.safetensors$/.test(name))) {
    throw new CheckpointError(
      "checkpoint/index-missing",
      `${label}: shards without ${INDEX_NAME}: ${some(candidates)}`,
      {
        hint: "Get the index that belongs to them.",
      },
    );
  }
  if (only !== undefined) {
    throw new CheckpointError(
      "checkpoint/ambiguous-weights",
      `${label}: neither ${SINGLE_NAME} nor ${INDEX_NAME}, but ${candidates.length} others: ${some(candidates)}`,
      { hint: "Name the file that is meant instead of its folder." },
    );
  }
  if (names.includes(ADAPTER_NAME)) {
    throw new CheckpointError("checkpoint/adapter", `${label}: ${ADAPTER_NAME} is an adapter, not a whole model`, {
      hint: "Name the file itself to look at its tensors; to merge, first add the adapter to its base model.",
    });
  }
  const pickles = names.filter((name) => pickleName.test(name) && !notWeights.test(name));
  if (pickles.length > 0) throw pickleError(label, pickles);
  throw new CheckpointError("checkpoint/no-weights", `${label}: no .safetensors file is there`, {
    hint: "Check that this is a model's folder and that its download was finished.",
  });
}

/** `names`: the files found. */
export function pickleError(label: string, names: readonly string[]): CheckpointError {
  return new CheckpointError(
    "checkpoint/pickle",
    `${label}: ${some(names)}: pickle files can run any code when they are read, and are not supported`,
    {
      hint:
        "Convert to safetensors: load the model with transformers and save it with save_pretrained(..., safe_serialization=True), " +
        "or use https://huggingface.co/spaces/safetensors/convert.",
    },
  );
}

export function isPickleName(name: string): boolean {
  return pickleName.test(name);
}

/** The first few names, and how many more there are. */
function some(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(", ");
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown;
}
