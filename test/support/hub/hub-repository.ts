/** What the imitation of the Hub keeps: repositories, their commits and files. */
import { createHash } from "node:crypto";

export interface HubRepositoryOptions {
  readonly private?: boolean;
  /** Its files may be read only by `members`; what it is and which files it has is shown to everybody. */
  readonly gated?: boolean;
  /** Tokens that may see it. */
  readonly members?: readonly string[];
}

export interface HubFile {
  readonly bytes: Buffer;
  /** What git calls it; of a large file its pointer. */
  readonly oid: string;
  /** Of a large file. */
  readonly sha256?: string;
}

export interface Commit {
  readonly sha: string;
  readonly files: ReadonlyMap<string, HubFile>;
  /** Of one that was sent. */
  readonly title: string | undefined;
  /** Undefined of the first. */
  readonly parent: string | undefined;
}

export interface CommitOptions {
  readonly ref?: string;
  readonly title?: string;
  /** Of a ref that is not there yet: what it begins from. */
  readonly from?: Commit | undefined;
}

export class HubRepository {
  readonly id: string;
  readonly gated: boolean;
  private: boolean;
  readonly #members: Set<string>;
  readonly #largeBytes: number;
  readonly #refs = new Map<string, Commit>();
  readonly #commits = new Map<string, Commit>();
  /** Large files, committed or only sent, by their SHA-256. */
  readonly objects = new Map<string, Buffer>();

  constructor(id: string, options: HubRepositoryOptions, largeBytes: number) {
    this.id = id;
    this.#largeBytes = largeBytes;
    this.private = options.private ?? false;
    this.gated = options.gated ?? false;
    this.#members = new Set(options.members);
  }

  /** Puts files on a branch or tag, beside those that are there; undefined takes one away. Gives the commit. */
  commit(
    files: Readonly<Record<string, Uint8Array | string | HubFile | undefined>>,
    options: string | CommitOptions = {},
  ): string {
    const { ref = "main", title, from } = typeof options === "string" ? { ref: options } : options;
    const parent = this.#refs.get(ref) ?? from;
    const all = new Map(parent?.files);
    for (const [path, content] of Object.entries(files)) {
      if (content === undefined) all.delete(path);
      else all.set(path, this.#keep(isFile(content) ? content : fileOf(path, Buffer.from(content), this.#largeBytes)));
    }
    const text = [...all].map(([path, { oid, sha256 }]) => `${path} ${oid} ${sha256}`).join("\n");
    const sha = hash("sha1", `${this.id} ${this.#commits.size}\n${text}`);
    const commit = { sha, files: all, title, parent: parent?.sha };
    this.#commits.set(sha, commit);
    this.#refs.set(ref, commit);
    return sha;
  }

  #keep(file: HubFile): HubFile {
    if (file.sha256 !== undefined) this.objects.set(file.sha256, file.bytes);
    return file;
  }

  /** A branch that is where something else is. */
  branch(name: string, from: Commit): void {
    this.#refs.set(name, from);
  }

  get refs(): readonly string[] {
    return [...this.#refs.keys()].sort();
  }

  get commits(): number {
    return this.#commits.size;
  }

  /** What a revision holds, as text; of large files as much. */
  contents(revision = "main"): Record<string, string> {
    const files = [...(this.at(revision)?.files ?? [])].map(([path, { bytes }]) => [path, bytes.toString("latin1")]);
    return Object.fromEntries(files.sort());
  }

  at(revision: string): Commit | undefined {
    return this.#refs.get(revision === "HEAD" ? "main" : revision) ?? this.#commits.get(revision);
  }

  admits(token: string | undefined): boolean {
    return token !== undefined && this.#members.has(token);
  }

  admit(token: string): void {
    this.#members.add(token);
  }
}

function isFile(content: Uint8Array | string | HubFile): content is HubFile {
  return typeof content === "object" && "oid" in content;
}

export function isLarge(path: string, sizeBytes: number, largeBytes: number): boolean {
  return path.endsWith(".safetensors") || sizeBytes > largeBytes;
}

function fileOf(path: string, bytes: Buffer, largeBytes: number): HubFile {
  return isLarge(path, bytes.length, largeBytes) ? largeFile(bytes) : smallFile(bytes);
}

export function largeFile(bytes: Buffer): HubFile & { readonly sha256: string } {
  const sha256 = hash("sha256", bytes);
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${bytes.length}\n`;
  return { bytes, oid: gitOid(Buffer.from(pointer)), sha256 };
}

export function smallFile(bytes: Buffer): HubFile {
  return { bytes, oid: gitOid(bytes) };
}

function gitOid(bytes: Buffer): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

export function hash(algorithm: string, content: string | Buffer): string {
  return createHash(algorithm).update(content).digest("hex");
}
