import { createHash, randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { Asked, Held, RangeServer } from "./range-server.ts";

interface Part {
  readonly bytes: Buffer;
  readonly etag: string;
  readonly sha256: string;
}

interface Upload {
  readonly path: string;
  readonly begun: Date;
  readonly parts: Map<number, Part>;
}

const PART_MIN_BYTES = 5 * 2 ** 20;

/** What S3 does where something is written: put, removed, uploaded in parts. What was made lies in the server's files. */
export class ImitatedUploads {
  readonly #server: RangeServer;
  readonly #uploads = new Map<string, Upload>();

  constructor(server: RangeServer) {
    this.#server = server;
  }

  write(asked: Asked, response: ServerResponse): true {
    const { pathname, searchParams: query } = new URL(asked.path, "http://s3");
    const held = this.#server.files.get(pathname);
    const id = query.get("uploadId");
    if (asked.method === "POST" && query.has("uploads")) {
      const upload = randomUUID();
      this.#uploads.set(upload, { path: pathname, begun: new Date(), parts: new Map() });
      const inner = `<UploadId>${upload}</UploadId>`;
      return answerXml(response, 200, `<InitiateMultipartUploadResult>${inner}</InitiateMultipartUploadResult>`);
    }
    if (id !== null) {
      const upload = this.#uploads.get(id);
      if (upload?.path !== pathname) return refuseWith(response, 404, "NoSuchUpload");
      if (asked.method === "PUT") return this.#putPart(asked, response, upload, Number(query.get("partNumber")));
      if (asked.method === "POST") return this.#complete(asked, response, id, upload);
      this.#uploads.delete(id);
      return answerXml(response, 204, "");
    }
    const refused = conditionOf(asked, held);
    if (refused !== undefined) return refuseWith(response, ...refused);
    if (asked.method === "DELETE") {
      this.#server.files.delete(pathname);
      return answerXml(response, 204, "");
    }
    if (!isTheSame(asked)) return refuseWith(response, 400, "BadDigest");
    const etag = `"${md5Of(asked.body)}"`;
    this.#server.files.set(pathname, { bytes: asked.body, etag, sha256: sha256Of(asked.body) });
    return answerXml(response, 200, "", { etag });
  }

  list({ path }: Asked, response: ServerResponse): true {
    const { pathname, searchParams } = new URL(path, "http://s3");
    const above = `${pathname.replace(/\/$/, "")}/`;
    const prefix = searchParams.get("prefix") ?? "";
    const lines = [...this.#uploads].flatMap(([id, { path: at, begun }]) => {
      const key = at.slice(above.length).split("/").map(decodeURIComponent).join("/");
      if (!at.startsWith(above) || !key.startsWith(prefix)) return [];
      const when = begun.toISOString();
      return [`<Upload><Key>${escaped(key)}</Key><UploadId>${id}</UploadId><Initiated>${when}</Initiated></Upload>`];
    });
    const inner = `<IsTruncated>false</IsTruncated>${lines.join("")}`;
    return answerXml(response, 200, `<ListMultipartUploadsResult>${inner}</ListMultipartUploadsResult>`);
  }

  listParts({ path }: Asked, response: ServerResponse, pageMax: number): true {
    const { pathname, searchParams } = new URL(path, "http://s3");
    const upload = this.#uploads.get(searchParams.get("uploadId") ?? "");
    if (upload?.path !== pathname) return refuseWith(response, 404, "NoSuchUpload");
    const after = Number(searchParams.get("part-number-marker") ?? "0");
    const all = [...upload.parts].sort(([a], [b]) => a - b).filter(([number]) => number > after);
    const page = all.slice(0, pageMax);
    const lines = page.map(
      ([number, { bytes, etag, sha256 }]) =>
        `<Part><PartNumber>${number}</PartNumber><ETag>${escaped(etag)}</ETag><Size>${bytes.length}</Size><ChecksumSHA256>${sha256}</ChecksumSHA256></Part>`,
    );
    const isCut = page.length < all.length;
    const next = isCut ? `<NextPartNumberMarker>${page.at(-1)?.[0]}</NextPartNumberMarker>` : "";
    const inner = `<IsTruncated>${isCut}</IsTruncated>${next}${lines.join("")}`;
    return answerXml(response, 200, `<ListPartsResult>${inner}</ListPartsResult>`);
  }

  #putPart(asked: Asked, response: ServerResponse, upload: Upload, number: number): true {
    const source = asked.headers["x-amz-copy-source"];
    if (source === undefined) {
      if (!isTheSame(asked)) return refuseWith(response, 400, "BadDigest");
      const part = partOf(asked.body);
      upload.parts.set(number, part);
      return answerXml(response, 200, "", { etag: part.etag });
    }
    const held = this.#server.files.get(String(source));
    if (held === undefined) return refuseWith(response, 404, "NoSuchKey");
    if (asked.headers["x-amz-copy-source-if-match"] !== held.etag)
      return refuseWith(response, 412, "PreconditionFailed");
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(String(asked.headers["x-amz-copy-source-range"])) ?? [];
    const part = partOf(Buffer.from(held.bytes.subarray(Number(from), Number(to) + 1)));
    upload.parts.set(number, part);
    const inner = `<ETag>${escaped(part.etag)}</ETag><ChecksumSHA256>${part.sha256}</ChecksumSHA256>`;
    return answerXml(response, 200, `<CopyPartResult>${inner}</CopyPartResult>`);
  }

  #complete(asked: Asked, response: ServerResponse, id: string, upload: Upload): true {
    const refused = conditionOf(asked, this.#server.files.get(upload.path));
    if (refused !== undefined) return refuseWith(response, ...refused);
    const named = [...asked.body.toString().matchAll(/<Part>([\s\S]*?)<\/Part>/g)].map(([, inner = ""]) => ({
      number: Number(/<PartNumber>(\d+)</.exec(inner)?.[1]),
      etag: /<ETag>([^<]*)</.exec(inner)?.[1]?.replaceAll("&quot;", '"'),
    }));
    const parts = named.map(({ number, etag }) => {
      const part = upload.parts.get(number);
      return part?.etag === etag ? part : undefined;
    });
    const found = parts.filter((part) => part !== undefined);
    if (found.length < parts.length || parts.length === 0) return refuseWith(response, 400, "InvalidPart");
    if (found.slice(0, -1).some(({ bytes }) => bytes.length < PART_MIN_BYTES))
      return refuseWith(response, 400, "EntityTooSmall");
    const bytes = Buffer.concat(found.map((part) => part.bytes));
    const etag = `"${md5Of(Buffer.concat(found.map((part) => Buffer.from(part.etag.slice(1, -1), "hex"))))}-${found.length}"`;
    const sha256 = `${sha256Of(Buffer.concat(found.map((part) => Buffer.from(part.sha256, "base64"))))}-${found.length}`;
    this.#server.files.set(upload.path, { bytes, etag, sha256 });
    this.#uploads.delete(id);
    const inner = `<ETag>${escaped(etag)}</ETag>`;
    return answerXml(response, 200, `<CompleteMultipartUploadResult>${inner}</CompleteMultipartUploadResult>`);
  }
}

function conditionOf({ headers }: Asked, held: Held | undefined): readonly [number, string] | undefined {
  if (headers["if-none-match"] === "*" && held !== undefined) return [412, "PreconditionFailed"];
  const match = headers["if-match"];
  if (match === undefined || match === held?.etag) return undefined;
  return held === undefined ? [404, "NoSuchKey"] : [412, "PreconditionFailed"];
}

function isTheSame({ headers, body }: Asked): boolean {
  const told = headers["x-amz-checksum-sha256"];
  return told === undefined || told === sha256Of(body);
}

function partOf(bytes: Buffer): Part {
  return { bytes, etag: `"${md5Of(bytes)}"`, sha256: sha256Of(bytes) };
}

function md5Of(bytes: Uint8Array): string {
  return createHash("md5").update(bytes).digest("hex");
}

/** As S3 writes it. */
function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("base64");
}

export function answerXml(
  response: ServerResponse,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): true {
  const length = status === 204 ? {} : { "content-length": Buffer.byteLength(body) };
  response.writeHead(status, { "content-type": "application/xml", ...length, ...headers }).end(body);
  return true;
}

export function refuseWith(response: ServerResponse, status: number, code: string): true {
  const body = `<?xml version="1.0"?>\n<Error><Code>${code}</Code><Message>It is so.</Message><RequestId>1</RequestId></Error>`;
  return answerXml(response, status, body);
}

export function escaped(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&#34;")
    .replaceAll("'", "&#x27;");
}
