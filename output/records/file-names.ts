/** Names of the files of an output; test/golden and transformers rely on them. */
export const CONFIG_NAME = "config.json";
export const CARD_NAME = "README.md";
export const RECIPE_NAME = "mergekit_config.yml";
export const INDEX_NAME = "model.safetensors.index.json";
export const MANIFEST_NAME = "deltaworks.manifest.json";
export const SUMS_NAME = "SHA256SUMS";

/** Inside an output: journal, lock, log and stage of the job. No part of the checkpoint. */
export const WORK_DIRECTORY = ".deltaworks";
/** The journal of a job whose output is a folder; of another it lies by this name in a folder of its own. */
export const JOURNAL_NAME = "journal";
export const JOURNAL_PATH = `${WORK_DIRECTORY}/${JOURNAL_NAME}`;
/** Where shards are put together until they are published. */
export const STAGE_PATH = `${WORK_DIRECTORY}/stage`;
/** In the stage, so that it goes with it: whose it is. */
export const OWNER_NAME = ".owner";
export const OWNER_BYTES_MAX = 1024;
/** Where repair builds a shard before it takes the damaged one's place. */
export const REPAIR_DIRECTORY = `${WORK_DIRECTORY}/repair`;
/** Held by whoever writes to an output. */
export const LOCK_PATH = `${WORK_DIRECTORY}/lock`;

/** The same of an output in a bucket, where nothing can be locked: an object that one has put. */
export const CLAIM_PATH = `${WORK_DIRECTORY}/claim.json`;

/**
 * Place of a file in the order of publishing. What makes a reader believe in a checkpoint comes after what it then
 * reads: shards, config, the rest, card and recipe, manifest, and the way in (the index, or the only shard) last.
 * SHA256SUMS follows: where it is, publishing has ended.
 */
export function publishRank(name: string): number {
  if (name === SUMS_NAME) return 6;
  if (isWayIn(name)) return 5;
  if (name === MANIFEST_NAME) return 4;
  if (name === CARD_NAME || name === RECIPE_NAME) return 3;
  if (isWeights(name)) return 0;
  return name === CONFIG_NAME ? 1 : 2;
}

/** Whether loaders look for the file by this name: without it a directory is no checkpoint. */
export function isWayIn(name: string): boolean {
  return name === INDEX_NAME || name === "model.safetensors" || name === "adapter_model.safetensors";
}

export function isWeights(name: string): boolean {
  return /\.(?:safetensors|bin|pt|pth|ckpt|gguf)$/.test(name);
}

/** Files that a loader may pick up, none of which lie in folders: a stray one changes what is loaded. */
export function changesTheModel(name: string): boolean {
  if (name.includes("/")) return false;
  return isWeights(name) || name.endsWith(".index.json") || name === CONFIG_NAME || name === "adapter_config.json";
}

/** Whether a name from a manifest stays inside the output and out of the work directory: it may be read and removed. */
export function isSafeName(name: string): boolean {
  if (name.length > 1000 || /[\\\p{Cc}]/u.test(name)) return false;
  const parts = name.split("/");
  return parts[0] !== WORK_DIRECTORY && parts.every((part) => part !== "" && part !== "." && part !== "..");
}
