import { join, sep } from "node:path";
import { type DirectoryEntry, readWhole, StorageError, type Store } from "../storage/index.ts";
import type { Checkpoint, CheckpointFile, TensorEntry } from "./checkpoint.ts";
import { CHAT_TEMPLATES_FOLDER, isCompanion } from "./companions.ts";
import { type CheckpointCode, CheckpointError, quoted } from "./errors.ts";
import { JsonBytes } from "./json-bytes.ts";
import type { ModelLocation } from "./model-location.ts";
import { readSafetensorsHeader } from "./safetensors.ts";
import { checkScaledFp8 } from "./scaled-fp8.ts";
import { INDEX_NAME, MAX_INDEX_BYTES } from "./shard-index.ts";
import { chooseWeights, type Weights } from "./weights.ts";

const CONFIG_NAME = "config.json";
const MAX_CONFIG_BYTES = 10_000_000;
const MAX_CONFIG_DEPTH = 64;

export interface OpenOptions {
  /** For looking at a checkpoint only (inspect, diff): block-scaled fp8 is let through. */
  readonly allowScaledFp8?: boolean;
}

/**
 * Reads what a model is: headers, index, config; no tensor byte. Everything in it has been checked.
 * `label` names the model in messages.
 * @throws CheckpointError, StorageError
 */
export async function openCheckpoint(
  store: Store,
  location: ModelLocation,
  label: string,
  options: OpenOptions = {},
): Promise<Checkpoint> {
  const folder = await Folder.open(store, location, label);
  const weights: Weights =
    location.file === undefined
      ? await chooseWeights(folder.entries, label, () => folder.readWhole(INDEX_NAME, MAX_INDEX_BYTES), folder.exists)
      : { files: [location.file], shards: undefined };
  const files: CheckpointFile[] = [];
  const tensors = new Map<string, TensorEntry>();
  for (const name of weights.files) {
    const path = await folder.resolve(name);
    const header = await readSafetensorsHeader(store, path, `${label}: ${name}`, files.length);
    for (const tensor of header.entries) {
      if (weights.shards !== undefined) checkIndexed(tensor.name, name, weights.shards, label);
      tensors.set(tensor.name, tensor);
    }
    files.push({ name, ...header.file });
  }
  if (weights.shards !== undefined) checkAllFound(weights.shards, tensors, label);
  if (tensors.size === 0) {
    throw new CheckpointError("checkpoint/no-weights", `${label}: ${weights.files.join(", ")} holds no tensor`, {
      hint: "Check that this is the right model.",
    });
  }
  const [config, companions] =
    location.file === undefined ? [await readConfig(folder, label), await findCompanions(folder)] : [undefined, []];
  const checkpoint = { root: folder.root, files, tensors, config, companions };
  if (options.allowScaledFp8 !== true) checkScaledFp8(checkpoint, label);
  return checkpoint;
}

/** A model's folder, from which no link leads out but into the blobs of its own repository in the Hub's cache. */
class Folder {
  readonly root: string;
  readonly entries: readonly DirectoryEntry[];
  readonly #store: Store;
  readonly #allowed: readonly string[];
  readonly #label: string;

  private constructor(
    store: Store,
    root: string,
    allowed: readonly string[],
    entries: readonly DirectoryEntry[],
    label: string,
  ) {
    this.#store = store;
    this.root = root;
    this.#allowed = allowed;
    this.entries = entries;
    this.#label = label;
  }

  static async open(store: Store, location: ModelLocation, label: string): Promise<Folder> {
    const root = await store.realPath(location.root);
    const allowed = location.allowLinksInto === undefined ? [root] : [root, location.allowLinksInto];
    const entries = location.file === undefined ? await store.list(root) : [];
    return new Folder(store, root, allowed, entries, label);
  }

  /** Where a file of the folder really is. @throws CheckpointError `checkpoint/link-out` */
  async resolve(name: string): Promise<string> {
    const path = await this.#store.realPath(join(this.root, name));
    if (this.#allowed.some((folder) => isInside(path, folder))) return path;
    throw new CheckpointError(
      "checkpoint/link-out",
      `${this.#label}: ${quoted(name)} is a link to ${quoted(path)}, out of the model's folder ${this.root}`,
      { hint: "Put the file itself in its place. Only links within the folder, or of the Hub's cache, are followed." },
    );
  }

  readonly exists = async (name: string): Promise<boolean> =>
    (await this.#store.identity(join(this.root, name)))?.kind === "file";

  async readWhole(name: string, limitBytes: number): Promise<Uint8Array> {
    return readWhole(this.#store, await this.resolve(name), limitBytes);
  }

  /** Files and links to files of a folder inside, sorted; none if it is not there. */
  async listInside(name: string): Promise<readonly string[]> {
    const isThere = this.entries.some((entry) => entry.name === name && entry.kind === "directory");
    if (!isThere) return [];
    const entries = await this.#store.list(await this.resolve(name));
    return entries.filter((entry) => entry.kind !== "directory").map((entry) => `${name}/${entry.name}`);
  }
}

function isInside(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
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

async function readConfig(folder: Folder, label: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  if (!(await folder.exists(CONFIG_NAME))) return undefined;
  const fail = (code: CheckpointCode, message: string, position?: number): never => {
    const place = position === undefined ? "" : ` (byte ${position})`;
    throw new CheckpointError(code, `${label}: ${CONFIG_NAME}: ${message}${place}`, {
      hint: `Correct ${CONFIG_NAME} or get it again.`,
    });
  };
  let bytes: Uint8Array;
  try {
    bytes = await folder.readWhole(CONFIG_NAME, MAX_CONFIG_BYTES);
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== "storage/too-large") throw error;
    return fail("checkpoint/config", `the file has more than the ${MAX_CONFIG_BYTES} bytes allowed`);
  }
  // JSON.parse alone would let through nesting on which whoever walks over the config later would choke.
  const json = new JsonBytes(bytes, fail);
  if (json.peek() !== 0x7b) fail("checkpoint/config", "it must be a JSON object");
  json.skipValue(MAX_CONFIG_DEPTH);
  if (json.peek() !== -1) json.unexpected("nothing more");
  return JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
}

async function findCompanions(folder: Folder): Promise<readonly string[]> {
  const names: string[] = [];
  for (const entry of folder.entries) {
    if (isCompanion(entry.name) && (await folder.exists(entry.name))) names.push(entry.name);
  }
  for (const name of await folder.listInside(CHAT_TEMPLATES_FOLDER)) {
    if (name.endsWith(".jinja") && (await folder.exists(name))) names.push(name);
  }
  for (const name of names) await folder.resolve(name); // throws where a link leads out
  return names.sort();
}
