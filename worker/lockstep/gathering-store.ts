import type { DirectoryEntry, FileIdentity, Lock, Store, StoredFile } from "../../storage/index.ts";
import type { GatheredReads } from "./gathered-reads.ts";

/**
 * A store whose reads of input files are gathered with those of other merges. All else goes to the store behind it: above all what
 * the seal reads back, which must come from storage.
 */
export class GatheringStore implements Store {
  readonly #store: Store;
  readonly #reads: GatheredReads;
  readonly #inputs: ReadonlySet<string>;

  /** `inputs`: paths of the input files. */
  constructor(store: Store, reads: GatheredReads, inputs: Iterable<string>) {
    this.#store = store;
    this.#reads = reads;
    this.#inputs = new Set(inputs);
  }

  async open(path: string, mode: "read" | "write"): Promise<StoredFile> {
    const file = await this.#store.open(path, mode);
    if (mode === "write" || !this.#inputs.has(path)) return file;
    // A file that is replaced meanwhile is another: its reads must not mix with those of the old one.
    const { inode, mtimeNs, sizeBytes } = await file.identity();
    const key = `${path}/${inode}/${mtimeNs}/${sizeBytes}`;
    return {
      path,
      identity: () => file.identity(),
      read: (offsetBytes, into) => this.#reads.read(key, offsetBytes, into, (bytes) => file.read(offsetBytes, bytes)),
      write: (offsetBytes, bytes) => file.write(offsetBytes, bytes),
      truncate: (size) => file.truncate(size),
      sync: () => file.sync(),
      close: () => file.close(),
    };
  }

  identity(path: string): Promise<FileIdentity | undefined> {
    return this.#store.identity(path);
  }

  list(directory: string): Promise<readonly DirectoryEntry[]> {
    return this.#store.list(directory);
  }

  rename(from: string, to: string): Promise<void> {
    return this.#store.rename(from, to);
  }

  remove(path: string): Promise<void> {
    return this.#store.remove(path);
  }

  removeDirectory(path: string): Promise<void> {
    return this.#store.removeDirectory(path);
  }

  makeDirectory(path: string): Promise<void> {
    return this.#store.makeDirectory(path);
  }

  syncDirectory(path: string): Promise<void> {
    return this.#store.syncDirectory(path);
  }

  realPath(path: string): Promise<string> {
    return this.#store.realPath(path);
  }

  lock(path: string): Promise<Lock> {
    return this.#store.lock(path);
  }
}
