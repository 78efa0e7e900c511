import type { UploadPart } from "../port.ts";
import { elementsIn, escapedXml, isWholeElement, maybeElement } from "./xml.ts";

/** One page of the parts of an upload (ListParts). */
export interface PartsPage {
  readonly parts: readonly UploadPart[];
  /** The number after which the next page begins; undefined: it is the last. */
  readonly next: string | undefined;
}

/** Undefined of what is no such answer; so of all below. */
export function maybePartsPage(xml: string): PartsPage | undefined {
  // moto calls it otherwise, and AWS's own clients do not look.
  if (!["ListPartsResult", "ListPartsResponse"].some((name) => isWholeElement(xml, name))) return undefined;
  const parts = elementsIn(xml, "Part").map((part) => ({
    number: Number(maybeElement(part, "PartNumber")),
    sizeBytes: Number(maybeElement(part, "Size")),
    sha256: hexFromBase64(maybeElement(part, "ChecksumSHA256")),
    version: maybeElement(part, "ETag") ?? "",
  }));
  if (parts.some(({ number, sizeBytes, version }) => !(number > 0 && sizeBytes >= 0 && version !== "")))
    return undefined;
  const top = xml.replaceAll(/<Part>[\s\S]*?<\/Part>/g, "");
  const isCut = maybeElement(top, "IsTruncated") === "true";
  return { parts, next: isCut ? maybeElement(top, "NextPartNumberMarker") : undefined };
}

/** One page of the uploads in a bucket (ListMultipartUploads). */
export interface UploadsPage {
  readonly uploads: readonly { readonly key: string; readonly upload: string; readonly begunMs: number }[];
  readonly next: { readonly key: string; readonly upload: string } | undefined;
}

export function maybeUploadsPage(xml: string): UploadsPage | undefined {
  if (!isWholeElement(xml, "ListMultipartUploadsResult")) return undefined;
  const uploads = elementsIn(xml, "Upload").map((upload) => ({
    key: maybeElement(upload, "Key") ?? "",
    upload: maybeElement(upload, "UploadId") ?? "",
    begunMs: Date.parse(maybeElement(upload, "Initiated") ?? ""),
  }));
  if (uploads.some(({ key, upload }) => key === "" || upload === "")) return undefined;
  const top = xml.replaceAll(/<Upload>[\s\S]*?<\/Upload>/g, "");
  const isCut = maybeElement(top, "IsTruncated") === "true";
  const next = {
    key: maybeElement(top, "NextKeyMarker") ?? "",
    upload: maybeElement(top, "NextUploadIdMarker") ?? "",
  };
  return { uploads, next: isCut ? next : undefined };
}

export function maybeUploadId(xml: string): string | undefined {
  return isWholeElement(xml, "InitiateMultipartUploadResult") ? maybeElement(xml, "UploadId") : undefined;
}

/** ETag, with its quotes, and the checksum of what was made by a call that may take long: "CompleteMultipartUploadResult", "CopyPartResult". */
export function maybeMade(xml: string, name: string): { readonly etag: string; readonly sha256?: string } | undefined {
  const etag = isWholeElement(xml, name) ? maybeElement(xml, "ETag") : undefined;
  const sha256 = maybeElement(xml, "ChecksumSHA256");
  return etag === undefined ? undefined : { etag, ...(sha256 === undefined ? {} : { sha256 }) };
}

/** Statuses of errors that come within an answer 200, which was begun before it was known how it would end. */
const statuses: Readonly<Record<string, number>> = {
  InternalError: 500,
  SlowDown: 503,
  ServiceUnavailable: 503,
  RequestTimeout: 500,
  NoSuchUpload: 404,
  NoSuchKey: 404,
  PreconditionFailed: 412,
  ConditionalRequestConflict: 409,
  OperationAborted: 409,
  AccessDenied: 403,
};

/** Undefined where it is no error. */
export function maybeErrorStatus(xml: string): number | undefined {
  if (!isWholeElement(xml, "Error")) return undefined;
  return statuses[maybeElement(xml, "Code") ?? ""] ?? 400;
}

export function completeText(parts: readonly UploadPart[]): string {
  const lines = parts.map(({ number, version, sha256 }) => {
    const checksum =
      sha256 === undefined ? "" : `<ChecksumSHA256>${Buffer.from(sha256, "hex").toString("base64")}</ChecksumSHA256>`;
    return `<Part><PartNumber>${number}</PartNumber><ETag>${escapedXml(version)}</ETag>${checksum}</Part>`;
  });
  const namespace = "http://s3.amazonaws.com/doc/2006-03-01/";
  return `<CompleteMultipartUpload xmlns="${namespace}">${lines.join("")}</CompleteMultipartUpload>`;
}

export function hexFromBase64(text: string | undefined): string | undefined {
  return text !== undefined && /^[A-Za-z0-9+/]{43}=$/.test(text)
    ? Buffer.from(text, "base64").toString("hex")
    : undefined;
}
