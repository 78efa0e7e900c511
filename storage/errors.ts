import { CodedError } from "../errors/index.ts";

/** Every code a StorageError may carry. docs/errors.md explains each. */
export const storageCodes = [
  "storage/not-found",
  "storage/denied",
  "storage/exists",
  "storage/not-a-file",
  "storage/not-a-directory",
  "storage/not-empty",
  "storage/full",
  "storage/over-limit",
  "storage/short-read",
  "storage/too-large",
  "storage/locked",
  "storage/link",
  "storage/changed",
  "storage/scheme",
  "storage/io",
] as const;

export type StorageCode = (typeof storageCodes)[number];

export class StorageError extends CodedError<StorageCode> {}

interface Meaning {
  readonly code: StorageCode;
  readonly hint: string;
  readonly retryable?: boolean;
}

const ioHint = "Check the disk or the mount (dmesg shows device errors); what was finished is kept.";

const meanings: Readonly<Record<string, Meaning>> = {
  ENOENT: { code: "storage/not-found", hint: "Check the path." },
  EACCES: { code: "storage/denied", hint: "Check the permissions of the path and of the folders above it." },
  EPERM: { code: "storage/denied", hint: "Check the permissions of the path and of the folders above it." },
  EROFS: { code: "storage/denied", hint: "The file system is mounted read-only; choose another place." },
  EEXIST: { code: "storage/exists", hint: "Remove what is there, or choose another name." },
  EISDIR: { code: "storage/not-a-file", hint: "A file was expected here, not a folder." },
  ENOTDIR: { code: "storage/not-a-directory", hint: "A folder was expected here, not a file." },
  ELOOP: {
    code: "storage/link",
    hint: "Nothing is written through a link here: remove it, or put the file itself there.",
  },
  ENOTEMPTY: { code: "storage/not-empty", hint: "Move or remove what the folder holds." },
  ENOSPC: { code: "storage/full", hint: "Free some space and run the same command again." },
  EDQUOT: {
    code: "storage/over-limit",
    hint: "The quota of whoever writes there is used up. Free some of it, or raise it, and run the same command again.",
  },
  EFBIG: {
    code: "storage/over-limit",
    hint: "The file system or ulimit -f allows no file this large; choose smaller shards.",
  },
  EMFILE: { code: "storage/io", hint: "Too many open files: raise ulimit -n.", retryable: true },
  ENFILE: { code: "storage/io", hint: "The system has too many open files.", retryable: true },
  EAGAIN: { code: "storage/io", hint: ioHint, retryable: true },
  EBUSY: { code: "storage/io", hint: ioHint, retryable: true },
  EINTR: { code: "storage/io", hint: ioHint, retryable: true },
  ENOMEM: { code: "storage/io", hint: "The system is short of memory.", retryable: true },
  ETIMEDOUT: { code: "storage/io", hint: ioHint, retryable: true },
  // A network mount reports its hiccups as EIO, too.
  EIO: { code: "storage/io", hint: ioHint, retryable: true },
};

/** What `cause`, thrown by node:fs, means for whoever wanted to `action` (a verb: "read", "rename") the path. */
export function storageError(cause: unknown, action: string, path: string): StorageError {
  if (cause instanceof StorageError) return cause;
  const errno = errnoOf(cause);
  const meaning = (errno === undefined ? undefined : meanings[errno]) ?? { code: "storage/io", hint: ioHint };
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new StorageError(meaning.code, `cannot ${action} ${path}: ${reason}`, { ...meaning, cause });
}

/** "ENOENT" and the like; undefined for what is no system error. */
export function errnoOf(cause: unknown): string | undefined {
  if (typeof cause !== "object" || cause === null || !("code" in cause)) return undefined;
  return typeof cause.code === "string" ? cause.code : undefined;
}
