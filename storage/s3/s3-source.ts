import { StorageError } from "../errors.ts";
import { foundOnce } from "../found-once.ts";
import { answerError } from "../http/http-errors.ts";
import { identityOf, maybeBeginning, openHttpFile } from "../http/http-file.ts";
import type { HttpRanges } from "../http/http-ranges.ts";
import type { AnswerMeaning, HttpAddress, HttpTarget } from "../http/target.ts";
import { type Place, withoutLastSlash } from "../place.ts";
import type { DirectoryEntry, FileIdentity, Readable, ReadOptions, Source } from "../port.ts";
import { type AwsSettings, regionOf } from "./aws-settings.ts";
import { Credentials, type FindChain, maybeChain } from "./credentials.ts";
import { maybeListPage } from "./list-answer.ts";
import { type AwsCredentials, encodeKey, encodeName, signedHeaders } from "./sigv4.ts";

/** A signature is taken for 15 minutes, of clocks that differ. */
const SIGNATURE_MS = 5 * 60_000;
const LIST_MAX_BYTES = 4 * 2 ** 20;
const LIST_PAGES_MAX = 100;

/** "s3://bucket/key". */
interface S3Place {
  readonly bucket: string;
  /** "" of the bucket itself. */
  readonly key: string;
}

/** A bucket as it is asked. */
interface Bucket {
  readonly region: string;
  /** Of a key that is encoded. */
  url(key: string): URL;
}

/** An address, who it was signed for, and when. */
interface Signed {
  readonly address: HttpAddress;
  readonly by: AwsCredentials | undefined;
  readonly atMs: number;
}

/**
 * Objects of S3 and of what speaks it. A place is `s3://bucket/key` with the key as it is. Each range is asked for with If-Match and the ETag
 * that the object had when it was opened.
 */
export class S3Source implements Source {
  readonly #ranges: HttpRanges;
  readonly #settings: () => Promise<AwsSettings>;
  readonly #credentials: Credentials;
  readonly #buckets = new Map<string, Promise<Bucket>>();
  #known: Promise<AwsSettings> | undefined;

  /** `settings`: reads them, again where keys are refused. */
  constructor(ranges: HttpRanges, settings: () => Promise<AwsSettings>, findChain: FindChain = maybeChain) {
    this.#ranges = ranges;
    this.#settings = settings;
    this.#credentials = new Credentials(settings, findChain);
  }

  open(place: Place, options: ReadOptions = {}): Promise<Readable> {
    return this.#explained(() => this.#opened(place, options));
  }

  identity(place: Place): Promise<FileIdentity | undefined> {
    return this.#explained(() => this.#identityOf(place));
  }

  list(folder: Place): Promise<readonly DirectoryEntry[]> {
    return this.#explained(() => this.#entriesOf(folder));
  }

  /** Who asks without keys, and is refused, is told that there were none. */
  async #explained<R>(ask: () => Promise<R>): Promise<R> {
    try {
      return await ask();
    } catch (error) {
      const isRefused =
        error instanceof StorageError && error.code === "storage/denied" && !(error.cause instanceof Error);
      if (!isRefused || (await this.#credentials.current(Date.now())) !== undefined) throw error;
      throw new StorageError(error.code, error.message, {
        hint: "It was asked for without keys, as none were found: give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; see docs/storage.md.",
        cause: error,
      });
    }
  }

  async #opened(place: Place, { firstBytes = 0 }: ReadOptions): Promise<Readable> {
    const { bucket, key } = this.#parsed("open", place);
    if (key === "") throw notAFile("open", place);
    try {
      return await openHttpFile(this.#ranges, await this.#target("GET", place, bucket, encodeKey(key)), firstBytes);
    } catch (error) {
      if (isNotFound(error) && (await this.#isFolder(place, bucket, key))) throw notAFile("open", place);
      throw error;
    }
  }

  async #identityOf(place: Place): Promise<FileIdentity | undefined> {
    const { bucket, key } = this.#parsed("examine", place);
    if (key !== "") {
      const target = await this.#target("GET", place, bucket, encodeKey(key));
      const found = await maybeBeginning(this.#ranges, target);
      if (found !== undefined) return identityOf(found.state);
    }
    const isFolder = await this.#isFolder(place, bucket, key);
    return isFolder ? { kind: "directory", sizeBytes: 0, version: "" } : undefined;
  }

  async #entriesOf(folder: Place): Promise<readonly DirectoryEntry[]> {
    const { bucket, key } = this.#parsed("list", folder);
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
    const query = Object.entries(asked).map(([name, value]) => `${encodeName(name)}=${encodeName(value)}`);
    const target = await this.#target("GET", place, bucket, "", `?${query.join("&")}`);
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

  async #target(method: string, place: Place, bucketName: string, key: string, search = ""): Promise<HttpTarget> {
    const bucket = await this.#bucket(place, bucketName);
    const { requesterPays } = await this.#settled();
    const url = bucket.url(key);
    url.search = search;
    let signed: Signed | undefined;
    const sign = (by: AwsCredentials | undefined) => {
      const headers: Record<string, string> = requesterPays ? { "x-amz-request-payer": "requester" } : {};
      const at = new Date();
      const question = { method, url, headers, region: bucket.region, at };
      const all = by === undefined ? headers : signedHeaders({ ...question, credentials: by });
      signed = { address: { url, headers: all }, by, atMs: at.getTime() };
      return signed.address;
    };
    const address = async (refused?: HttpAddress): Promise<HttpAddress> => {
      const nowMs = Date.now();
      if (signed !== undefined && refused === signed.address) {
        const renewed = await this.#credentials.renewed(signed.by);
        return renewed === signed.by ? signed.address : sign(renewed);
      }
      const by = await this.#credentials.current(nowMs);
      const isGood = signed !== undefined && signed.by === by && nowMs - signed.atMs < SIGNATURE_MS;
      return isGood && signed !== undefined ? signed.address : sign(by);
    };
    return { place, address, meaningOf };
  }

  #settled(): Promise<AwsSettings> {
    this.#known ??= this.#settings();
    this.#known.catch(() => {
      this.#known = undefined;
    });
    return this.#known;
  }

  #bucket(place: Place, name: string): Promise<Bucket> {
    return foundOnce(this.#buckets, name, () => this.#found(place, name));
  }

  async #found(place: Place, name: string): Promise<Bucket> {
    const settings = await this.#settled();
    const { endpoint, addressing } = settings;
    if (endpoint !== undefined) {
      const isVirtual = addressing === "virtual";
      return { region: regionOf(settings), url: (key) => addressAt(endpoint, isVirtual, name, key) };
    }
    const region = await this.#regionOf(place, name, settings);
    const host = new URL(`https://${amazonHost(region)}`);
    const isVirtual = addressing !== "path" && isHostName(name);
    return { region, url: (key) => addressAt(host, isVirtual, name, key) };
  }

  /** Amazon tells whoever asks where a bucket is, and refuses what is signed for another region. */
  async #regionOf(place: Place, bucket: string, settings: AwsSettings): Promise<string> {
    const asked = regionOf(settings);
    const isVirtual = isHostName(bucket) && settings.addressing !== "path";
    const url = addressAt(new URL(`https://${amazonHost(asked)}`), isVirtual, bucket, "");
    const address = { url, headers: {} };
    const target: HttpTarget = { place, address: () => address, meaningOf: () => "final" };
    const question = { method: "HEAD", limitBytes: 0, redirects: "give", action: "find" } as const;
    const { headers } = await this.#ranges.request(target, question);
    return headers.get("x-amz-bucket-region") ?? asked;
  }

  #parsed(action: string, place: Place): S3Place {
    const [, bucket = "", key = ""] = /^s3:\/\/([^/]+)\/?(.*)$/is.exec(place) ?? [];
    const parts = key.replace(/\/+$/, "").split("/");
    const isPlain = parts.every((part) => part !== "." && part !== "..") && !(key !== "" && parts.includes(""));
    if (/^[a-z0-9][a-z0-9._-]{1,254}$/i.test(bucket) && (isPlain || key === ""))
      return { bucket, key: parts.join("/") };
    throw new StorageError("storage/not-found", `cannot ${action} ${place}: this names no object`, {
      hint: 'Write s3://bucket/prefix, without "." and "..", and "/" once between names.',
    });
  }
}

/** What is not as HTTP means it. */
function meaningOf(status: number, said: string): AnswerMeaning | undefined {
  const [code] = said.split(":", 1);
  if (status === 400 && (code === "ExpiredToken" || code === "TokenRefreshRequired")) return "refused";
  if (status === 400 && code === "RequestTimeout") return "passing";
  return undefined;
}

function addressAt(endpoint: URL, isVirtual: boolean, bucket: string, key: string): URL {
  const url = new URL(endpoint);
  const above = endpoint.pathname.replace(/\/+$/, "");
  if (isVirtual) url.host = `${bucket}.${endpoint.host}`;
  url.pathname = isVirtual
    ? `${above}/${key}`
    : `${above}/${encodeName(bucket)}/${key}`.replace(/\/$/, key === "" ? "" : "/");
  return url;
}

function amazonHost(region: string): string {
  return `s3.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;
}

/** Dots would need a certificate of their own. */
function isHostName(bucket: string): boolean {
  return /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/.test(bucket);
}

function isNotFound(error: unknown): boolean {
  return error instanceof StorageError && error.code === "storage/not-found";
}

function notAFile(action: string, place: Place): StorageError {
  return new StorageError("storage/not-a-file", `cannot ${action} ${place}: it is a folder`, {
    hint: "An object was expected here, not a prefix.",
  });
}
