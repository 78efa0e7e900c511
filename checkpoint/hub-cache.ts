import { homedir } from "node:os";
import {
  isCommit,
  isHubRevision,
  join,
  nameOf,
  type Place,
  parentOf,
  placeOf,
  readWhole,
  type Source,
} from "../storage/index.ts";
import { shellQuoted } from "./conversion.ts";
import { CheckpointError, quoted } from "./errors.ts";
import type { ModelLocation } from "./model-location.ts";

/** A branch's file holds a commit: 40 digits and perhaps a line feed. */
const MAX_REF_BYTES = 1000;

/** A model as the Hub has it, and how errors call it. */
export interface HubReference {
  readonly id: string;
  readonly revision: string | undefined;
  readonly label: string;
}

/** What is in the cache of a model. */
export interface InCache {
  readonly location?: ModelLocation;
  /** Where it is not: "not in the Hub's cache /home/me/.cache/huggingface/hub". */
  readonly missing?: string;
  /** What gets it. */
  readonly command: string;
}

/**
 * Looks for a model in the cache that `hf download` and transformers fill.
 * @throws CheckpointError `checkpoint/cache-damaged`; `checkpoint/not-in-cache` of a revision that can be none
 */
export async function lookInCache(
  store: Source,
  { id, revision, label }: HubReference,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<InCache> {
  const cache = cacheFolder(environment);
  const repository = join(cache, `models--${id.replace("/", "--")}`);
  const command = `hf download ${id}${revision === undefined ? "" : ` --revision ${shellQuoted(revision)}`}`;
  const notThere = (missing: string) => ({ missing, command });
  if (revision !== undefined) checkRevision(id, revision);
  if ((await store.identity(repository)) === undefined) return notThere(`not in the Hub's cache ${cache}`);
  const realRepository = await store.realPlace(repository);
  const commit = await commitOf(store, realRepository, revision ?? "main", { label, command });
  if (commit === undefined)
    return notThere(`the Hub's cache ${cache} has no revision ${quoted(revision ?? "main")} of it`);
  const snapshot = join(realRepository, "snapshots", commit);
  if ((await store.identity(snapshot))?.kind !== "directory") {
    return notThere(`the Hub's cache ${cache} has not the files of its commit ${commit}`);
  }
  if ((await store.realPlace(snapshot)) !== snapshot)
    throw damaged(label, `${snapshot} is a link to elsewhere`, command);
  // Should blobs/ be a link itself, it lets nothing through: where files really are is compared with this very path.
  return { location: { root: snapshot, allowLinksInto: join(realRepository, "blobs") }, command };
}

/** The blobs a folder's links may lead into, if it is a snapshot in the Hub's cache. `root`: links resolved. */
export function blobsOf(root: Place): Place | undefined {
  const snapshots = parentOf(root);
  const repository = parentOf(snapshots);
  const isSnapshot = isCommit(nameOf(root)) && nameOf(snapshots) === "snapshots";
  return isSnapshot && nameOf(repository).startsWith("models--") ? join(repository, "blobs") : undefined;
}

/** Where the cache is: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, or `hub` in the Hub's home. */
export function cacheFolder(environment: Readonly<Record<string, string | undefined>>): Place {
  const home = placeOf(environment.HOME || homedir());
  const expand = (path: string) => (path === "~" || path.startsWith("~/") ? join(home, path.slice(1)) : placeOf(path));
  const direct = environment.HF_HUB_CACHE || environment.HUGGINGFACE_HUB_CACHE;
  if (direct) return expand(direct);
  const hubHome =
    environment.HF_HOME || join(placeOf(environment.XDG_CACHE_HOME || join(home, ".cache")), "huggingface");
  return join(expand(hubHome), "hub");
}

function checkRevision(id: string, revision: string): void {
  if (isHubRevision(revision)) return;
  throw new CheckpointError("checkpoint/not-in-cache", `${id}: ${quoted(revision)} is no name of a revision`, {
    hint: "A revision is a branch, a tag or a commit.",
  });
}

/** A branch or tag points to its commit through refs/; anything else must be a commit that is there. */
async function commitOf(
  store: Source,
  repository: Place,
  revision: string,
  { label, command }: { readonly label: string; readonly command: string },
): Promise<string | undefined> {
  if (isCommit(revision)) return revision;
  const ref = join(repository, "refs", revision);
  if ((await store.identity(ref))?.kind !== "file") return undefined;
  const text = new TextDecoder().decode(await readWhole(store, ref, MAX_REF_BYTES)).trim();
  if (isCommit(text)) return text;
  throw damaged(label, `${ref} holds ${quoted(text)}, no commit`, command);
}

function damaged(label: string, found: string, command: string): CheckpointError {
  return new CheckpointError("checkpoint/cache-damaged", `${label}: the Hub's cache is damaged: ${found}`, {
    hint: `Get the model again: ${command}`,
  });
}
