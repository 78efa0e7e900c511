import { headers, type MsgHdrs } from "@nats-io/transport-node";
import { type NatsNames, textOf, tokenOf, WRITER_HEADER } from "../nats/index.ts";
import { JOB_SUBJECT } from "./epoch.ts";

/**
 * An entry as a message: its subject tells job and subject, its body is JSON. A job's subjects: `job` is
 * `<prefix>.j.<job>.phase`, `slice/x` is `….s.x`, `verdict/x` is `….v.x`, and any other `….x.<subject>`.
 */
export class EntrySubjects {
  readonly #own: string;
  readonly #blobs: string;

  constructor(names: NatsNames, job: string) {
    this.#own = `${names.prefix}.j.${tokenOf(job)}.`;
    this.#blobs = `${names.prefix}.b.${tokenOf(job)}.`;
  }

  /** Matches all entries of the job. */
  get all(): string {
    return `${this.#own}>`;
  }

  toNats(subject: string): string {
    if (subject === JOB_SUBJECT) return `${this.#own}phase`;
    for (const [start, kind] of KINDS) {
      if (subject.startsWith(start)) return `${this.#own}${kind}.${tokenOf(subject.slice(start.length))}`;
    }
    return `${this.#own}x.${tokenOf(subject)}`;
  }

  fromNats(natsSubject: string): string {
    const [kind = "", token = ""] = natsSubject.slice(this.#own.length).split(".");
    if (kind === "phase") return JOB_SUBJECT;
    return (KINDS.find(([, own]) => own === kind)?.[0] ?? "") + textOf(token);
  }

  /** Piece of a long body, named by the SHA-256 of the whole. */
  chunk(sha256: string, index: number): string {
    return `${this.#blobs}${sha256}.${index}`;
  }
}

const KINDS = [
  ["slice/", "s"],
  ["verdict/", "v"],
] as const;

/** Where a long body is: in so many pieces beside the entries. */
export interface BlobReference {
  readonly sha256: string;
  readonly sizeBytes: number;
  /** Of every piece but the last. */
  readonly chunkBytes: number;
}

/** The highest sequence acknowledged to its writer before: a record that has a lower one itself proves a loss. */
const ACKNOWLEDGED = "Deltaworks-Acknowledged";
const BLOB = "Deltaworks-Blob";

export function entryHeaders(writer: string, acknowledged: bigint, blob: BlobReference | undefined): MsgHdrs {
  const made = headers();
  made.set(WRITER_HEADER, writer);
  made.set(ACKNOWLEDGED, String(acknowledged));
  if (blob !== undefined) made.set(BLOB, `${blob.sha256} ${blob.sizeBytes} ${blob.chunkBytes}`);
  return made;
}

export function acknowledgedBefore(message: { readonly headers?: MsgHdrs | undefined }): bigint {
  const text = message.headers?.get(ACKNOWLEDGED) ?? "";
  return /^\d+$/.test(text) ? BigInt(text) : 0n;
}

export function maybeBlob(message: { readonly headers?: MsgHdrs | undefined }): BlobReference | undefined {
  const match = /^([0-9a-f]{64}) (\d+) (\d+)$/.exec(message.headers?.get(BLOB) ?? "");
  if (match === null) return undefined;
  return { sha256: match[1] ?? "", sizeBytes: Number(match[2]), chunkBytes: Number(match[3]) };
}
