import { createHash, type Hash, randomBytes } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { hashDiffers, storageError } from "../errors.ts";
import { flock } from "../file/kernel-lock.ts";
import { join, type Place, placeOf } from "../place.ts";
import type { FileIdentity, Readable, Source } from "../port.ts";
import { isCommit, type PinnedPlace } from "./hub-place.ts";

export interface CacheFilling {
  /** The Hub's cache, "…/huggingface/hub"; made if it is not there. */
  readonly cache: Place;
  /** At a commit; with a path only what is there and below. */
  readonly model: PinnedPlace;
  /** The branch or tag by which it was asked for. */
  readonly ref?: string | undefined;
  /** Files of the repository that are wanted, by their paths. */
  readonly wants: (path: string) => boolean;
  /** Told of each file that is about to be fetched. */
  readonly fetching?: (path: string, sizeBytes: number) => void;
}

/** Pieces that are on their way at once: two connections' worth of what one gives. */
const PIECES_AT_ONCE = 4;
const PIECE_BYTES = 8 * 2 ** 20;
/** Between two looks whether another process is done with a file. */
const LOCK_PAUSE_MS = 500;
/** What tells programs that make copies to pass a folder over: https://bford.info/cachedir/ */
const CACHE_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n";

/**
 * Puts files of a model into the Hub's cache, as huggingface_hub does and finds them: bytes in `blobs` under their hash, a link to them by
 * name in `snapshots/COMMIT`, the commit of a branch in `refs`. A file is compared with its hash before it gets its name; what is there
 * stays. Another process that fetches the same file, ours or Python's, is waited for by its lock file.
 * @throws StorageError what reading throws, `storage/hash`, `storage/full`
 */
export async function fillHubCache(source: Source, root: Place, filling: CacheFilling): Promise<void> {
  const { cache, model, ref, wants, fetching } = filling;
  const name = `models--${model.id.replaceAll("/", "--")}`;
  const repository = join(cache, name);
  await attempt("make", cache, async () => {
    await fs.mkdir(join(repository, "blobs"), { recursive: true });
    await fs.writeFile(join(cache, "CACHEDIR.TAG"), CACHE_TAG, { flag: "wx" }).catch(() => undefined); // it is there
  });
  for await (const [below, place] of filesOf(source, root, model.path)) {
    if (!wants(below)) continue;
    const identity = await source.identity(place);
    if (identity === undefined) continue;
    const hash = identity.version.slice(identity.version.indexOf(":") + 1);
    const blob = join(repository, "blobs", hash);
    const link = join(repository, "snapshots", model.revision, below);
    const lock = join(cache, ".locks", name, `${hash}.lock`);
    await attempt("fill", blob, () =>
      locked(lock, async () => {
        if (!(await isThere(blob))) {
          fetching?.(below, identity.sizeBytes);
          await fetchBlob(source, place, identity, blob);
        }
        await linkTo(blob, link);
      }),
    );
  }
  // Last: who asks for the branch finds what is whole.
  if (ref !== undefined && !isCommit(ref))
    await attempt("fill", repository, () => writeRef(repository, ref, model.revision));
}

async function* filesOf(source: Source, folder: Place, below: string): AsyncGenerator<readonly [string, Place]> {
  if ((await source.identity(folder))?.kind === "file") return yield [below, folder];
  for (const { name, kind } of await source.list(folder)) {
    const [path, place] = [below === "" ? name : `${below}/${name}`, join(folder, name)];
    if (kind === "directory") yield* filesOf(source, place, path);
    else yield [path, place];
  }
}

/** By a file with a name of its own: of two processes that do not see each other's lock neither writes into the other's. */
async function fetchBlob(
  source: Source,
  place: Place,
  { sizeBytes, version }: FileIdentity,
  blob: Place,
): Promise<void> {
  const partial = `${blob}.${randomBytes(4).toString("hex")}.incomplete`;
  const isGit = version.startsWith("git:");
  const hash = isGit ? createHash("sha1").update(`blob ${sizeBytes}\0`) : createHash("sha256");
  const file = await source.open(place);
  try {
    const into = await fs.open(partial, "wx");
    try {
      await copy(file, sizeBytes, into, hash);
      await into.sync();
    } finally {
      await into.close();
    }
    const [found, told] = [hash.digest("hex"), version.slice(version.indexOf(":") + 1)];
    if (found !== told) throw hashDiffers(place, isGit ? "the git object id" : "SHA-256", found, told);
    await fs.rename(partial, blob);
  } finally {
    await file.close();
    await fs.rm(partial, { force: true });
  }
}

async function copy(file: Readable, sizeBytes: number, into: fs.FileHandle, hash: Hash): Promise<void> {
  const pieces = Math.ceil(sizeBytes / PIECE_BYTES);
  const buffers = Array.from(
    { length: Math.min(PIECES_AT_ONCE, pieces) },
    () => new Uint8Array(Math.min(PIECE_BYTES, sizeBytes)),
  );
  const begin = (piece: number) => {
    const at = piece * PIECE_BYTES;
    const bytes = (buffers[piece % PIECES_AT_ONCE] ?? new Uint8Array()).subarray(
      0,
      Math.min(PIECE_BYTES, sizeBytes - at),
    );
    const read = file.read(at, bytes).then(() => bytes);
    read.catch(() => undefined); // whoever waits for it is told
    return read;
  };
  const coming = buffers.map((_, piece) => begin(piece));
  try {
    for (let piece = 0; piece < pieces; piece++) {
      const bytes = await (coming.shift() as Promise<Uint8Array>);
      hash.update(bytes);
      await writeAll(into, bytes, piece * PIECE_BYTES);
      if (piece + PIECES_AT_ONCE < pieces) coming.push(begin(piece + PIECES_AT_ONCE));
    }
  } finally {
    await Promise.allSettled(coming);
  }
}

async function writeAll(into: fs.FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await into.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
  }
}

/** In one step: whoever looks finds the old link or the new one. */
async function linkTo(blob: Place, link: Place): Promise<void> {
  const folder = path.dirname(link);
  await fs.mkdir(folder, { recursive: true });
  const target = path.relative(folder, blob);
  if ((await fs.readlink(link).catch(() => undefined)) === target) return;
  const made = `${link}.${randomBytes(4).toString("hex")}.link`;
  await fs.symlink(target, made);
  await fs.rename(made, link);
}

async function writeRef(repository: Place, ref: string, commit: string): Promise<void> {
  const file = join(repository, "refs", ref);
  if ((await fs.readFile(file, "utf8").catch(() => undefined)) === commit) return;
  await fs.mkdir(path.dirname(file), { recursive: true });
  const made = `${file}.${randomBytes(4).toString("hex")}.new`;
  await fs.writeFile(made, commit);
  await fs.rename(made, file);
}

/** The lock that Python's filelock takes: flock(2) on a file that stays. Where there is no command for it, nobody is waited for. */
async function locked(lock: Place, act: () => Promise<void>): Promise<void> {
  await fs.mkdir(path.dirname(lock), { recursive: true });
  const file = await fs.open(lock, "a", 0o664);
  try {
    while ((await flock(file.fd, "exclusive")) === "held") await delay(LOCK_PAUSE_MS);
    await act();
  } finally {
    await file.close();
  }
}

async function isThere(place: Place): Promise<boolean> {
  return fs.access(place).then(
    () => true,
    () => false,
  );
}

async function attempt<R>(action: string, place: Place, act: () => Promise<R>): Promise<R> {
  try {
    return await act();
  } catch (error) {
    throw storageError(error, action, placeOf(place));
  }
}
