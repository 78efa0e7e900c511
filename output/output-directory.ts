import { join, type Place, type Source } from "../storage/index.ts";
import { PublishError } from "./errors.ts";
import { MANIFEST_NAME, SUMS_NAME, WORK_DIRECTORY } from "./records/file-names.ts";
import { readRecords } from "./records/records.ts";

export interface OutputClaim {
  /** Of the job that wants the directory. */
  readonly planDigest: string;
  readonly overwrite: boolean;
  /** From the directory's journal, where it has one: the plan of the job that it belongs to, ... */
  readonly journalledPlan?: string | undefined;
  /** ... and names of files that this job put there, or was about to put there or replace. */
  readonly journalledFiles?: readonly string[] | undefined;
}

export interface OutputState {
  /**
   * fresh: nothing there but perhaps the work directory. resume: this same job, to go on with. complete: this same job,
   * published; sizes agree, bytes are `verifyOutput`'s business. replace: another checkpoint, to be overwritten.
   */
  readonly state: "fresh" | "resume" | "complete" | "replace";
  /** Names of the old checkpoint's files, for `publish`. On "resume" those that the journal recorded still count. */
  readonly replaced: readonly string[];
}

/**
 * Whether a job may write to `out`, and what it will replace there. Nothing is changed.
 * @throws PublishError `publish/not-empty`; `publish/foreign-file` for files that no record of the directory lists
 */
export async function checkOutputDirectory(store: Source, out: Place, claim: OutputClaim): Promise<OutputState> {
  if ((await store.identity(out)) === undefined) return { state: "fresh", replaced: [] };
  const { planDigest, overwrite, journalledPlan, journalledFiles = [] } = claim;
  const { manifest, sums } = await readRecords(store, out);
  // Without SHA256SUMS it is the way in that comes last: it is one of the manifest's files.
  const hasRecords = manifest?.plan === planDigest && (sums !== undefined || manifest.seal === "checksums");
  if (hasRecords && (await sizesAgree(store, out, manifest.files))) {
    return { state: "complete", replaced: [] };
  }
  if (journalledPlan === planDigest) return { state: "resume", replaced: [] };
  const found = await filesIn(store, out);
  if (found.length === 0) {
    if (journalledPlan === undefined || overwrite) return { state: "fresh", replaced: [] };
    throw notEmpty(`${out} holds the unfinished job of another plan, ${journalledPlan.slice(0, 12)}`);
  }
  if (!overwrite) throw notEmpty(whatIsThere(out, found, manifest?.plan ?? journalledPlan));
  const own = new Set([...journalledFiles, MANIFEST_NAME, SUMS_NAME]);
  // A damaged manifest still has its names, as far as SHA256SUMS is sound.
  for (const name of manifest?.files.map((file) => file.name) ?? sums?.files.keys() ?? []) own.add(name);
  const isRecorded = manifest !== undefined || sums !== undefined || journalledPlan !== undefined;
  const foreign = found.filter((name) => !isRecorded || !own.has(name));
  if (foreign.length > 0) throw foreignFiles(out, foreign);
  return { state: "replace", replaced: found };
}

async function sizesAgree(
  store: Source,
  out: Place,
  files: readonly { readonly name: string; readonly sizeBytes: number }[],
): Promise<boolean> {
  for (const { name, sizeBytes } of files) {
    if ((await store.identity(join(out, name)))?.sizeBytes !== sizeBytes) return false;
  }
  return true;
}

/** All files of an output, those in folders by their path; the work directory is left out, links are not followed. */
export async function filesIn(store: Source, out: Place, folder = ""): Promise<readonly string[]> {
  const files: string[] = [];
  for (const { name, kind } of await store.list(join(out, folder))) {
    const path = folder === "" ? name : `${folder}/${name}`;
    if (path === WORK_DIRECTORY) continue;
    if (kind === "directory") files.push(...(await filesIn(store, out, path)));
    else files.push(path);
  }
  return files;
}

function whatIsThere(out: string, found: readonly string[], plan: string | undefined): string {
  const files = `${found.length} ${found.length === 1 ? "file" : "files"}, ${found[0]} among them`;
  if (plan === undefined) return `${out} holds ${files}, and no record of a merge`;
  return `${out} holds the output of another plan, ${plan.slice(0, 12)} (${files})`;
}

function notEmpty(message: string): PublishError {
  return new PublishError("publish/not-empty", message, {
    hint: "Choose another directory, or replace the checkpoint that is there with --overwrite.",
  });
}

function foreignFiles(out: string, foreign: readonly string[]): PublishError {
  const more = foreign.length > 5 ? ` and ${foreign.length - 5} more` : "";
  const names = foreign.slice(0, 5).join(", ");
  return new PublishError(
    "publish/foreign-file",
    `${out} holds files that no record of a merge lists: ${names}${more}`,
    {
      hint: "--overwrite removes only what deltaworks wrote. Move these files away, or choose another directory.",
    },
  );
}
