import {
  fillHubCache,
  hubPlaceOf,
  isHubOffline,
  join,
  maybePinnedHubPlace,
  nameOf,
  type Place,
  parentOf,
  parseHubPlace,
  readWhole,
  type Source,
  StorageError,
} from "../storage/index.ts";
import { CheckpointError } from "./errors.ts";
import { cacheFolder, type HubReference, lookInCache } from "./hub-cache.ts";
import type { ModelLocation } from "./model-location.ts";
import { INDEX_NAME, MAX_INDEX_BYTES, parseShardIndex } from "./shard-index.ts";

type Environment = Readonly<Record<string, string | undefined>>;

export interface HubSearch {
  readonly environment: Environment;
  /** As of `ModelReference`. */
  readonly recorded?: (() => Promise<Place | undefined>) | undefined;
  /** A local path that may have been meant. */
  readonly near?: string | undefined;
  /** Told of each file that is fetched into the Hub's cache; absent: none is. */
  readonly fillHubCache?: Fetching | undefined;
}

/** Called with a model, a file of it, and its size. */
export type Fetching = (model: string, path: string, sizeBytes: number) => void;

/** Weights in formats that are not read here, which lie beside those that are, and are as large. */
const OTHER_WEIGHTS = /\.(?:bin|pt|pth|ckpt|h5|msgpack|onnx|onnx_data|gguf|ggml|tflite|ot|npz|pkl|mlmodel)$/i;

/**
 * Finds a model that is named as the Hub names it, `owner/name`: in the Hub's cache, else on the Hub itself, at the commit that its revision
 * is now. What an earlier run read there is read at the commit of that run.
 * @throws CheckpointError `checkpoint/not-in-cache` where the Hub may not be asked; StorageError of the Hub
 */
export async function locateById(
  store: Source,
  id: string,
  revision: string | undefined,
  search: HubSearch,
): Promise<ModelLocation> {
  const label = revision === undefined ? id : `${id}@${revision}`;
  return locate(store, { id, revision, label }, "", search);
}

/** The same of `hf://owner/name[@revision]`, and of a folder or a .safetensors file below it. */
export async function locateByHubPlace(store: Source, place: Place, search: HubSearch): Promise<ModelLocation> {
  const { id, revision, path } = parseHubPlace(place);
  return locate(store, { id, revision, label: place }, path, search);
}

async function locate(
  store: Source,
  reference: HubReference,
  path: string,
  { environment, recorded, near, fillHubCache: fetching }: HubSearch,
): Promise<ModelLocation> {
  const { id, revision, label } = reference;
  const isOffline = isHubOffline(environment);
  const commit = maybeCommitOf(await recorded?.(), id);
  if (commit !== undefined && !isOffline) return locationOf(hubPlaceOf({ id, revision: commit, path }), path);
  const cached = await lookInCache(store, { ...reference, revision: commit ?? revision }, environment);
  const found = cached.location && (await inSnapshot(store, cached.location, path));
  if (found !== undefined && (isOffline || (await isComplete(store, found)))) return found;
  const missing = cached.missing ?? "the Hub's cache has not all of it";
  const meant = near === undefined ? "" : `Did you mean the folder "${near}"? `;
  if (isOffline) {
    const message = `${label}: no local path, and ${missing}; the Hub may not be asked (HF_HUB_OFFLINE)`;
    throw new CheckpointError("checkpoint/not-in-cache", message, { hint: `${meant}Get it: ${cached.command}` });
  }
  try {
    const { root, file } = locationOf(hubPlaceOf({ id, revision, path }), path);
    const real = await store.realPlace(root);
    const located = file === undefined ? { root: real } : { root: real, file };
    if (fetching === undefined) return located;
    return (await inFilledCache(store, reference, located, path, { environment, fetching })) ?? located;
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    // What is there of it in the cache tells better what it lacks than that the network does.
    if (found !== undefined && error.code === "storage/network") return found;
    // Somebody who named no path and no model that is there hears of all places that were looked at.
    const { code, message, hint, retryable } = error;
    const told = { hint: `${meant}${hint}`, retryable, cause: error };
    throw new StorageError(code, `${label}: no local path, and ${missing}; ${message}`, told);
  }
}

/** Puts a model into the cache, and finds it there. */
async function inFilledCache(
  store: Source,
  reference: HubReference,
  { root, file }: ModelLocation,
  path: string,
  { environment, fetching }: { readonly environment: Environment; readonly fetching: Fetching },
): Promise<ModelLocation | undefined> {
  const place = file === undefined ? root : join(root, file);
  const model = maybePinnedHubPlace(place);
  if (model === undefined) throw new Error(`${place} is no place of the Hub at a commit`);
  await fillHubCache(store, place, {
    ...{ cache: cacheFolder(environment), model, ref: reference.revision ?? "main" },
    wants: (below) => !OTHER_WEIGHTS.test(below),
    fetching: (below, sizeBytes) => fetching(model.id, below, sizeBytes),
  });
  const { location } = await lookInCache(store, { ...reference, revision: model.revision }, environment);
  return location && inSnapshot(store, location, path);
}

/** The commit of this model that a place is of. */
function maybeCommitOf(recorded: Place | undefined, id: string): string | undefined {
  const pinned = recorded === undefined ? undefined : maybePinnedHubPlace(recorded);
  return pinned?.id === id ? pinned.revision : undefined;
}

function locationOf(place: Place, path: string): ModelLocation {
  return path.endsWith(".safetensors") ? { root: parentOf(place), file: nameOf(place) } : { root: place };
}

/** What a path of the model is in a snapshot; undefined where the snapshot has not got it. */
async function inSnapshot(store: Source, location: ModelLocation, path: string): Promise<ModelLocation | undefined> {
  if (path === "") return location;
  const place = join(location.root, ...path.split("/"));
  if ((await store.identity(place)) === undefined) return undefined;
  return { ...location, ...locationOf(place, path) };
}

/** Whether all weights of a snapshot are there: who asked for a tokenizer alone has the rest of it on the Hub. */
async function isComplete(store: Source, { root, file }: ModelLocation): Promise<boolean> {
  if (file !== undefined) return true;
  const names = (await store.list(root)).map(({ name }) => name);
  if (!names.includes(INDEX_NAME)) return names.some((name) => name.endsWith(".safetensors"));
  try {
    const shards = parseShardIndex(await readWhole(store, join(root, INDEX_NAME), MAX_INDEX_BYTES), INDEX_NAME);
    for (const name of new Set(shards.values())) {
      if ((await store.identity(join(root, name))) === undefined) return false;
    }
  } catch {
    // Whoever opens it says what is wrong with it.
  }
  return true;
}
