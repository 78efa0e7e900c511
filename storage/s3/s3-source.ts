import { StorageError } from "../errors.ts";
import { answerError } from "../http/http-errors.ts";
import { identityOf, maybeBeginning, openHttpFile } from "../http/http-file.ts";
import type { HttpRanges } from "../http/http-ranges.ts";
import type { HttpTarget } from "../http/target.ts";
import { isNotFound } from "../if-there.ts";
import { type Place, withoutLastSlash } from "../place.ts";
import type { DirectoryEntry, FileIdentity, Readable, ReadOptions, Source } from "../port.ts";
import { maybeListPage } from "./list-answer.ts";
import { parseS3Place, type S3Buckets } from "./s3-buckets.ts";

const LIST_MAX_BYTES = 4 * 2 ** 20;
const LIST_PAGES_MAX = 100;

/**
 * Objects of S3 and of what speaks it. A place is `s3://bucket/key` with the key as it is. Each range is asked for with If-Match and the ETag
 * that the object had when it was opened.
 */
export class S3Source implements Source {
  readonly #buckets: S3Buckets;
  readonly #ranges: HttpRanges;

  constructor(buckets: S3Buckets) {
    this.#buckets = buckets;
    this.#ranges = buckets.ranges;
  }

  open(place: Place, options: ReadOptions = {}): Promise<Readable> {
    return this.#buckets.explained(() => this.#opened(place, options));
  }

  identity(place: Place): Promise<FileIdentity | undefined> {
    return this.#buckets.explained(() => this.#identityOf(place));
  }

  list(folder: Place): Promise<readonly DirectoryEntry[]> {
    return this.#buckets.explained(() => this.#entriesOf(folder));
  }

  async #opened(place: Place, { firstBytes = 0 }: ReadOptions): Promise<Readable> {
    const { bucket, key } = parseS3Place("open", place);
    if (key === "") throw notAFile("open", place);
    try {
      return await openHttpFile(this.#ranges, await this.#target(place, bucket, key), firstBytes);
    } catch (error) {
      if (isNotFound(error) && (await this.#isFolder(place, bucket, key))) throw notAFile("open", place);
      throw error;
    }
  }

  async #identityOf(place: Place): Promise<FileIdentity | undefined> {
    const { bucket, key } = parseS3Place("examine", place);
    if (key !== "") {
      const target = await this.#target(place, bucket, key);
      const found = await maybeBeginning(this.#ranges, target);
      if (found !== undefined) return identityOf(found.state);
    }
    const isFolder = await this.#isFolder(place, bucket, key);
    return isFolder ? { kind: "directory", sizeBytes: 0, version: "" } : undefined;
  }

  async #entriesOf(folder: Place): Promise<readonly DirectoryEntry[]> {
    const { bucket, key } = parseS3Place("list", folder);
    const prefix = key === "" ? "" : `${key}/`;
    const kinds = new Map<string, DirectoryEntry["kind"]>();
    for await (const { keys, prefixes } of this.#pages(folder, bucket, prefix)) {
      for (const name of prefixes) kinds.set(name.slice(prefix.length, -1), "directory");
      for (const name of keys) if (name !== prefix) kinds.set(name.slice(prefix.length), "file");
    }
    if (kinds.size === 0 && key !== "") {
      const there = await this.#identityOf(folder);
      if (there?.kind === "file") {
        throw new StorageError("storage/not-a-directory", `cannot list ${folder}: it is an object`, {
          hint: "Name the folder that it is in.",
        });
      }
      if (there === undefined) {
        throw new StorageError("storage/not-found", `cannot list ${folder}: no object is below it`, {
          hint: "Check bucket and prefix.",
        });
      }
    }
    return [...kinds].map(([name, kind]) => ({ name, kind })).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** There are no links. */
  async realPlace(place: Place): Promise<Place> {
    return withoutLastSlash(place);
  }

  async *#pages(place: Place, bucket: string, prefix: string) {
    let next: string | undefined;
    for (let page = 0; page < LIST_PAGES_MAX; page++) {
      const found = await this.#page(place, bucket, prefix, { "max-keys": "1000" }, next);
      yield found;
      next = found.next;
      if (next === undefined) return;
    }
    throw new StorageError(
      "storage/too-large",
      `cannot list ${place}: it holds more than ${LIST_PAGES_MAX * 1000} objects`,
      {
        hint: "It is not the folder of a model.",
      },
    );
  }

  async #page(
    place: Place,
    bucket: string,
    prefix: string,
    more: Readonly<Record<string, string>>,
    continued: string | undefined,
  ) {
    const asked = {
      delimiter: "/",
      "list-type": "2",
      prefix,
      ...more,
      ...(continued === undefined ? {} : { "continuation-token": continued }),
    };
    const target = await this.#target(place, bucket, "", asked);
    const question = { method: "GET", limitBytes: LIST_MAX_BYTES, action: "list" } as const;
    const answer = await this.#ranges.request(target, question);
    const { url } = await target.address();
    if (answer.status !== 200) throw answerError(target, "list", url, answer);
    const page = maybeListPage(Buffer.from(answer.body).toString("utf8"));
    if (page !== undefined) return page;
    throw new StorageError("storage/network", `cannot list ${place}: ${url.host} does not answer as S3 does`, {
      hint: "Check the endpoint: AWS_ENDPOINT_URL_S3.",
    });
  }

  async #isFolder(place: Place, bucket: string, key: string): Promise<boolean> {
    try {
      const { keys, prefixes } = await this.#page(
        place,
        bucket,
        key === "" ? "" : `${key}/`,
        { "max-keys": "1" },
        undefined,
      );
      return key === "" || keys.length + prefixes.length > 0;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  }

  #target(
    place: Place,
    bucket: string,
    key: string,
    query: Readonly<Record<string, string>> = {},
  ): Promise<HttpTarget> {
    return this.#buckets.target({ method: "GET", place, bucket, key, query });
  }
}

function notAFile(action: string, place: Place): StorageError {
  return new StorageError("storage/not-a-file", `cannot ${action} ${place}: it is a folder`, {
    hint: "An object was expected here, not a prefix.",
  });
}
