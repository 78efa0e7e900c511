import { randomBytes } from "node:crypto";
import { DeliverPolicy, JetStreamApiCodes, JetStreamApiError, type JsMsg } from "@nats-io/jetstream";
import type { Json } from "../../merge/work/index.ts";
import { type Nats, serverOf } from "../nats/index.ts";
import { JOB_SUBJECT } from "./epoch.ts";
import { JournalError } from "./errors.ts";
import { type Entry, type Journal, type JournalRecord, nothingYet, type Sequence } from "./journal.ts";
import { NatsBlobs } from "./nats-blobs.ts";
import {
  acknowledgedBefore,
  type BlobReference,
  EntrySubjects,
  entryHeaders,
  maybeBlob,
  writerOf,
} from "./nats-entries.ts";
import { Outage } from "./outage.ts";
import { Window } from "./window.ts";

export interface NatsJournalOptions {
  /** How long an append or a read waits for a server that does not answer. */
  readonly outageMs?: number;
  /** Appends on their way to the server at once. */
  readonly inFlight?: number;
}

export interface NatsJournal extends Journal {
  /**
   * More than 0: records say that so many, at least, were acknowledged before them and are gone: the server was put back
   * to an older state. Known once they were read. Their work is redone.
   */
  readonly lostRecords: number;
}

/** A coordinator of NATS may be away for minutes (an upgrade, a lost node) while workers go on computing. */
const OUTAGE_MS = 5 * 60_000;
/** Enough to hide the round trip and one sync a message; few enough to be asked about one by one after an outage. */
const IN_FLIGHT = 256;
const IN_FLIGHT_BYTES = 8 * 2 ** 20;
/** What is under way when the journal is closed gets so long to come to its end. */
const CLOSE_MS = 5000;

/**
 * The journal of one job in JetStream: a stream for all jobs, a subject for each of the job's (nats-entries.ts). Several
 * processes may have it open. What is acknowledged is as durable as the server's settings make it: `sync_interval: always`,
 * or three replicas on machines that do not fail together.
 *
 * An append that is not answered may have been stored or not. It is looked up before it is sent again: if the subject's
 * last message is its own, it was; compare-and-set makes sending it twice harmless.
 * The connection stays the caller's: `close` does not end it.
 * @throws JournalError `journal/unavailable`
 */
export async function openNatsJournal(nats: Nats, job: string, options: NatsJournalOptions = {}): Promise<NatsJournal> {
  const journal = new OpenNatsJournal(nats, job, options);
  await journal.last(JOB_SUBJECT); // a wrong place, or one that is not for us, is told here and not in mid-work
  return journal;
}

class OpenNatsJournal implements NatsJournal {
  readonly #nats: Nats;
  readonly #stream: string;
  readonly #subjects: EntrySubjects;
  readonly #blobs: NatsBlobs;
  readonly #outageMs: number;
  readonly #window: Window;
  readonly #writer = randomBytes(8).toString("hex");
  #nonce = 0;
  /** Highest sequence acknowledged to us. */
  #acknowledged = 0n;
  #lost = 0n;
  readonly #underWay = new Set<Promise<unknown>>();
  /** Settles when the appends to a subject that are under way have. */
  readonly #appending = new Map<string, Promise<void>>();
  #closed = false;
  #failure: JournalError | undefined;
  readonly #closing = new AbortController();

  constructor(nats: Nats, job: string, options: NatsJournalOptions) {
    this.#nats = nats;
    this.#stream = nats.names.journalStream;
    this.#subjects = new EntrySubjects(nats.names, job);
    this.#outageMs = options.outageMs ?? OUTAGE_MS;
    this.#window = new Window(options.inFlight ?? IN_FLIGHT, IN_FLIGHT_BYTES);
    this.#blobs = new NatsBlobs(nats, this.#subjects);
  }

  get lostRecords(): number {
    return Number(this.#lost);
  }

  append(entry: Entry, after: Sequence): Promise<Sequence> {
    const body = Buffer.from(JSON.stringify(entry.body));
    const call = this.#window.run(body.length, () => this.#append(entry.subject, body, after));
    const { subject } = entry;
    const settled = Promise.allSettled([this.#appending.get(subject), call]).then(() => {
      if (this.#appending.get(subject) === settled) this.#appending.delete(subject);
    });
    this.#appending.set(subject, settled);
    return this.#track(call);
  }

  async last(subject: string): Promise<Sequence> {
    this.#checkUsable();
    await this.#appending.get(subject);
    return this.#track(this.#last(this.#subjects.toNats(subject)));
  }

  async *read(after: Sequence = nothingYet): AsyncGenerator<JournalRecord> {
    this.#checkUsable();
    await Promise.allSettled(this.#underWay);
    const end = await this.#track(this.#last(this.#subjects.all));
    if (end <= after) return;
    for await (const message of this.#messages(after, end)) {
      this.#noticeLoss(message);
      yield { sequence: BigInt(message.seq) as Sequence, entry: await this.#entryOf(message) };
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const timer = setTimeout(() => this.#closing.abort(), CLOSE_MS);
    await Promise.allSettled(this.#underWay);
    clearTimeout(timer);
  }

  async #append(subject: string, body: Buffer, after: Sequence): Promise<Sequence> {
    this.#checkUsable();
    const natsSubject = this.#subjects.toNats(subject);
    const writer = `${this.#writer}-${++this.#nonce}`;
    const known = this.#acknowledged;
    const outage = this.#outage(`append to ${subject}`);
    const blob = await this.#blobFor(body, outage);
    const message = blob === undefined ? body : Buffer.alloc(0);
    for (;;) {
      try {
        const ack = await this.#nats.client.publish(natsSubject, message, {
          headers: entryHeaders(writer, known, blob),
          expect: { streamName: this.#stream, lastSubjectSequence: Number(after) },
        });
        return this.#stored(BigInt(ack.seq), known);
      } catch (error) {
        if (!isWrongSequence(error)) await outage.passing(error);
      }
      // Unanswered, or somebody was first: ourselves, maybe, in a try that was not answered.
      const last = await this.#lastMessage(natsSubject, outage);
      if (last !== null && writerOf(last) === writer) return this.#stored(BigInt(last.seq), known);
      const sequence = BigInt(last?.seq ?? 0);
      if (sequence !== after) throw conflict(this.#where, subject, after, sequence);
    }
  }

  /** @throws JournalError: sequences never fall, unless the server forgot some. */
  #stored(sequence: bigint, known: bigint): Sequence {
    if (sequence <= known) throw this.#tailLost(known, sequence);
    if (sequence > this.#acknowledged) this.#acknowledged = sequence;
    return sequence as Sequence;
  }

  async #last(natsSubject: string): Promise<Sequence> {
    const outage = this.#outage(`read the last entry of ${natsSubject}`);
    return BigInt((await this.#lastMessage(natsSubject, outage))?.seq ?? 0) as Sequence;
  }

  async #lastMessage(natsSubject: string, outage: Outage) {
    for (;;) {
      try {
        return await this.#nats.manager.streams.getMessage(this.#stream, { last_by_subj: natsSubject });
      } catch (error) {
        await outage.passing(error);
      }
    }
  }

  /** The job's messages after one sequence, up to another that is there. */
  async *#messages(after: Sequence, end: Sequence): AsyncGenerator<JsMsg> {
    const outage = this.#outage("read the journal");
    let seen: bigint = after;
    while (seen < end) {
      try {
        const consumer = await this.#nats.client.consumers.get(this.#stream, {
          filter_subjects: this.#subjects.all,
          deliver_policy: DeliverPolicy.StartSequence,
          opt_start_seq: Number(seen) + 1,
          name_prefix: `${this.#nats.names.prefix}-replay-${randomBytes(6).toString("hex")}`, // two of one name disturb each other
        });
        const messages = await consumer.consume({ max_messages: READ_AHEAD, idle_heartbeat: 1000, expires: 5000 });
        try {
          for await (const message of messages) {
            if (BigInt(message.seq) <= seen) continue;
            seen = BigInt(message.seq);
            yield message;
            if (seen >= end) break;
          }
        } finally {
          await messages.close();
          await consumer.delete().catch(() => undefined); // the server drops it after a while by itself
        }
      } catch (error) {
        await outage.passing(error);
      }
    }
  }

  async #entryOf(message: JsMsg): Promise<Entry> {
    const subject = this.#subjects.fromNats(message.subject);
    const blob = maybeBlob(message);
    const outage = this.#outage(`read ${subject}`);
    const bytes = blob === undefined ? message.data : await this.#blobs.get(blob, outage);
    try {
      return { subject, body: JSON.parse(Buffer.from(bytes).toString()) as Json };
    } catch (cause) {
      throw new JournalError("journal/corrupt", `${this.#where}: message ${message.seq} of ${subject} is no entry`, {
        hint: "Something else publishes into the stream: give its subjects to deltaworks alone.",
        cause,
      });
    }
  }

  async #blobFor(body: Buffer, outage: Outage): Promise<BlobReference | undefined> {
    return body.length <= this.#blobs.chunkBytes ? undefined : await this.#blobs.put(body, outage);
  }

  #noticeLoss(message: JsMsg): void {
    const missing = acknowledgedBefore(message) - BigInt(message.seq) + 1n;
    if (missing > this.#lost) this.#lost = missing;
  }

  #tailLost(known: bigint, found: bigint): JournalError {
    this.#failure ??= new JournalError(
      "journal/tail-lost",
      `${this.#where}: entry ${known} was acknowledged, and now ${found} comes after it: the server forgot what it had stored`,
      { hint: "The job must be taken over anew: what the journal lost is computed again. See that NATS syncs always." },
    );
    return this.#failure;
  }

  #outage(what: string): Outage {
    return new Outage(`${what} in ${this.#where}`, this.#nats.connection, this.#outageMs, this.#closing.signal);
  }

  get #where(): string {
    return `${this.#stream} on ${serverOf(this.#nats.connection)}`;
  }

  #track<T>(call: Promise<T>): Promise<T> {
    this.#underWay.add(call);
    const gone = () => this.#underWay.delete(call);
    call.then(gone, gone);
    return call;
  }

  #checkUsable(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closed) {
      throw new JournalError("journal/unavailable", `${this.#where} was closed`, { hint: "Open the journal again." });
    }
  }
}

/** Messages that the server may send before we have read them. */
const READ_AHEAD = 2000;

function isWrongSequence(error: unknown): boolean {
  return (
    error instanceof JetStreamApiError &&
    (error.code === JetStreamApiCodes.StreamWrongLastSequence ||
      error.code === JetStreamApiCodes.StreamWrongLastSequenceUnknown)
  );
}

function conflict(where: string, subject: string, after: bigint, last: bigint): JournalError {
  return new JournalError("journal/conflict", `${where}: the last entry of ${subject} is ${last}, not ${after}`, {
    hint: "Another writer was first: read what it wrote.",
  });
}
