import { StorageError } from "../errors.ts";
import type { HttpRanges } from "../http/http-ranges.ts";
import type { Place } from "../place.ts";
import { HubApi, type HubEntry } from "./hub-api.ts";
import type { HubClient } from "./hub-client.ts";
import { shownOf } from "./hub-errors.ts";
import { LargeFiles } from "./large-files.ts";
import type { LargeFile } from "./lfs.ts";
import { groupsOf, LONG_MS, RepositoryClient } from "./repository-client.ts";

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

const JSON_HEADERS = { "content-type": "application/json" };

/**
 * One model repository of the Hub, to be written to. Nothing in it is seen before a commit; large files are sent before, and are not sent
 * again where they are there. All methods throw StorageError: `storage/hub-…`, `storage/over-limit`, `storage/changed`, `storage/network`.
 */
export class HubRepository {
  readonly place: Place;
  readonly id: string;
  /** Files that are kept beside git: sent before the commit that names them. */
  readonly large: LargeFiles;
  readonly #client: RepositoryClient;
  readonly #api: HubApi;

  constructor(client: HubClient, http: HttpRanges, place: Place, id: string) {
    this.#client = new RepositoryClient(client, place, id);
    this.#api = new HubApi(client);
    this.large = new LargeFiles(this.#client, http);
    this.place = place;
    this.id = id;
  }

  /** Its page. */
  get url(): string {
    return `${this.#client.endpoint.origin}/${this.id}`;
  }

  /** @throws StorageError `storage/hub-login` where there is none, `storage/hub-token` of one that the Hub does not know */
  async checkToken(): Promise<void> {
    if ((await this.#client.maybeToken()) === undefined) {
      throw new StorageError("storage/hub-login", `cannot publish to ${this.place}: there is no token of the Hub`, {
        hint: "hf auth login, or HF_TOKEN, with a token that may write.",
      });
    }
    await this.#client.ask("/api/whoami-v2", {});
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
    const answer = await this.#client.ask(`/api/models/${this.id}?expand=private`, {});
    const found = fieldsOf(this.#client.json(answer)).private;
    if (typeof found === "boolean") return found;
    throw this.#client.noHub("does not say whether a model is private");
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
    const answer = await this.#client.answered("/api/repos/create", { method: "POST", headers: JSON_HEADERS, body });
    if (answer.status === 409) return false;
    if (answer.status !== 200 && answer.status !== 201) throw await this.#client.refused(answer);
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
    await this.#client.ask(`/api/models/${this.id}/settings`, { method: "PUT", headers: JSON_HEADERS, body });
  }

  /** @throws StorageError `storage/hub-refused` of a card that would be refused with the commit, after all that was sent */
  async checkCard(text: string): Promise<void> {
    const body = JSON.stringify({ content: text, repoType: "model" });
    const answer = await this.#client.answered("/api/validate-yaml", { method: "POST", headers: JSON_HEADERS, body });
    if (answer.status !== 400) return; // a Hub that cannot say it beforehand says it with the commit
    const { errors } = fieldsOf(this.#client.json(answer));
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
      const answer = this.#client.json(await this.#client.ask(path, { method: "POST", headers: JSON_HEADERS, body }));
      const told = fieldsOf(answer).files;
      for (const { path, sizeBytes } of group) {
        const file = fieldsOf(Array.isArray(told) ? told.find((each) => fieldsOf(each).path === path) : undefined);
        if (file.uploadMode !== "lfs" && file.uploadMode !== "regular")
          throw this.#client.noHub(`does not say how to send ${path}`);
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

  /** Makes a branch; false where one of that name is there, which stays as it is. */
  async makeBranch(name: string, from: string): Promise<boolean> {
    const body = JSON.stringify({ startingPoint: from });
    const path = `/api/models/${this.id}/branch/${encodeURIComponent(name)}`;
    const answer = await this.#client.answered(path, { method: "POST", headers: JSON_HEADERS, body });
    if (answer.status === 409) return false;
    if (answer.status !== 200 && answer.status !== 201) throw await this.#client.refused(answer);
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
    const answer = await this.#client.ask(
      `/api/models/${this.id}/commit/${encodeURIComponent(branch)}${isPullRequest ? "?create_pr=1" : ""}`,
      {
        ...{
          method: "POST",
          headers: { "content-type": "application/x-ndjson" },
          isOnce: isPullRequest,
          patienceMs: LONG_MS,
        },
        body: lines.map((line) => JSON.stringify(line)).join("\n"),
      },
    );
    const { commitOid, pullRequestUrl } = fieldsOf(this.#client.json(answer));
    if (typeof commitOid !== "string") throw this.#client.noHub("names no commit");
    return { commit: commitOid, pullRequest: typeof pullRequestUrl === "string" ? pullRequestUrl : undefined };
  }
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
