/**
 * Where bytes live. One port for every store: the file store behind it today, object stores and the Hub later.
 * No other room opens files itself. Paths are absolute, or relative to the working directory of the process.
 *
 * Every method returns a promise. Inside a worker thread a store may block while it works (FileStore `blocking`).
 * All methods throw StorageError; its `retryable` says whether trying again can help.
 */
export interface Store {
  /**
   * Opens a file. "read": it must exist. "write": read and write, made if missing, its contents kept. "rewrite": as "write", but it
   * must exist.
   * `ownerOnly`, for what is secret: a file that is written is readable by its owner alone, also if it was there before.
   * @throws StorageError `storage/not-found`, `storage/denied`, `storage/link`, `storage/io`
   */
  open(path: string, mode: OpenMode, options?: OpenOptions): Promise<StoredFile>;
  /** What identifies a file's state, following links; undefined where nothing is there. */
  identity(path: string): Promise<FileIdentity | undefined>;
  /** The entries of a directory, sorted by name (code unit order). @throws `storage/not-found` */
  list(directory: string): Promise<readonly DirectoryEntry[]>;
  /** Replaces `to` if it is there. Atomic: a reader sees the old or the new file. Durable after `syncDirectory`. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file or a link. Nothing there is no error. */
  remove(path: string): Promise<void>;
  /** Removes an empty directory. Nothing there is no error. @throws `storage/not-empty` */
  removeDirectory(path: string): Promise<void>;
  /** Makes a directory and its parents. Already there is no error. */
  makeDirectory(path: string): Promise<void>;
  /** Makes the names in a directory durable (entries made, renamed, removed). */
  syncDirectory(path: string): Promise<void>;
  /** The path with every link resolved. @throws `storage/not-found` */
  realPath(path: string): Promise<string>;
  /**
   * Takes an exclusive lock that ends with the process at the latest.
   * @throws StorageError `storage/locked` naming the holder if another process holds it that is not known to have ended: of one in
   * another container or on another machine that may not be known, and somebody has to say so.
   */
  lock(path: string, options?: LockOptions): Promise<Lock>;
}

export type OpenMode = "read" | "write" | "rewrite";

export interface OpenOptions {
  readonly ownerOnly?: boolean;
  /** Of the last part of the path; "follow" is the default. "refuse" is for files that are written. */
  readonly links?: "follow" | "refuse";
  /** So many bytes from the beginning, or all where there are fewer, will be read next: a store that is far may bring them with its answer. */
  readonly firstBytes?: number;
}

export interface LockOptions {
  /**
   * Names something that is fenced by other means, a job that several coordinators may lead one after the other: a lock that another
   * process has for the same owner is taken over. One line.
   */
  readonly owner?: string;
}

export interface Lock {
  release(): Promise<void>;
}

/**
 * One state of a file: two that are equal hold the same bytes, as far as its store can tell. Kept, compared and shown to people; what stands
 * in it is for its store alone.
 */
export type Version = string;

export interface FileIdentity {
  readonly kind: "file" | "directory" | "other";
  readonly sizeBytes: number;
  readonly version: Version;
  /** Where files have one: the same for as long as it is the same file, whatever is written to it. */
  readonly inode?: bigint;
}

export interface DirectoryEntry {
  readonly name: string;
  readonly kind: "file" | "directory" | "link" | "other";
}

export interface StoredFile {
  readonly path: string;
  /** The state of the open file itself (fstat), not of what its path names now. */
  identity(): Promise<FileIdentity>;
  /**
   * Fills `into` from `offsetBytes`, all of it. The caller owns `into`; it may be a view of WebAssembly memory,
   * which must not grow before the promise settles.
   * @throws StorageError `storage/short-read` where the file ends first; `storage/io`
   */
  read(offsetBytes: number, into: Uint8Array): Promise<void>;
  /** Writes all of `bytes` at `offsetBytes`. Durable after `sync`. @throws `storage/full`, `storage/over-limit`, `storage/io` */
  write(offsetBytes: number, bytes: Uint8Array): Promise<void>;
  /** Cuts or extends (with zeros) to `sizeBytes`. */
  truncate(sizeBytes: number): Promise<void>;
  /**
   * Makes what was written durable (fdatasync). Never blocks the thread, also in a blocking store: it may take seconds.
   * After a failure what was written since the last success is lost and must be written again on a fresh open; calling
   * sync again proves nothing. @throws `storage/io`, `storage/full`, `storage/over-limit`
   */
  sync(): Promise<void>;
  close(): Promise<void>;
}
