import * as fs from "node:fs";
import { dirname, resolve } from "node:path";
import { promisify } from "node:util";
import { errnoOf, StorageError, storageError } from "../errors.ts";
import type {
  DirectoryEntry,
  FileIdentity,
  Lock,
  LockOptions,
  OpenMode,
  OpenOptions,
  Store,
  StoredFile,
} from "../store.ts";
import { lockFile } from "./lock-file.ts";
import { DescriptorFile, identityOf } from "./stored-file.ts";

const open = promisify(fs.open);
const fsync = promisify(fs.fsync);
const close = promisify(fs.close);
const fchmod = promisify(fs.fchmod);

// O_NONBLOCK: opening a named pipe that somebody put in a model's folder must not wait for a writer. Files ignore it.
const READ_FLAGS = fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0);
const REWRITE_FLAGS = fs.constants.O_RDWR | (fs.constants.O_NONBLOCK ?? 0);
const NO_FOLLOW = fs.constants.O_NOFOLLOW ?? 0;
const openFlags = { read: READ_FLAGS, write: REWRITE_FLAGS | fs.constants.O_CREAT, rewrite: REWRITE_FLAGS } as const;

const OWNER_ONLY = 0o600;

/** Files of this machine, mounted network file systems included. */
export class FileStore implements Store {
  readonly #blocking: boolean;
  readonly #gone: string | undefined;

  /** `blocking`: reads and writes of open files happen on the calling thread. For worker threads, which have none else to serve. */
  constructor(options: { readonly blocking?: boolean; readonly takeOver?: string | undefined } = {}) {
    this.#blocking = options.blocking ?? false;
    this.#gone = options.takeOver;
  }

  async open(
    path: string,
    mode: OpenMode,
    { ownerOnly = false, links = "follow" }: OpenOptions = {},
  ): Promise<StoredFile> {
    const action = mode === "read" ? "open" : "open for writing";
    const flags = openFlags[mode] | (links === "refuse" ? NO_FOLLOW : 0);
    const descriptor = await attempt(action, path, () => open(path, flags, ownerOnly ? OWNER_ONLY : 0o666));
    const file = new DescriptorFile(path, descriptor, this.#blocking);
    try {
      const { kind } = await file.identity();
      if (kind === "file") {
        if (ownerOnly && mode !== "read") await attempt("make private", path, () => fchmod(descriptor, OWNER_ONLY));
        return file;
      }
      throw new StorageError("storage/not-a-file", `cannot ${action} ${path}: it is no regular file`, {
        hint: "A regular file was expected here, no folder, pipe or device.",
      });
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async identity(path: string): Promise<FileIdentity | undefined> {
    try {
      return identityOf(await fs.promises.stat(path, { bigint: true }));
    } catch (cause) {
      if (isNothingThere(cause)) return undefined;
      throw storageError(cause, "examine", path);
    }
  }

  async list(directory: string): Promise<readonly DirectoryEntry[]> {
    const entries = await attempt("list", directory, () => fs.promises.readdir(directory, { withFileTypes: true }));
    return entries
      .map((entry) => ({ name: entry.name, kind: kindOf(entry) }))
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }

  async rename(from: string, to: string): Promise<void> {
    await attempt(`rename to ${to}`, from, () => fs.promises.rename(from, to));
  }

  async remove(path: string): Promise<void> {
    try {
      await fs.promises.unlink(path);
    } catch (cause) {
      if (!isNothingThere(cause)) throw storageError(cause, "remove", path);
    }
  }

  async removeDirectory(path: string): Promise<void> {
    try {
      await fs.promises.rmdir(path);
    } catch (cause) {
      if (errnoOf(cause) === "ENOENT") return;
      // POSIX lets a system say EEXIST for a folder that is not empty.
      if (errnoOf(cause) !== "EEXIST") throw storageError(cause, "remove", path);
      throw storageError(Object.assign(new Error("directory not empty"), { code: "ENOTEMPTY" }), "remove", path);
    }
  }

  async makeDirectory(path: string): Promise<void> {
    await attempt("make the folder", path, () => this.#make(resolve(path)));
  }

  /** Not Node's way, which says that a place is not there where nothing may be written, or never ends. */
  async #make(path: string): Promise<void> {
    try {
      await fs.promises.mkdir(path);
    } catch (cause) {
      if ((await this.identity(path))?.kind === "directory") return;
      const above = dirname(path);
      if (errnoOf(cause) !== "ENOENT" || (await this.identity(above)) !== undefined) throw cause;
      await this.#make(above);
      await this.#make(path);
    }
  }

  async syncDirectory(path: string): Promise<void> {
    if (process.platform === "win32") return; // folders cannot be opened there; NTFS journals names itself
    await attempt("sync the folder", path, async () => {
      const descriptor = await open(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
      try {
        await fsync(descriptor);
      } finally {
        await close(descriptor);
      }
    });
  }

  async realPath(path: string): Promise<string> {
    return attempt("resolve", path, () => fs.promises.realpath(path));
  }

  async lock(path: string, options?: LockOptions): Promise<Lock> {
    return attempt("lock", path, () => lockFile(path, { ...options, gone: this.#gone }));
  }
}

async function attempt<T>(action: string, path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (cause) {
    throw storageError(cause, action, path);
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
