import { StorageError } from "../errors.ts";
import type { HttpBody } from "../http/client.ts";
import { type HttpAnswer, saidIn } from "../http/http-errors.ts";
import type { HttpRanges } from "../http/http-ranges.ts";
import type { HttpTarget } from "../http/target.ts";
import { inParallel } from "../in-parallel.ts";
import type { Place } from "../place.ts";
import { HubApi, type HubEntry } from "./hub-api.ts";
import type { HubAsked, HubClient, HubQuestion } from "./hub-client.ts";
import { noHubError, shownOf } from "./hub-errors.ts";
import { type LargeFile, type LfsAnswer, type LfsPart, type LfsUpload, maybeLfsAnswers } from "./lfs.ts";

/** A file that is to be put on the Hub, of which the Hub says whether it is kept in git or beside it. */
export interface HubCandidate {
  /** Below the repository, "/" between its parts. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Its first bytes, 512 or all. */
  readonly sample: Uint8Array;
}

/** What one commit does. */
export interface HubCommit {
  readonly title: string;
  /** The branch, and the commit that must still be its last. */
  readonly branch: string;
  readonly parent: string;
  /** By path. */
  readonly smallFiles: ReadonlyMap<string, Uint8Array>;
  /** By path; sent before. */
  readonly largeFiles: ReadonlyMap<string, LargeFile>;
  readonly deletedPaths: readonly string[];
  /** The branch stays as it is: what would become of it is shown. */
  readonly isPullRequest: boolean;
}

export interface HubCommitted {
  readonly commit: string;
  /** Of a pull request: its page. */
  readonly pullRequest: string | undefined;
}

/** Where bytes of a large file are read, for as often as they are sent. */
export type ReadPieces = (offsetBytes: number, sizeBytes: number) => AsyncIterable<Uint8Array>;

const ASKED_AT_ONCE = 100;
const PARTS_AT_ONCE = 4;
/** How often the addresses of one file are asked for, where they are refused meanwhile. */
const ADDRESSES_MAX = 3;
const JSON_HEADERS = { "content-type": "application/json" };
const LFS_TYPE = "application/vnd.git-lfs+json";

/**
 * One model repository of the Hub, to be written to. Nothing in it is seen before a commit; large files are sent before, and are not sent
 * again where they are there. All methods throw StorageError: `storage/hub-…`, `storage/over-limit`, `storage/changed`, `storage/network`.
 */
export class HubRepository {
  readonly place: Place;
  readonly id: string;
  readonly #client: HubClient;
  readonly #api: HubApi;
  readonly #http: HttpRanges;
  readonly #action = "publish to";

  constructor(client: HubClient, http: HttpRanges, place: Place, id: string) {
    this.#client = client;
    this.#api = new HubApi(client);
    this.#http = http;
    this.place = place;
    this.id = id;
  }

  /** Its page. */
  get url(): string {
    return `${this.#client.endpoint.origin}/${this.id}`;
  }

  /** @throws StorageError `storage/hub-login` where there is none, `storage/hub-token` of one that the Hub does not know */
  async checkToken(): Promise<void> {
    if ((await this.#client.token()) === undefined) {
      throw new StorageError("storage/hub-login", `cannot publish to ${this.place}: there is no token of the Hub`, {
        hint: "hf auth login, or HF_TOKEN, with a token that may write.",
      });
    }
    await this.#ask("/api/whoami-v2", {});
  }

  /** The last commit of a branch. `no-repository`: or none that the account may see. */
  async head(branch: string): Promise<{ readonly commit: string } | "no-branch" | "no-repository"> {
    try {
      return { commit: await this.#api.commitOf(this.place, { id: this.id, revision: branch }) };
    } catch (error) {
      if (error instanceof StorageError && error.code === "storage/hub-revision") return "no-branch";
      if (error instanceof StorageError && error.code === "storage/hub-model") return "no-repository";
      throw error;
    }
  }

  tree(commit: string): Promise<ReadonlyMap<string, HubEntry>> {
    return this.#api.tree(this.place, this.id, commit);
  }

  async isPrivate(): Promise<boolean> {
    const answer = await this.#ask(`/api/models/${this.id}?expand=private`, {});
    const found = fieldsOf(this.#client.json(this.place, answer)).private;
    if (typeof found === "boolean") return found;
    throw noHubError(this.place, this.#client.endpoint, "does not say whether a model is private");
  }

  /** Makes it, private; false where it was there already. */
  async create(): Promise<boolean> {
    const [owner = "", name] = this.id.split("/");
    const body = JSON.stringify({
      name: name ?? owner,
      organization: name === undefined ? null : owner,
      type: "model",
      visibility: "private",
    });
    const answer = await this.#answered("/api/repos/create", { method: "POST", headers: JSON_HEADERS, body });
    if (answer.status === 409) return false;
    if (answer.status !== 200 && answer.status !== 201) throw await this.#refused(answer);
    // What was not asked for is not believed: others see what is sent to a Hub that knows no private repositories.
    if (await this.isPrivate()) return true;
    throw new StorageError(
      "storage/hub-refused",
      `cannot publish to ${this.place}: ${this.id} was made, but not private`,
      {
        hint: `Nothing was sent. Look at ${this.url}/settings, make it private there or leave it public, and run the same command again.`,
      },
    );
  }

  /** Of a repository that is there, and not shown. */
  notSeen(): StorageError {
    return new StorageError(
      "storage/hub-model",
      `cannot publish to ${this.place}: there is a ${this.id}, and the account may not see it`,
      {
        hint: "Take another name, or the token of an account that it is shared with.",
      },
    );
  }

  async makePublic(): Promise<void> {
    const body = JSON.stringify({ visibility: "public" });
    await this.#ask(`/api/models/${this.id}/settings`, { method: "PUT", headers: JSON_HEADERS, body });
  }

  /** @throws StorageError `storage/hub-refused` of a card that would be refused with the commit, after all that was sent */
  async checkCard(text: string): Promise<void> {
    const body = JSON.stringify({ content: text, repoType: "model" });
    const answer = await this.#answered("/api/validate-yaml", { method: "POST", headers: JSON_HEADERS, body });
    if (answer.status !== 400) return; // a Hub that cannot say it beforehand says it with the commit
    const { errors } = fieldsOf(this.#client.json(this.place, answer));
    const said = (Array.isArray(errors) ? errors : []).map((error) => shownOf(String(fieldsOf(error).message ?? "")));
    const message = `cannot publish to ${this.place}: the Hub takes no README.md with this front matter: ${said.join("; ")}`;
    throw new StorageError("storage/hub-refused", message, {
      hint: "`base_model` names models by what the recipe calls them: merge with names of the Hub, or with paths that are none.",
    });
  }

  /** The paths of files that are kept beside git, and sent before the commit. An empty one never is. */
  async largePaths(
    files: readonly HubCandidate[],
    branch: string,
    isPullRequest: boolean,
  ): Promise<ReadonlySet<string>> {
    const large = new Set<string>();
    const query = isPullRequest ? "?create_pr=1" : "";
    for (const group of groupsOf(files)) {
      const body = JSON.stringify({
        files: group.map(({ path, sizeBytes, sample }) => {
          return { path, size: sizeBytes, sample: Buffer.from(sample).toString("base64") };
        }),
      });
      const path = `/api/models/${this.id}/preupload/${encodeURIComponent(branch)}${query}`;
      const answer = this.#client.json(
        this.place,
        await this.#ask(path, { method: "POST", headers: JSON_HEADERS, body }),
      );
      const told = fieldsOf(answer).files;
      for (const { path, sizeBytes } of group) {
        const file = fieldsOf(Array.isArray(told) ? told.find((each) => fieldsOf(each).path === path) : undefined);
        if (file.uploadMode !== "lfs" && file.uploadMode !== "regular")
          throw noHubError(this.place, this.#client.endpoint, `does not say how to send ${path}`);
        if (file.shouldIgnore === true) throw this.#ignored(path);
        if (file.uploadMode === "lfs" && sizeBytes > 0) large.add(path);
      }
    }
    return large;
  }

  #ignored(path: string): StorageError {
    return new StorageError(
      "storage/hub-refused",
      `cannot publish to ${this.place}: its .gitignore leaves out ${path}`,
      {
        hint: "Nothing was sent. Take that line out of the .gitignore there.",
      },
    );
  }

  /** Those of some large files that are not there. */
  async missing<File extends LargeFile>(files: readonly File[], branch: string | undefined): Promise<readonly File[]> {
    const missing: File[] = [];
    for (const group of groupsOf(files)) {
      const answers = await this.#batch(group, branch);
      missing.push(...group.filter(({ sha256 }) => answers.get(sha256)?.kind === "send"));
    }
    return missing;
  }

  /**
   * Sends a large file, in the parts that the Hub wants. `read`: gives its bytes; whoever gave a piece leaves it as it is. `sent`: told of
   * bytes on their way, of a part that is sent again by how many fewer.
   */
  async send(
    file: LargeFile,
    branch: string | undefined,
    read: ReadPieces,
    sent: (bytes: number) => void = () => {},
  ): Promise<void> {
    for (let times = 1; ; times++) {
      const answer = (await this.#batch([file], branch)).get(file.sha256);
      if (answer?.kind !== "send") return;
      const counted = new Map<LfsPart, number>();
      try {
        return await this.#sendOnce(file, branch, answer.upload, read, (part, bytes) => {
          sent(bytes - (counted.get(part) ?? 0));
          counted.set(part, bytes);
        });
      } catch (error) {
        // Addresses end: then all of them are given anew, and the parts with them.
        if (!(error instanceof StorageError) || error.code !== "storage/denied" || times >= ADDRESSES_MAX) throw error;
        for (const bytes of counted.values()) sent(-bytes);
      }
    }
  }

  async #sendOnce(
    file: LargeFile,
    branch: string | undefined,
    { parts, complete, verify }: LfsUpload,
    read: ReadPieces,
    sent: (part: LfsPart, bytes: number) => void,
  ): Promise<void> {
    const etags = await inParallel(parts, PARTS_AT_ONCE, (part) =>
      this.#sendPart(part, read, (bytes) => sent(part, bytes)),
    );
    if (complete !== undefined) {
      const numbered = etags.map((etag, k) => ({ partNumber: k + 1, etag }));
      const headers = { accept: LFS_TYPE, "content-type": LFS_TYPE };
      const answer = await this.#signed(
        "POST",
        this.#client.own(complete),
        JSON.stringify({ oid: file.sha256, parts: numbered }),
        headers,
      );
      // Said twice, because the first answer was lost, it is refused: what is there tells.
      const isThere = async () => (await this.#batch([file], branch)).get(file.sha256)?.kind === "there";
      if (answer.status !== 200 && !(await isThere())) throw await this.#refused(answer);
    }
    if (verify !== undefined) {
      const { origin, pathname, search } = this.#client.own(verify);
      if (origin !== this.#client.endpoint.origin)
        throw noHubError(this.place, this.#client.endpoint, "has its check of large files elsewhere");
      const body = JSON.stringify({ oid: file.sha256, size: file.sizeBytes });
      const question = { method: "POST", headers: { ...JSON_HEADERS, accept: LFS_TYPE }, body } as const;
      await this.#ask(`${pathname}${search}`, question);
    }
  }

  /** Its ETag, with quotes. */
  async #sendPart(
    { url, offsetBytes, sizeBytes }: LfsPart,
    read: ReadPieces,
    sent: (bytes: number) => void,
  ): Promise<string> {
    async function* pieces() {
      let bytes = 0;
      sent(0);
      for await (const piece of read(offsetBytes, sizeBytes)) {
        yield piece;
        bytes += piece.length;
        sent(bytes);
      }
    }
    const { status, headers, body } = await this.#signed("PUT", url, { sizeBytes, pieces });
    const etag = headers.get("etag");
    if (status === 200 && etag !== undefined) return etag;
    const said = saidIn({ headers, body });
    const message = `cannot publish to ${this.place}: ${url.host} answers ${status} to a part of ${sizeBytes} bytes${said === "" ? "" : `, ${said}`}`;
    if (status === 401 || status === 403)
      throw new StorageError("storage/denied", message, {
        hint: "Its address may have ended: run the same command again.",
      });
    throw new StorageError("storage/network", message, {
      hint: "What came whole is kept: run the same command again.",
    });
  }

  /** By an address that the Hub has signed: the token must not reach it. */
  #signed(
    method: "PUT" | "POST",
    url: URL,
    body: HttpBody,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<HttpAnswer> {
    const { endpoint } = this.#client;
    if (url.protocol !== "https:" && endpoint.protocol === "https:")
      throw noHubError(this.place, endpoint, "leads to an address without TLS");
    const address = { url, headers, ledFrom: endpoint };
    const target: HttpTarget = { place: this.place, address: () => address };
    return this.#http.request(target, {
      method,
      body,
      limitBytes: ANSWER_MAX_BYTES,
      redirects: "give",
      action: this.#action,
    });
  }

  /** Makes a branch; false where one of that name is there, which stays as it is. */
  async makeBranch(name: string, from: string): Promise<boolean> {
    const body = JSON.stringify({ startingPoint: from });
    const path = `/api/models/${this.id}/branch/${encodeURIComponent(name)}`;
    const answer = await this.#answered(path, { method: "POST", headers: JSON_HEADERS, body });
    if (answer.status === 409) return false;
    if (answer.status !== 200 && answer.status !== 201) throw await this.#refused(answer);
    return true;
  }

  /**
   * @throws StorageError `storage/changed` where the parent is no longer the branch's last commit: it may be that this same commit was
   * made, and its answer lost. Of a pull request an answer that is lost is `storage/network`: it is not asked for twice.
   */
  async commit({
    title,
    branch,
    parent,
    smallFiles,
    largeFiles,
    deletedPaths,
    isPullRequest,
  }: HubCommit): Promise<HubCommitted> {
    const lines = [
      { key: "header", value: { summary: title, description: "", parentCommit: parent } },
      ...[...smallFiles].map(([path, bytes]) => {
        return { key: "file", value: { path, content: Buffer.from(bytes).toString("base64"), encoding: "base64" } };
      }),
      ...[...largeFiles].map(([path, { sha256, sizeBytes }]) => {
        return { key: "lfsFile", value: { path, algo: "sha256", oid: sha256, size: sizeBytes } };
      }),
      ...deletedPaths.map((path) => ({ key: "deletedFile", value: { path } })),
    ];
    const answer = await this.#ask(
      `/api/models/${this.id}/commit/${encodeURIComponent(branch)}${isPullRequest ? "?create_pr=1" : ""}`,
      {
        ...{ method: "POST", headers: { "content-type": "application/x-ndjson" }, isOnce: isPullRequest },
        body: lines.map((line) => JSON.stringify(line)).join("\n"),
      },
    );
    const { commitOid, pullRequestUrl } = fieldsOf(this.#client.json(this.place, answer));
    if (typeof commitOid !== "string") throw noHubError(this.place, this.#client.endpoint, "names no commit");
    return { commit: commitOid, pullRequest: typeof pullRequestUrl === "string" ? pullRequestUrl : undefined };
  }

  async #batch(files: readonly LargeFile[], branch: string | undefined): Promise<ReadonlyMap<string, LfsAnswer>> {
    const body = JSON.stringify({
      ...{ operation: "upload", transfers: ["basic", "multipart"], hash_algo: "sha256" },
      ...(branch === undefined ? {} : { ref: { name: branch } }),
      objects: files.map(({ sha256, sizeBytes }) => ({ oid: sha256, size: sizeBytes })),
    });
    const headers = { accept: LFS_TYPE, "content-type": LFS_TYPE };
    const answer = await this.#ask(`/${this.id}.git/info/lfs/objects/batch`, { method: "POST", headers, body });
    const answers = maybeLfsAnswers(this.#client.json(this.place, answer), files);
    if (answers === undefined)
      throw noHubError(this.place, this.#client.endpoint, "does not say how to send large files");
    for (const found of answers.values()) {
      if (found.kind !== "refused") continue;
      const told = new Map([...answer.headers, ["x-error-message", found.said]]);
      throw await this.#refused({ status: found.status, headers: told, body: answer.body });
    }
    return answers;
  }

  #ask(path: string, question: HubQuestion): Promise<HttpAnswer> {
    return this.#client.given(this.#action, this.#asked, path, question);
  }

  #answered(path: string, question: HubQuestion): Promise<HttpAnswer> {
    return this.#client.answered(this.#action, this.#asked, path, question);
  }

  #refused(answer: HttpAnswer): Promise<StorageError> {
    return this.#client.refused(this.#action, this.#asked, answer);
  }

  get #asked(): HubAsked {
    return { id: this.id, revision: undefined, place: this.place, isWriting: true };
  }
}

/** Answers about a part, or about what was sent. */
const ANSWER_MAX_BYTES = 2 ** 20;

function groupsOf<T>(items: readonly T[]): readonly (readonly T[])[] {
  const groups: T[][] = [];
  for (let at = 0; at < items.length; at += ASKED_AT_ONCE) groups.push(items.slice(at, at + ASKED_AT_ONCE));
  return groups;
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
