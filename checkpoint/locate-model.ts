import {
  type FileIdentity,
  isHubId,
  isHubPlace,
  isWhole,
  maybePlaceOfAddress,
  nameOf,
  type Place,
  parentOf,
  placeFrom,
  placeOf,
  type Source,
  schemeOf,
  wholePlace,
} from "../storage/index.ts";
import { ggufError, isGgufName, isPickleName, pickleError } from "./conversion.ts";
import { CheckpointError, quoted } from "./errors.ts";
import { blobsOf } from "./hub-cache.ts";
import { type Fetching, locateByHubPlace, locateById } from "./locate-on-hub.ts";
import type { ModelLocation } from "./model-location.ts";
import { maybeMeant } from "./near-name.ts";

export interface ModelReference {
  /**
   * A folder or a .safetensors file, here or at an address (`https://host/path/`, `s3://bucket/prefix`), or `owner/name` on the Hub, which
   * hf://owner/name means wherever one stands.
   */
  readonly path: string;
  readonly revision?: string;
  /** Where an earlier run of the same merge read it, if there was one: what it read on the Hub is read again at the same commit. */
  readonly recorded?: () => Promise<Place | undefined>;
}

/** Where to look, by whole places. */
export interface Surroundings {
  readonly cwd: Place;
  readonly recipeDirectory: Place;
  /** Looked into before anything else: for the path as it stands, then for its last part. */
  readonly modelsRoot?: Place;
  /** HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HOME count, and HF_HUB_OFFLINE. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Models of the Hub are put into its cache, file by file, each of which is told, and read there. */
  readonly fillHubCache?: Fetching;
}

/**
 * Finds a model: on this machine in `modelsRoot`, as a path from the working directory and from the recipe's folder, in the
 * Hub's cache; or where an address says; or on the Hub. Nothing is downloaded.
 * @throws CheckpointError with a hint how to get the model
 */
export async function locateModel(
  store: Source,
  reference: ModelReference,
  surroundings: Surroundings,
): Promise<ModelLocation> {
  const { path, revision, recorded } = reference;
  const { environment, fillHubCache } = surroundings;
  const moved = await findUnder(store, surroundings.modelsRoot, path);
  if (moved !== undefined) return locationOf(store, moved, path);
  if (isHubPlace(placeOf(path))) {
    const place = placeOf(revision === undefined ? path : `${path}@${revision}`);
    return locateByHubPlace(store, place, { environment, recorded, fillHubCache });
  }
  if (isAddress(path)) return locationOfAddress(reference);
  const local = await findLocal(store, path, surroundings);
  if (local !== undefined) {
    if (revision === undefined) return locationOf(store, local, path);
    throw new CheckpointError(
      "checkpoint/local-revision",
      `${path}@${revision}: ${local.place} is on this machine, and a local folder has no revisions`,
      { hint: "Leave the revision out; or, if the model on the Hub is meant, rename the local folder." },
    );
  }
  const near = await maybeNear(store, path, surroundings);
  if (isHubId(path)) return locateById(store, path, revision, { environment, recorded, fillHubCache, near });
  const { cwd, recipeDirectory } = surroundings;
  const isOnePlace = wholePlace(cwd) === wholePlace(recipeDirectory);
  const places = isWhole(path) ? "" : isOnePlace ? ` in ${cwd}` : `, neither in ${cwd} nor in ${recipeDirectory}`;
  throw new CheckpointError(
    "checkpoint/not-found",
    `${path}: nothing is there${places}${near === undefined ? "" : `, did you mean "${near}"?`}`,
    {
      hint: /^~/.test(path)
        ? `~ is spelled out by the shell alone, and stands for nothing in a recipe: write the whole path${homeHint(path, surroundings.environment)}.`
        : "Relative paths count from the working directory, then from the recipe's folder.",
    },
  );
}

/** "s3://bucket/model" and the like. */
function isAddress(path: string): boolean {
  return isWhole(path) && schemeOf(placeOf(path)) !== "file";
}

/** Nothing is asked here: whoever opens it is told what is there. */
function locationOfAddress({ path, revision }: ModelReference): ModelLocation {
  const place = maybePlaceOfAddress(path);
  if (place === undefined) {
    // What may stand behind "?" and before "@" is not repeated.
    const shown = path.replace(/[?#].*$/s, "…").replace(/(:\/\/)[^/]*@/, "$1…@");
    throw new CheckpointError("checkpoint/address", `${shown}: this is no address of a model`, {
      hint: 'Write scheme://host/path/, with "%3F" for "?", "%23" for "#", "%25" for "%"; without query and password: these are secrets, which have no place in a recipe.',
    });
  }
  return locateAt(place, { path, revision });
}

/** A model at a place that is no path of this machine. `revision`: as it was said, which such a place has none of. @throws CheckpointError */
export function locateAt(
  place: Place,
  { path, revision }: { readonly path: string; readonly revision?: string | undefined },
): ModelLocation {
  if (revision !== undefined) {
    throw new CheckpointError("checkpoint/address", `${path}@${revision}: what is at an address has no revisions`, {
      hint: 'Leave the revision out. If "@" belongs to the address, write "%40".',
    });
  }
  if (!place.endsWith(".safetensors")) return { root: place };
  return { root: parentOf(place), file: nameOf(place) };
}

/** A path that is there and differs by a slip of the hand: in one of its parts, from one of the places that are searched. */
async function maybeNear(
  store: Source,
  path: string,
  { cwd, recipeDirectory, modelsRoot }: Surroundings,
): Promise<string | undefined> {
  const parts = path.split("/");
  const places = isWhole(path) ? [placeOf("/")] : [...new Set([modelsRoot ?? cwd, cwd, recipeDirectory])];
  for (const place of places) {
    for (const [k, part] of parts.entries()) {
      if (part === "" || part === "." || part === "..") continue;
      const above = placeFrom(place, parts.slice(0, k).join("/") || ".");
      const names = await namesIn(store, above);
      if (names === undefined) break;
      if (names.includes(part)) continue;
      const meant = maybeMeant(part, names);
      const near = meant && [...parts.slice(0, k), meant, ...parts.slice(k + 1)].join("/");
      if (near !== undefined && (await store.identity(placeFrom(place, near))) !== undefined) return near;
      break;
    }
  }
  return undefined;
}

/** Undefined of what is no folder, or may not be looked into. */
async function namesIn(store: Source, folder: Place): Promise<readonly string[] | undefined> {
  if ((await store.identity(folder))?.kind !== "directory") return undefined;
  try {
    return (await store.list(folder)).map(({ name }) => name);
  } catch {
    return undefined;
  }
}

function homeHint(path: string, { HOME }: Surroundings["environment"]): string {
  return HOME !== undefined && path.startsWith("~/") ? `, ${HOME}${path.slice(1)}` : "";
}

/** What is at a place, following links. */
interface Found {
  readonly place: Place;
  readonly kind: FileIdentity["kind"];
}

async function findAt(store: Source, place: Place): Promise<Found | undefined> {
  const there = await store.identity(place);
  return there && { place, kind: there.kind };
}

async function findUnder(store: Source, modelsRoot: Place | undefined, path: string): Promise<Found | undefined> {
  if (modelsRoot === undefined) return undefined;
  const name = nameOf(placeOf(path));
  const candidates = isWhole(path) ? [name] : [path, name];
  for (const candidate of candidates.map((candidate) => placeFrom(modelsRoot, candidate))) {
    const found = await findAt(store, candidate);
    if (found !== undefined) return found;
  }
  return undefined;
}

async function findLocal(store: Source, path: string, surroundings: Surroundings): Promise<Found | undefined> {
  const fromCwd = placeFrom(surroundings.cwd, path);
  const fromRecipe = placeFrom(surroundings.recipeDirectory, path);
  const inCwd = await findAt(store, fromCwd);
  if (fromCwd === fromRecipe) return inCwd;
  const inRecipe = await findAt(store, fromRecipe);
  if (inCwd === undefined || inRecipe === undefined) return inCwd ?? inRecipe;
  const [realCwd, realRecipe] = [await store.realPlace(fromCwd), await store.realPlace(fromRecipe)];
  if (realCwd === realRecipe) return inCwd;
  throw new CheckpointError(
    "checkpoint/ambiguous-path",
    `${path}: found in the working directory (${realCwd}) and, different, in the recipe's folder (${realRecipe})`,
    { hint: "Give an absolute path, or start the program elsewhere." },
  );
}

async function locationOf(store: Source, { place: path, kind }: Found, label: string): Promise<ModelLocation> {
  const real = await store.realPlace(path);
  if (kind === "directory") {
    const blobs = blobsOf(real);
    return blobs === undefined ? { root: real } : { root: real, allowLinksInto: blobs };
  }
  // The name counts as given: in the Hub's cache it is a link to a blob that has none.
  if (isPickleName(path)) throw pickleError(label, parentOf(path), [nameOf(path)]);
  if (isGgufName(path)) throw ggufError(label, parentOf(path), [nameOf(path)]);
  if (!path.endsWith(".safetensors")) {
    throw new CheckpointError(
      "checkpoint/no-weights",
      `${label}: ${quoted(path)} is neither a folder nor .safetensors`,
      {
        hint: "Give a model's folder or a .safetensors file.",
      },
    );
  }
  // A file of a snapshot keeps its name; any other link was named by the user, who may have it lead anywhere.
  const folder = await store.realPlace(parentOf(path));
  const blobs = blobsOf(folder);
  if (blobs !== undefined && parentOf(real) === blobs) {
    return { root: folder, file: nameOf(path), allowLinksInto: blobs };
  }
  return { root: parentOf(real), file: nameOf(real) };
}
