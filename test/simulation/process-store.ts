import { dirname } from "node:path";
import {
  type DirectoryEntry,
  type FileIdentity,
  type Files,
  type Lock,
  type Place,
  type Readable,
  StorageError,
  type StoredFile,
  type WriteOptions,
} from "../../storage/index.ts";
import { PowerLoss, type SimulatedStore } from "../support/simulated-store.ts";
import type { Writer } from "./auditor.ts";
import type { Process } from "./process.ts";
import { writerOfCall } from "./rpc.ts";
import { times, type World } from "./world.ts";

/** A call that a process had begun when it died is carried out within this time, or not at all. */
const ABANDONED_MS = 50;

export interface StoreMarks {
  /** Whose these bytes are. */
  writerOf?(bytes: Uint8Array): Writer | undefined;
  /** In the place of a sync. */
  syncing?(sync: () => Promise<void>): Promise<void>;
}

/** Calls that may fail, and how. */
type Kind = "read" | "write" | "sync" | "name" | "look";

/**
 * The shared disk as one process reaches it: every call takes its time, is carried out whether or not the process is stopped or killed
 * meanwhile, and fails when the world wants it to.
 */
export class ProcessStore implements Files {
  readonly #world: World;
  readonly #process: Process;
  #inner: SimulatedStore;
  #innerDisk: unknown;
  readonly #marks: StoreMarks;

  /** `marks`: whose bytes are written, and planted faults of a worker's. */
  constructor(world: World, process: Process, marks: StoreMarks = {}) {
    this.#world = world;
    this.#process = process;
    this.#marks = marks;
    this.#inner = world.newStore();
    this.#innerDisk = world.disk;
  }

  async open(path: string): Promise<Readable> {
    const store = this.#current();
    return this.#readable(store, await this.#call(store, "look", path, () => store.open(path)));
  }

  async openForWriting(path: string, options: WriteOptions = {}): Promise<StoredFile> {
    const store = this.#current();
    // Bytes that came through a call are its sender's.
    const sender = writerOfCall.getStore();
    const file = await this.#call(store, options.mustExist === true ? "look" : "name", path, () =>
      store.openForWriting(path, options),
    );
    return this.#handle(store, file, sender);
  }

  identity(path: string): Promise<FileIdentity | undefined> {
    const store = this.#current();
    return this.#call(store, "look", path, () => store.identity(path));
  }

  list(directory: string): Promise<readonly DirectoryEntry[]> {
    const store = this.#current();
    return this.#call(store, "look", directory, () => store.list(directory));
  }

  rename(from: string, to: string): Promise<void> {
    const store = this.#current();
    return this.#call(store, "name", from, () => {
      this.#world.auditor.renaming(from, to, this.#process);
      return store.rename(from, to);
    });
  }

  remove(path: string): Promise<void> {
    const store = this.#current();
    return this.#call(store, "name", path, () => {
      this.#world.auditor.removing(path);
      return store.remove(path);
    });
  }

  removeDirectory(path: string): Promise<void> {
    const store = this.#current();
    return this.#call(store, "name", path, () => store.removeDirectory(path));
  }

  makeDirectory(path: string): Promise<void> {
    const store = this.#current();
    return this.#call(store, "name", path, () => store.makeDirectory(path));
  }

  syncDirectory(path: string): Promise<void> {
    const store = this.#current();
    return this.#call(store, "sync", path, () => store.syncDirectory(path));
  }

  realPlace(path: Place): Promise<Place> {
    return Promise.resolve(path);
  }

  /** Held until it is released or the process is dead; a stopped one still holds it. */
  async lock(path: string): Promise<Lock> {
    const { locks } = this.#world;
    const store = this.#current();
    await this.#call(store, "look", path, () => store.identity(dirname(path)));
    const holder = locks.get(path);
    if (holder?.alive === true && holder !== this.#process) {
      throw failure("storage/locked", `${holder.name} holds ${path}`, true);
    }
    locks.set(path, this.#process);
    return {
      release: async () => {
        if (locks.get(path) === this.#process) locks.delete(path);
      },
    };
  }

  #readable(store: SimulatedStore, file: Readable): Readable {
    const { place: path } = file;
    return {
      place: path,
      identity: () => this.#call(store, "look", path, () => file.identity()),
      read: (offsetBytes, into) =>
        this.#call(store, "read", path, async () => {
          await file.read(offsetBytes, into);
          this.#world.auditor.readBack(path, offsetBytes, into.length);
        }),
      close: () => this.#call(store, "look", path, () => file.close()),
    };
  }

  #handle(store: SimulatedStore, file: StoredFile, sender?: { readonly writer?: Writer }): StoredFile {
    const { place: path } = file;
    const { auditor } = this.#world;
    const { writerOf, syncing = (sync) => sync() } = this.#marks;
    return {
      ...this.#readable(store, file),
      write: (offsetBytes, bytes) => {
        // A coordinator writes for several, one after another: what it has begun is over before the next may begin.
        if (sender?.writer !== undefined) auditor.mayWrite(path, sender.writer);
        const writer = sender?.writer ?? writerOf?.(bytes);
        return this.#call(store, "write", path, () => {
          if (sender === undefined && writer !== undefined) auditor.mayWrite(path, writer);
          auditor.writing(path, offsetBytes, bytes, writer);
          return file.write(offsetBytes, bytes);
        });
      },
      truncate: (sizeBytes) => this.#call(store, "write", path, () => file.truncate(sizeBytes)),
      sync: () => syncing(() => this.#call(store, "sync", path, () => file.sync())),
    };
  }

  /** After the power failed the disk is another one; handles of the one before are worth nothing. */
  #current(): SimulatedStore {
    if (this.#innerDisk !== this.#world.disk) {
      this.#inner = this.#world.newStore();
      this.#innerDisk = this.#world.disk;
    }
    return this.#inner;
  }

  #call<T>(store: SimulatedStore, kind: Kind, path: string, act: () => Promise<T>): Promise<T> {
    const world = this.#world;
    return new Promise((resolve, reject) => {
      const delayMs = world.ioDelayMs(kind, this.#process);
      const begunMs = world.scheduler.nowMs;
      world.scheduler.after(delayMs, () => {
        // A process that dies may have got its call off or not.
        // but what it began is not carried out long after.
        const sinceMs = this.#process.alive ? 0 : world.scheduler.nowMs - this.#process.diedMs;
        if (sinceMs > ABANDONED_MS || (!this.#process.alive && world.random() < 0.5)) return;
        // A mount that hangs gives up at last. Were its process stopped as well, nobody could end it before it does harm.
        if (delayMs > times.ioTimeoutMs && this.#process.stoppedMs >= begunMs) {
          return this.#process.deliver(() => reject(failure("storage/io", "the mount gave up (simulated)", true)));
        }
        const fault = world.ioFault(kind, path, this.#process);
        if (kind !== "look" && kind !== "read")
          world.log(this.#process.name, `   disk: ${kind} ${path} ${fault ?? ""}`);
        if (fault !== undefined) store.failAt(store.operations.length + 1, fault);
        act().then(
          (value) => this.#process.deliver(() => resolve(value)),
          (error: unknown) => {
            const told =
              error instanceof PowerLoss ? failure("storage/io", "stale handle: the disk went away", true) : error;
            this.#process.deliver(() => reject(told));
          },
        );
      });
    });
  }
}

function failure(code: "storage/io" | "storage/locked", message: string, retryable: boolean): StorageError {
  return new StorageError(code, message, { hint: "Simulated.", retryable });
}
