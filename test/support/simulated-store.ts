import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { setImmediate } from "node:timers/promises";
import {
  type DirectoryEntry,
  type FileIdentity,
  type Files,
  fileVersion,
  type Lock,
  type LockOptions,
  type Place,
  placeOf,
  type Readable,
  type StorageCode,
  StorageError,
  type StoredFile,
  type WriteOptions,
} from "../../storage/index.ts";
import { seededRandom } from "./seeded-random.ts";
import { PAGE_BYTES, SimulatedDirectory, SimulatedDisk, SimulatedFile, type SimulatedNode } from "./simulated-disk.ts";

export type OperationKind =
  | "open"
  | "create" // an open that makes the file
  | "read"
  | "write"
  | "truncate"
  | "sync"
  | "identity"
  | "list"
  | "rename"
  | "remove"
  | "remove-directory"
  | "make-directory"
  | "sync-directory"
  | "real-path"
  | "lock"
  | "unlock";

/** What was asked of the store, in the order of the calls. */
export interface Operation {
  /** From 1. */
  readonly number: number;
  readonly kind: OperationKind;
  /** Absolute. */
  readonly path: string;
  /** Where a rename leads. */
  readonly to?: string;
  readonly offsetBytes?: number;
  readonly sizeBytes?: number;
}

/** "full": no space left. "io": the device failed. */
export type Fault = "power-loss" | "full" | "io";

/** Which operations a fault can happen to; "power-loss" to all. */
const places: Readonly<Record<Exclude<Fault, "power-loss">, readonly OperationKind[]>> = {
  full: ["create", "write", "sync", "rename", "make-directory", "lock"],
  io: ["read", "write", "sync", "sync-directory"],
};

/** Thrown by everything asked of a store whose power is off. No StorageError: no program gets to see such a thing. */
export class PowerLoss extends Error {
  override readonly name = "PowerLoss";
}

/**
 * A Files in memory that forgets like a file system when the power fails: see simulated-disk.ts. Closing a file is no
 * operation and never fails. There are no links. A test goes: run; `crash(seed)`; run again on what that returns.
 *
 * Not simulated: states of a page between two syncs other than the last, and sectors whose old content is lost while
 * a new one is written.
 */
export class SimulatedStore implements Files {
  /** After a failed sync: whether readers still see the bytes that were lost, until the next crash. */
  afterFailedSync: "shown" | "dropped" = "shown";
  /** What happens while a sync is under way. */
  whileSyncing: () => Promise<void> = () => setImmediate();
  readonly #disk: SimulatedDisk;
  readonly #operations: Operation[] = [];
  readonly #faults: {
    readonly from: number;
    readonly fault: Fault;
    readonly isMeant?: (operation: Operation) => boolean;
  }[] = [];
  /** Owners by path; "" for none. */
  readonly #locks = new Map<string, { readonly owner: string }>();
  #off = false;

  constructor(disk = new SimulatedDisk()) {
    this.#disk = disk;
  }

  /** A store whose disk holds the files below a real directory, at `at`. */
  static async fromDirectory(realPath: string, at: string): Promise<SimulatedStore> {
    const store = new SimulatedStore();
    await store.addDirectory(realPath, at);
    return store;
  }

  // ------------------------------------------------------------------ what tests do to it: none of it is counted

  /** Puts the files below a real directory at `at`, durable, with their inodes and times. Links are followed. */
  async addDirectory(realPath: string, at: string): Promise<void> {
    const directory = this.#makeDirectories(resolve(at), true);
    for (const entry of await readdir(realPath)) {
      const path = join(realPath, entry);
      const stats = await stat(path, { bigint: true });
      if (stats.isDirectory()) await this.addDirectory(path, join(at, entry));
      else putDurably(directory, entry, SimulatedFile.holding(await readFile(path), stats.ino, stats.mtimeNs));
    }
  }

  /** Puts a file, durable, and the directories above it. */
  addFile(path: string, bytes: Uint8Array): void {
    const directory = this.#makeDirectories(resolve(dirname(path)), true);
    const file = SimulatedFile.holding(bytes.slice(), this.#disk.newInode(), this.#disk.nowNs());
    putDurably(directory, basename(path), file);
  }

  /** The `n`-th operation fails so, or the first after it that can. Each fault happens once; the power stays off. */
  failAt(n: number, fault: Fault): void {
    this.#faults.push({ from: n, fault });
  }

  /** The `nth` operation of its kind on its path fails so, wherever in the order of all it comes. */
  failNth({ kind, path }: Pick<Operation, "kind" | "path">, nth: number, fault: Fault): void {
    let seen = 0;
    const isMeant = (other: Operation) => other.kind === kind && other.path === path && ++seen === nth;
    this.#faults.push({ from: 0, fault, isMeant });
  }

  get operations(): readonly Operation[] {
    return this.#operations;
  }

  /** Whether the power failed, or the store was left by `crash` or `restart`. */
  get off(): boolean {
    return this.#off;
  }

  /**
   * The power fails, now at the latest. Returns the disk after reboot, no lock held, no fault to come, operations counted
   * from 1. This store is off. Called again with other seeds, it shows other ways in which the same crash might end.
   */
  crash(seed: number): SimulatedStore {
    this.#off = true;
    return this.#successor(this.#disk.afterPowerLoss(seededRandom(seed)));
  }

  /** The process is killed, the system goes on: nothing is lost yet, nothing more is durable. This store is off. */
  restart(): SimulatedStore {
    this.#off = true;
    return this.#successor(this.#disk);
  }

  /** Another store with the same files, all durable. This one goes on. */
  copy(): SimulatedStore {
    return this.#successor(this.#disk.settled());
  }

  /** What a reader would see; undefined where no file is. */
  contentOf(path: string): Uint8Array | undefined {
    const file = this.#find(resolve(path));
    if (!(file instanceof SimulatedFile)) return undefined;
    const bytes = new Uint8Array(file.sizeBytes);
    file.read(0, bytes);
    return bytes;
  }

  /** What would be left of a range if the power failed now and nothing more came to the disk; undefined where no file is. */
  durableRange(path: string, offsetBytes: number, sizeBytes: number): Uint8Array | undefined {
    const file = this.#find(resolve(path));
    return file instanceof SimulatedFile ? file.durableRange(offsetBytes, sizeBytes) : undefined;
  }

  /** Paths of all files below a directory, sorted. */
  paths(directory = "/"): readonly string[] {
    const node = this.#find(resolve(directory));
    if (!(node instanceof SimulatedDirectory)) return [];
    const below = [...node.cached].map(([name, child]) => [join(resolve(directory), name), child] as const);
    return below.flatMap(([path, child]) => (child instanceof SimulatedFile ? [path] : this.paths(path))).sort();
  }

  // ------------------------------------------------------------------ Files

  async open(path: string): Promise<Readable> {
    return this.#open(path, "read");
  }

  async openForWriting(path: string, { mustExist = false }: WriteOptions = {}): Promise<StoredFile> {
    return this.#open(path, mustExist ? "rewrite" : "write");
  }

  async #open(path: string, mode: "read" | "write" | "rewrite"): Promise<StoredFile> {
    const at = resolve(path);
    const found = this.#find(at);
    const makes = mode === "write" && found === undefined;
    return this.#perform({ kind: makes ? "create" : "open", path: at }, () => {
      let file = found;
      if (makes) file = this.#create(at);
      if (file === undefined) throw missing("open", at, this.#isBelowFile(at));
      if (file instanceof SimulatedDirectory) throw refusal("storage/not-a-file", "open", at, "it is a directory");
      return this.#handle(at, file, mode);
    });
  }

  async identity(path: string): Promise<FileIdentity | undefined> {
    return this.#perform({ kind: "identity", path: resolve(path) }, () => {
      const node = this.#find(resolve(path));
      return node === undefined ? undefined : identityOf(node);
    });
  }

  async list(directory: string): Promise<readonly DirectoryEntry[]> {
    const at = resolve(directory);
    return this.#perform({ kind: "list", path: at }, () => {
      const names = [...this.#directory(at, "list").cached];
      names.sort(([a], [b]) => (a < b ? -1 : 1));
      return names.map(([name, node]) => ({ name, kind: identityOf(node).kind }));
    });
  }

  async rename(from: string, to: string): Promise<void> {
    const [source, target] = [resolve(from), resolve(to)];
    await this.#perform({ kind: "rename", path: source, to: target }, () => {
      const origin = this.#directory(dirname(source), "rename in");
      const directory = this.#directory(dirname(target), "rename in");
      const node = origin.cached.get(basename(source));
      if (node === undefined) throw missing("rename", source, false);
      // As Linux answers, which looks at this before the kinds.
      if (source.startsWith(`${target}/`)) throw refusal("storage/not-empty", "replace", target, `it holds ${source}`);
      if (target.startsWith(`${source}/`)) throw refusal("storage/io", "rename", source, `${target} is inside`);
      const replaced = directory.cached.get(basename(target));
      if (replaced === node) return;
      if (replaced instanceof SimulatedDirectory && node instanceof SimulatedFile) {
        throw refusal("storage/not-a-file", "replace", target, "it is a directory");
      }
      if (replaced instanceof SimulatedFile && node instanceof SimulatedDirectory) {
        throw refusal("storage/not-a-directory", "replace", target, "it is a file");
      }
      if (replaced instanceof SimulatedDirectory && replaced.cached.size > 0) {
        throw refusal("storage/not-empty", "replace", target, "directory not empty");
      }
      this.#disk.change(
        { directory: origin, name: basename(source), node: undefined },
        { directory, name: basename(target), node },
      );
    });
  }

  async remove(path: string): Promise<void> {
    const at = resolve(path);
    await this.#perform({ kind: "remove", path: at }, () => {
      if (this.#find(at) instanceof SimulatedDirectory) {
        throw refusal("storage/not-a-file", "remove", at, "it is a directory");
      }
      this.#unlink(at);
    });
  }

  async removeDirectory(path: string): Promise<void> {
    const at = resolve(path);
    await this.#perform({ kind: "remove-directory", path: at }, () => {
      const node = this.#find(at);
      if (node === undefined && this.#isBelowFile(at)) throw missing("remove", at, true);
      if (node === undefined) return;
      if (node instanceof SimulatedFile) throw refusal("storage/not-a-directory", "remove", at, "it is a file");
      if (node.cached.size > 0) throw refusal("storage/not-empty", "remove", at, "directory not empty");
      this.#unlink(at);
    });
  }

  async makeDirectory(path: string): Promise<void> {
    await this.#perform({ kind: "make-directory", path: resolve(path) }, () => {
      this.#makeDirectories(resolve(path), false);
    });
  }

  async syncDirectory(path: string): Promise<void> {
    const at = resolve(path);
    const end = await this.#perform({ kind: "sync-directory", path: at }, () =>
      this.#disk.beginSync(this.#directory(at, "sync")),
    );
    await this.#finish(end);
  }

  async realPlace(path: string): Promise<Place> {
    const at = resolve(path);
    return this.#perform({ kind: "real-path", path: at }, () => {
      if (this.#find(at) === undefined) throw missing("resolve", at, this.#isBelowFile(at));
      return placeOf(at);
    });
  }

  async lock(path: string, { owner = "" }: LockOptions = {}): Promise<Lock> {
    const at = resolve(path);
    return this.#perform({ kind: "lock", path: at }, () => {
      const before = this.#locks.get(at);
      if (before !== undefined && (owner === "" || before.owner !== owner))
        throw refusal("storage/locked", "lock", at, "process 1 holds it", true);
      if (this.#find(at) === undefined) this.#create(at);
      const mine = { owner };
      this.#locks.set(at, mine);
      const unlock = () => {
        if (this.#locks.get(at) !== mine) return; // taken over
        this.#locks.delete(at);
        this.#unlink(at);
      };
      return { release: async () => this.#perform({ kind: "unlock", path: at }, unlock) };
    });
  }

  // ------------------------------------------------------------------ inside

  #handle(path: string, file: SimulatedFile, mode: "read" | "write" | "rewrite"): StoredFile {
    let open = true;
    let toldFailures = file.failedSyncs;
    const perform = async <T>(kind: OperationKind, range: Partial<Operation>, act: () => T, fail?: () => void) => {
      if (!open) throw refusal("storage/io", kind, path, "it was closed before");
      if (mode === "read" && (kind === "write" || kind === "truncate")) {
        throw refusal("storage/io", kind, path, "it was opened for reading");
      }
      return this.#perform({ kind, path, ...range }, act, fail);
    };
    return {
      place: placeOf(path),
      identity: async () => perform("identity", {}, () => identityOf(file)),
      read: async (offsetBytes, into) =>
        perform("read", { offsetBytes, sizeBytes: into.length }, () => {
          const count = file.read(offsetBytes, into);
          if (count === into.length) return;
          throw refusal("storage/short-read", "read", path, `the file ends at byte ${offsetBytes + count}`);
        }),
      write: async (offsetBytes, bytes) => {
        const put = (length: number) => file.write(offsetBytes, bytes.subarray(0, length), this.#disk.nowNs());
        // A write that fails may have come half-way.
        const putHalf = () => put(Math.floor(bytes.length / 2));
        return perform("write", { offsetBytes, sizeBytes: bytes.length }, () => put(bytes.length), putHalf);
      },
      truncate: async (sizeBytes) =>
        perform("truncate", { sizeBytes }, () => file.truncate(sizeBytes, this.#disk.nowNs())),
      sync: async () => {
        const fail = () => {
          file.failSync(this.afterFailedSync);
          toldFailures = file.failedSyncs;
        };
        const tellFailure = () => {
          if (toldFailures === file.failedSyncs) return;
          toldFailures = file.failedSyncs;
          throw refusal("storage/io", "sync", path, "device error of another's sync (simulated)", true);
        };
        const begin = () => {
          tellFailure();
          return file.beginSync();
        };
        await this.#finish(await perform("sync", {}, begin, fail));
        tellFailure();
      },
      close: async () => {
        open = false;
      },
    };
  }

  /** Counts and logs an operation, and does it or fails as it is meant to; `fail` is what it does nevertheless. */
  async #perform<T>(operation: Omit<Operation, "number">, act: () => T, fail?: () => void): Promise<T> {
    if (this.#off) throw new PowerLoss(`cannot ${operation.kind} ${operation.path}: the power is off`);
    const number = this.#operations.length + 1;
    const counted = { number, ...operation };
    this.#operations.push(counted);
    const due = this.#faults.findIndex(
      ({ from, fault, isMeant = () => true }) =>
        number >= from && (fault === "power-loss" || places[fault].includes(operation.kind)) && isMeant(counted),
    );
    const fault = due < 0 ? undefined : this.#faults.splice(due, 1)[0]?.fault;
    if (fault === "full" || fault === "io") {
      fail?.();
      const [code, reason] =
        fault === "full" ? (["full", "no space left"] as const) : (["io", "device error"] as const);
      throw refusal(`storage/${code}`, operation.kind, operation.path, `${reason} (simulated)`, fault === "io");
    }
    if (fault === undefined) return act();
    try {
      act(); // made in the cache only: of a call cut short a crash may keep all, some or nothing
    } catch {
      // it would have failed anyway
    }
    this.#off = true;
    throw new PowerLoss(`the power failed in operation ${number}: ${operation.kind} ${operation.path}`);
  }

  /** A sync takes a while, in which others may write or the power may fail. */
  async #finish(endSync: () => void): Promise<void> {
    await this.whileSyncing();
    if (this.#off) throw new PowerLoss("the power failed during a sync");
    endSync();
  }

  #successor(disk: SimulatedDisk): SimulatedStore {
    const store = new SimulatedStore(disk);
    store.afterFailedSync = this.afterFailedSync;
    return store;
  }

  #find(path: string): SimulatedNode | undefined {
    let node: SimulatedNode | undefined = this.#disk.root;
    for (const name of namesIn(path)) {
      if (!(node instanceof SimulatedDirectory)) return undefined;
      node = node.cached.get(name);
    }
    return node;
  }

  #isBelowFile(path: string): boolean {
    if (path === "/") return false;
    const parent = this.#find(dirname(path));
    return parent === undefined ? this.#isBelowFile(dirname(path)) : parent instanceof SimulatedFile;
  }

  /** @throws `storage/not-found`, `storage/not-a-directory` */
  #directory(path: string, action: string): SimulatedDirectory {
    const node = this.#find(path);
    if (node instanceof SimulatedDirectory) return node;
    throw missing(action, path, node instanceof SimulatedFile || this.#isBelowFile(path));
  }

  #create(path: string): SimulatedFile {
    const directory = this.#directory(dirname(path), `make ${path} in`);
    const file = new SimulatedFile(this.#disk.newInode(), this.#disk.nowNs());
    this.#disk.change({ directory, name: basename(path), node: file });
    return file;
  }

  #unlink(path: string): void {
    if (this.#find(path) === undefined) return;
    this.#disk.change({ directory: this.#directory(dirname(path), "remove"), name: basename(path), node: undefined });
  }

  #makeDirectories(path: string, durably: boolean): SimulatedDirectory {
    let directory = this.#disk.root;
    for (const name of namesIn(path)) {
      let node = directory.cached.get(name);
      if (node instanceof SimulatedFile) {
        const code = node === this.#find(path) ? "storage/exists" : "storage/not-a-directory";
        throw refusal(code, "make the directory", path, `${name} is a file`);
      }
      if (node === undefined) {
        node = new SimulatedDirectory(this.#disk.newInode(), this.#disk.nowNs());
        if (durably) putDurably(directory, name, node);
        else this.#disk.change({ directory, name, node });
      }
      directory = node;
    }
    return directory;
  }
}

function putDurably(directory: SimulatedDirectory, name: string, node: SimulatedNode): void {
  directory.cached.set(name, node);
  directory.durable.set(name, node);
}

function namesIn(path: string): readonly string[] {
  return path.split("/").filter((name) => name !== "");
}

function identityOf(node: SimulatedNode): FileIdentity & { readonly kind: "file" | "directory" } {
  const { inode, mtimeNs } = node;
  const version = fileVersion({ inode, mtimeNs });
  if (node instanceof SimulatedFile) return { kind: "file", sizeBytes: node.sizeBytes, version, inode };
  return { kind: "directory", sizeBytes: PAGE_BYTES, version, inode };
}

function missing(action: string, path: string, belowFile: boolean): StorageError {
  if (belowFile) return refusal("storage/not-a-directory", action, path, "what should be a directory is a file");
  return refusal("storage/not-found", action, path, "nothing is there");
}

function refusal(code: StorageCode, action: string, path: string, reason: string, retryable = false): StorageError {
  return new StorageError(code, `cannot ${action} ${path}: ${reason}`, { hint: "Simulated.", retryable });
}
