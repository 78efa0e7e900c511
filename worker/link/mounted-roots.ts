import type { RootedPath } from "../../merge/work/index.ts";
import {
  checkFolder,
  foundOnce,
  isBelow,
  join,
  type Place,
  placeOf,
  type Source,
  schemeOf,
  wholePlace,
} from "../../storage/index.ts";
import {
  isPathBelow,
  isRootName,
  maybeNamedPlace,
  NAMED_PLACE_RULE,
  ROOT_NAME_RULE,
  shownPlace,
} from "../../wire/index.ts";
import { WorkerError } from "../index.ts";

/** A folder, or a prefix of a bucket, that the coordinator may name, as the worker was started with it. */
export interface MountedRoot {
  readonly name: string;
  /** Absolute, or an address. */
  readonly path: Place;
  readonly writable: boolean;
}

const READ_ONLY = ":ro";

/** `NAME=PATH`, or `NAME=PATH:ro`. @throws WorkerError `worker/option` */
export function parseMountedRoot(text: string): MountedRoot {
  const at = text.indexOf("=");
  const name = text.slice(0, Math.max(0, at));
  const writable = !text.endsWith(READ_ONLY);
  const path = text.slice(at + 1, writable ? undefined : -READ_ONLY.length);
  if (isRootName(name) && path !== "" && schemeOf(placeOf(path)) === "file")
    return { name, path: wholePlace(placeOf(path)), writable };
  throw new WorkerError("worker/option", `${shownPlace(text)} is no root`, {
    hint: `Write --root NAME=PATH, or --root NAME=PATH:ro for a folder that is only read; a bucket is given with --place. Names have ${ROOT_NAME_RULE}.`,
  });
}

/** `NAME=s3://bucket/prefix`, or with `:ro` behind it: a place that this worker has keys for itself. @throws WorkerError `worker/option` */
export function parseMountedPlace(text: string): MountedRoot {
  const place = maybeNamedPlace(text);
  if (place !== undefined) return place;
  throw new WorkerError("worker/option", `${shownPlace(text)} is no place that the coordinator may name`, {
    hint: `${NAMED_PLACE_RULE} Names have ${ROOT_NAME_RULE}.`,
  });
}

/** @throws WorkerError `worker/option` where a name is given twice */
export function checkMountedRoots(roots: readonly MountedRoot[]): void {
  const twice = roots.find(({ name }, k) => roots.findIndex((root) => root.name === name) !== k);
  if (twice === undefined) return;
  throw new WorkerError("worker/option", `root ${twice.name} is given twice`, {
    hint: "Give each root a name of its own.",
  });
}

/** Places at addresses, not folders: whether they can be reached with the keys of this worker. @throws StorageError */
export async function checkPlaces(store: Source, roots: readonly MountedRoot[]): Promise<void> {
  for (const { path } of roots) if (schemeOf(path) !== "file") await checkFolder(store, path);
}

/** The folders of this machine, and the places at addresses, that a worker may touch, and nothing beside them. */
export class MountedRoots {
  readonly #store: Source;
  readonly #roots: ReadonlyMap<string, MountedRoot>;
  readonly #realPaths = new Map<string, Promise<Place>>();

  constructor(store: Source, roots: readonly MountedRoot[]) {
    this.#store = store;
    this.#roots = new Map(roots.map((root) => [root.name, root]));
  }

  /**
   * Where a rooted path is on this machine, every link resolved: inside its root. The cache of the Hub links from snapshots to blobs;
   * as long as both lie in the root that is fine.
   * @throws WorkerError `worker/root`; StorageError `storage/not-found`
   */
  async resolve(place: RootedPath | undefined, mode: "read" | "write"): Promise<Place> {
    if (place === undefined) throw refused("a file without a place", "The coordinator's release does not fit.");
    const root = this.#roots.get(place.root);
    if (root === undefined) {
      throw refused(
        `${shown(place)}: there is no root ${place.root} here`,
        `Start the worker with --root ${place.root}=PATH, or --place ${place.root}=s3://bucket/prefix.`,
      );
    }
    if (mode === "write" && !root.writable) {
      throw refused(
        `${shown(place)}: root ${root.name} may only be read here`,
        `Take :ro away from --${schemeOf(root.path) === "file" ? "root" : "place"} ${root.name}=…`,
      );
    }
    if (!isPathBelow(place.path)) {
      throw refused(
        `${shown(place)} is no path inside of a root`,
        "Nothing of deltaworks makes such a path: look at who runs the coordinator.",
      );
    }
    const path = join(root.path, ...place.path.split("/"));
    if (schemeOf(path) !== "file") return path; // there are no links
    const realPath = await this.#store.realPlace(path);
    if (isBelow(await this.#realPathOf(root), realPath)) return realPath;
    throw refused(
      `${shown(place)} is a link to ${realPath}, outside of root ${root.name}`,
      "Put the file itself there, or give a root that holds both the link and what it leads to.",
    );
  }

  #realPathOf({ name, path }: MountedRoot): Promise<Place> {
    return foundOnce(this.#realPaths, name, () => this.#store.realPlace(path));
  }
}

function shown({ root, path }: RootedPath): string {
  return `${root}:${path}`;
}

function refused(message: string, hint: string): WorkerError {
  // Another worker may have it.
  return new WorkerError("worker/root", message, { hint, retryable: true });
}
