import { inParallel, type Source } from "../storage/index.ts";
import type { Checkpoint, CheckpointFile, TensorEntry } from "./checkpoint.ts";
import { CheckpointError, quoted } from "./errors.ts";
import { Folder } from "./folder.ts";
import { folderFiles } from "./folder-files.ts";
import { readJsonObject } from "./json-file.ts";
import { metadataOf } from "./metadata.ts";
import { readOrigin } from "./model-card.ts";
import type { ModelLocation } from "./model-location.ts";
import { readSafetensorsHeader } from "./safetensors.ts";
import { scaledTensors } from "./scaled-fp8.ts";
import { INDEX_NAME } from "./shard-index.ts";
import { storedCopies } from "./stored-copies.ts";
import { chooseWeights, type Weights } from "./weights.ts";

const CONFIG_NAME = "config.json";
/** Of one model: several are opened at once as well, and each header that is read is an open file. */
const HEADERS_AT_ONCE = 8;

export interface OpenOptions {
  /** For looking at a checkpoint only (inspect, diff): codes with scales that are not understood are let through. */
  readonly allowScaledFp8?: boolean;
  /** Integer codes with scales are let through, for whoever looks at packedWeights. */
  readonly allowPacked?: boolean;
}

/**
 * Reads what a model is: headers, index, config; of tensors a few KiB at most, where two may be one. Everything in it has been checked.
 * `label` names the model in messages.
 * @throws CheckpointError, StorageError
 */
export async function openCheckpoint(
  store: Source,
  location: ModelLocation,
  label: string,
  options: OpenOptions = {},
): Promise<Checkpoint> {
  const folder = await Folder.open(store, location, label);
  const weights: Weights =
    location.file === undefined ? await chooseWeights(folder, label) : { files: [location.file], shards: undefined };
  const read = await inParallel(weights.files, HEADERS_AT_ONCE, async (name, index) => {
    const path = await folder.resolve(name);
    return { name, ...(await readSafetensorsHeader(store, path, `${label}: ${name}`, index)) };
  });
  const files: CheckpointFile[] = [];
  const tensors = new Map<string, TensorEntry>();
  const headers: ReadonlyMap<string, string>[] = [];
  for (const { name, ...header } of read) {
    for (const tensor of header.entries) {
      if (weights.shards !== undefined) checkIndexed(tensor.name, name, weights.shards, label);
      tensors.set(tensor.name, tensor);
    }
    headers.push(header.metadata);
    files.push({ name, ...header.file });
  }
  if (weights.shards !== undefined) checkAllFound(weights.shards, tensors, label);
  if (tensors.size === 0) {
    throw new CheckpointError("checkpoint/no-weights", `${label}: ${weights.files.join(", ")} holds no tensor`, {
      hint: "Check that this is the right model.",
    });
  }
  const beside = location.file === undefined ? await besideWeights(folder, weights.files, label) : nothingBeside;
  const origin = location.file === undefined ? await readOrigin(folder, location) : undefined;
  const { metadata, unclear } = metadataOf(headers);
  const named = headers.flatMap((header) => [...header]);
  const aliases = new Map(named.filter(([alias, stored]) => !tensors.has(alias) && tensors.has(stored)));
  const copies = await storedCopies(store, files, tensors);
  const checkpoint = {
    ...{ root: folder.root, files, tensors, ...beside },
    ...(origin && { origin }),
    ...(aliases.size > 0 && { aliases }),
    ...(copies.size > 0 && { copies }),
    ...(metadata.size > 0 && { metadata }),
    ...(unclear.length > 0 && { unclearMetadata: unclear }),
  };
  // Codes that cannot be made values are refused now, whatever becomes of them.
  if (options.allowScaledFp8 !== true) {
    scaledTensors(checkpoint, label, { packed: options.allowPacked === true ? "leave" : "refuse" });
  }
  return checkpoint;
}

function checkIndexed(tensor: string, file: string, shards: ReadonlyMap<string, string>, label: string): void {
  const indexed = shards.get(tensor);
  if (indexed === file) return;
  // A tensor in two shards ends here as well: the index can name one of them only.
  throw new CheckpointError(
    "checkpoint/index-tensor-extra",
    indexed === undefined
      ? `${label}: tensor ${quoted(tensor)} stands in ${file}, but not in ${INDEX_NAME}`
      : `${label}: tensor ${quoted(tensor)} stands in ${file}, ${INDEX_NAME} places it in ${indexed}`,
    { hint: "Shards and index belong to different versions of the model, or are damaged: get them all again." },
  );
}

function checkAllFound(
  shards: ReadonlyMap<string, string>,
  tensors: ReadonlyMap<string, TensorEntry>,
  label: string,
): void {
  for (const [tensor, file] of shards) {
    if (tensors.has(tensor)) continue;
    throw new CheckpointError(
      "checkpoint/index-tensor-missing",
      `${label}: ${INDEX_NAME} places tensor ${quoted(tensor)} in ${file}, which lacks it`,
      { hint: "Shards and index belong to different versions of the model, or are damaged: get them all again." },
    );
  }
}

type Beside = Omit<Checkpoint, "root" | "files" | "tensors">;

const nothingBeside: Beside = { config: undefined, companions: [] };

async function besideWeights(folder: Folder, weights: readonly string[], label: string): Promise<Beside> {
  const hasConfig = await folder.exists(CONFIG_NAME);
  const config = hasConfig ? await readJsonObject(folder, CONFIG_NAME, label, "checkpoint/config") : undefined;
  const { companions, card, leftBehind, missing, read } = await folderFiles(folder, config?.json, weights, label);
  const sidecars = new Map([...companions, ...card]);
  if (config !== undefined) sidecars.set(CONFIG_NAME, config.state);
  return { config: config?.json, companions: [...companions.keys()], sidecars, read, leftBehind, missingCode: missing };
}
