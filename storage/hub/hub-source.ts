import { createHash } from "node:crypto";
import { hashDiffers, StorageError } from "../errors.ts";
import { foundOnce } from "../found-once.ts";
import { HttpFile } from "../http/http-file.ts";
import type { HttpRanges } from "../http/http-ranges.ts";
import { RenewedAddress } from "../http/renewed-address.ts";
import type { HttpAddress, HttpTarget } from "../http/target.ts";
import { isNotFound } from "../if-there.ts";
import type { Place } from "../place.ts";
import type { DirectoryEntry, FileIdentity, Readable, ReadOptions, Source, Version } from "../port.ts";
import { HubApi, type HubEntry, type HubFile } from "./hub-api.ts";
import { HubClient } from "./hub-client.ts";
import { type HubPlace, hubPlaceOf, isCommit, type PinnedPlace, parseHubPlace } from "./hub-place.ts";
import type { Environment } from "./hub-settings.ts";
import { maybeSharedAddress, shareAddress } from "./shared-addresses.ts";

export interface HubOptions {
  readonly http: HttpRanges;
  /** Where the token may lie. */
  readonly files: Source;
  readonly environment: Environment;
  /** Whether a branch that was asked for stays what it was then, as long as this is: so that all of a command is of one commit. */
  readonly resolvesOnce?: boolean;
}

/** Of small files, which many merges of one command read again. */
const KEPT_MAX_BYTES = 64 * 2 ** 20;

type Tree = ReadonlyMap<string, HubEntry>;

/**
 * Models of the Hugging Face Hub: `hf://owner/name@revision/path`. A branch or tag is a link to a commit, which `realPlace` resolves; what
 * is at a commit never changes, so that it is asked for once: the list of a repository's files, and where each of them is. Bytes of large
 * files, in LFS and in Xet alike, come by ranges from the address that the Hub gives, without the token.
 */
export class HubSource implements Source {
  readonly #api: HubApi;
  readonly #http: HttpRanges;
  readonly #trees = new Map<string, Promise<Tree>>();
  #keptBytes = 0;
  readonly #commits: Map<string, Promise<string>> | undefined;
  readonly #targets = new Map<Place, Promise<HubTarget>>();

  /** @throws StorageError `storage/hub-settings` */
  constructor({ http, files, environment, resolvesOnce = false }: HubOptions) {
    this.#http = http;
    this.#commits = resolvesOnce ? new Map() : undefined;
    this.#api = new HubApi(new HubClient(http, files, environment));
  }

  async open(place: Place, { firstBytes = 0 }: ReadOptions = {}): Promise<Readable> {
    const pinned = await this.#pinned(place);
    if (pinned.path === "") throw notAFile(place);
    const target = await this.#target(place, pinned, firstBytes);
    const { file } = target;
    return new HttpFile({
      ...{ ranges: this.#http, place, target, identity: identityOf(file), first: file.bytes, hasRanges: true },
      checkWhole: (bytes) => checkWhole(place, file, bytes),
    });
  }

  async identity(place: Place): Promise<FileIdentity | undefined> {
    const pinned = await this.#pinned(place);
    const entry = await this.#entry(place, pinned);
    if (entry === undefined) return undefined;
    return entry.kind === "file" ? identityOf(entry) : { kind: "directory", sizeBytes: 0, version: pinned.revision };
  }

  async list(folder: Place): Promise<readonly DirectoryEntry[]> {
    const pinned = await this.#pinned(folder);
    const tree = await this.#tree(folder, pinned);
    const entry = await this.#found("list", folder, pinned);
    if (entry.kind === "file") {
      throw new StorageError("storage/not-a-directory", `cannot list ${folder}: it is a file`, {
        hint: "A folder was expected here, not a file.",
      });
    }
    const above = pinned.path === "" ? "" : `${pinned.path}/`;
    const kinds = new Map<string, DirectoryEntry["kind"]>();
    for (const [path, { kind }] of tree) {
      if (!path.startsWith(above)) continue;
      const [name = "", ...more] = path.slice(above.length).split("/");
      // A folder is there by what is in it, whether it is listed by itself or not.
      kinds.set(name, more.length > 0 ? "directory" : kind);
    }
    return [...kinds].map(([name, kind]) => ({ name, kind })).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** With the commit in place of a branch or tag. */
  async realPlace(place: Place): Promise<Place> {
    const pinned = await this.#pinned(place);
    await this.#found("resolve", place, pinned);
    return hubPlaceOf(pinned);
  }

  async #pinned(place: Place): Promise<PinnedPlace> {
    const parsed = parseHubPlace(place);
    const { revision } = parsed;
    return { ...parsed, revision: isCommit(revision) ? revision : await this.#commitOf(place, parsed) };
  }

  #commitOf(place: Place, { id, revision = "main" }: HubPlace): Promise<string> {
    const find = () => this.#api.commitOf(place, { id, revision });
    return this.#commits === undefined ? find() : foundOnce(this.#commits, `${id}@${revision}`, find);
  }

  /** One for all who read it, now and later: of a small file with what it holds. */
  #target(place: Place, pinned: PinnedPlace, firstBytes: number): Promise<HubTarget> {
    const key = hubPlaceOf(pinned);
    const known = this.#targets.get(key);
    if (known !== undefined) return known;
    const finding = this.#newTarget(place, pinned, firstBytes);
    this.#targets.set(key, finding);
    finding.then(
      ({ file }) => this.#keep(key, file),
      () => this.#targets.delete(key),
    );
    return finding;
  }

  /** What a small file holds is kept whole, or not at all, and of all of them only so much. */
  #keep(key: Place, { bytes, sizeBytes }: HubFile): void {
    if (bytes === undefined) return;
    if (bytes.length < sizeBytes || this.#keptBytes + bytes.length > KEPT_MAX_BYTES) this.#targets.delete(key);
    else this.#keptBytes += bytes.length;
  }

  async #newTarget(place: Place, pinned: PinnedPlace, firstBytes: number): Promise<HubTarget> {
    const find = (bytes: number) => this.#api.file(place, pinned, bytes);
    const key = `${this.#api.endpoint.href} ${hubPlaceOf(pinned)}`;
    try {
      const shared = maybeSharedAddress(key);
      const file = shared ?? (await find(firstBytes));
      if (shared === undefined) shareAddress(key, file);
      return new HubTarget(place, file, find);
    } catch (error) {
      if (isNotFound(error) && (await this.#entry(place, pinned))?.kind === "directory") throw notAFile(place);
      throw error;
    }
  }

  #tree(place: Place, { id, revision }: PinnedPlace): Promise<Tree> {
    return foundOnce(this.#trees, `${id}@${revision}`, () => this.#api.tree(place, id, revision));
  }

  async #entry(place: Place, pinned: PinnedPlace): Promise<HubEntry | undefined> {
    const tree = await this.#tree(place, pinned);
    if (pinned.path === "") return rootEntry;
    const known = tree.get(pinned.path);
    if (known !== undefined) return known;
    const isFolder = [...tree.keys()].some((path) => path.startsWith(`${pinned.path}/`));
    return isFolder ? rootEntry : undefined;
  }

  async #found(action: string, place: Place, pinned: PinnedPlace): Promise<HubEntry> {
    const entry = await this.#entry(place, pinned);
    if (entry !== undefined) return entry;
    throw new StorageError("storage/not-found", `cannot ${action} ${place}: ${pinned.id} has no ${pinned.path}`, {
      hint: `Its files are at ${this.#api.endpoint.origin}/${pinned.id}/tree/${pinned.revision}.`,
    });
  }
}

/** What is said of every folder. */
const rootEntry: HubEntry = { kind: "directory", sizeBytes: 0, oid: "", sha256: undefined };

/** A file that is read: where it is now, asked for anew when its address ends. */
class HubTarget implements HttpTarget {
  readonly place: Place;
  readonly state: HttpTarget["state"];
  readonly file: HubFile;
  readonly #now: RenewedAddress;

  constructor(place: Place, file: HubFile, find: (firstBytes: number) => Promise<HubFile>) {
    this.place = place;
    this.file = file;
    this.state = { sizeBytes: file.sizeBytes, etag: file.etag };
    this.#now = new RenewedAddress(async () => this.#checked(await find(0)), file);
  }

  address(refused?: HttpAddress): Promise<HttpAddress> {
    return this.#now.address(refused);
  }

  #checked(found: HubFile): HubFile {
    if (versionOf(found) === versionOf(this.file)) return found;
    throw new StorageError("storage/changed", `cannot read ${this.place}: the Hub has other bytes at that commit`, {
      hint: "A commit never changes: check HF_ENDPOINT, and what stands between this machine and the Hub.",
    });
  }
}

/** Whole files are what their names say: that costs less than to fetch them. */
function checkWhole(place: Place, { sha256, oid }: HubFile, bytes: Uint8Array): void {
  const found =
    sha256 === undefined
      ? createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex")
      : createHash("sha256").update(bytes).digest("hex");
  if (found === (sha256 ?? oid)) return;
  throw hashDiffers(place, sha256 === undefined ? "the git object id" : "SHA-256", found, sha256 ?? oid ?? "");
}

function identityOf(file: Pick<HubEntry, "sizeBytes" | "sha256"> & { readonly oid: string | undefined }): FileIdentity {
  const { sizeBytes, sha256 } = file;
  return { kind: "file", sizeBytes, version: versionOf(file), ...(sha256 !== undefined && { sha256 }) };
}

/** By what it holds: of one file in two commits it is the same. */
function versionOf({
  sha256,
  oid,
}: {
  readonly sha256: string | undefined;
  readonly oid: string | undefined;
}): Version {
  return sha256 === undefined ? `git:${oid}` : `sha256:${sha256}`;
}

function notAFile(place: Place): StorageError {
  return new StorageError("storage/not-a-file", `cannot open ${place}: it is a folder`, {
    hint: "A file was expected here, not a folder.",
  });
}
