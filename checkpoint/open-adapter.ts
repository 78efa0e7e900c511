import type { Store } from "../storage/index.ts";
import { ADAPTER_CONFIG_NAME, type AdapterConfig, parseAdapterConfig } from "./adapter-config.ts";
import { type AdapterTensors, sortAdapterTensors } from "./adapter-tensors.ts";
import type { Checkpoint, TensorEntry } from "./checkpoint.ts";
import { CheckpointError } from "./errors.ts";
import { Folder } from "./folder.ts";
import { readJsonObject } from "./json-file.ts";
import type { ModelLocation } from "./model-location.ts";
import { readSafetensorsHeader } from "./safetensors.ts";
import { isPickleName, pickleError } from "./weights.ts";

export const ADAPTER_NAME = "adapter_model.safetensors";

/** A LoRA adapter, known from its header and config alone. Plain data. */
export interface Adapter extends AdapterTensors {
  /** Its one file; no companions. The config is that of the adapter. */
  readonly checkpoint: Checkpoint;
  readonly config: AdapterConfig;
}

/**
 * Reads what a PEFT adapter is: adapter_model.safetensors and adapter_config.json beside it. No tensor byte is read.
 * @throws CheckpointError, StorageError
 */
export async function openAdapter(store: Store, location: ModelLocation, label: string): Promise<Adapter> {
  const { file: named, ...place } = location;
  const folder = await Folder.open(store, place, label);
  const name = named ?? ADAPTER_NAME;
  if (!(await folder.exists(name))) {
    const pickles = folder.entries.map((entry) => entry.name).filter((entry) => /^adapter_model/.test(entry));
    if (pickles.some(isPickleName)) throw pickleError(label, pickles.filter(isPickleName));
    throw missing(label, name, "A reference model+adapter wants the folder of a PEFT adapter after the +.");
  }
  if (!(await folder.exists(ADAPTER_CONFIG_NAME))) {
    throw missing(label, ADAPTER_CONFIG_NAME, "It says rank and scale, and belongs beside the adapter's weights.");
  }
  const json = await readJsonObject(folder, ADAPTER_CONFIG_NAME, label, "checkpoint/adapter-config");
  const config = parseAdapterConfig(json, label);
  const header = await readSafetensorsHeader(store, await folder.resolve(name), `${label}: ${name}`, 0);
  const tensors = new Map<string, TensorEntry>(header.entries.map((entry) => [entry.name, entry]));
  const checkpoint = { root: folder.root, files: [{ name, ...header.file }], tensors, config: json, companions: [] };
  return { checkpoint, config, ...sortAdapterTensors(tensors, label) };
}

function missing(label: string, name: string, hint: string): CheckpointError {
  return new CheckpointError("checkpoint/adapter-config", `${label}: ${name} is not there`, { hint });
}
