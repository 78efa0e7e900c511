import { type Files, join, type Place, parentOf, type Source } from "../storage/index.ts";
import { PublishError } from "./errors.ts";
import { isSafeName, isWayIn, MANIFEST_NAME, publishRank, SUMS_NAME } from "./records/file-names.ts";
import type { OutputFile } from "./records/manifest.ts";
import { removeIfEmpty } from "./remove-if-empty.ts";
import { digestOfFile } from "./seal/read-back.ts";

export interface PublishStep {
  readonly kind: "removed" | "placed";
  readonly name: string;
}

export interface Publication {
  /** The folder that holds the new files, durable and sealed, under their final names. On the file system of `out`. */
  readonly stage: Place;
  /** All files of the new checkpoint, manifest and SHA256SUMS too, in any order. */
  readonly files: readonly OutputFile[];
  /** Names of the old checkpoint's files, from checkOutputDirectory; the same at every call for the same publication. */
  readonly replaced: readonly string[];
  /** Told after each step; not yet durable then. */
  readonly onStep?: (step: PublishStep) => void | Promise<void>;
}

/**
 * Puts a checkpoint in its place. After a crash at any moment the same call ends in the same state.
 *
 * The old checkpoint's way in (index or only shard) goes first, the new one's comes last but for SHA256SUMS, and both
 * are made durable apart from what lies between: at no moment, power loss included, does a reader find a way into a mix
 * of old and new files. @throws PublishError `publish/stage-missing`, `publish/foreign-file`; StorageError
 */
export async function publish(store: Files, out: Place, publication: Publication): Promise<void> {
  const { stage, replaced } = publication;
  const files = [...publication.files].sort((a, b) => publishRank(a.name) - publishRank(b.name));
  for (const { name } of files) checkName(name);
  await withdraw(store, out, publication);
  const folders = new Set([out]);
  let rank = 0;
  for (const file of files) {
    const step = publishRank(file.name);
    if (step !== rank && (isWayIn(file.name) || file.name === SUMS_NAME)) await syncAll(store, folders, stage);
    rank = step;
    const folder = parentOf(join(out, file.name));
    if (!folders.has(folder)) {
      await store.makeDirectory(folder);
      folders.add(folder);
    }
    if (await place(store, out, stage, file, replaced)) await publication.onStep?.({ kind: "placed", name: file.name });
  }
  await syncAll(store, folders, stage);
}

/** Takes the old checkpoint away: first what leads readers to it and says that it is whole, then what has no successor. */
async function withdraw(store: Files, out: Place, publication: Publication): Promise<void> {
  const { stage, files, replaced, onStep } = publication;
  const remove = async (name: string) => {
    checkName(name);
    if ((await store.identity(join(out, name))) === undefined) return;
    await store.remove(join(out, name));
    await onStep?.({ kind: "removed", name });
  };
  const coming = new Set(files.map(({ name }) => name));
  // A file that is not in the stage any more is the new one, placed before a crash.
  const isOld = async (name: string) => !coming.has(name) || (await store.identity(join(stage, name))) !== undefined;
  const heralds = heraldsIn(replaced);
  for (const name of heralds) if (await isOld(name)) await remove(name);
  if (heralds.length > 0) await store.syncDirectory(out);
  for (const name of replaced) {
    if (coming.has(name) || heralds.includes(name)) continue;
    await remove(name);
    if (name.includes("/")) await removeIfEmpty(store, parentOf(join(out, name)));
  }
}

/** What leads readers to a checkpoint and says that it is whole; the last to be published is the first to go. */
export function heraldsIn(names: readonly string[]): readonly string[] {
  return names
    .filter((name) => isWayIn(name) || name === MANIFEST_NAME || name === SUMS_NAME)
    .sort((a, b) => publishRank(b) - publishRank(a));
}

/** Whether the file was moved now; false if an earlier call did it. */
async function place(
  store: Files,
  out: Place,
  stage: Place,
  file: OutputFile,
  replaced: readonly string[],
): Promise<boolean> {
  const from = join(stage, file.name);
  const to = join(out, file.name);
  const staged = await store.identity(from);
  const there = await store.identity(to);
  if (staged === undefined) {
    if (there !== undefined && (await isTheFile(store, to, file))) return false;
    throw stageMissing(file.name, stage, out);
  }
  if (there !== undefined && !replaced.includes(file.name) && !(await isTheFile(store, to, file))) {
    throw foreignFile(to);
  }
  await store.rename(from, to);
  return true;
}

export async function isTheFile(store: Source, path: Place, file: OutputFile): Promise<boolean> {
  const identity = await store.identity(path);
  if (identity?.kind !== "file" || identity.sizeBytes !== file.sizeBytes) return false;
  return (await digestOfFile(store, path, file.sha256)) === file.sha256;
}

export function stageMissing(name: string, stage: Place, out: Place): PublishError {
  return new PublishError(
    "publish/stage-missing",
    `${name} is neither in ${stage} nor, as it should be, in ${out}: somebody removed or changed it`,
    { hint: "Run the same command again with --restart." },
  );
}

export function foreignFile(to: Place): PublishError {
  return new PublishError("publish/foreign-file", `${to} appeared while the merge ran; it is not written over`, {
    hint: "Move that file away and run the same command again.",
  });
}

async function syncAll(store: Files, folders: ReadonlySet<Place>, stage: Place): Promise<void> {
  for (const folder of folders) await store.syncDirectory(folder);
  if ((await store.identity(stage)) !== undefined) await store.syncDirectory(stage);
}

/** @throws PublishError `publish/unsafe-name` */
export function checkName(name: string): void {
  if (isSafeName(name)) return;
  throw new PublishError("publish/unsafe-name", `${JSON.stringify(name)} is no name of a file inside the output`, {
    hint: "The record that lists it is not one that deltaworks wrote.",
  });
}
