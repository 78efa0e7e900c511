import { isAbsolute, join, relative, resolve, sep } from "node:path";
import { locateModel, type ModelLocation, type ModelReference } from "../../checkpoint/index.ts";
import type { RootedPath } from "../../proto/index.ts";
import type { Store } from "../../storage/index.ts";
import { ServiceError } from "./errors.ts";

export interface Root {
  readonly name: string;
  /** On this machine, absolute. */
  readonly path: string;
}

const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;

/** "models=/mnt/a". @throws ServiceError `service/root` */
export function parseRoot(text: string, cwd: string): Root {
  const at = text.indexOf("=");
  const [name, path] = [text.slice(0, Math.max(0, at)), text.slice(at + 1)];
  if (!NAME.test(name) || path === "") {
    throw new ServiceError("service/root", `${JSON.stringify(text)} is no root`, {
      hint: 'Write NAME=DIRECTORY, the name in small letters, digits, "-", "_" and "."; for example models=/mnt/models.',
    });
  }
  return { name, path: resolve(cwd, path) };
}

/** The places that jobs may read from and write to. Other machines have the same ones under their own mounts. */
export class Roots {
  readonly #store: Store;
  /** With links resolved. */
  readonly #roots: ReadonlyMap<string, string>;

  private constructor(store: Store, roots: ReadonlyMap<string, string>) {
    this.#store = store;
    this.#roots = roots;
  }

  /** @throws ServiceError `service/root`: two of one name, or a directory that is not there */
  static async open(store: Store, roots: readonly Root[]): Promise<Roots> {
    const found = new Map<string, string>();
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
      found.set(name, await store.realPath(path));
    }
    return new Roots(store, found);
  }

  get names(): readonly string[] {
    return [...this.#roots.keys()];
  }

  /** Where a place is on this machine. @throws ServiceError `service/root` */
  pathOf({ root, path }: RootedPath): string {
    const found = this.#roots.get(root);
    if (found === undefined) throw this.#unknown(root);
    const parts = path.split("/");
    if (path === "" || isAbsolute(path) || parts.some((part) => part === "" || part === "." || part === "..")) {
      throw new ServiceError("service/root", `${root}:${path} names no place below root ${root}`, {
        hint: 'Write ROOT:PATH, with "/" between the parts of a relative path, without "." and "..".',
      });
    }
    return join(found, ...parts);
  }

  /** By which root other machines find a file. @throws ServiceError `service/outside-roots` */
  placeOf(path: string): RootedPath {
    for (const [root, directory] of this.#roots) {
      const below = relative(directory, path);
      if (below !== "" && !isAbsolute(below) && below.split(sep)[0] !== "..") {
        return { root, path: below.split(sep).join("/") };
      }
    }
    throw new ServiceError("service/outside-roots", `${path} lies below no root`, {
      hint: `Roots are ${this.names.join(", ") || "none"}. Links may not lead out of them; a Hub cache is a root with its hub/ folder.`,
    });
  }

  /** "out:merged/x", a path below a root's directory, or, where there is one root alone, a relative path. @throws ServiceError */
  placeOfText(text: string): RootedPath {
    const [, root, path] = /^([a-z0-9][a-z0-9._-]*):(.+)$/.exec(text) ?? [];
    if (root !== undefined && path !== undefined) {
      const place = { root, path: path.replace(/\/+$/, "") };
      this.pathOf(place);
      return place;
    }
    if (isAbsolute(text)) return this.placeOf(resolve(text));
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

  #locate(reference: ModelReference, path: string): Promise<ModelLocation> {
    const surroundings = { cwd: path, recipeDirectory: path, environment: {} };
    return locateModel(this.#store, { ...reference, path }, surroundings);
  }

  async #modelPath(text: string): Promise<string> {
    if (isAbsolute(text)) {
      this.placeOf(text);
      return text;
    }
    const [, root, path] = /^([a-z0-9][a-z0-9._-]*):(.+)$/.exec(text) ?? [];
    if (root !== undefined && path !== undefined && this.#roots.has(root)) return this.pathOf({ root, path });
    const found: string[] = [];
    for (const directory of this.#roots.values()) {
      const candidate = resolve(directory, text);
      if (candidate.startsWith(directory + sep) && (await this.#store.identity(candidate)) !== undefined)
        found.push(candidate);
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
