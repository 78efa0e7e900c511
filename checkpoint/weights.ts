import type { Place } from "../storage/index.ts";
import { ggufError, isGgufName, isPickleName, pickleError, some } from "./conversion.ts";
import { CheckpointError } from "./errors.ts";
import type { Folder } from "./folder.ts";
import { INDEX_NAME, MAX_INDEX_BYTES, parseShardIndex } from "./shard-index.ts";

/** The files that hold a model's tensors. */
export interface Weights {
  /** Sorted by name. */
  readonly files: readonly string[];
  /** The file of each tensor, where an index says so. */
  readonly shards: ReadonlyMap<string, string> | undefined;
}

const SINGLE_NAME = "model.safetensors";
const ADAPTER_NAME = "adapter_model.safetensors";
const ADAPTER_CONFIG_NAME = "adapter_config.json";
const shardName = /^model-\d+-of-\d+\.safetensors$/;
/** Pickled files that are no weights. */
const notWeights = /^(?:training_args|optimizer|scheduler|sampler|scaler|rng_state|random_states)[\w.-]*$/;

/**
 * Which of a folder's files are the model: those that transformers loads. Where files lie beside them that another reader would
 * take, or that it would take itself, nobody knows which model is meant; only an index without any of its shards is passed over.
 * @throws CheckpointError `checkpoint/ambiguous-weights` and others
 */
export async function chooseWeights(folder: Folder, label: string): Promise<Weights> {
  const names = folder.entries.filter((entry) => entry.kind !== "directory").map((entry) => entry.name);
  const hasSingle = names.includes(SINGLE_NAME);
  if (names.includes(INDEX_NAME)) {
    checkNoAdapter(names, INDEX_NAME, label);
    const shards = parseShardIndex(await folder.readWhole(INDEX_NAME, MAX_INDEX_BYTES), `${label}: ${INDEX_NAME}`);
    const files = [...new Set(shards.values())].sort();
    const present = new Set<string>();
    for (const file of files) if (await folder.exists(file)) present.add(file);
    const others = [...present].filter((file) => file !== SINGLE_NAME);
    if (hasSingle && others.length > 0) throw twice(others, files, label);
    if (present.size > 0 || !hasSingle) {
      checkShards(files, present, names, label);
      return { files, shards };
    }
  }
  if (hasSingle) {
    checkNoAdapter(names, SINGLE_NAME, label);
    return { files: [SINGLE_NAME], shards: undefined };
  }
  return { files: [onlyFile(names, folder.root, label)], shards: undefined };
}

/** transformers takes the single file, others the shards. Where one library wrote both they hold the same; who can say? */
function twice(shards: readonly string[], all: readonly string[], label: string): CheckpointError {
  return new CheckpointError(
    "checkpoint/ambiguous-weights",
    `${label}: the weights are there twice: ${SINGLE_NAME}, which transformers loads, and ${shards.length} of the ` +
      `${all.length} shards of ${INDEX_NAME} (${some(shards)})`,
    {
      hint: `Delete those that are not the model: ${SINGLE_NAME}, or ${INDEX_NAME} and its shards. One may be left over from an earlier save.`,
    },
  );
}

/** transformers with PEFT installed would load the adapter's base instead of these weights, and the adapter on it. */
function checkNoAdapter(names: readonly string[], weights: string, label: string): void {
  const adapter = names.find((name) => name === ADAPTER_NAME || name === "adapter_model.bin");
  if (adapter === undefined || !names.includes(ADAPTER_CONFIG_NAME)) return;
  throw new CheckpointError(
    "checkpoint/ambiguous-weights",
    `${label}: a whole model (${weights}) and an adapter (${adapter}, ${ADAPTER_CONFIG_NAME}) lie in one folder: transformers ` +
      "would load the adapter on its base, and not these weights",
    { hint: "Move the adapter, or the model, to a folder of its own; model+adapter applies one to the other." },
  );
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

function onlyFile(names: readonly string[], folder: Place, label: string): string {
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
  const pickles = names.filter((name) => isPickleName(name) && !notWeights.test(name));
  if (pickles.length > 0) throw pickleError(label, folder, pickles);
  const ggufs = names.filter(isGgufName);
  if (ggufs.length > 0) throw ggufError(label, folder, ggufs);
  throw new CheckpointError("checkpoint/no-weights", `${label}: no .safetensors file is there`, {
    hint: "Check that this is a model's folder and that its download was finished.",
  });
}
