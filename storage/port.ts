import type { Place } from "./place.ts";

/**
 * Where bytes are read from. Every store is one: files of this machine, object stores, what is behind https, the Hub.
 * No other room opens files itself.
 *
 * Every method returns a promise. Inside a worker thread a store may block while it works (FileStore `blocking`).
 * All methods throw StorageError; its `retryable` says whether trying again can help. `test/storage/source.contract.ts` says the same of
 * each store.
 */
export interface Source {
  /**
   * Opens what is there, to be read.
   * @throws StorageError `storage/not-found`, `storage/denied`, `storage/not-a-file`, `storage/io`
   */
  open(place: Place, options?: ReadOptions): Promise<Readable>;
  /** What identifies a file's state, following links; undefined where nothing is there. */
  identity(place: Place): Promise<FileIdentity | undefined>;
  /** The entries of a folder, sorted by name (code unit order). @throws `storage/not-found`, `storage/not-a-directory` */
  list(folder: Place): Promise<readonly DirectoryEntry[]>;
  /** The place with every link resolved. @throws `storage/not-found`, if it was looked for: a store that knows no links may not. */
  realPlace(place: Place): Promise<Place>;
}

export interface ReadOptions {
  /** So many bytes from the beginning, or all where there are fewer, will be read next: a store that is far may bring them with its answer. */
  readonly firstBytes?: number;
}

export interface Readable {
  readonly place: Place;
  /** The state of what was opened, not of what its place names now. */
  identity(): Promise<FileIdentity>;
  /**
   * Fills `into` from `offsetBytes`, all of it. The caller owns `into`; it may be a view of WebAssembly memory,
   * which must not grow before the promise settles. "steady": it is none, and is neither moved nor detached whatever happens, until the
   * promise settles; the kernel may write to it.
   * @throws StorageError `storage/short-read` where it ends first; `storage/io`
   */
  read(offsetBytes: number, into: Uint8Array, memory?: "steady"): Promise<void>;
  close(): Promise<void>;
}

/**
 * Files in folders, which may be written in any place of theirs, by several at once, and renamed: a file system. A job's journal, lock
 * and stage need one. `test/storage/files.contract.ts` says the same of each.
 */
export interface Files extends Source {
  /**
   * Opens a file to read and write; what it holds is kept. Made if it is missing.
   * @throws StorageError `storage/not-found`, `storage/denied`, `storage/link`, `storage/io`
   */
  openForWriting(place: Place, options?: WriteOptions): Promise<StoredFile>;
  /** Replaces `to` if it is there. Atomic: a reader sees the old or the new file. Durable after `syncDirectory`. */
  rename(from: Place, to: Place): Promise<void>;
  /** Removes a file or a link. Nothing there is no error. */
  remove(place: Place): Promise<void>;
  /** Removes an empty directory. Nothing there is no error. @throws `storage/not-empty` */
  removeDirectory(place: Place): Promise<void>;
  /** Makes a directory and its parents. Already there is no error. */
  makeDirectory(place: Place): Promise<void>;
  /** Makes the names in a directory durable (entries made, renamed, removed). */
  syncDirectory(place: Place): Promise<void>;
  /**
   * Takes an exclusive lock that ends with the process at the latest.
   * @throws StorageError `storage/locked` naming the holder if another process holds it that is not known to have ended: of one in
   * another container or on another machine that may not be known, and somebody has to say so.
   */
  lock(place: Place, options?: LockOptions): Promise<Lock>;
}

export interface WriteOptions {
  readonly mustExist?: boolean;
  /** For what is secret: the file is readable by its owner alone, also if it was there before. */
  readonly ownerOnly?: boolean;
  /** Of the last part of the place; "follow" is the default. */
  readonly links?: "follow" | "refuse";
}

export interface StoredFile extends Readable {
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
  /** Of its bytes, hex, where the store says it without reading them. */
  readonly sha256?: string;
}

export interface DirectoryEntry {
  readonly name: string;
  readonly kind: "file" | "directory" | "link" | "other";
}

/**
 * Objects that are put as a whole, one by one or in parts, and never changed: an object store. There are no folders but what their names
 * say, no renaming and no locks; what takes their place is a condition, which the store looks at and fulfils in one step, so that of many
 * who put at once one wins. What a promise was kept for is durable. `test/storage/objects.contract.ts` says the same of each.
 */
export interface Objects extends Source {
  /** @throws StorageError `storage/exists`, `storage/changed` where the condition does not hold */
  put(place: Place, bytes: Uint8Array, condition?: PutCondition): Promise<Version>;
  /** Nothing there is no error. @throws `storage/changed` where another version is there */
  remove(place: Place, condition?: { readonly ifVersion?: Version }): Promise<void>;
  /**
   * Begins an object that comes in parts; nobody sees it before it is complete. Returns what names the upload. `parts`: whether they are put,
   * and the store keeps their hashes, or copied, of which not every store knows any. Absent: put.
   */
  beginUpload(place: Place, parts?: "put" | "copied"): Promise<UploadId>;
  /**
   * Parts have numbers from 1, with or without gaps, and come in any order; one that comes again takes the place of the one before.
   * All but the one with the highest number have at least `PART_MIN_BYTES`. `sha256`: of the bytes, hex, where it is known: other bytes are
   * refused. `parts`: as the upload was begun.
   * @throws `storage/not-found` where there is no such upload (any more); `storage/hash`
   */
  putPart(
    place: Place,
    upload: UploadId,
    number: number,
    bytes: Uint8Array,
    sha256?: string,
    parts?: "put" | "copied",
  ): Promise<UploadPart>;
  /** A part that is a range of an object of the same store, in a version of it: its bytes do not come by here. @throws as `putPart`, `storage/changed` */
  copyPart(place: Place, upload: UploadId, number: number, from: CopiedRange): Promise<UploadPart>;
  /** What is there, by numbers. `only`: nobody wants to know of other numbers; what is told of them does no harm. @throws `storage/not-found` */
  listParts(place: Place, upload: UploadId, only?: number): Promise<readonly UploadPart[]>;
  /**
   * Makes the object of parts, in the order of their numbers: in one step, for readers. Said again it does the same.
   * @throws `storage/not-found`; `storage/changed` where a part is not as it is said to be; as `put`
   */
  completeUpload(
    place: Place,
    upload: UploadId,
    parts: readonly UploadPart[],
    condition?: PutCondition,
  ): Promise<Version>;
  /**
   * Of an object that was completed of parts with hashes: SHA-256 over these, in hex, and "-" and how many they are, as the store says it.
   * Undefined of others, and of a store that does not say.
   */
  partsSha256(place: Place): Promise<string | undefined>;
  /** Nothing of it is left. No such upload is no error. */
  abortUpload(place: Place, upload: UploadId): Promise<void>;
  /** Uploads below a folder that were begun and neither completed nor given up, whoever began them; sorted by place. */
  listUploads(folder: Place): Promise<readonly BegunUpload[]>;
}

/**
 * What an object store lets others do with keys that they do not see: by an address that is good for one thing, for a while, whoever has it.
 * So each is a secret, and stands in no message and no log.
 */
export interface Signing {
  /** To read an object, in any ranges. It need not be there. */
  signRead(place: Place, lastsMs: number): Promise<SignedAddress>;
  /** To put one part, and no other bytes than those of that size and hash: the store refuses them. */
  signPart(place: Place, upload: UploadId, part: PartToPut, lastsMs: number): Promise<SignedAddress>;
}

export interface SignedAddress {
  readonly url: string;
  /** That must be sent with it. Names in small letters. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface PartToPut {
  readonly number: number;
  readonly sizeBytes: number;
  /** Of its bytes, hex. */
  readonly sha256: string;
}

export interface CopiedRange {
  readonly place: Place;
  readonly version: Version;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

export interface BegunUpload {
  readonly place: Place;
  readonly upload: UploadId;
  /** Since the epoch. */
  readonly begunMs: number;
}

export type PutCondition = { readonly ifAbsent: true } | { readonly ifVersion: Version };

export type UploadId = string;

export interface UploadPart {
  readonly number: number;
  readonly sizeBytes: number;
  /** Of its bytes, hex, as the store says it; undefined of a store that does not. */
  readonly sha256: string | undefined;
  /** What the store knows it by. */
  readonly version: Version;
}

/** Object stores take no smaller part but the last. */
export const PART_MIN_BYTES = 5 * 2 ** 20;
