import { locateModel, type ModelLocation, type ModelReference } from "../checkpoint/index.ts";
import type { RootedPath } from "../merge/work/index.ts";
import {
  isBelow,
  isWhole,
  join,
  namesBelow,
  type Place,
  placeFrom,
  placeOf,
  type Source,
  wholePlace,
} from "../storage/index.ts";
import { isPathBelow, isRootName, maybePlace, ROOT_NAME_RULE } from "../wire/index.ts";
import { ServiceError } from "./errors.ts";

export interface Root {
  readonly name: string;
  /** On this machine, absolute. */
  readonly path: Place;
}

/** "models=/mnt/a". @throws ServiceError `service/root` */
export function parseRoot(text: string, cwd: Place): Root {
  const at = text.indexOf("=");
  const [name, path] = [text.slice(0, Math.max(0, at)), text.slice(at + 1)];
  if (!isRootName(name) || path === "") {
    throw new ServiceError("service/root", `${JSON.stringify(text)} is no root`, {
      hint: `Write NAME=DIRECTORY, for example models=/mnt/models. Names have ${ROOT_NAME_RULE}.`,
    });
  }
  return { name, path: placeFrom(cwd, path) };
}

/** The places that jobs may read from and write to. Other machines have the same ones under their own mounts. */
export class Roots {
  readonly #store: Source;
  /** With links resolved. */
  readonly #roots: ReadonlyMap<string, Place>;

  private constructor(store: Source, roots: ReadonlyMap<string, Place>) {
    this.#store = store;
    this.#roots = roots;
  }

  /** @throws ServiceError `service/root`: two of one name, or a directory that is not there */
  static async open(store: Source, roots: readonly Root[]): Promise<Roots> {
    const found = new Map<string, Place>();
    for (const { name, path } of roots) {
      if (found.has(name)) {
        throw new ServiceError("service/root", `there are two roots named ${name}`, {
          hint: "Give each its own name.",
        });
      }
      if ((await store.identity(path))?.kind !== "directory") {
        throw new ServiceError("service/root", `root ${name}: ${path} is no directory`, {
          hint: "Make it, or mount what belongs there.",
        });
      }
      found.set(name, await store.realPlace(path));
    }
    return new Roots(store, found);
  }

  /** As they are, links resolved. */
  get all(): readonly Root[] {
    return [...this.#roots].map(([name, path]) => ({ name, path }));
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
    return join(found, ...path.split("/"));
  }

  /**
   * Where an output is on this machine: every link on the way is resolved, as far as the way is there, and none may leave the root.
   * @throws ServiceError `service/root`, `service/outside-roots`
   */
  async outputPath(place: RootedPath): Promise<Place> {
    const path = this.pathOf(place);
    const root = this.#roots.get(place.root) ?? path;
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
      .flatMap(([root, directory]) => rootedBelow(root, directory, path))
      .sort((a, b) => b.path.length - a.path.length || (a.root < b.root ? -1 : 1));
    return places[0] ?? place;
  }

  async #isLink(directory: Place, name: string): Promise<boolean> {
    if ((await this.#store.identity(directory))?.kind !== "directory") return false;
    return (await this.#store.list(directory)).some((entry) => entry.name === name && entry.kind === "link");
  }

  /** By which root other machines find a file. @throws ServiceError `service/outside-roots` */
  placeOf(path: Place): RootedPath {
    for (const [root, directory] of this.#roots) {
      const [rooted] = rootedBelow(root, directory, path);
      if (rooted !== undefined) return rooted;
    }
    throw new ServiceError("service/outside-roots", `${path} lies below no root`, {
      hint: `Roots are ${this.names.join(", ") || "none"}. Links may not lead out of them; a Hub cache is a root with its hub/ folder.`,
    });
  }

  /** "out:merged/x", a path below a root's directory, or, where there is one root alone, a relative path. @throws ServiceError */
  placeOfText(text: string): RootedPath {
    const place = maybePlace(text);
    if (place !== undefined) {
      this.pathOf(place);
      return place;
    }
    if (isWhole(text)) return this.placeOf(wholePlace(placeOf(text)));
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

  #locate(reference: ModelReference, path: Place): Promise<ModelLocation> {
    const surroundings = { cwd: path, recipeDirectory: path, environment: {} };
    return locateModel(this.#store, { ...reference, path }, surroundings);
  }

  async #modelPath(text: string): Promise<Place> {
    if (isWhole(text)) {
      this.placeOf(placeOf(text));
      return placeOf(text);
    }
    const place = maybePlace(text);
    if (place !== undefined && this.#roots.has(place.root)) return this.pathOf(place);
    const found: Place[] = [];
    for (const directory of this.#roots.values()) {
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
      hint: `Roots are ${this.names.join(", ") || "none"}; the coordinator's --root gives them.`,
    });
  }
}

function rootedBelow(root: string, directory: Place, path: Place): readonly RootedPath[] {
  const names = namesBelow(directory, path);
  return names === undefined ? [] : [{ root, path: names.join("/") }];
}

function outside({ root, path }: RootedPath, leadsTo: string): ServiceError {
  return new ServiceError("service/outside-roots", `${root}:${path} leads to ${leadsTo}, outside of root ${root}`, {
    hint: "Nothing is written through links that leave a root: choose another output, or give a root that holds both.",
  });
}
