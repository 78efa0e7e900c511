import { basename, dirname, isAbsolute, resolve } from "node:path";
import type { Store } from "../storage/index.ts";
import { ggufError, isGgufName, isPickleName, pickleError } from "./conversion.ts";
import { CheckpointError, quoted } from "./errors.ts";
import { blobsOf, isHubId, locateInCache } from "./hub-cache.ts";
import type { ModelLocation } from "./model-location.ts";
import { maybeMeant } from "./near-name.ts";

export interface ModelReference {
  /** A folder, a .safetensors file, or `owner/name` on the Hub. */
  readonly path: string;
  readonly revision?: string;
}

/** Where to look. All paths absolute. */
export interface Surroundings {
  readonly cwd: string;
  readonly recipeDirectory: string;
  /** Looked into before anything else: for the path as it stands, then for its last part. */
  readonly modelsRoot?: string;
  /** HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HOME count. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/**
 * Finds a model on this machine: in `modelsRoot`, as a path from the working directory and from the recipe's folder, in the
 * Hub's cache. Nothing is downloaded.
 * @throws CheckpointError with a hint how to get the model
 */
export async function locateModel(
  store: Store,
  reference: ModelReference,
  surroundings: Surroundings,
): Promise<ModelLocation> {
  const { path, revision } = reference;
  if (/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(path)) {
    throw new CheckpointError("checkpoint/scheme", `${path}: models at a URL are not supported yet`, {
      hint: "Download the model and give its folder.",
    });
  }
  const moved = await findUnder(store, surroundings.modelsRoot, path);
  if (moved !== undefined) return locationOf(store, moved, path);
  const local = await findLocal(store, path, surroundings);
  if (local !== undefined) {
    if (revision === undefined) return locationOf(store, local, path);
    throw new CheckpointError(
      "checkpoint/local-revision",
      `${path}@${revision}: ${local} is on this machine, and a local folder has no revisions`,
      { hint: "Leave the revision out; or, if the model on the Hub is meant, rename the local folder." },
    );
  }
  const near = await maybeNear(store, path, surroundings);
  if (isHubId(path)) return locateInCache(store, path, revision, surroundings.environment, near);
  const { cwd, recipeDirectory } = surroundings;
  const isOnePlace = resolve(cwd) === resolve(recipeDirectory);
  const places = isAbsolute(path) ? "" : isOnePlace ? ` in ${cwd}` : `, neither in ${cwd} nor in ${recipeDirectory}`;
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

/** A path that is there and differs by a slip of the hand: in one of its parts, from one of the places that are searched. */
async function maybeNear(
  store: Store,
  path: string,
  { cwd, recipeDirectory, modelsRoot }: Surroundings,
): Promise<string | undefined> {
  const parts = path.split("/");
  const places = isAbsolute(path) ? ["/"] : [...new Set([modelsRoot ?? cwd, cwd, recipeDirectory])];
  for (const place of places) {
    for (const [k, part] of parts.entries()) {
      if (part === "" || part === "." || part === "..") continue;
      const above = resolve(place, parts.slice(0, k).join("/") || ".");
      const names = await namesIn(store, above);
      if (names === undefined) break;
      if (names.includes(part)) continue;
      const meant = maybeMeant(part, names);
      const near = meant && [...parts.slice(0, k), meant, ...parts.slice(k + 1)].join("/");
      if (near !== undefined && (await store.identity(resolve(place, near))) !== undefined) return near;
      break;
    }
  }
  return undefined;
}

/** Undefined of what is no folder, or may not be looked into. */
async function namesIn(store: Store, folder: string): Promise<readonly string[] | undefined> {
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

async function findUnder(store: Store, modelsRoot: string | undefined, path: string): Promise<string | undefined> {
  if (modelsRoot === undefined) return undefined;
  const candidates = isAbsolute(path) ? [basename(path)] : [path, basename(path)];
  for (const candidate of candidates.map((candidate) => resolve(modelsRoot, candidate))) {
    if ((await store.identity(candidate)) !== undefined) return candidate;
  }
  return undefined;
}

async function findLocal(store: Store, path: string, surroundings: Surroundings): Promise<string | undefined> {
  const fromCwd = resolve(surroundings.cwd, path);
  const fromRecipe = resolve(surroundings.recipeDirectory, path);
  const inCwd = (await store.identity(fromCwd)) !== undefined;
  if (fromCwd === fromRecipe) return inCwd ? fromCwd : undefined;
  const inRecipe = (await store.identity(fromRecipe)) !== undefined;
  if (!inCwd || !inRecipe) return inCwd ? fromCwd : inRecipe ? fromRecipe : undefined;
  const [realCwd, realRecipe] = [await store.realPath(fromCwd), await store.realPath(fromRecipe)];
  if (realCwd === realRecipe) return fromCwd;
  throw new CheckpointError(
    "checkpoint/ambiguous-path",
    `${path}: found in the working directory (${realCwd}) and, different, in the recipe's folder (${realRecipe})`,
    { hint: "Give an absolute path, or start the program elsewhere." },
  );
}

async function locationOf(store: Store, path: string, label: string): Promise<ModelLocation> {
  const real = await store.realPath(path);
  if ((await store.identity(real))?.kind === "directory") {
    const blobs = blobsOf(real);
    return blobs === undefined ? { root: real } : { root: real, allowLinksInto: blobs };
  }
  // The name counts as given: in the Hub's cache it is a link to a blob that has none.
  if (isPickleName(path)) throw pickleError(label, dirname(path), [basename(path)]);
  if (isGgufName(path)) throw ggufError(label, dirname(path), [basename(path)]);
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
  const folder = await store.realPath(dirname(path));
  const blobs = blobsOf(folder);
  if (blobs !== undefined && dirname(real) === blobs) {
    return { root: folder, file: basename(path), allowLinksInto: blobs };
  }
  return { root: dirname(real), file: basename(real) };
}
