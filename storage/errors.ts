import { CodedError, type Explanations } from "../errors/index.ts";

/** Every code a StorageError may carry. docs/errors.md is made of this. */
export const storageCodes = {
  "storage/not-found": {
    means: "Nothing is at that path.",
    advice: "Check the path. If it was there before, somebody removed it; run the same command again once it is back.",
  },
  "storage/denied": {
    means: "The system does not allow the access, or the file system is read-only.",
    advice: "Check the permissions of the path and of the folders above it.",
  },
  "storage/exists": {
    means: "Something is there already that must not be replaced.",
    advice: "Remove it or choose another name.",
  },
  "storage/not-a-file": {
    means: "A folder, pipe or device stands where a regular file is expected.",
    advice: "Give a file.",
  },
  "storage/not-a-directory": {
    means: "A file stands where a folder is expected.",
    advice: "Give a folder.",
  },
  "storage/not-empty": {
    means: "A folder that should be empty is not.",
    advice: "Move or remove what it holds.",
  },
  "storage/full": {
    means: "The disk is full.",
    advice: "Free space and run the same command again; finished slices are kept.",
  },
  "storage/over-limit": {
    means:
      "A limit of whoever writes is reached: a quota, or the size that a file may have (`ulimit -f`, or the file system).",
    advice:
      "Free some of the quota or raise the limit; for the size of files: a smaller `--shard-size`. Then run the same command again; finished slices are kept. Where other workers may write, a job goes on with these.",
  },
  "storage/short-read": {
    means: "A file ends before the bytes that were asked for.",
    advice: "It was cut off, or is still being written. Get it again.",
  },
  "storage/too-large": {
    means: "A file that is read whole (config, recipe, record) is larger than allowed.",
    advice: "It is not the file it should be.",
  },
  "storage/link": {
    means: "A file would be written through a link, where links were resolved before: somebody put it there since.",
    advice: "Find out who, and remove it.",
  },
  "storage/no-conditions": {
    means:
      "An object store does not keep to conditions (If-None-Match), which are all that keeps two from writing one output.",
    advice:
      "Nothing is written there. Merge into a folder and copy the output; see [storage.md](storage.md#outputs-in-buckets).",
  },
  "storage/no-checksums": {
    means: "An object store tells no checksum of what it put together, and an output was to be sealed by that.",
    advice: "Run the same command with `--seal read`: what was written is read back, and nothing is computed again.",
  },
  "storage/locked": {
    means: "Another process has this output, or this state directory.",
    advice:
      "Wait for it, or stop it. A lock of a process that has ended is taken over by itself where that can be proven; for one of another container or machine, of which somebody is certain that it has ended, `--take-over` with the name that the hint gives; see [operations.md](operations.md#locks).",
  },
  "storage/changed": {
    means: "Another version is there than the one that was meant: somebody else put it there.",
    advice:
      "Find out who writes to the same place; nothing of theirs was replaced. Where it was being read: put the old one back, or begin anew with `--restart`.",
  },
  "storage/network": {
    means: "A server could not be reached, broke off, or answered with something that is no answer to what was asked.",
    advice:
      "Check the address, the network and the proxy (HTTPS_PROXY, NO_PROXY); for certificates of an authority of your own, NODE_EXTRA_CA_CERTS. What may pass was tried again several times: run the same command again.",
  },
  "storage/authorities": {
    means: "AWS_CA_BUNDLE or SSL_CERT_FILE names a file that holds no certificates, or cannot be read.",
    advice: "Give a file of certificates in PEM, or unset the variable.",
  },
  "storage/no-ranges": {
    means:
      "A server gives the whole file, or something else, where a range of it was asked for, or packs what it gives.",
    advice:
      "Weights are read in ranges. Use a server that gives them (nginx, Caddy, Apache, any object store), or download the files.",
  },
  "storage/hash": {
    means: "Whole bytes came that are not those which the store says it has: they were damaged on the way, or there.",
    advice: "Run the same command again. If it comes again, the store's copy is damaged.",
  },
  // The Hugging Face Hub
  "storage/hub-name": {
    means: "A place that begins with hf:// names no model.",
    advice: "Write `hf://owner/name` or `hf://owner/name@revision`. Datasets and Spaces are no models.",
  },
  "storage/hub-settings": {
    means: "HF_ENDPOINT is no address, or what is set as a token, or stands in its file, cannot be one.",
    advice: "Correct it; a token comes with `hf auth login`.",
  },
  "storage/hub-offline": {
    means: "Something would have to be asked of the Hub, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids it.",
    advice: "Unset it, or get the model into the Hub's cache first with `hf download`.",
  },
  "storage/hub-login": {
    means:
      "The Hub shows no such model to whoever has no token. Whether it is missing or private is told only to its members.",
    advice: "Check the name; `hf auth login`, or HF_TOKEN, where it is private.",
  },
  "storage/hub-model": {
    means: "There is no such model, or the account whose token was sent may not see it.",
    advice: "Check the name, and with which account the model is shared.",
  },
  "storage/hub-token": {
    means: "The Hub does not know the token: it is mistyped, or has ended. Public models are not given for it either.",
    advice: "`hf auth login` gives another; the message says where the token was found.",
  },
  "storage/hub-gated": {
    means: "The model is gated: its files are given to accounts that asked for access and got it.",
    advice: "Accept its terms on its page with the account whose token is used; some owners decide each time.",
  },
  "storage/hub-revision": {
    means: "The model has no such branch, tag or commit.",
    advice: "Take one that its page shows; a commit is written with all of its 40 digits.",
  },
  "storage/hub-write": {
    means: "The account or the token may not write there: a token to read with, or somebody else's repository.",
    advice:
      "Take a token that may write (of a fine-grained one, to the repositories of that owner), publish below your own name, or open a pull request with `--pull-request`.",
  },
  "storage/hub-refused": {
    means: "The Hub does not take what was sent, and says why: the front matter of the card, the name of a file.",
    advice: "Correct what it says. Nothing of it is in the repository.",
  },
  "storage/scheme": {
    means:
      "The place names a store that is not there, or one that cannot do what was asked: files alone can be locked, and web servers and the Hub are only read.",
    advice: "Give a path of this machine; for the output of a merge, `s3://bucket/prefix` will do too.",
  },
  "storage/io": {
    means: "Reading or writing failed in another way.",
    advice: "Check the disk or the mount; `dmesg` shows device errors. Where trying again can help, it is tried again.",
  },
} satisfies Explanations<"storage">;

export type StorageCode = keyof typeof storageCodes;

export class StorageError extends CodedError<StorageCode> {}

/** Of bytes that are not those which a store says it has. `name`: "SHA-256", or what else their hash is. */
export function hashDiffers(place: string, name: string, found: string, told: string): StorageError {
  return new StorageError(
    "storage/hash",
    `cannot read ${place}: its bytes have ${name} ${found}, its store says ${told}`,
    {
      hint: "They were damaged on the way, or the store's copy is: run the same command again.",
      retryable: true,
    },
  );
}

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
