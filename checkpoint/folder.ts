import {
  type DirectoryEntry,
  isBelow,
  join,
  type Place,
  readIfShort,
  readWhole,
  type Source,
  StorageError,
} from "../storage/index.ts";
import { CheckpointError, quoted } from "./errors.ts";
import type { ModelLocation } from "./model-location.ts";
import type { Sidecar } from "./read-with-state.ts";
import { readWithState } from "./read-with-state.ts";

/** What a file is, and what stands in it where it is short. */
export interface Look {
  readonly state: Sidecar;
  readonly bytes?: Uint8Array;
}

/** A model's folder, from which no link leads out but into the blobs of its own repository in the Hub's cache. */
export class Folder {
  readonly root: Place;
  readonly entries: readonly DirectoryEntry[];
  readonly #store: Source;
  /** Undefined where the folder was not listed. */
  readonly #listed: ReadonlyMap<string, DirectoryEntry["kind"]> | undefined;
  readonly #allowed: readonly Place[];
  readonly #label: string;

  private constructor(
    store: Source,
    root: Place,
    allowed: readonly Place[],
    entries: readonly DirectoryEntry[] | undefined,
    label: string,
  ) {
    this.#store = store;
    this.#listed = entries && new Map(entries.map(({ name, kind }) => [name, kind]));
    this.root = root;
    this.#allowed = allowed;
    this.entries = entries ?? [];
    this.#label = label;
  }

  static async open(store: Source, location: ModelLocation, label: string): Promise<Folder> {
    const root = await store.realPlace(location.root);
    const allowed = location.allowLinksInto === undefined ? [root] : [root, location.allowLinksInto];
    const entries = location.file === undefined ? await store.list(root) : undefined;
    return new Folder(store, root, allowed, entries, label);
  }

  /** Where a file of the folder really is. @throws CheckpointError `checkpoint/link-out` */
  async resolve(name: string): Promise<Place> {
    const path = await this.#store.realPlace(join(this.root, name));
    if (this.#allowed.some((folder) => isBelow(folder, path))) return path;
    throw new CheckpointError(
      "checkpoint/link-out",
      `${this.#label}: ${quoted(name)} is a link to ${quoted(path)}, out of the model's folder ${this.root}`,
      { hint: "Put the file itself in its place. Only links within the folder, or of the Hub's cache, are followed." },
    );
  }

  readonly exists = async (name: string): Promise<boolean> => {
    const listed = this.#listed?.get(name);
    // Only of links, and in folders below, there is more to know.
    if (this.#listed !== undefined && listed !== "link" && !name.includes("/")) return listed === "file";
    return (await this.#store.identity(join(this.root, name)))?.kind === "file";
  };

  async readWhole(name: string, limitBytes: number): Promise<Uint8Array> {
    return readWhole(this.#store, await this.resolve(name), limitBytes);
  }

  /** The state of a file, and where it really is; undefined for what is none. @throws CheckpointError `checkpoint/link-out` */
  async state(name: string): Promise<Sidecar | undefined> {
    const path = await this.resolve(name);
    const found = await this.#store.identity(path);
    if (found?.kind !== "file") return undefined;
    const { sizeBytes, version } = found;
    return { path, sizeBytes, version };
  }

  /**
   * As `state`, with the bytes of a file that has no more than `limitBytes`: one request for both.
   * @throws CheckpointError `checkpoint/link-out`
   */
  async look(name: string, limitBytes: number): Promise<Look | undefined> {
    const path = await this.resolve(name);
    const read = await readIfShort(this.#store, path, limitBytes).catch((error: unknown) => {
      if (error instanceof StorageError && error.code === "storage/not-a-file") return undefined;
      throw error;
    });
    if (read === undefined) return undefined;
    const { sizeBytes, version, bytes } = read;
    return { state: { path, sizeBytes, version }, ...(bytes && { bytes }) };
  }

  /** A file's bytes and its state while they were read. */
  async readWithState(name: string, limitBytes: number) {
    return readWithState(this.#store, await this.resolve(name), limitBytes);
  }

  /** Files, and links to files, of a folder inside and those in it, sorted; the first `limit` of them. Links to folders are not followed. */
  async filesBelow(name: string, depth: number, limit: number): Promise<readonly string[]> {
    const files: string[] = [];
    for (const entry of await this.#store.list(await this.resolve(name))) {
      const path = `${name}/${entry.name}`;
      if (entry.kind !== "directory") files.push(path);
      else if (depth > 1) files.push(...(await this.filesBelow(path, depth - 1, limit)));
      if (files.length >= limit) break;
    }
    return files.slice(0, limit);
  }
}
