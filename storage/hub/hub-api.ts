import type { StorageError } from "../errors.ts";
import type { HttpAnswer } from "../http/http-errors.ts";
import type { HttpRanges } from "../http/http-ranges.ts";
import type { HttpAddress, HttpTarget } from "../http/target.ts";
import type { Place } from "../place.ts";
import type { Source } from "../port.ts";
import { hubError, isUnclear, noHubError, offlineError } from "./hub-errors.ts";
import { type HubPlace, isCommit, type PinnedPlace } from "./hub-place.ts";
import { type Environment, type HubToken, hubEndpoint, isHubOffline, maybeHubToken } from "./hub-settings.ts";
import { signedUntilMs } from "./signed-until.ts";

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

/** Answers about a repository; a page of a thousand entries has some 300 KB. */
const ANSWER_MAX_BYTES = 32 * 2 ** 20;
/** A repository of more files is no model. */
const PAGES_MAX = 200;
const REDIRECTS_MAX = 5;
const OID = /^[0-9a-f]{40}$/;
const SHA256 = /^[0-9a-f]{64}$/;

/**
 * What is asked of the Hub, with the token where there is one. The token goes to the Hub's own origin and nowhere else; it stands in no
 * error. `place`: as it was asked for, for errors. Everything throws StorageError: `storage/hub-…` where the Hub refuses, and what `HttpRanges` throws.
 */
export class HubApi {
  readonly #http: HttpRanges;
  readonly #files: Source;
  readonly #environment: Environment;
  readonly endpoint: URL;
  #token: Promise<HubToken | undefined> | undefined;

  /** `files`: where the token may lie. @throws StorageError `storage/hub-settings` */
  constructor(http: HttpRanges, files: Source, environment: Environment) {
    this.#http = http;
    this.#files = files;
    this.#environment = environment;
    this.endpoint = hubEndpoint(environment);
  }

  /** The commit that a revision is now; undefined: the Hub's own choice, `main`. */
  async commitOf(place: Place, { id, revision }: Pick<HubPlace, "id" | "revision">): Promise<string> {
    const path = `/api/models/${id}/revision/${encodeURIComponent(revision ?? "main")}?expand=sha`;
    const found = this.#json(place, await this.#given("resolve", { id, revision, place }, path));
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
      const answer = await this.#given("list", { id, revision: commit, place }, path);
      const page = this.#json(place, answer);
      if (!Array.isArray(page)) throw noHubError(place, this.endpoint, "gives no list of files");
      for (const entry of page) {
        const [name, found] = entryIn(entry) ?? [];
        if (name !== undefined && found !== undefined) entries.set(name, found);
      }
      path = this.#nextPage(place, answer);
    }
    return entries;
  }

  /** Where a file is, and what; with its first bytes, `firstBytes` of them and one at least, if it is small. */
  async file(place: Place, { id, revision: commit, path }: PinnedPlace, firstBytes: number): Promise<HubFile> {
    const encoded = path.split("/").map(encodeURIComponent).join("/");
    const asked = { id, revision: commit, place };
    let url = this.#url(`/${id}/resolve/${commit}/${encoded}`);
    let linked: HttpAnswer["headers"] = new Map();
    for (let redirects = 0; ; redirects++) {
      const range = `bytes=0-${Math.max(1, firstBytes) - 1}`;
      const answer = await this.#ask("open", place, url, { range });
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
      if (status !== 200 && status !== 206 && status !== 416) throw await this.#refused("open", asked, answer);
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
      ...{ address: { url, headers: await this.#headers() }, etag, bytes: status === 416 ? new Uint8Array() : body },
    };
  }

  async #given(action: string, asked: Asked, path: string): Promise<HttpAnswer> {
    let url = this.#url(path);
    for (let redirects = 0; ; redirects++) {
      const answer = await this.#ask(action, asked.place, url, {});
      const { status, headers } = answer;
      if (status === 200) return answer;
      const location = headers.get("location");
      if (status < 300 || status >= 400 || location === undefined) throw await this.#refused(action, asked, answer);
      // Of a model that was renamed; whoever sends elsewhere is no Hub.
      const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
      if (next?.origin !== this.endpoint.origin || redirects >= REDIRECTS_MAX)
        throw noHubError(asked.place, this.endpoint, "leads elsewhere");
      url = next;
    }
  }

  async #ask(action: string, place: Place, url: URL, more: Readonly<Record<string, string>>): Promise<HttpAnswer> {
    if (isHubOffline(this.#environment)) throw offlineError(action, place);
    const address = { url, headers: { ...(await this.#headers()), ...more } };
    const target: HttpTarget = { place, address: () => address };
    return this.#http.request(target, { method: "GET", limitBytes: ANSWER_MAX_BYTES, redirects: "give", action });
  }

  async #refused(action: string, asked: Asked, answer: HttpAnswer): Promise<StorageError> {
    const token = await this.#foundToken();
    const refusal = { action, ...asked, endpoint: this.endpoint, token, answer };
    if (!isUnclear(refusal)) return hubError(refusal);
    const who = await this.#ask(action, asked.place, this.#url("/api/whoami-v2"), {});
    return hubError({ ...refusal, knowsToken: who.status === 200 });
  }

  async #headers(): Promise<Record<string, string>> {
    const token = await this.#foundToken();
    return token === undefined ? {} : { authorization: `Bearer ${token.secret.reveal()}` };
  }

  #foundToken(): Promise<HubToken | undefined> {
    this.#token ??= maybeHubToken(this.#files, this.#environment);
    return this.#token;
  }

  #json(place: Place, { body }: HttpAnswer): unknown {
    try {
      return JSON.parse(new TextDecoder().decode(body));
    } catch {
      throw noHubError(place, this.endpoint, "answers with something that is no JSON");
    }
  }

  /** By `Link: <address>; rel="next"`; the token goes with it, so it must be the Hub's. */
  #nextPage(place: Place, { headers }: HttpAnswer): string | undefined {
    const next = /<([^>]*)>\s*;\s*rel="?next"?/.exec(headers.get("link") ?? "")?.[1];
    if (next === undefined) return undefined;
    const url = URL.canParse(next, this.endpoint.href) ? new URL(next, this.endpoint) : undefined;
    if (url?.origin === this.endpoint.origin) return `${url.pathname}${url.search}`;
    throw noHubError(place, this.endpoint, "has its next page elsewhere");
  }

  /** `path` begins with "/"; what stands behind the host in HF_ENDPOINT is kept before it. */
  #url(path: string): URL {
    const prefix = this.endpoint.pathname.replace(/\/+$/, "");
    return new URL(path.startsWith(`${prefix}/`) ? path : prefix + path, this.endpoint);
  }
}

interface Asked {
  readonly id: string;
  readonly revision: string | undefined;
  readonly place: Place;
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
