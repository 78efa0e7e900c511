import { StorageError } from "../errors.ts";
import { foundOnce } from "../found-once.ts";
import type { HttpRanges } from "../http/http-ranges.ts";
import type { AnswerMeaning, HttpAddress, HttpTarget } from "../http/target.ts";
import type { Place } from "../place.ts";
import type { SignedAddress } from "../port.ts";
import { type AwsSettings, regionOf } from "./aws-settings.ts";
import { Credentials, type FindChain, maybeChain } from "./credentials.ts";
import { type AwsCredentials, encodeKey, encodeName, signedHeaders, signedUrl } from "./sigv4.ts";

/** A signature is taken for 15 minutes, of clocks that differ. */
const SIGNATURE_MS = 5 * 60_000;

/** "s3://bucket/key". */
export interface S3Place {
  readonly bucket: string;
  /** "" of the bucket itself. */
  readonly key: string;
}

/** A question of S3, but for who asks and when. */
export interface S3Question {
  readonly method: string;
  /** For errors. */
  readonly place: Place;
  readonly bucket: string;
  /** As it is; "" of the bucket itself. */
  readonly key: string;
  /** Names without a value have the value "". */
  readonly query?: Readonly<Record<string, string>>;
  /** Names in small letters. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Of the body, hex. */
  readonly payloadSha256?: string | undefined;
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

/** Where buckets are, and who asks them: what reading and writing have in common. */
export class S3Buckets {
  readonly ranges: HttpRanges;
  readonly #settings: () => Promise<AwsSettings>;
  readonly #credentials: Credentials;
  readonly #buckets = new Map<string, Promise<Bucket>>();
  #known: Promise<AwsSettings> | undefined;

  /** `settings`: reads them, again where keys are refused. */
  constructor(ranges: HttpRanges, settings: () => Promise<AwsSettings>, findChain: FindChain = maybeChain) {
    this.ranges = ranges;
    this.#settings = settings;
    this.#credentials = new Credentials(settings, findChain);
  }

  /** Who asks without keys, and is refused, is told that there were none. */
  async explained<R>(ask: () => Promise<R>): Promise<R> {
    try {
      return await ask();
    } catch (error) {
      const isRefused =
        error instanceof StorageError && error.code === "storage/denied" && !(error.cause instanceof Error);
      if (!isRefused || (await this.#credentials.current(Date.now())) !== undefined) throw error;
      throw new StorageError(error.code, error.message, {
        hint:
          "It was asked for without keys, as none were found: give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; " +
          "for keys of a machine's or a pod's role, roles, SSO: npm install @aws-sdk/credential-provider-node, beside deltaworks. See docs/storage.md.",
        cause: error,
      });
    }
  }

  /** What is asked again and again with one signature, for as long as that is taken. */
  async target(question: S3Question): Promise<HttpTarget> {
    const { method, place, payloadSha256 } = question;
    const { url, headers, region } = await this.#asked(question);
    let signed: Signed | undefined;
    const sign = (by: AwsCredentials | undefined) => {
      const at = new Date();
      const asked = { method, url, headers, region, at };
      const body = payloadSha256 === undefined ? {} : { payloadSha256 };
      const all = by === undefined ? headers : signedHeaders({ ...asked, ...body, credentials: by });
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

  /** What others may ask for a while with keys that they do not see; undefined where there are none to sign with. */
  async signed(question: S3Question, lastsMs: number): Promise<SignedAddress | undefined> {
    const { url, headers, region } = await this.#asked(question);
    const at = new Date();
    const credentials = await this.#credentials.current(at.getTime());
    if (credentials === undefined) return undefined;
    const asked = { method: question.method, url, headers, region, credentials, at };
    return { url: signedUrl(asked, Math.ceil(lastsMs / 1000)).href, headers };
  }

  async #asked({ place, bucket: name, key, query = {}, headers }: S3Question) {
    const bucket = await this.#bucket(place, name);
    const { requesterPays } = await this.settled();
    const url = bucket.url(encodeKey(key));
    url.search = Object.entries(query)
      .map(([name, value]) => `${encodeName(name)}=${encodeName(value)}`)
      .join("&");
    return {
      ...{ url, region: bucket.region },
      headers: { ...headers, ...(requesterPays ? { "x-amz-request-payer": "requester" } : {}) },
    };
  }

  settled(): Promise<AwsSettings> {
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
    const settings = await this.settled();
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
    const { headers } = await this.ranges.request(target, question);
    return headers.get("x-amz-bucket-region") ?? asked;
  }
}

/** @throws StorageError `storage/not-found` of what can name no object */
export function parseS3Place(action: string, place: Place): S3Place {
  const [, bucket = "", key = ""] = /^s3:\/\/([^/]+)\/?(.*)$/is.exec(place) ?? [];
  const parts = key.replace(/\/+$/, "").split("/");
  const isPlain = parts.every((part) => part !== "." && part !== "..") && !(key !== "" && parts.includes(""));
  if (/^[a-z0-9][a-z0-9._-]{1,254}$/i.test(bucket) && (isPlain || key === "")) return { bucket, key: parts.join("/") };
  throw new StorageError("storage/not-found", `cannot ${action} ${place}: this names no object`, {
    hint: 'Write s3://bucket/prefix, without "." and "..", and "/" once between names.',
  });
}

/** What is not as HTTP means it. */
export function meaningOf(status: number, said: string): AnswerMeaning | undefined {
  const [code = ""] = said.split(":", 1);
  if (status === 400 && (code === "ExpiredToken" || code === "TokenRefreshRequired")) return "refused";
  if (status === 400 && damaged.has(code)) return "passing";
  if (status === 409 && (code === "ConditionalRequestConflict" || code === "OperationAborted")) return "passing";
  return undefined;
}

/** What was sent came late, or not as it was sent. */
const damaged = new Set(["RequestTimeout", "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"]);

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
