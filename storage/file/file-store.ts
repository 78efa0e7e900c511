import * as fs from "node:fs";
import { promisify } from "node:util";
import { errnoOf, StorageError, storageError } from "../errors.ts";
import { type Place, parentOf, placeOf, wholePlace } from "../place.ts";
import type {
  DirectoryEntry,
  FileIdentity,
  Files,
  Lock,
  LockOptions,
  Readable,
  StoredFile,
  WriteOptions,
} from "../port.ts";
import { lockFile } from "./lock-file.ts";
import { DescriptorFile, identityOf } from "./stored-file.ts";

const open = promisify(fs.open);
const fsync = promisify(fs.fsync);
const close = promisify(fs.close);
const fchmod = promisify(fs.fchmod);

// O_NONBLOCK: opening a named pipe that somebody put in a model's folder must not wait for a writer. Files ignore it.
const READ_FLAGS = fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0);
const WRITE_FLAGS = fs.constants.O_RDWR | (fs.constants.O_NONBLOCK ?? 0);
const NO_FOLLOW = fs.constants.O_NOFOLLOW ?? 0;

const OWNER_ONLY = 0o600;

export interface FileStoreOptions {
  /** Reads and writes of open files happen on the calling thread. For worker threads, which have none else to serve. */
  readonly blocking?: boolean;
  /** A holder of a lock, by the name that its refusal gives, that somebody is certain has ended. */
  readonly takeOver?: string | undefined;
}

/** Files of this machine, mounted network file systems included. */
export class FileStore implements Files {
  readonly #blocking: boolean;
  readonly #gone: string | undefined;

  constructor(options: FileStoreOptions = {}) {
    this.#blocking = options.blocking ?? false;
    this.#gone = options.takeOver;
  }

  async open(place: Place): Promise<Readable> {
    return this.#open("open", place, READ_FLAGS);
  }

  async openForWriting(
    place: Place,
    { mustExist = false, ownerOnly = false, links = "follow" }: WriteOptions = {},
  ): Promise<StoredFile> {
    const flags = WRITE_FLAGS | (mustExist ? 0 : fs.constants.O_CREAT) | (links === "refuse" ? NO_FOLLOW : 0);
    return this.#open("open for writing", place, flags, ownerOnly);
  }

  async #open(action: string, place: Place, flags: number, ownerOnly = false): Promise<DescriptorFile> {
    const descriptor = await attempt(action, place, () => open(place, flags, ownerOnly ? OWNER_ONLY : 0o666));
    const file = new DescriptorFile(place, descriptor, this.#blocking);
    try {
      const { kind } = await file.identity();
      if (kind === "file") {
        if (ownerOnly) await attempt("make private", place, () => fchmod(descriptor, OWNER_ONLY));
        return file;
      }
      throw new StorageError("storage/not-a-file", `cannot ${action} ${place}: it is no regular file`, {
        hint: "A regular file was expected here, no folder, pipe or device.",
      });
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async identity(place: Place): Promise<FileIdentity | undefined> {
    try {
      return identityOf(await fs.promises.stat(place, { bigint: true }));
    } catch (cause) {
      if (isNothingThere(cause)) return undefined;
      throw storageError(cause, "examine", place);
    }
  }

  async list(folder: Place): Promise<readonly DirectoryEntry[]> {
    const entries = await attempt("list", folder, () => fs.promises.readdir(folder, { withFileTypes: true }));
    return entries
      .map((entry) => ({ name: entry.name, kind: kindOf(entry) }))
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }

  async rename(from: Place, to: Place): Promise<void> {
    await attempt(`rename to ${to}`, from, () => fs.promises.rename(from, to));
  }

  async remove(place: Place): Promise<void> {
    try {
      await fs.promises.unlink(place);
    } catch (cause) {
      if (!isNothingThere(cause)) throw storageError(cause, "remove", place);
    }
  }

  async removeDirectory(place: Place): Promise<void> {
    try {
      await fs.promises.rmdir(place);
    } catch (cause) {
      if (errnoOf(cause) === "ENOENT") return;
      // POSIX lets a system say EEXIST for a folder that is not empty.
      if (errnoOf(cause) !== "EEXIST") throw storageError(cause, "remove", place);
      throw storageError(Object.assign(new Error("directory not empty"), { code: "ENOTEMPTY" }), "remove", place);
    }
  }

  async makeDirectory(place: Place): Promise<void> {
    await attempt("make the folder", place, () => this.#make(wholePlace(place)));
  }

  /** Not Node's way, which says that a place is not there where nothing may be written, or never ends. */
  async #make(place: Place): Promise<void> {
    try {
      await fs.promises.mkdir(place);
    } catch (cause) {
      if ((await this.identity(place))?.kind === "directory") return;
      if (errnoOf(cause) !== "ENOENT") throw cause;
      const above = parentOf(place);
      if ((await this.identity(above)) === undefined) await this.#make(above);
      // Another may have made the folder above meanwhile. Where it is there and nothing can be made in it, that is the answer.
      await fs.promises.mkdir(place).catch(async (again: unknown) => {
        if ((await this.identity(place))?.kind !== "directory") throw again;
      });
    }
  }

  async syncDirectory(place: Place): Promise<void> {
    if (process.platform === "win32") return; // folders cannot be opened there; NTFS journals names itself
    await attempt("sync the folder", place, async () => {
      const descriptor = await open(place, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
      try {
        await fsync(descriptor);
      } finally {
        await close(descriptor);
      }
    });
  }

  async realPlace(place: Place): Promise<Place> {
    return attempt("resolve", place, async () => placeOf(await fs.promises.realpath(place)));
  }

  async lock(place: Place, options?: LockOptions): Promise<Lock> {
    return attempt("lock", place, () => lockFile(place, { ...options, gone: this.#gone }));
  }
}

async function attempt<T>(action: string, place: Place, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (cause) {
    throw storageError(cause, action, place);
  }
}

function isNothingThere(cause: unknown): boolean {
  const errno = errnoOf(cause);
  return errno === "ENOENT" || errno === "ENOTDIR";
}

function kindOf(entry: fs.Dirent): DirectoryEntry["kind"] {
  if (entry.isSymbolicLink()) return "link";
  if (entry.isFile()) return "file";
  return entry.isDirectory() ? "directory" : "other";
}
