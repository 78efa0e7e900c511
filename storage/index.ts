export { boundedStore } from "./bounded-store.ts";
export { type StorageCode, StorageError, storageCodes } from "./errors.ts";
export { FileStore } from "./file/file-store.ts";
export { fileVersion } from "./file/file-version.ts";
export { freeBytes } from "./file/free-bytes.ts";
export { linkless } from "./file/linkless-store.ts";
export { inParallel } from "./in-parallel.ts";
export type {
  DirectoryEntry,
  FileIdentity,
  Lock,
  LockOptions,
  OpenMode,
  OpenOptions,
  Store,
  StoredFile,
  Version,
} from "./store.ts";
export { Turns } from "./turns.ts";
export { readWhole, readWithVersion, writeWhole } from "./whole.ts";
