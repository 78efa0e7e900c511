import { createHash } from "node:crypto";
import { JetStreamApiCodes, JetStreamApiError } from "@nats-io/jetstream";
import { lastMessage, type Nats, type Outage, writeMark } from "../nats/index.ts";
import { JournalError } from "./errors.ts";
import type { BlobReference, EntrySubjects } from "./nats-entries.ts";

/** Room for headers in a message of the largest size. */
const FRAME_BYTES = 4096;
/** Larger messages than this are slow for everybody else on the connection. */
const CHUNK_BYTES_MAX = 512 * 1024;

/** Bodies that are too long for a message: in pieces, named by the SHA-256 of the whole, written before what refers to it. */
export class NatsBlobs {
  readonly #nats: Nats;
  readonly #subjects: EntrySubjects;

  constructor(nats: Nats, subjects: EntrySubjects) {
    this.#nats = nats;
    this.#subjects = subjects;
  }

  /** Longest body that fits one message. */
  get chunkBytes(): number {
    return Math.min(CHUNK_BYTES_MAX, (this.#nats.connection.info?.max_payload ?? CHUNK_BYTES_MAX) - FRAME_BYTES);
  }

  /** Safe to repeat: a piece that is there is the same one. */
  async put(bytes: Buffer, outage: Outage): Promise<BlobReference> {
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const { chunkBytes } = this;
    let chunks = 0;
    for (let at = 0; at < bytes.length; at += chunkBytes) {
      // Pieces of another size, cut for another server, must not be taken for ours: the size is part of the name.
      await this.#putChunk(
        this.#subjects.chunk(`${sha256}-${chunkBytes}`, chunks++),
        bytes.subarray(at, at + chunkBytes),
        outage,
      );
    }
    return { sha256, sizeBytes: bytes.length, chunkBytes };
  }

  async get({ sha256, sizeBytes, chunkBytes }: BlobReference, outage: Outage): Promise<Buffer> {
    const pieces: Uint8Array[] = [];
    for (let k = 0; k * chunkBytes < sizeBytes; k++) {
      pieces.push(await this.#getChunk(this.#subjects.chunk(`${sha256}-${chunkBytes}`, k), outage));
    }
    const bytes = Buffer.concat(pieces);
    if (createHash("sha256").update(bytes).digest("hex") !== sha256) throw damaged(sha256, "has other bytes");
    return bytes;
  }

  async #putChunk(subject: string, bytes: Buffer, outage: Outage): Promise<void> {
    for (;;) {
      try {
        const expect = { streamName: this.#nats.names.journalStream, lastSubjectSequence: 0 };
        await this.#nats.client.publish(subject, bytes, { expect });
        return;
      } catch (error) {
        const there = error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamWrongLastSequence;
        if (there) return;
        await outage.passing(error);
      }
    }
  }

  async #getChunk(subject: string, outage: Outage): Promise<Uint8Array> {
    const find = () => lastMessage(this.#nats, this.#nats.names.journalStream, subject, outage);
    let found = await find();
    if (found === null) {
      await writeMark(this.#nats, this.#subjects.chunk("mark", 0), outage);
      found = await find();
    }
    if (found === null) throw damaged(subject, "is missing");
    return found.data;
  }
}

function damaged(name: string, what: string): JournalError {
  return new JournalError("journal/corrupt", `the body ${name} of an entry ${what}`, {
    hint: "The server lost or changed it: restore its store, or begin the job anew.",
  });
}
