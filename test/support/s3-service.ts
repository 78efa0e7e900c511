import { createHash } from "node:crypto";

export interface S3Asked {
  readonly method: string;
  /** Path and query, as they stand in the address: `/bucket/key?query`. */
  readonly path: string;
  /** Names in small letters. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Uint8Array;
}

export interface S3Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Empty of a HEAD, whatever `content-length` says. */
  readonly body: Uint8Array;
}

export interface StoredObject {
  readonly bytes: Uint8Array;
  readonly etag?: string | undefined;
  /** Base64, as S3 says it; of an upload with the number of its parts. */
  readonly sha256?: string | undefined;
}

/** In what stores of this kind differ, each of them within what the protocol allows. */
export interface S3Dialect {
  /** What an upload that was completed says to whoever completes it again: the same (Amazon, versitygw), 404 (MinIO), 412 where a condition came with it (SeaweedFS). */
  readonly completedAgain: "same" | "unknown" | "refused";
  /** Whether ListParts tells hashes; SeaweedFS tells none. */
  readonly listsHashes: boolean;
  /** Bytes that all parts but the last have at least. */
  readonly partMinBytes: number;
  /** Names, parts or uploads of a page. */
  readonly pageMax: number;
}

interface Part {
  readonly bytes: Uint8Array;
  readonly etag: string;
  /** Undefined in an upload that was begun without hashes. */
  readonly sha256: string | undefined;
}

interface Upload {
  readonly path: string;
  readonly begun: Date;
  readonly hasHashes: boolean;
  readonly parts: Map<number, Part>;
}

export const PART_MIN_BYTES = 5 * 2 ** 20;

const plain: S3Dialect = { completedAgain: "same", listsHashes: true, partMinBytes: PART_MIN_BYTES, pageMax: 1000 };

/**
 * Buckets in memory behind the protocol of S3, by path: what is asked goes in, what is answered comes out, one after another, and nothing
 * depends on chance. Whoever has it brings the network, and what goes wrong there. It looks at no signature and no key, at all hashes and
 * conditions. `test/storage/s3/s3-service.contract.ts` holds it and a real server to the same answers.
 */
export class S3Service {
  /** By path, as it stands in an address. */
  readonly objects: Map<string, StoredObject>;
  readonly #uploads = new Map<string, Upload>();
  /** What became of those that were completed, by their ids. */
  readonly #completed = new Map<string, S3Answer>();
  readonly #dialect: S3Dialect;
  readonly #now: () => Date;
  #begun = 0;

  constructor(
    options: Partial<S3Dialect> & { readonly objects?: Map<string, StoredObject>; readonly now?: () => Date } = {},
  ) {
    const { objects = new Map(), now = () => new Date(), ...dialect } = options;
    this.objects = objects;
    this.#now = now;
    this.#dialect = { ...plain, ...dialect };
  }

  answer(asked: S3Asked): S3Answer {
    const { pathname, searchParams: query } = new URL(asked.path, "http://s3");
    const [, bucket = "", key = ""] = /^\/([^/]+)\/?(.*)$/.exec(pathname) ?? [];
    const id = query.get("uploadId");
    if (asked.method === "GET" || asked.method === "HEAD") {
      if (key === "" && query.get("list-type") === "2") return this.#list(bucket, query);
      if (key === "" && query.has("uploads")) return this.#listUploads(pathname, query);
      if (id !== null) return this.#listParts(pathname, id, query);
      return objectAnswer(asked, this.objects.get(pathname));
    }
    if (!isTheSame(asked)) return refusal(400, "BadDigest");
    if (asked.method === "POST" && query.has("uploads")) return this.#beginUpload(pathname, asked);
    if (id !== null) return this.#answerOfUpload(pathname, asked, id, Number(query.get("partNumber")));
    const refused = conditionOf(asked, this.objects.get(pathname));
    if (refused !== undefined) return refusal(...refused);
    if (asked.method === "DELETE") {
      this.objects.delete(pathname);
      return { status: 204, headers: {}, body: empty };
    }
    const etag = `"${md5Of(asked.body)}"`;
    this.objects.set(pathname, { bytes: asked.body, etag, sha256: sha256Of(asked.body) });
    return { status: 200, headers: { etag }, body: empty };
  }

  /** Begun, and neither completed nor given up: path and id. */
  get uploads(): readonly { readonly path: string; readonly id: string }[] {
    return [...this.#uploads].map(([id, { path }]) => ({ path, id }));
  }

  #beginUpload(path: string, { headers }: S3Asked): S3Answer {
    const id = `upload-${++this.#begun}`;
    const hasHashes = headers["x-amz-checksum-algorithm"] === "SHA256";
    this.#uploads.set(id, { path, begun: this.#now(), hasHashes, parts: new Map() });
    return xml(200, "InitiateMultipartUploadResult", `<UploadId>${id}</UploadId>`);
  }

  #answerOfUpload(path: string, asked: S3Asked, id: string, number: number): S3Answer {
    const upload = this.#uploads.get(id);
    if (upload?.path !== path) {
      const before = asked.method === "POST" ? this.#completed.get(id) : undefined;
      if (before === undefined || this.#dialect.completedAgain === "unknown") return refusal(404, "NoSuchUpload");
      const isConditional = asked.headers["if-none-match"] !== undefined || asked.headers["if-match"] !== undefined;
      return this.#dialect.completedAgain === "refused" && isConditional ? refusal(412, "PreconditionFailed") : before;
    }
    if (asked.method === "PUT") return this.#putPart(asked, upload, number);
    if (asked.method === "POST") return this.#complete(asked, id, upload);
    this.#uploads.delete(id);
    return { status: 204, headers: {}, body: empty };
  }

  #putPart(asked: S3Asked, upload: Upload, number: number): S3Answer {
    const source = asked.headers["x-amz-copy-source"];
    if (source === undefined) {
      const part = partOf(asked.body, upload.hasHashes);
      upload.parts.set(number, part);
      return { status: 200, headers: { etag: part.etag }, body: empty };
    }
    const held = this.objects.get(String(source));
    if (held === undefined) return refusal(404, "NoSuchKey");
    if (asked.headers["x-amz-copy-source-if-match"] !== held.etag) return refusal(412, "PreconditionFailed");
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(String(asked.headers["x-amz-copy-source-range"])) ?? [];
    if (Number(to) >= held.bytes.length) return refusal(400, "InvalidRange");
    const part = partOf(held.bytes.subarray(Number(from), Number(to) + 1), upload.hasHashes);
    upload.parts.set(number, part);
    return xml(200, "CopyPartResult", `<ETag>${escaped(part.etag)}</ETag>`);
  }

  #complete(asked: S3Asked, id: string, upload: Upload): S3Answer {
    const refused = conditionOf(asked, this.objects.get(upload.path));
    if (refused !== undefined) return refusal(...refused);
    const named = [
      ...Buffer.from(asked.body)
        .toString()
        .matchAll(/<Part>([\s\S]*?)<\/Part>/g),
    ].map(([, inner = ""]) => ({
      number: Number(/<PartNumber>(\d+)</.exec(inner)?.[1]),
      etag: /<ETag>([^<]*)</.exec(inner)?.[1]?.replaceAll("&quot;", '"'),
      sha256: /<ChecksumSHA256>([^<]*)</.exec(inner)?.[1],
    }));
    if (named.some(({ number }, k) => k > 0 && number <= (named[k - 1]?.number ?? 0)))
      return refusal(400, "InvalidPartOrder");
    const found = named.flatMap(({ number, etag, sha256 }) => {
      const part = upload.parts.get(number);
      return part?.etag === etag && (sha256 === undefined || sha256 === part?.sha256) ? (part ?? []) : [];
    });
    if (found.length < named.length || named.length === 0) return refusal(400, "InvalidPart");
    if (found.slice(0, -1).some(({ bytes }) => bytes.length < this.#dialect.partMinBytes))
      return refusal(400, "EntityTooSmall");
    const etag = `"${md5Of(Buffer.concat(found.map((part) => Buffer.from(part.etag.slice(1, -1), "hex"))))}-${found.length}"`;
    const hashes = found.flatMap(({ sha256 }) => (sha256 === undefined ? [] : Buffer.from(sha256, "base64")));
    const sha256 = upload.hasHashes ? `${sha256Of(Buffer.concat(hashes))}-${found.length}` : undefined;
    this.objects.set(upload.path, { bytes: Buffer.concat(found.map(({ bytes }) => bytes)), etag, sha256 });
    this.#uploads.delete(id);
    const checksum = sha256 === undefined ? "" : `<ChecksumSHA256>${sha256}</ChecksumSHA256>`;
    const answer = xml(200, "CompleteMultipartUploadResult", `<ETag>${escaped(etag)}</ETag>${checksum}`);
    this.#completed.set(id, answer);
    return answer;
  }

  #list(bucket: string, query: URLSearchParams): S3Answer {
    const prefix = query.get("prefix") ?? "";
    const names = this.#keys(bucket)
      .filter((key) => key.startsWith(prefix))
      .map((key) => {
        const below = key.slice(prefix.length).indexOf("/");
        return below < 0 ? key : key.slice(0, prefix.length + below + 1);
      });
    const all = [...new Set(names)].sort(byBytes);
    const from = Number(query.get("continuation-token") ?? "0");
    const page = all.slice(from, from + Math.min(this.#dialect.pageMax, Number(query.get("max-keys") ?? "1000")));
    const isCut = from + page.length < all.length;
    return xml(
      200,
      "ListBucketResult",
      `<Name>${bucket}</Name><Prefix>${escaped(prefix)}</Prefix><KeyCount>${page.length}</KeyCount><IsTruncated>${isCut}</IsTruncated>`,
      isCut ? `<NextContinuationToken>${from + page.length}</NextContinuationToken>` : "",
      ...page.map((name) =>
        name.endsWith("/") && name !== prefix
          ? `<CommonPrefixes><Prefix>${escaped(name)}</Prefix></CommonPrefixes>`
          : `<Contents><Key>${escaped(name)}</Key><Size>1</Size></Contents>`,
      ),
    );
  }

  #keys(bucket: string): readonly string[] {
    return [...this.objects.keys()].flatMap((path) =>
      path.startsWith(`/${bucket}/`) ? [decoded(path.slice(bucket.length + 2))] : [],
    );
  }

  #listUploads(pathname: string, query: URLSearchParams): S3Answer {
    const above = `${pathname.replace(/\/$/, "")}/`;
    const prefix = query.get("prefix") ?? "";
    const all = [...this.#uploads].flatMap(([id, { path, begun }]) => {
      const key = path.startsWith(above) ? decoded(path.slice(above.length)) : undefined;
      return key?.startsWith(prefix) === true ? [{ id, key, begun }] : [];
    });
    all.sort((a, b) => byBytes(a.key, b.key) || a.begun.getTime() - b.begun.getTime());
    const after = query.get("upload-id-marker");
    const from = after === null ? 0 : all.findIndex(({ id }) => id === after) + 1;
    const page = all.slice(from, from + this.#dialect.pageMax);
    const last = page.at(-1);
    const isCut = last !== undefined && from + page.length < all.length;
    return xml(
      200,
      "ListMultipartUploadsResult",
      `<IsTruncated>${isCut}</IsTruncated>`,
      isCut
        ? `<NextKeyMarker>${escaped(last.key)}</NextKeyMarker><NextUploadIdMarker>${last.id}</NextUploadIdMarker>`
        : "",
      ...page.map(
        ({ id, key, begun }) =>
          `<Upload><Key>${escaped(key)}</Key><UploadId>${id}</UploadId><Initiated>${begun.toISOString()}</Initiated></Upload>`,
      ),
    );
  }

  #listParts(path: string, id: string, query: URLSearchParams): S3Answer {
    const upload = this.#uploads.get(id);
    if (upload?.path !== path) return refusal(404, "NoSuchUpload");
    const after = Number(query.get("part-number-marker") ?? "0");
    const all = [...upload.parts].sort(([a], [b]) => a - b).filter(([number]) => number > after);
    const page = all.slice(0, this.#dialect.pageMax);
    const isCut = page.length < all.length;
    return xml(
      200,
      "ListPartsResult",
      `<IsTruncated>${isCut}</IsTruncated>`,
      isCut ? `<NextPartNumberMarker>${page.at(-1)?.[0]}</NextPartNumberMarker>` : "",
      ...page.map(([number, { bytes, etag, sha256 }]) => {
        const isTold = this.#dialect.listsHashes && sha256 !== undefined;
        const hash = isTold ? `<ChecksumSHA256>${sha256}</ChecksumSHA256>` : "";
        return `<Part><PartNumber>${number}</PartNumber><ETag>${escaped(etag)}</ETag><Size>${bytes.length}</Size>${hash}</Part>`;
      }),
    );
  }
}

/** An object, or a range of it, on its conditions. */
export function objectAnswer({ method, headers: asked }: S3Asked, held: StoredObject | undefined): S3Answer {
  if (held === undefined) return refusal(404, "NoSuchKey");
  const { bytes, etag } = held;
  const sha256 = asked["x-amz-checksum-mode"] === undefined ? undefined : held.sha256;
  const headers = {
    ...(sha256 === undefined ? {} : { "x-amz-checksum-sha256": sha256 }),
    ...(etag === undefined ? {} : { etag }),
    "accept-ranges": "bytes",
  };
  const condition = asked["if-match"];
  if (condition !== undefined && condition !== etag) return refusal(412, "PreconditionFailed");
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(String(asked.range)) ?? [];
  const [from, to] =
    first === undefined ? [0, bytes.length - 1] : [Number(first), Math.min(Number(last), bytes.length - 1)];
  if (first !== undefined && from > to) return refusal(416, "InvalidRange");
  const part = bytes.subarray(from, to + 1);
  const length = { "content-length": String(part.length) };
  const range = first === undefined ? {} : { "content-range": `bytes ${from}-${to}/${bytes.length}` };
  const status = first === undefined ? 200 : 206;
  return { status, headers: { ...headers, ...length, ...range }, body: method === "HEAD" ? empty : part };
}

/** As S3 says why it does not do something. */
export function refusal(status: number, code: string): S3Answer {
  return xml(status, "Error", `<Code>${code}</Code><Message>It is so.</Message><RequestId>1</RequestId>`);
}

function xml(status: number, name: string, ...inner: readonly string[]): S3Answer {
  const body = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n<${name}>${inner.join("")}</${name}>\n`);
  return { status, headers: { "content-type": "application/xml", "content-length": String(body.length) }, body };
}

const empty = new Uint8Array();

function conditionOf({ headers }: S3Asked, held: StoredObject | undefined): readonly [number, string] | undefined {
  if (headers["if-none-match"] === "*" && held !== undefined) return [412, "PreconditionFailed"];
  const match = headers["if-match"];
  if (match === undefined || match === held?.etag) return undefined;
  return held === undefined ? [404, "NoSuchKey"] : [412, "PreconditionFailed"];
}

/** Whether a body is the one that was signed, and the one that it is said to be. */
function isTheSame({ headers, body }: S3Asked): boolean {
  const [told, signed] = [headers["x-amz-checksum-sha256"], headers["x-amz-content-sha256"]];
  if (told === undefined && !/^[0-9a-f]{64}$/.test(String(signed))) return true;
  const sha256 = sha256Of(body);
  const isAsTold = told === undefined || told === sha256;
  return (
    isAsTold && (signed === undefined || !/^[0-9a-f]{64}$/.test(String(signed)) || base64Of(String(signed)) === sha256)
  );
}

function base64Of(hex: string): string {
  return Buffer.from(hex, "hex").toString("base64");
}

function partOf(bytes: Uint8Array, hasHash: boolean): Part {
  return { bytes, etag: `"${md5Of(bytes)}"`, sha256: hasHash ? sha256Of(bytes) : undefined };
}

function md5Of(bytes: Uint8Array): string {
  return createHash("md5").update(bytes).digest("hex");
}

/** As S3 writes it. */
function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("base64");
}

function decoded(path: string): string {
  return path.split("/").map(decodeURIComponent).join("/");
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function escaped(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&#34;")
    .replaceAll("'", "&#x27;");
}
