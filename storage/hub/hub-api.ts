import type { HttpAnswer } from "../http/http-errors.ts";
import { signedUntilMs } from "../http/signed-until.ts";
import type { HttpAddress } from "../http/target.ts";
import type { Place } from "../place.ts";
import type { HubClient } from "./hub-client.ts";
import { noHubError } from "./hub-errors.ts";
import { type HubPlace, isCommit, type PinnedPlace } from "./hub-place.ts";

/** A file or folder of a repository at a commit. */
export interface HubEntry {
  readonly kind: "file" | "directory";
  readonly sizeBytes: number;
  /** What git calls it: of a small file SHA-1 of its bytes behind a head. */
  readonly oid: string;
  /** Of a file that is kept outside of git: of its bytes. */
  readonly sha256: string | undefined;
}

/** What the Hub says about a file that is asked for. */
export interface HubFile {
  readonly sizeBytes: number;
  /** As of `HubEntry`; one of the two. */
  readonly oid: string | undefined;
  readonly sha256: string | undefined;
  /** Where its bytes are; the headers are for that address alone. */
  readonly address: HttpAddress;
  /** Until when that is used, since the epoch: an address that is signed ends. */
  readonly untilMs: number;
  /** With its quotes, where the address gives one that it will give again. */
  readonly etag: string | undefined;
  /** Its first bytes, where they came with the answer. */
  readonly bytes: Uint8Array | undefined;
}

/** A repository of more files is no model. */
const PAGES_MAX = 200;
const REDIRECTS_MAX = 5;
const OID = /^[0-9a-f]{40}$/;
const SHA256 = /^[0-9a-f]{64}$/;

/** What is asked of the Hub about models. `place`: as it was asked for, for errors. Everything throws what `HubClient` throws. */
export class HubApi {
  readonly #client: HubClient;

  constructor(client: HubClient) {
    this.#client = client;
  }

  get endpoint(): URL {
    return this.#client.endpoint;
  }

  /** The commit that a revision is now; undefined: the Hub's own choice, `main`. */
  async commitOf(place: Place, { id, revision }: Pick<HubPlace, "id" | "revision">): Promise<string> {
    const path = `/api/models/${id}/revision/${encodeURIComponent(revision ?? "main")}?expand=sha`;
    const found = this.#client.json(place, await this.#client.given("resolve", { id, revision, place }, path));
    const sha = typeof found === "object" && found !== null && "sha" in found ? found.sha : undefined;
    if (typeof sha === "string" && isCommit(sha)) return sha;
    throw noHubError(place, this.endpoint, "names no commit");
  }

  /** All entries at a commit, by their paths. */
  async tree(place: Place, id: string, commit: string): Promise<ReadonlyMap<string, HubEntry>> {
    const entries = new Map<string, HubEntry>();
    let path: string | undefined = `/api/models/${id}/tree/${commit}?recursive=true`;
    for (let pages = 0; path !== undefined; pages++) {
      if (pages >= PAGES_MAX) throw noHubError(place, this.endpoint, `gives more than ${PAGES_MAX} pages of files`);
      const answer = await this.#client.given("list", { id, revision: commit, place }, path);
      const page = this.#client.json(place, answer);
      if (!Array.isArray(page)) throw noHubError(place, this.endpoint, "gives no list of files");
      for (const entry of page) {
        const [name, found] = entryIn(entry) ?? [];
        if (name !== undefined && found !== undefined) entries.set(name, found);
      }
      path = this.#client.maybeNextPage(place, answer);
    }
    return entries;
  }

  /** Where a file is, and what; with its first bytes, `firstBytes` of them and one at least, if it is small. */
  async file(place: Place, { id, revision: commit, path }: PinnedPlace, firstBytes: number): Promise<HubFile> {
    const encoded = path.split("/").map(encodeURIComponent).join("/");
    const asked = { id, revision: commit, place };
    let url = this.#client.url(`/${id}/resolve/${commit}/${encoded}`);
    let linked: HttpAnswer["headers"] = new Map();
    for (let redirects = 0; ; redirects++) {
      const range = `bytes=0-${Math.max(1, firstBytes) - 1}`;
      const answer = await this.#client.ask("open", place, url, { headers: { range } });
      const { status, headers } = answer;
      if (headers.has("x-linked-etag")) linked = headers;
      if (status >= 300 && status < 400 && headers.has("location")) {
        const location = headers.get("location") ?? "";
        const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
        if (next === undefined || redirects >= REDIRECTS_MAX)
          throw noHubError(place, this.endpoint, "leads to no file");
        if (next.origin !== this.endpoint.origin) return this.#elsewhere(place, next, linked);
        url = next;
        continue;
      }
      if (status !== 200 && status !== 206 && status !== 416) throw await this.#client.refused("open", asked, answer);
      return this.#here(place, url, linked, answer);
    }
  }

  /** Of a large file: its bytes are at an address that is signed, which the token must not reach. */
  #elsewhere(place: Place, url: URL, linked: HttpAnswer["headers"]): HubFile {
    const sha256 = bare(linked.get("x-linked-etag"));
    const size = linked.get("x-linked-size") ?? "";
    const isSafe = url.protocol === "https:" || this.endpoint.protocol === "http:";
    if (!isSafe || sha256 === undefined || !SHA256.test(sha256) || !/^\d{1,15}$/.test(size))
      throw noHubError(place, this.endpoint, `leads to ${url.host} and does not say what is there`);
    const address = { url, headers: {}, ledFrom: this.endpoint };
    const untilMs = signedUntilMs(url, Date.now());
    return { sizeBytes: Number(size), sha256, oid: undefined, address, untilMs, etag: undefined, bytes: undefined };
  }

  /** Of a small file, or one that a mirror gives by itself: it came. */
  async #here(place: Place, url: URL, linked: HttpAnswer["headers"], answer: HttpAnswer): Promise<HubFile> {
    const { status, headers, body } = answer;
    const etag = headers.get("etag");
    const name = bare(linked.get("x-linked-etag") ?? etag);
    const range = /^bytes (?:0-\d+|\*)\/(\d{1,15})$/.exec(headers.get("content-range") ?? "")?.[1];
    const sizeBytes = status === 200 ? body.length : range === undefined ? undefined : Number(range);
    const isName = name !== undefined && (OID.test(name) || SHA256.test(name));
    if (sizeBytes === undefined || !isName || (status === 416 && sizeBytes > 0))
      throw noHubError(place, this.endpoint, "does not say what the file is");
    const isOid = OID.test(name);
    return {
      ...{ sizeBytes, oid: isOid ? name : undefined, sha256: isOid ? undefined : name },
      untilMs: Number.POSITIVE_INFINITY,
      ...{
        address: { url, headers: await this.#client.headers() },
        etag,
        bytes: status === 416 ? new Uint8Array() : body,
      },
    };
  }
}

function entryIn(entry: unknown): readonly [path: string, entry: HubEntry] | undefined {
  if (typeof entry !== "object" || entry === null) return undefined;
  const { type, path, size, oid, lfs } = entry as Readonly<Record<string, unknown>>;
  if (typeof path !== "string" || typeof oid !== "string") return undefined;
  if (type === "directory") return [path, { kind: "directory", sizeBytes: 0, oid, sha256: undefined }];
  if (type !== "file" || typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) return undefined;
  const named = typeof lfs === "object" && lfs !== null && "oid" in lfs ? lfs.oid : undefined;
  return [path, { kind: "file", sizeBytes: size, oid, sha256: typeof named === "string" ? named : undefined }];
}

/** An ETag without its quotes, and whatever says that it is weak. */
function bare(etag: string | undefined): string | undefined {
  return etag?.replace(/^W\//, "").replaceAll('"', "");
}
