import type { Source } from "../storage/index.ts";
import { ADAPTER_CONFIG_NAME, type AdapterConfig, parseAdapterConfig, unsupported } from "./adapter-config.ts";
import { type AdapterTensors, sortAdapterTensors } from "./adapter-tensors.ts";
import { isEmbeddingLike } from "./architecture.ts";
import type { Checkpoint, TensorEntry } from "./checkpoint.ts";
import { companionKind } from "./companions.ts";
import { isPickleName, pickleError } from "./conversion.ts";
import { isOpaqueDtype } from "./dtype.ts";
import { CheckpointError, quoted } from "./errors.ts";
import { Folder } from "./folder.ts";
import { folderFiles } from "./folder-files.ts";
import { readJsonObject } from "./json-file.ts";
import { readOrigin } from "./model-card.ts";
import type { ModelLocation } from "./model-location.ts";
import { openCheckpoint } from "./open-checkpoint.ts";
import { readSafetensorsHeader } from "./safetensors.ts";

export const ADAPTER_NAME = "adapter_model.safetensors";

/** A LoRA adapter, known from its header and config alone. Plain data. */
export interface Adapter extends AdapterTensors {
  /** Its one file; no companions. The config is that of the adapter. */
  readonly checkpoint: Checkpoint;
  /** Undefined of a bare file, which does not say how A and B are scaled. */
  readonly config?: AdapterConfig;
}

/** A model's files, or an adapter's. */
export interface OpenedFiles {
  readonly checkpoint: Checkpoint;
  readonly adapter?: Adapter;
}

/**
 * What stands where a model may stand: a whole model, or an adapter, as a folder of PEFT or as a file whose tensors are called lora_A
 * and lora_B. @throws CheckpointError, StorageError
 */
export async function openModelOrAdapter(store: Source, location: ModelLocation, label: string): Promise<OpenedFiles> {
  let checkpoint: Checkpoint;
  try {
    checkpoint = await openCheckpoint(store, location, label, { allowPacked: true });
  } catch (error) {
    if (!(error instanceof CheckpointError) || error.code !== "checkpoint/adapter") throw error;
    return adapterFiles(await openAdapter(store, location, label));
  }
  if (![...checkpoint.tensors.keys()].some((name) => /\.lora_[AB](?:\.|$)/.test(name))) return { checkpoint };
  refuseUnmerged(checkpoint, label);
  const { file, ...place } = location;
  const folder = await Folder.open(store, place, label);
  if (file === ADAPTER_NAME && (await folder.exists(ADAPTER_CONFIG_NAME))) {
    return adapterFiles(await openAdapter(store, location, label));
  }
  return { checkpoint, ...maybeBareAdapter(checkpoint, label) };
}

/** A model as it was trained, with its adapter beside the weights: no loader of models puts the two together. */
function refuseUnmerged({ tensors }: Checkpoint, label: string): void {
  const adapted = new Set([...tensors.keys()].flatMap((name) => /^(.*)\.lora_[AB](?:\.|$)/s.exec(name)?.[1] ?? []));
  const isUnmerged = (name: string) =>
    /\.weight$/.test(name) &&
    (name.endsWith(".base_layer.weight") || adapted.has(name.slice(0, -".weight".length))) &&
    !isEmbeddingLike(plainName(name));
  const found = [...tensors.keys()].find(isUnmerged);
  if (found === undefined) return;
  throw unsupported(label, `it holds ${quoted(found)} beside lora_A`, "a model that was saved with its adapter in it");
}

function plainName(name: string): string {
  return name.replace(".base_layer.", ".");
}

function adapterFiles(adapter: Adapter): OpenedFiles {
  return { checkpoint: adapter.checkpoint, adapter };
}

/** A file with tensors besides A and B is one of its own kind: its tensors can be merged by their names, and that is all. */
function maybeBareAdapter(checkpoint: Checkpoint, label: string): { readonly adapter?: Adapter } {
  try {
    return { adapter: { checkpoint, ...sortAdapterTensors(checkpoint.tensors, label) } };
  } catch (error) {
    if (error instanceof CheckpointError) return {};
    throw error;
  }
}

/**
 * Reads what a PEFT adapter is: adapter_model.safetensors and adapter_config.json beside it. No tensor byte is read.
 * @throws CheckpointError, StorageError
 */
export async function openAdapter(store: Source, location: ModelLocation, label: string): Promise<Adapter> {
  const { file: named, ...place } = location;
  const folder = await Folder.open(store, place, label);
  const name = named ?? ADAPTER_NAME;
  if (!(await folder.exists(name))) {
    const pickles = folder.entries.map((entry) => entry.name).filter((entry) => /^adapter_model/.test(entry));
    if (pickles.some(isPickleName)) throw pickleError(label, folder.root, pickles.filter(isPickleName));
    throw missing(label, name, "A reference model+adapter wants the folder of a PEFT adapter after the +.");
  }
  if (!(await folder.exists(ADAPTER_CONFIG_NAME))) {
    throw missing(label, ADAPTER_CONFIG_NAME, "It says rank and scale, and belongs beside the adapter's weights.");
  }
  const { json, state } = await readJsonObject(folder, ADAPTER_CONFIG_NAME, label, "checkpoint/adapter-config");
  const config = parseAdapterConfig(json, label);
  const header = await readSafetensorsHeader(store, await folder.resolve(name), `${label}: ${name}`, 0);
  const tensors = new Map<string, TensorEntry>(header.entries.map((entry) => [entry.name, entry]));
  const opaque = header.entries.find(({ dtype }) => isOpaqueDtype(dtype));
  if (opaque !== undefined)
    throw unsupported(label, `it holds ${quoted(opaque.name)} as ${opaque.dtype}`, "codes of which no values are made");
  // Trainers write the tokenizer that they trained with beside the adapter.
  const found = await folderFiles(folder, undefined, [name], label);
  const texts = [...found.companions].filter(([companion]) => companionKind(companion) !== "other");
  const files = [{ name, ...header.file }];
  const companions = texts.map(([companion]) => companion);
  const sidecars = new Map([[ADAPTER_CONFIG_NAME, state], ...texts, ...found.card]);
  const origin = await readOrigin(folder, location);
  const checkpoint = {
    root: folder.root,
    files,
    tensors,
    config: json,
    companions,
    sidecars,
    ...(origin && { origin }),
  };
  const sorted = sortAdapterTensors(tensors, label);
  if (config.tokenRows.size > 0 && sorted.tokenRows.size === 0) {
    throw unsupported(
      label,
      "trainable_token_indices is set",
      "trained rows of the embedding that are not in its file",
    );
  }
  checkMagnitudes(sorted, config, label);
  return { checkpoint, config, ...sorted };
}

/** PEFT passes magnitudes over unless the config says that they count. */
function checkMagnitudes({ pairs }: AdapterTensors, { isDora }: AdapterConfig, label: string): void {
  for (const [module, { magnitudes, isEmbedding }] of pairs) {
    if (isDora && isEmbedding === true)
      throw unsupported(label, `use_dora is set for ${quoted(module)}`, "DoRA on an embedding");
    if (isDora === (magnitudes !== undefined)) continue;
    const [found, what] = isDora
      ? [`use_dora is set, and there is no lora_magnitude_vector of ${quoted(module)}`, "DoRA without magnitudes"]
      : [`it holds ${quoted(magnitudes?.name ?? module)}, and use_dora is not set`, "magnitudes that do not count"];
    throw unsupported(label, found, what);
  }
}

function missing(label: string, name: string, hint: string): CheckpointError {
  return new CheckpointError("checkpoint/adapter-config", `${label}: ${name} is not there`, { hint });
}
