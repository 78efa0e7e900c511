import { StorageError } from "../errors.ts";
import type { HttpBody } from "../http/client.ts";
import { type HttpAnswer, saidIn } from "../http/http-errors.ts";
import type { HttpRanges } from "../http/http-ranges.ts";
import type { HttpTarget } from "../http/target.ts";
import { inParallel } from "../in-parallel.ts";
import { type LargeFile, type LfsAnswer, type LfsPart, type LfsUpload, maybeLfsAnswers } from "./lfs.ts";
import { groupsOf, LONG_MS, type RepositoryClient, WRITING_ACTION } from "./repository-client.ts";

/** Where bytes of a large file are read, for as often as they are sent. */
export type ReadPieces = (offsetBytes: number, sizeBytes: number) => AsyncIterable<Uint8Array>;

const PARTS_AT_ONCE = 4;
/** How often the addresses of one file are asked for, where they are refused meanwhile. */
const ADDRESSES_MAX = 3;
const LFS_TYPE = "application/vnd.git-lfs+json";
const LFS_HEADERS = { accept: LFS_TYPE, "content-type": LFS_TYPE };
/** What the system has taken of a part may take its time to go, by a slow line. */
const SENDING_MS = 2 * 60_000;
/** Answers about a part, or about what was sent. */
const ANSWER_MAX_BYTES = 2 ** 20;

/** Large files of one repository, which are sent to the addresses that the Hub signs for them. `branch`: undefined of one that is not there. */
export class LargeFiles {
  readonly #client: RepositoryClient;
  readonly #http: HttpRanges;

  constructor(client: RepositoryClient, http: HttpRanges) {
    this.#client = client;
    this.#http = http;
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
      const answer = await this.#signed(
        "POST",
        this.#client.own(complete),
        JSON.stringify({ oid: file.sha256, parts: numbered }),
        LFS_HEADERS,
      );
      // Said twice, because the first answer was lost, it is refused: what is there tells.
      const isThere = async () => (await this.#batch([file], branch)).get(file.sha256)?.kind === "there";
      if (answer.status !== 200 && !(await isThere())) throw await this.#client.refused(answer);
    }
    if (verify !== undefined) {
      const { origin, pathname, search } = this.#client.own(verify);
      if (origin !== this.#client.endpoint.origin) throw this.#client.noHub("has its check of large files elsewhere");
      const body = JSON.stringify({ oid: file.sha256, size: file.sizeBytes });
      const question = {
        method: "POST",
        headers: { accept: LFS_TYPE, "content-type": "application/json" },
        body,
      } as const;
      await this.#client.ask(`${pathname}${search}`, question);
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
    const message = `cannot publish to ${this.#client.place}: ${url.host} answers ${status} to a part of ${sizeBytes} bytes${said === "" ? "" : `, ${said}`}`;
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
      throw this.#client.noHub("leads to an address without TLS");
    const address = { url, headers, ledFrom: endpoint };
    const target: HttpTarget = { place: this.#client.place, address: () => address };
    return this.#http.request(target, {
      ...{ method, body, limitBytes: ANSWER_MAX_BYTES, redirects: "give", action: WRITING_ACTION },
      patienceMs: method === "PUT" ? SENDING_MS : LONG_MS,
    });
  }

  async #batch(files: readonly LargeFile[], branch: string | undefined): Promise<ReadonlyMap<string, LfsAnswer>> {
    const body = JSON.stringify({
      ...{ operation: "upload", transfers: ["basic", "multipart"], hash_algo: "sha256" },
      ...(branch === undefined ? {} : { ref: { name: branch } }),
      objects: files.map(({ sha256, sizeBytes }) => ({ oid: sha256, size: sizeBytes })),
    });
    const question = { method: "POST", headers: LFS_HEADERS, body } as const;
    const answer = await this.#client.ask(`/${this.#client.id}.git/info/lfs/objects/batch`, question);
    const answers = maybeLfsAnswers(this.#client.json(answer), files);
    if (answers === undefined) throw this.#client.noHub("does not say how to send large files");
    for (const found of answers.values()) {
      if (found.kind !== "refused") continue;
      const told = new Map([...answer.headers, ["x-error-message", found.said]]);
      throw await this.#client.refused({ status: found.status, headers: told, body: answer.body });
    }
    return answers;
  }
}
