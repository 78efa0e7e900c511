/** How the imitation of the Hub is written to: repositories, large files, commits, branches, pull requests. */
import { parse } from "yaml";
import { type Asked, refuse, send } from "./hub-answers.ts";
import {
  type Commit,
  type HubFile,
  type HubRepository,
  type HubRepositoryOptions,
  hash,
  isLarge,
  largeFile,
  smallFile,
} from "./hub-repository.ts";

export interface HubUser {
  readonly name: string;
  readonly role: "read" | "write";
  /** Owners of what it may write. */
  readonly namespaces: readonly string[];
}

/** What it shares with the rest of the imitation. */
interface HubState {
  readonly url: string;
  readonly repositories: ReadonlyMap<string, HubRepository>;
  readonly users: ReadonlyMap<string, HubUser>;
  readonly options: {
    readonly largeBytes: number;
    readonly partBytes: number;
    readonly mostBytes: number;
    readonly verifies: boolean;
    readonly calledOrigin?: string;
  };
  readonly create: (id: string, options: HubRepositoryOptions) => HubRepository;
  readonly signed: (origin: "hub" | "storage", path: string) => string;
}

/** Of a large file: one that comes in parts has them by number. */
interface Upload {
  readonly repository: HubRepository;
  readonly oid: string;
  readonly sizeBytes: number;
  readonly parts: Map<number, Buffer>;
  isComplete: boolean;
}

type Handler = (asked: Asked, ...parts: string[]) => void;

const ID = "((?:[^/]+/)?[^/]+?)";
const STALE = "A commit has happened since. Please refresh and try again.";

export class HubWriting {
  readonly #state: HubState;
  readonly #uploads: Upload[] = [];
  #requests = 0;

  constructor(state: HubState) {
    this.#state = state;
  }

  readonly #routes: readonly (readonly [method: string, path: RegExp, handler: Handler])[] = [
    ["POST", /^\/api\/repos\/create$/, (asked) => this.#create(asked)],
    ["POST", /^\/api\/validate-yaml$/, (asked) => this.#validate(asked)],
    ["POST", /^\/api\/complete_multipart\/(\d+)$/, (asked, upload) => this.#complete(asked, Number(upload))],
    ["PUT", route(`/api/models/${ID}/settings`), (asked, id) => this.#settings(asked, id)],
    ["POST", route(`/api/models/${ID}/branch/([^/]+)`), (asked, id, name) => this.#branch(asked, id, name)],
    ["POST", route(`/api/models/${ID}/preupload/([^/]+)`), (asked, id, ref) => this.#preupload(asked, id, ref)],
    ["POST", route(`/api/models/${ID}/commit/([^/]+)`), (asked, id, ref) => this.#commit(asked, id, ref)],
    ["POST", route(`/${ID}.git/info/lfs/objects/batch`), (asked, id) => this.#batch(asked, id)],
    ["POST", route(`/${ID}.git/info/lfs/objects/verify`), (asked, id) => this.#verify(asked, id)],
  ];

  /** Whether it was for what is written. */
  serve(asked: Asked): boolean {
    for (const [method, path, handler] of this.#routes) {
      const parts = path.exec(asked.url.pathname);
      if (parts === null || asked.request.method !== method) continue;
      handler(asked, ...parts.slice(1).map(decodeURIComponent));
      return true;
    }
    return false;
  }

  /** Bytes that come to the storage. */
  put(asked: Asked): void {
    const [, kind, number = "", part] = /^\/uploads\/(whole|part)\/(\d+)(?:\/(\d+))?$/.exec(asked.path) ?? [];
    const upload = this.#uploads[Number(number)];
    if (kind === undefined || upload === undefined) return send(asked, 404, "<Error><Code>NoSuchUpload</Code></Error>");
    if (kind === "part") upload.parts.set(Number(part), asked.body);
    else if (!this.#keep(upload, asked.body)) return send(asked, 400, "<Error><Code>BadDigest</Code></Error>");
    asked.response.setHeader("ETag", `"${hash("md5", asked.body)}"`);
    send(asked, 200, "");
  }

  #keep({ repository, oid }: Upload, bytes: Buffer): boolean {
    if (hash("sha256", bytes) !== oid) return false;
    repository.objects.set(oid, bytes);
    return true;
  }

  #create(asked: Asked): void {
    const { name, organization, visibility, private: isPrivate } = JSON.parse(asked.body.toString());
    const user = this.#state.users.get(asked.token ?? "");
    if (user === undefined) return refuse(asked, 401, "", "Invalid username or password.");
    const owner = organization ?? user.name;
    if (user.role !== "write" || !user.namespaces.includes(owner)) {
      return refuse(asked, 403, "", `You don't have the rights to create a model under the namespace "${owner}"`);
    }
    const id = `${owner}/${name}`;
    if (this.#state.repositories.has(id)) return refuse(asked, 409, "", "You already created this model repo");
    const options = { private: visibility === "private" || isPrivate === true, members: [asked.token ?? ""] };
    this.#state.create(id, options).commit({ ".gitattributes": "*.safetensors filter=lfs diff=lfs merge=lfs -text\n" });
    send(asked, 200, JSON.stringify({ url: `${this.#state.url}/${id}`, name: id, id: "0" }));
  }

  #validate(asked: Asked): void {
    const error = faultOfCard(JSON.parse(asked.body.toString()).content);
    const errors = error === undefined ? [] : [{ message: error }];
    send(asked, errors.length === 0 ? 200 : 400, JSON.stringify({ errors, warnings: [] }));
  }

  #settings(asked: Asked, id: string | undefined): void {
    const repository = this.#writable(asked, id);
    if (repository === undefined) return;
    repository.private = JSON.parse(asked.body.toString()).visibility === "private";
    send(asked, 200, JSON.stringify({ private: repository.private }));
  }

  #branch(asked: Asked, id: string | undefined, name = ""): void {
    const repository = this.#writable(asked, id);
    if (repository === undefined) return;
    const { startingPoint = "main" } = JSON.parse(asked.body.toString() || "{}");
    const from = repository.at(startingPoint);
    if (from === undefined) return refuse(asked, 404, "RevisionNotFound", `Invalid rev id: ${startingPoint}`);
    if (repository.refs.includes(name)) return refuse(asked, 409, "", `Reference already exists: refs/heads/${name}`);
    repository.branch(name, from);
    send(asked, 200, "{}");
  }

  #preupload(asked: Asked, id: string | undefined, ref = ""): void {
    const repository = this.#writable(asked, id);
    const at = repository && this.#at(asked, repository, ref);
    if (at === undefined) return;
    const { files } = JSON.parse(asked.body.toString()) as { files: { path: string; size: number; sample: string }[] };
    const ignored = at.files.get(".gitignore")?.bytes.toString().split("\n") ?? [];
    const told = files.map(({ path, size }) => ({
      ...{ path, uploadMode: isLarge(path, size, this.#state.options.largeBytes) ? "lfs" : "regular" },
      ...{ shouldIgnore: ignored.includes(path), oid: at.files.get(path)?.oid },
    }));
    send(asked, 200, JSON.stringify({ files: told, commitOid: at.sha }));
  }

  #batch(asked: Asked, id: string | undefined): void {
    // Whoever may open a pull request may send what is in it.
    const repository = this.#visible(asked, id);
    if (repository === undefined) return;
    const { partBytes, mostBytes } = this.#state.options;
    const { objects, transfers } = JSON.parse(asked.body.toString()) as {
      objects: { oid: string; size: number }[];
      transfers: string[];
    };
    const told = objects.map(({ oid, size }) => {
      if (size > mostBytes)
        return { oid, size, error: { code: 413, message: `${size} bytes are more than may be stored` } };
      if (repository.objects.has(oid)) return { oid, size };
      const number = this.#uploads.push({ repository, oid, sizeBytes: size, parts: new Map(), isComplete: false }) - 1;
      const upload = size > partBytes && transfers.includes("multipart") ? this.#inParts(number) : this.#whole(number);
      const origin = this.#state.options.calledOrigin ?? this.#state.url;
      const verify = { href: `${origin}/${repository.id}.git/info/lfs/objects/verify` };
      return { oid, size, actions: this.#state.options.verifies ? { upload, verify } : { upload } };
    });
    const transfer = transfers.includes("multipart") ? "multipart" : "basic";
    asked.response.setHeader("Content-Type", "application/vnd.git-lfs+json");
    send(asked, 200, JSON.stringify({ transfer, objects: told }));
  }

  #whole(number: number): object {
    return { href: this.#state.signed("storage", `/uploads/whole/${number}`) };
  }

  #inParts(number: number): object {
    const { partBytes } = this.#state.options;
    const count = Math.ceil((this.#uploads[number]?.sizeBytes ?? 0) / partBytes);
    const parts = Array.from({ length: count }, (_, k) => [
      String(k + 1).padStart(5, "0"),
      this.#state.signed("storage", `/uploads/part/${number}/${k + 1}`),
    ]);
    const header = { chunk_size: String(partBytes), ...Object.fromEntries(parts) };
    return { href: this.#state.signed("hub", `/api/complete_multipart/${number}`), header };
  }

  /** Its address is signed: the token does not come. */
  #complete(asked: Asked, number: number): void {
    const upload = this.#uploads[number];
    if (upload === undefined || upload.isComplete) return refuse(asked, 404, "", "NoSuchUpload");
    const { oid, parts } = JSON.parse(asked.body.toString()) as {
      oid: string;
      parts: { partNumber: number; etag: string }[];
    };
    const bytes = parts.map(({ partNumber, etag }) => {
      const part = upload.parts.get(partNumber);
      return part !== undefined && etag === `"${hash("md5", part)}"` ? part : undefined;
    });
    if (oid !== upload.oid || bytes.includes(undefined)) return refuse(asked, 400, "", "InvalidPart");
    if (!this.#keep(upload, Buffer.concat(bytes as Buffer[]))) return refuse(asked, 400, "", "SHA-256 does not match");
    upload.isComplete = true;
    send(asked, 200, "{}");
  }

  #verify(asked: Asked, id: string | undefined): void {
    const repository = this.#visible(asked, id);
    if (repository === undefined) return;
    const { oid, size } = JSON.parse(asked.body.toString()) as { oid: string; size: number };
    if (repository.objects.get(oid)?.length !== size) return refuse(asked, 404, "", "Object does not exist");
    send(asked, 200, "{}");
  }

  #commit(asked: Asked, id: string | undefined, ref = ""): void {
    const repository = this.#writable(asked, id);
    const at = repository && this.#at(asked, repository, ref);
    if (repository === undefined || at === undefined) return;
    const lines = asked.body
      .toString()
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Line);
    const header = lines[0]?.key === "header" ? lines[0].value : undefined;
    if (header === undefined) return refuse(asked, 400, "", "The first line is no header");
    const isRequest = asked.url.searchParams.get("create_pr") === "1";
    const { summary, parentCommit = at.sha } = header;
    if (parentCommit !== at.sha && !isRequest) return refuse(asked, 412, "", STALE);
    const from = repository.at(parentCommit);
    if (from === undefined) return refuse(asked, 404, "RevisionNotFound", `Invalid rev id: ${parentCommit}`);
    const changes = changesIn(lines.slice(1), repository, from);
    if (typeof changes === "string") return refuse(asked, 400, "", changes);
    const number = isRequest ? ++this.#requests : 0;
    const into = isRequest ? `refs/pr/${number}` : ref;
    const commitOid = repository.commit(changes, { ref: into, ...(summary && { title: summary }), from });
    const page = `${this.#state.url}/${repository.id}`;
    const answer = { success: true, commitOid, commitUrl: `${page}/commit/${commitOid}`, hookOutput: "" };
    const request = isRequest ? { pullRequestUrl: `${page}/discussions/${number}` } : {};
    send(asked, 200, JSON.stringify({ ...answer, ...request }));
  }

  #at(asked: Asked, repository: HubRepository, ref: string): Commit | undefined {
    const at = repository.at(ref);
    if (at === undefined) refuse(asked, 404, "RevisionNotFound", `Invalid rev id: ${ref}`);
    return at;
  }

  /** A repository that is shown to who asks; undefined once it was refused. */
  #visible(asked: Asked, id = ""): HubRepository | undefined {
    const user = this.#state.users.get(asked.token ?? "");
    if (user === undefined) refuse(asked, 401, "RepoNotFound", "Invalid username or password.");
    const repository = this.#state.repositories.get(id);
    if (user === undefined) return undefined;
    if (repository !== undefined && !(repository.private && !repository.admits(asked.token))) return repository;
    refuse(asked, 404, "RepoNotFound", "Repository not found");
    return undefined;
  }

  /** Who may not write may open a pull request. */
  #writable(asked: Asked, id = ""): HubRepository | undefined {
    const repository = this.#visible(asked, id);
    if (repository === undefined) return undefined;
    const user = this.#state.users.get(asked.token ?? "");
    const isOwner = user?.namespaces.includes(id.split("/")[0] ?? "") ?? false;
    if (user?.role === "write" && (isOwner || asked.url.searchParams.get("create_pr") === "1")) return repository;
    refuse(asked, 403, "", "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request");
    return undefined;
  }
}

interface Line {
  readonly key: string;
  readonly value: {
    readonly path?: string;
    readonly content?: string;
    readonly encoding?: string;
    readonly oid?: string;
    readonly summary?: string;
    readonly parentCommit?: string;
  };
}

/** What lines of a commit change, or what is wrong with one. */
function changesIn(
  lines: readonly Line[],
  repository: HubRepository,
  from: Commit,
): Record<string, HubFile | undefined> | string {
  const changes: Record<string, HubFile | undefined> = {};
  for (const { key, value } of lines) {
    const { path = "", content = "", encoding, oid = "" } = value;
    if (key === "file") {
      const bytes = Buffer.from(content, encoding === "base64" ? "base64" : "utf8");
      const fault = path === "README.md" ? faultOfCard(bytes.toString()) : undefined;
      if (fault !== undefined) return `Invalid metadata in README.md. ${fault}`;
      changes[path] = smallFile(bytes);
    } else if (key === "lfsFile") {
      const bytes = repository.objects.get(oid);
      if (bytes === undefined) return `an LFS pointer pointed to a file that does not exist. Offending file: - ${path}`;
      changes[path] = largeFile(bytes);
    } else if (key === "deletedFile" && from.files.has(path)) changes[path] = undefined;
    else return `A file with this name doesn't exist: ${key} ${path}`;
  }
  return changes;
}

/** The Hub takes no card whose `base_model` are no names of models. */
function faultOfCard(card: string): string | undefined {
  const front = /^---\n([\s\S]*?)\n---\n/.exec(card)?.[1];
  const base = front === undefined ? [] : [(parse(front) as { base_model?: unknown }).base_model ?? []].flat();
  const wrong = base.find((name) => typeof name !== "string" || !/^[\w.-]+(?:\/[\w.-]+)?$/.test(name));
  if (wrong === undefined) return undefined;
  return `"base_model" with value "${wrong}" is not valid. Use a model id from https://hf.co/models.`;
}

function route(path: string): RegExp {
  return new RegExp(`^${path}$`);
}
