import { createHash } from "node:crypto";
import {
  type HubCandidate,
  type HubCommit,
  type HubCommitted,
  type HubEntry,
  type HubRepository,
  hubPlaceOf,
  inParallel,
  isCommit,
  type LargeFile,
  type Place,
  parseHubPlace,
  type Source,
  StorageError,
} from "../../storage/index.ts";
import { PublishError } from "../errors.ts";
import type { FinishedOutput } from "../finished-output.ts";
import { CARD_NAME, MANIFEST_NAME, RECIPE_NAME } from "../records/file-names.ts";
import type { OutputFile } from "../records/manifest.ts";
import { readRecords } from "../records/records.ts";
import { type HubChanges, hubChanges } from "./hub-changes.ts";

export interface HubPublicationOptions {
  readonly output: FinishedOutput;
  /** `hf://owner/name`, with `@branch` or without. */
  readonly to: Place;
  /** Of the commit; of a pull request it is the title, too. */
  readonly title?: string | undefined;
  /** The branch stays as it is, and its owner is asked. */
  readonly isPullRequest: boolean;
  /** Whether a repository that holds nothing else is to be seen by everybody. */
  readonly isPublic: boolean;
  /** Whether what is on the branch may be replaced. */
  readonly overwrite: boolean;
}

/** What whoever watches is told. */
export interface HubPublicationPorts {
  /** A repository was made, private. */
  readonly made?: (url: string) => void;
  /** How much is about to be sent: large files that are not there yet. */
  readonly sending?: (missing: { readonly files: number; readonly ofFiles: number; readonly bytes: number }) => void;
  /** More bytes are on their way; fewer, where a part is sent again. */
  readonly sent?: (bytes: number) => void;
  /** The commit is made: whatever comes, the output is there. */
  readonly committed?: (commit: string) => void;
}

export interface HubPublished {
  /** Where it is to be seen: the repository at its branch, or the pull request. */
  readonly url: string;
  /** Of the branch, or of the pull request. */
  readonly commit: string;
  /** Nothing had to be sent: all of it was there. */
  readonly wasThere: boolean;
  readonly isPrivate: boolean;
}

/** What is on the Hub before anything is changed. `base`: the commit that the new one comes after. */
type Found =
  | { readonly kind: "no-repository" }
  | { readonly kind: "found"; readonly base: string; readonly hasBranch: boolean; readonly changes: HubChanges };

const MAIN = "main";
/** What is kept in git, and goes with the commit: the Hub keeps no larger ones there. */
const SMALL_MAX_BYTES = 64 * 2 ** 20;
const SAMPLE_BYTES = 512;
const FILES_AT_ONCE = 3;

/**
 * An output that is finished in a folder, on its way to a repository of the Hub. Large files go first, and nobody sees them; then one commit
 * adds all of it, under the condition that the branch is what it was when it was looked at. Begun again after a failure at any moment it
 * sends what is not there yet, and does not commit twice.
 *
 * A repository that is made is private until it holds the output. Where the output does not get there, it stays, private and without it:
 * what was sent is kept in it.
 */
export class HubPublication {
  readonly #store: Source;
  readonly #repository: HubRepository;
  readonly #options: HubPublicationOptions;
  readonly #output: FinishedOutput;
  readonly #branch: string;
  #found: Found = { kind: "no-repository" };

  private constructor(store: Source, repository: HubRepository, options: HubPublicationOptions) {
    this.#store = store;
    this.#repository = repository;
    this.#options = options;
    this.#output = options.output;
    this.#branch = branchOf(options.to);
  }

  /**
   * Looks at what is there; nothing is changed.
   * @throws PublishError `publish/target`, `publish/not-empty`; StorageError of the Hub
   */
  static async begin(
    store: Source,
    repository: HubRepository,
    options: HubPublicationOptions,
  ): Promise<HubPublication> {
    const publication = new HubPublication(store, repository, options);
    await repository.checkToken();
    publication.#found = await publication.#look();
    return publication;
  }

  /** Whether the branch holds all of it. */
  get isThere(): boolean {
    return this.#found.kind === "found" && this.#found.hasBranch && isNothing(this.#found.changes);
  }

  /** @throws PublishError `publish/not-empty`; StorageError */
  async send(ports: HubPublicationPorts = {}): Promise<HubPublished> {
    if (this.#found.kind === "no-repository") {
      await this.#checkCard();
      if (await this.#repository.create()) ports.made?.(this.#repository.url);
      this.#found = await this.#look();
    } else if (!this.isThere) await this.#checkCard();
    const found = this.#found;
    if (found.kind === "no-repository") throw this.#repository.notSeen();
    if (this.isThere) return this.#end({ commit: found.base, pullRequest: undefined }, found.changes, true);
    const { isPullRequest, title = await this.#titleOfCard() } = this.#options;
    const { added, deleted } = found.changes;
    const ref = found.hasBranch ? this.#branch : MAIN;
    const largePaths = await this.#repository.largePaths(await this.#candidates(added), ref, isPullRequest);
    const large = added.filter(({ name }) => largePaths.has(name));
    await this.#sendLarge(large, isPullRequest || !found.hasBranch ? undefined : ref, ports);
    const smallFiles = new Map<string, Uint8Array>();
    for (const file of added)
      if (!largePaths.has(file.name)) smallFiles.set(file.name, await this.#output.bytesOf(file));
    const largeFiles = new Map(large.map((file) => [file.name, file]));
    const commit = { title, parent: found.base, smallFiles, largeFiles, deletedPaths: deleted, isPullRequest };
    if (!found.hasBranch) await this.#repository.makeBranch(this.#branch, found.base);
    const made = await this.#commit({ ...commit, branch: this.#branch });
    ports.committed?.(made.commit);
    return this.#end(made, found.changes, false);
  }

  async #commit(commit: HubCommit): Promise<HubCommitted> {
    try {
      return await this.#repository.commit(commit);
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== "storage/changed" || commit.isPullRequest) throw error;
      // Whether it was this commit, whose answer was lost, or somebody else's, is seen by what is there.
      const now = await this.#look().catch(() => undefined);
      if (now?.kind !== "found" || !now.hasBranch || !isNothing(now.changes)) throw error;
      return { commit: now.base, pullRequest: undefined };
    }
  }

  async #look(): Promise<Found> {
    const { to, isPullRequest, overwrite } = this.#options;
    const head = await this.#repository.head(this.#branch);
    if (head === "no-repository") {
      if (!isPullRequest) return { kind: "no-repository" };
      throw target(to, "there is no model to which a pull request could be opened, or the account may not see it", {
        hint: "Check the name; without --pull-request it is made.",
      });
    }
    const begins = head === "no-branch" ? await this.#repository.head(MAIN) : head;
    if (typeof begins === "string" || (head === "no-branch" && (isPullRequest || this.#branch.startsWith("refs/")))) {
      throw target(to, `${this.#repository.id} has no branch ${JSON.stringify(this.#branch)}`, {
        hint: `Its branches are at ${this.#repository.url}/branches/all. A new one begins from main.`,
      });
    }
    const base = begins.commit;
    const there = await this.#repository.tree(base);
    const changes = hubChanges(there, this.#output.files, await this.#same(there), await this.#recorded(base, there));
    const hasBranch = head !== "no-branch";
    // A new branch and a pull request take nothing away from what is there.
    if (hasBranch && !isPullRequest && !overwrite && changes.replaced.length > 0) throw notEmpty(to, changes.replaced);
    return { kind: "found", base, hasBranch, changes };
  }

  async #same(there: ReadonlyMap<string, HubEntry>): Promise<ReadonlySet<string>> {
    const same = new Set<string>();
    for (const file of this.#output.files) {
      const entry = there.get(file.name);
      if (entry?.kind !== "file" || entry.sizeBytes !== file.sizeBytes) continue;
      const isSame =
        entry.sha256 === undefined
          ? file.sizeBytes <= SMALL_MAX_BYTES && gitOidOf(await this.#output.bytesOf(file)) === entry.oid
          : entry.sha256 === file.sha256;
      if (isSame) same.add(file.name);
    }
    return same;
  }

  /** Names of the output that is there, if it is one of ours. */
  async #recorded(commit: string, there: ReadonlyMap<string, HubEntry>): Promise<ReadonlySet<string>> {
    if (!there.has(MANIFEST_NAME)) return new Set();
    const place = hubPlaceOf({ id: this.#repository.id, revision: commit, path: "" });
    const { manifest, sums } = await readRecords(this.#store, place);
    return new Set(manifest?.files.map(({ name }) => name) ?? sums?.files.keys() ?? []);
  }

  async #checkCard(): Promise<void> {
    const card = this.#output.files.find(({ name }) => name === CARD_NAME);
    if (card !== undefined)
      await this.#repository.checkCard(Buffer.from(await this.#output.bytesOf(card)).toString("utf8"));
  }

  /** Its first heading: "Merge of a and b". */
  async #titleOfCard(): Promise<string> {
    const card = this.#output.files.find(({ name }) => name === CARD_NAME);
    const text = card === undefined ? "" : Buffer.from(await this.#output.bytesOf(card)).toString("utf8");
    return /^# (.+)$/m.exec(text)?.[1]?.replaceAll("`", "") ?? "A merge by deltaworks";
  }

  async #candidates(files: readonly OutputFile[]): Promise<readonly HubCandidate[]> {
    const candidates: HubCandidate[] = [];
    for (const { name, sizeBytes } of files) {
      const sample = new Uint8Array(Math.min(SAMPLE_BYTES, sizeBytes));
      await this.#output.read(name, 0, sample);
      candidates.push({ path: name, sizeBytes, sample });
    }
    return candidates;
  }

  async #sendLarge(
    files: readonly (OutputFile & LargeFile)[],
    ref: string | undefined,
    { sending, sent }: HubPublicationPorts,
  ): Promise<void> {
    const missing = await this.#repository.large.missing(files, ref);
    const bytes = missing.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    sending?.({ files: missing.length, ofFiles: files.length, bytes });
    await inParallel(missing, FILES_AT_ONCE, (file) =>
      this.#repository.large.send(file, ref, (offset, size) => this.#output.pieces(file.name, offset, size), sent),
    );
  }

  /** Whether it was done: a token that may write need not be one that may do that. */
  async #makePublic(): Promise<boolean> {
    try {
      await this.#repository.makePublic();
      return true;
    } catch (error) {
      if (error instanceof StorageError && error.code === "storage/hub-write") return false;
      throw error;
    }
  }

  async #end(
    { commit, pullRequest }: { readonly commit: string; readonly pullRequest: string | undefined },
    { isOwn }: HubChanges,
    wasThere: boolean,
  ): Promise<HubPublished> {
    const { isPublic, isPullRequest } = this.#options;
    const wasPrivate = await this.#repository.isPrivate();
    const isShown = isPublic && wasPrivate && isOwn && !isPullRequest && (await this.#makePublic());
    const isPrivate = wasPrivate && !isShown;
    const { url } = this.#repository;
    const page = this.#branch === MAIN ? url : `${url}/tree/${encodeURIComponent(this.#branch)}`;
    return { url: pullRequest ?? page, commit, wasThere, isPrivate };
  }
}

/**
 * Whether an output that is not made yet could be published there, as far as that is known. `overwrite`: what is there may be replaced.
 * @throws PublishError `publish/target`, `publish/not-empty`; StorageError of the Hub
 */
export async function checkHubTarget(repository: HubRepository, to: Place, overwrite: boolean): Promise<void> {
  const branch = branchOf(to);
  await repository.checkToken();
  const head = await repository.head(branch);
  if (typeof head === "string" || overwrite) return;
  const there = await repository.tree(head.commit);
  const { deleted } = hubChanges(there, [], new Set(), new Set());
  const replaced = [...deleted, ...[CARD_NAME, RECIPE_NAME].filter((name) => there.has(name))];
  if (replaced.length > 0) throw notEmpty(to, replaced);
}

function isNothing({ added, deleted }: HubChanges): boolean {
  return added.length === 0 && deleted.length === 0;
}

function branchOf(to: Place): string {
  const { revision = MAIN, path } = parseHubPlace(to);
  if (path !== "") {
    throw target(to, "an output is all of a repository, and no folder in it", {
      hint: 'Write hf://owner/name, or hf://owner/name@branch; "/" in a branch is written %2F.',
    });
  }
  if (!isCommit(revision)) return revision;
  throw target(to, "a commit never changes", { hint: "Write hf://owner/name@branch." });
}

function gitOidOf(bytes: Uint8Array): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

function target(to: Place, reason: string, { hint }: { readonly hint: string }): PublishError {
  return new PublishError("publish/target", `cannot publish to ${to}: ${reason}`, { hint });
}

function notEmpty(to: Place, replaced: readonly string[]): PublishError {
  const more = replaced.length > 5 ? ` and ${replaced.length - 5} more` : "";
  const names = replaced.slice(0, 5).join(", ");
  return new PublishError("publish/not-empty", `${to} holds something else: ${names}${more}`, {
    hint: "Choose another branch (hf://owner/name@branch) or repository, open a pull request with --pull-request, or replace it with --overwrite: its history keeps what was there.",
  });
}
