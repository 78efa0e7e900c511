import { locateAt, locateModel, type ModelLocation, type ModelReference } from "../checkpoint/index.ts";
import type { RootedPath } from "../merge/work/index.ts";
import {
  checkFolder,
  isBelow,
  isWhole,
  join,
  maybePlaceOfAddress,
  namesBelow,
  type Place,
  placeFrom,
  placeOf,
  type Source,
  schemeOf,
  wholePlace,
  withoutLastSlash,
} from "../storage/index.ts";
import {
  isPathBelow,
  isRootName,
  maybeNamedPlace,
  maybePlace,
  NAMED_PLACE_RULE,
  ROOT_NAME_RULE,
  shownPlace,
} from "../wire/index.ts";
import { ServiceError } from "./errors.ts";

export interface Root {
  readonly name: string;
  /** On this machine, absolute; or an address that every machine knows it by. */
  readonly path: Place;
  /** Whether outputs may go there. Absent: they may. */
  readonly writable?: boolean;
}

/** "models=/mnt/a". @throws ServiceError `service/root` */
export function parseRoot(text: string, cwd: Place): Root {
  const at = text.indexOf("=");
  const [name, path] = [text.slice(0, Math.max(0, at)), text.slice(at + 1)];
  if (!isRootName(name) || path === "" || schemeOf(placeOf(path)) !== "file") {
    throw new ServiceError("service/root", `${shownPlace(text)} is no root`, {
      hint: `Write NAME=DIRECTORY, for example models=/mnt/models; a bucket is given with --place. Names have ${ROOT_NAME_RULE}.`,
    });
  }
  return { name, path: placeFrom(cwd, path) };
}

/** "models=s3://bucket/prefix", with ":ro" behind it where jobs may not write. @throws ServiceError `service/root` */
export function parsePlace(text: string): Root {
  const place = maybeNamedPlace(text);
  if (place !== undefined) return place;
  throw new ServiceError("service/root", `${shownPlace(text)} is no place that jobs may name`, {
    hint: `${NAMED_PLACE_RULE} Names have ${ROOT_NAME_RULE}.`,
  });
}

/**
 * The places that jobs may read from and write to. Folders other machines have under their own mounts; a place at an address is the same
 * everywhere.
 */
export class Roots {
  readonly #store: Source;
  /** With links resolved. */
  readonly #roots: ReadonlyMap<string, Root>;

  private constructor(store: Source, roots: ReadonlyMap<string, Root>) {
    this.#store = store;
    this.#roots = roots;
  }

  /** @throws ServiceError `service/root`: two of one name, or a directory that is not there; StorageError of a place that cannot be reached */
  static async open(store: Source, roots: readonly Root[]): Promise<Roots> {
    const found = new Map<string, Root>();
    for (const root of roots) {
      const { name, path } = root;
      if (found.has(name)) {
        throw new ServiceError("service/root", `there are two roots named ${name}`, {
          hint: "Give each its own name.",
        });
      }
      if (isAddress(path)) {
        await checkFolder(store, path);
        found.set(name, root);
        continue;
      }
      if ((await store.identity(path))?.kind !== "directory") {
        throw new ServiceError("service/root", `root ${name}: ${path} is no directory`, {
          hint: "Make it, or mount what belongs there.",
        });
      }
      found.set(name, { ...root, path: await store.realPlace(path) });
    }
    return new Roots(store, found);
  }

  /** As they are, links resolved. */
  get all(): readonly Root[] {
    return [...this.#roots.values()];
  }

  get names(): readonly string[] {
    return [...this.#roots.keys()];
  }

  /** Where a place is on this machine. @throws ServiceError `service/root` */
  pathOf({ root, path }: RootedPath): Place {
    const found = this.#roots.get(root);
    if (found === undefined) throw this.#unknown(root);
    if (!isPathBelow(path)) {
      throw new ServiceError("service/root", `${root}:${path} names no place below root ${root}`, {
        hint: 'Write ROOT:PATH, with "/" between the parts of a relative path, without "." and "..".',
      });
    }
    return join(found.path, ...path.split("/"));
  }

  /** Where an output may go. @throws ServiceError `service/root` of a place that is only read, and as `pathOf` */
  checkWritable(place: RootedPath): void {
    this.pathOf(place);
    if (this.#roots.get(place.root)?.writable !== false) return;
    throw new ServiceError("service/root", `${place.root}:${place.path}: place ${place.root} may only be read`, {
      hint: `Choose another output, or have the coordinator started without :ro behind --place ${place.root}=….`,
    });
  }

  /**
   * Where an output is on this machine: every link on the way is resolved, as far as the way is there, and none may leave the root.
   * @throws ServiceError `service/root`, `service/outside-roots`
   */
  async outputPath(place: RootedPath): Promise<Place> {
    const path = this.pathOf(place);
    this.checkWritable(place);
    const root = this.#roots.get(place.root)?.path ?? path;
    if (isAddress(path)) return path; // there are no links
    let real = root;
    const parts = namesBelow(root, path) ?? [];
    for (const [k, part] of parts.entries()) {
      const next = join(real, part);
      if ((await this.#store.identity(next)) === undefined) {
        // A link to nothing is not there either, until somebody makes what it leads to.
        if (await this.#isLink(real, part)) throw outside(place, `${next}, a link that leads nowhere`);
        return join(real, ...parts.slice(k));
      }
      real = await this.#store.realPlace(next);
      if (!isBelow(root, real)) throw outside(place, real);
    }
    return real;
  }

  /** One name for an output, whichever links, and roots within roots, it was given by. @throws as `outputPath` */
  async placeFor(place: RootedPath): Promise<RootedPath> {
    const path = await this.outputPath(place);
    // The outermost root, which has the longest way to it.
    const places = [...this.#roots]
      .flatMap(([root, { path: directory }]) => rootedBelow(root, directory, path))
      .sort((a, b) => b.path.length - a.path.length || (a.root < b.root ? -1 : 1));
    return places[0] ?? place;
  }

  async #isLink(directory: Place, name: string): Promise<boolean> {
    if ((await this.#store.identity(directory))?.kind !== "directory") return false;
    return (await this.#store.list(directory)).some((entry) => entry.name === name && entry.kind === "link");
  }

  /** By which root other machines find a file. @throws ServiceError `service/outside-roots` */
  placeOf(path: Place): RootedPath {
    for (const [root, { path: directory }] of this.#roots) {
      const [rooted] = rootedBelow(root, directory, path);
      if (rooted !== undefined) return rooted;
    }
    throw new ServiceError("service/outside-roots", `${path} lies below no root`, {
      hint: `Roots are ${this.names.join(", ") || "none"}. Links may not lead out of them; a Hub cache is a root with its hub/ folder, a bucket is a --place.`,
    });
  }

  /** "out:merged/x", a path below a root's directory, or, where there is one root alone, a relative path. @throws ServiceError */
  placeOfText(text: string): RootedPath {
    if (isWhole(text)) return this.placeOf(wholePlace(addressIn(text)));
    const place = maybePlace(text);
    if (place !== undefined) {
      this.pathOf(place);
      return place;
    }
    throw new ServiceError("service/root", `${JSON.stringify(text)} names no root`, {
      hint: `Write ROOT:PATH. Roots are ${this.names.join(", ") || "none"}.`,
    });
  }

  /**
   * A model by the name that a recipe gives it: "models:tiny-base", a path below a root's directory, or a relative path that is found
   * below just one root. @throws ServiceError, CheckpointError
   */
  async findModel(reference: ModelReference): Promise<ModelLocation> {
    return this.#locate(reference, await this.#modelPath(reference.path));
  }

  async #locate(reference: ModelReference, path: Place): Promise<ModelLocation> {
    if (isAddress(path)) return locateAt(path, reference);
    const surroundings = { cwd: path, recipeDirectory: path, environment: {} };
    return locateModel(this.#store, { ...reference, path }, surroundings);
  }

  async #modelPath(text: string): Promise<Place> {
    if (isWhole(text)) {
      const whole = addressIn(text);
      this.placeOf(whole);
      return whole;
    }
    const place = maybePlace(text);
    if (place !== undefined && this.#roots.has(place.root)) return this.pathOf(place);
    const found: Place[] = [];
    for (const { path: directory } of this.#roots.values()) {
      const candidate = placeFrom(directory, text);
      if (isBelow(directory, candidate) && (await this.#store.identity(candidate)) !== undefined) found.push(candidate);
    }
    const [only, ...others] = found;
    if (only !== undefined && others.length === 0) return only;
    throw new ServiceError("service/root", `${text}: found below ${found.length} roots`, {
      hint: `Name the root: ROOT:PATH. Roots are ${this.names.join(", ") || "none"}.`,
    });
  }

  #unknown(root: string): ServiceError {
    return new ServiceError("service/root", `there is no root ${JSON.stringify(root)}`, {
      hint: `Roots are ${this.names.join(", ") || "none"}; the coordinator's --root and --place give them.`,
    });
  }
}

function isAddress(path: Place): boolean {
  return schemeOf(path) !== "file";
}

/** What a recipe or a person means by a whole path or an address. @throws ServiceError `service/root` of what is none */
function addressIn(text: string): Place {
  const place = maybePlaceOfAddress(text);
  if (place !== undefined) return isAddress(place) ? withoutLastSlash(place) : place;
  throw new ServiceError("service/root", `${shownPlace(text)} is no address`, {
    hint: "Percent-encode it (%40 for @, %2B for +), and leave query and password out: these are secrets.",
  });
}

function rootedBelow(root: string, directory: Place, path: Place): readonly RootedPath[] {
  const below = namesBelow(directory, path)?.join("/");
  return below === undefined || !isPathBelow(below) ? [] : [{ root, path: below }];
}

function outside({ root, path }: RootedPath, leadsTo: string): ServiceError {
  return new ServiceError("service/outside-roots", `${root}:${path} leads to ${leadsTo}, outside of root ${root}`, {
    hint: "Nothing is written through links that leave a root: choose another output, or give a root that holds both.",
  });
}
