/**
 * An imitation of the Hugging Face Hub, as far as models are read from it and put there. `hub-imitation.test.ts` and
 * `hub-writing.test.ts` hold it to `@huggingface/hub`, those that end in `.system.test.ts` to Python's huggingface_hub: what they understand
 * is what the Hub says.
 */
import { createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import { type Asked, refuse, send, sendRange } from "./hub-answers.ts";
import { type Commit, type HubFile, HubRepository, type HubRepositoryOptions, hash } from "./hub-repository.ts";
import { type HubUser, HubWriting } from "./hub-writing.ts";

export interface HubOptions {
  /** Entries of a page of the tree. */
  readonly pageEntries?: number;
  /** How long a signed address is good for. */
  readonly signedSeconds?: number;
  /** Small files come by way of a cache of the Hub, on its own origin, as they do since 2025; else at once. */
  readonly resolveCache?: boolean;
  /** Large files are said to be in Xet too, as all are since 2025. */
  readonly xet?: boolean;
  /** Files of more bytes are large, as all are that hold weights. */
  readonly largeBytes?: number;
  /** Large files with more bytes are sent in parts of so many. */
  readonly partBytes?: number;
  /** Of larger files than that the Hub says, one by one, that it does not take them. */
  readonly mostBytes?: number;
  /** Who has sent a large file is to ask whether it came whole. */
  readonly verifies?: boolean;
  /** Of a mirror that passes answers on: the origin in addresses that the Hub gives of itself. */
  readonly calledOrigin?: string;
}

/** What goes wrong with requests whose method and path match. */
export interface HubFault {
  readonly at: RegExp;
  /** How many of them; all, if it is not said. */
  readonly times?: number;
  /** How many before them go well. */
  readonly after?: number;
  /**
   * refuse: in place of what was asked. lose: it is done, and the answer is lost. hang: it is not done, and never answered. delay: it is
   * done after `delayMs`.
   */
  readonly does: "refuse" | "lose" | "hang" | "delay";
  readonly delayMs?: number;
  readonly status?: number;
  readonly code?: string;
  readonly message?: string;
}

/** Of each entry in the tree of a large file: what is in git in its place. */
const POINTER_BYTES = 134;

/** A request that was made, without anything of the token but whether there was one. */
export interface HubRequest {
  readonly origin: "hub" | "storage";
  readonly method: string;
  /** Decoded, without the query. */
  readonly path: string;
  readonly range: string | undefined;
  readonly token: string | undefined;
  readonly status: number;
}

/** What the Hub counts apart. */
export type HubResource = "api" | "resolvers";

export class HubImitation {
  readonly #options: Required<Omit<HubOptions, "calledOrigin">> & HubOptions;
  readonly #hub: Server;
  readonly #storage: Server;
  /** Of the Hub itself: what HF_ENDPOINT is set to. */
  readonly url: string;
  /** Where large files lie: another origin, which refuses tokens. */
  readonly storageUrl: string;
  readonly requests: HubRequest[] = [];
  readonly #repositories = new Map<string, HubRepository>();
  readonly #renamed = new Map<string, string>();
  readonly #users = new Map<string, HubUser>();
  readonly #objects = new Map<string, Buffer>();
  readonly #writing: HubWriting;
  #faults: { readonly fault: HubFault; left: number; before: number }[] = [];
  readonly #limits = new Map<HubResource, number>();
  #failing = { left: 0, status: 503 };
  readonly #damaged = new Set<HubRequest["origin"]>();
  #key = randomBytes(16);

  private constructor(options: HubOptions, hub: Server, storage: Server) {
    this.#options = {
      largeBytes: 10_000_000,
      pageEntries: 1000,
      signedSeconds: 3600,
      resolveCache: true,
      xet: true,
      partBytes: 5 * 2 ** 20,
      mostBytes: 50_000_000_000,
      verifies: true,
      ...options,
    };
    this.#hub = hub;
    this.#storage = storage;
    this.url = `http://127.0.0.1:${(hub.address() as AddressInfo).port}`;
    this.storageUrl = `http://localhost:${(storage.address() as AddressInfo).port}`;
    this.#writing = new HubWriting({
      ...{ url: this.url, repositories: this.#repositories, users: this.#users, options: this.#options },
      create: (id, given) => this.repository(id, given),
      signed: (origin, path) => {
        return this.#signed(path, origin === "hub" ? (options.calledOrigin ?? this.url) : this.storageUrl);
      },
    });
  }

  /** It ends with the test. */
  static async start(options: HubOptions = {}): Promise<HubImitation> {
    const hub = createServer((request, response) => imitation.#serve("hub", request, response));
    const storage = createServer((request, response) => imitation.#serve("storage", request, response));
    await Promise.all([
      once(hub.listen(0, "127.0.0.1"), "listening"),
      once(storage.listen(0, "localhost"), "listening"),
    ]);
    const imitation = new HubImitation(options, hub, storage);
    onTestFinished(() => imitation.close());
    return imitation;
  }

  close(): void {
    for (const server of [this.#hub, this.#storage]) {
      server.close();
      server.closeAllConnections();
    }
  }

  /** A repository; what it was before is forgotten. */
  repository(id: string, options: HubRepositoryOptions = {}): HubRepository {
    const made = new HubRepository(id, options, this.#options.largeBytes);
    this.#repositories.set(id, made);
    return made;
  }

  has(id: string): boolean {
    return this.#repositories.has(id);
  }

  repositoryOf(id: string): HubRepository {
    const found = this.#repositories.get(id);
    if (found === undefined) throw new Error(`there is no repository ${id}`);
    return found;
  }

  /** A token that the Hub knows: it may write below `namespaces`, unless it is one to read with alone. */
  user(token: string, { name = "tester", role = "write", namespaces = [name, "owner"] }: Partial<HubUser> = {}): void {
    this.#users.set(token, { name, role, namespaces });
  }

  /** From now on, until it is over. */
  break(fault: HubFault): void {
    this.#faults.push({ fault, left: fault.times ?? Number.POSITIVE_INFINITY, before: fault.after ?? 0 });
  }

  mend(): void {
    this.#faults = [];
  }

  /** Whoever asks for the old name is sent to the new one. */
  rename(from: string, to: string): void {
    this.#renamed.set(from, to);
  }

  /** Requests for such are too many, for so long. */
  limit(resource: HubResource, seconds: number): void {
    this.#limits.set(resource, Date.now() + seconds * 1000);
  }

  /** The next requests of the Hub fail. */
  fail(count: number, status = 503): void {
    this.#failing = { left: count, status };
  }

  /** Signed addresses that were given are good no longer. */
  expireSigned(): void {
    this.#key = randomBytes(16);
  }

  /** From now on the last byte of every file that is given there is another than it should be. */
  damage(origin: HubRequest["origin"]): void {
    this.#damaged.add(origin);
  }

  #serve(origin: HubRequest["origin"], request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", this.url);
    const path = decodeURIComponent(url.pathname);
    const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? "")?.[1];
    const { method = "GET" } = request;
    response.once("close", () => {
      const range = request.headers.range;
      this.requests.push({ origin, method, path, range, token, status: response.statusCode });
    });
    const body: Buffer[] = [];
    request.on("data", (chunk: Buffer) => body.push(chunk));
    request.once("end", () => {
      const asked = { request, response, url, path, token, body: Buffer.concat(body) };
      const fault = this.#faultOf(`${method} ${path}`);
      if (fault?.does === "hang") return;
      if (fault?.does === "refuse") {
        return refuse(asked, fault.status ?? 500, fault.code ?? "", fault.message ?? "Internal Error");
      }
      if (fault?.does === "lose") {
        response.end = () => {
          request.socket.destroy();
          return response;
        };
      }
      const serve = () => (origin === "storage" ? this.#serveObject(asked) : this.#serveHub(asked));
      if (fault?.does === "delay") setTimeout(serve, fault.delayMs);
      else serve();
    });
  }

  #faultOf(question: string): HubFault | undefined {
    for (const each of this.#faults) {
      if (each.left === 0 || !each.fault.at.test(question)) continue;
      if (each.before-- > 0) continue;
      each.left--;
      return each.fault;
    }
    return undefined;
  }

  #serveHub(asked: Asked): void {
    const { path, token, response } = asked;
    if (this.#failing.left > 0) {
      this.#failing.left--;
      return send(asked, this.#failing.status, "busy");
    }
    const resource: HubResource =
      path.startsWith("/api/") && !path.startsWith("/api/resolve-cache/") ? "api" : "resolvers";
    const limitedMs = (this.#limits.get(resource) ?? 0) - Date.now();
    const isLimited = limitedMs > 0;
    const windowSeconds = isLimited ? Math.ceil(limitedMs / 1000) : 300;
    response.setHeader("RateLimit", `"${resource}";r=${isLimited ? 0 : 2999};t=${windowSeconds}`);
    response.setHeader("RateLimit-Policy", `"fixed window";"${resource}";q=3000;w=300`);
    if (isLimited) return refuse(asked, 429, "", "We had to rate limit your IP. To continue, log in.");
    if (token !== undefined && !this.#users.has(token)) {
      return refuse(asked, 401, "", "Invalid credentials in Authorization header");
    }
    if (path === "/api/whoami-v2") {
      const user = this.#users.get(token ?? "");
      if (user === undefined) return refuse(asked, 401, "", "Invalid username or password.");
      const auth = { type: "access_token", accessToken: { displayName: "test", role: user.role } };
      return send(asked, 200, JSON.stringify({ type: "user", name: user.name, fullname: "T", orgs: [], auth }));
    }
    if (path.startsWith("/api/complete_multipart/") && !this.#isSigned(asked.url)) {
      return refuse(asked, 403, "", "Invalid signature");
    }
    if (this.#writing.serve(asked)) return;
    const api = /^\/api\/models\/((?:[^/]+\/)?[^/]+?)(?:\/(revision|tree|paths-info)\/([^/]+)(?:\/(.+))?)?$/.exec(
      asked.url.pathname,
    );
    const [, apiId, what = "revision", apiRevision = "main", below] =
      api?.map((part) => part && decodeURIComponent(part)) ?? [];
    if (apiId !== undefined) {
      return this.#serveRevision(asked, apiId, apiRevision, (repository, commit) => {
        if (what === "tree") this.#tree(asked, commit, below);
        else if (what === "paths-info") pathsInfo(asked, commit, this.#options.xet);
        else send(asked, 200, JSON.stringify(infoOf(repository, commit)));
      });
    }
    const resolve =
      /^\/((?:[^/]+\/)?[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(asked.url.pathname) ??
      /^\/api\/resolve-cache\/models\/((?:[^/]+\/)?[^/]+)\/([0-9a-f]{40})\/(.+)$/.exec(asked.url.pathname);
    const [, id, revision = "", file = ""] = resolve?.map(decodeURIComponent) ?? [];
    if (id === undefined) return refuse(asked, 404, "", "no such page");
    this.#serveRevision(asked, id, revision, (repository, commit) => {
      if (repository.gated && !repository.admits(token)) {
        const message = `Access to model ${id} is restricted${token === undefined ? ". You must have access to it and be authenticated to access it. Please log in." : " and you are not in the authorized list."}`;
        return refuse(asked, token === undefined ? 401 : 403, "GatedRepo", message);
      }
      this.#resolve(asked, repository, commit, file);
    });
  }

  #serveRevision(
    asked: Asked,
    id: string,
    revision: string,
    serve: (repository: HubRepository, commit: Commit) => void,
  ): void {
    const { token, url, response } = asked;
    const renamed = this.#renamed.get(id);
    if (renamed !== undefined) {
      response.setHeader("Location", `${url.pathname.replace(id, renamed)}${url.search}`);
      return send(asked, 307, "");
    }
    const repository = this.#repositories.get(id);
    if (repository === undefined || (repository.private && !repository.admits(token))) {
      // Who is not known is not told whether there is one.
      if (token === undefined) return refuse(asked, 401, "RepoNotFound", "Invalid username or password.");
      return refuse(asked, 404, "RepoNotFound", "Repository not found");
    }
    const commit = repository.at(revision);
    if (commit === undefined) return refuse(asked, 404, "RevisionNotFound", `Invalid rev id: ${revision}`);
    response.setHeader("X-Repo-Commit", commit.sha);
    serve(repository, commit);
  }

  #tree(asked: Asked, commit: Commit, below: string | undefined): void {
    const { searchParams } = asked.url;
    const entries = treeOf(commit, below, searchParams.get("recursive") === "true", this.#options.xet);
    if (below !== undefined && entries.length === 0) {
      return refuse(asked, 404, "EntryNotFound", `${below} does not exist on "${commit.sha}"`);
    }
    const from = Number(searchParams.get("cursor") ?? 0);
    const next =
      from + Math.min(this.#options.pageEntries, Number(searchParams.get("limit") ?? Number.POSITIVE_INFINITY));
    if (next < entries.length) {
      const page = new URL(asked.url);
      page.searchParams.set("cursor", String(next));
      asked.response.setHeader("Link", `<${page}>; rel="next"`);
    }
    send(asked, 200, JSON.stringify(entries.slice(from, next)));
  }

  #resolve(asked: Asked, repository: HubRepository, commit: Commit, path: string): void {
    const { response, url } = asked;
    const file = commit.files.get(path);
    if (file === undefined) return refuse(asked, 404, "EntryNotFound", "Entry not found");
    if (file.sha256 === undefined) {
      if (this.#options.resolveCache && !url.pathname.startsWith("/api/resolve-cache/")) {
        const encoded = path.split("/").map(encodeURIComponent).join("/");
        response.setHeader(
          "Location",
          `/api/resolve-cache/models/${repository.id}/${commit.sha}/${encoded}?etag=%22${file.oid}%22`,
        );
        response.setHeader("X-Linked-Etag", `"${file.oid}"`);
        response.setHeader("X-Linked-Size", file.bytes.length);
        return send(asked, 307, `Temporary Redirect. Redirecting to elsewhere`);
      }
      response.setHeader("ETag", `"${file.oid}"`);
      return sendRange(asked, file.bytes, this.#damaged.has("hub"));
    }
    this.#objects.set(file.sha256, file.bytes);
    response.setHeader("X-Linked-Size", file.bytes.length);
    response.setHeader("X-Linked-Etag", `"${file.sha256}"`);
    if (this.#options.xet) {
      const xetHash = xetHashOf(file);
      response.setHeader("X-Xet-Hash", xetHash);
      response.setHeader("Link", [
        `<${this.url}/api/models/${repository.id}/xet-read-token/${commit.sha}>; rel="xet-auth"`,
        `<${this.storageUrl}/v1/reconstructions/${xetHash}>; rel="xet-reconstruction-info"`,
      ]);
    }
    response.setHeader("Location", this.#signed(`/objects/${file.sha256}`));
    send(asked, 302, "Found. Redirecting to elsewhere");
  }

  #signed(path: string, origin = this.storageUrl): string {
    const signedAt = Math.floor(Date.now() / 1000);
    const query = `X-Amz-Date=${amzDate(signedAt)}&X-Amz-Expires=${this.#options.signedSeconds}`;
    return `${origin}${path}?${query}&X-Amz-Signature=${this.#signature(path, query)}`;
  }

  #signature(path: string, query: string): string {
    return createHmac("sha256", this.#key).update(`${path}?${query}`).digest("hex");
  }

  #isSigned({ search, pathname, searchParams }: URL): boolean {
    const [query = "", signature] = search.slice(1).split("&X-Amz-Signature=");
    const expiresAt = secondsOf(searchParams.get("X-Amz-Date") ?? "") + Number(searchParams.get("X-Amz-Expires"));
    return signature === this.#signature(decodeURIComponent(pathname), query) && Date.now() / 1000 < expiresAt;
  }

  #serveObject(asked: Asked): void {
    const { url, path, token, request } = asked;
    if (!this.#isSigned(url)) {
      return send(asked, 403, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>");
    }
    if (token !== undefined)
      return send(
        asked,
        400,
        "<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>",
      );
    if (request.method === "PUT") return this.#writing.put(asked);
    const bytes = this.#objects.get(path.slice("/objects/".length));
    if (bytes === undefined) return send(asked, 404, "<Error><Code>NoSuchKey</Code></Error>");
    asked.response.setHeader("ETag", `"${hash("md5", bytes)}"`);
    sendRange(asked, bytes, this.#damaged.has("storage"));
  }
}

function infoOf({ id, private: isPrivate, gated }: HubRepository, { sha, files }: Commit): object {
  return {
    ...{ _id: "0", id, modelId: id, sha, private: isPrivate, gated: gated ? "manual" : false, disabled: false },
    ...{
      lastModified: "2026-01-01T00:00:00.000Z",
      createdAt: "2026-01-01T00:00:00.000Z",
      likes: 0,
      downloads: 0,
      tags: [],
    },
    siblings: [...files.keys()].sort().map((rfilename) => ({ rfilename })),
  };
}

/** Files, and of a listing that goes no deeper the folders too. */
function treeOf(commit: Commit, below: string | undefined, recursive: boolean, xet: boolean): object[] {
  const above = below === undefined ? "" : `${below}/`;
  const folders = new Set<string>();
  const files: object[] = [];
  for (const path of [...commit.files.keys()].sort()) {
    if (!path.startsWith(above)) continue;
    const parts = path.slice(above.length).split("/");
    for (let k = 1; k < (recursive ? parts.length : Math.min(2, parts.length)); k++)
      folders.add(above + parts.slice(0, k).join("/"));
    const file = commit.files.get(path);
    if (file !== undefined && (recursive || parts.length === 1)) files.push(entryOf(path, file, xet));
  }
  return [...[...folders].map((path) => ({ type: "directory", oid: hash("sha1", path), size: 0, path })), ...files];
}

function entryOf(path: string, file: HubFile, xet: boolean): object {
  const lfs = file.sha256 && { lfs: { oid: file.sha256, size: file.bytes.length, pointerSize: POINTER_BYTES } };
  return {
    type: "file",
    oid: file.oid,
    size: file.bytes.length,
    path,
    ...lfs,
    ...(lfs && xet && { xetHash: xetHashOf(file) }),
  };
}

/** JavaScript's client asks with JSON, Python's with a form. */
function pathsInfo(asked: Asked, commit: Commit, xet: boolean): void {
  const isJson = asked.request.headers["content-type"]?.startsWith("application/json") === true;
  const paths: string[] = isJson
    ? JSON.parse(asked.body.toString()).paths
    : new URLSearchParams(asked.body.toString()).getAll("paths");
  const found = paths.flatMap((path) => {
    const file = commit.files.get(path);
    return file === undefined ? [] : [entryOf(path, file, xet)];
  });
  send(asked, 200, JSON.stringify(found));
}

function xetHashOf({ sha256 = "" }: HubFile): string {
  return hash("sha256", `xet ${sha256}`);
}

/** "20260101T000000Z" */
function amzDate(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(/[-:]|\.\d+/g, "");
}

function secondsOf(date: string): number {
  const [, day = "", time = ""] = /^(\d{8})T(\d{6})Z$/.exec(date) ?? [];
  const iso = `${day.replace(/(..)(..)$/, "-$1-$2")}T${time.replace(/(..)(..)$/, ":$1:$2")}Z`;
  return Date.parse(iso) / 1000;
}
