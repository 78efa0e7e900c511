import { randomBytes } from "node:crypto";
import { PubHeaders } from "@nats-io/jetstream";
import { compareAndSet } from "../nats/index.ts";
import { JournalError } from "./errors.ts";
import type { Entry, Sequence } from "./journal.ts";
import { NatsBlobs } from "./nats-blobs.ts";
import { type BlobReference, entryHeaders } from "./nats-entries.ts";
import type { NatsPlace } from "./nats-place.ts";
import { Window } from "./window.ts";

/** An append that has no answer yet. */
interface Waiting {
  readonly subject: string;
  readonly natsSubject: string;
  readonly message: Buffer;
  readonly blob: BlobReference | undefined;
  readonly after: Sequence;
  /** Unlike that of any other append, of any process. */
  readonly writer: string;
  /** Highest sequence acknowledged to us when it was made. */
  readonly known: bigint;
  readonly resolve: (sequence: Sequence) => void;
  readonly reject: (error: unknown) => void;
}

/** Single messages on their way at once: enough to hide the round trip, few enough to be asked about after an outage. */
const IN_FLIGHT = 256;
const IN_FLIGHT_BYTES = 8 * 2 ** 20;
/** The server takes 1000 messages in a batch; a shorter one is sooner durable. */
const BATCH_LENGTH = 256;
const BATCH_BYTES = 4 * 2 ** 20;
/** One is synced while the next is on its way. */
const BATCHES_IN_FLIGHT = 2;

/**
 * Appends to the stream. Where it takes batches, those at hand go together: one sync for all of them. A batch of which one
 * member is refused is refused whole, and its members go by themselves.
 */
export class NatsAppends {
  readonly #place: NatsPlace;
  readonly #blobs: NatsBlobs;
  readonly #batches: boolean;
  readonly #window = new Window(IN_FLIGHT, IN_FLIGHT_BYTES);
  readonly #name = randomBytes(8).toString("hex");
  #count = 0;
  #waiting: Waiting[] = [];
  #batchesInFlight = 0;
  #flushing = false;
  #acknowledged = 0n;
  #failure: JournalError | undefined;

  /** `batches`: whether the stream takes atomic batches. */
  constructor(place: NatsPlace, batches: boolean) {
    this.#place = place;
    this.#blobs = new NatsBlobs(place.nats, place.subjects);
    this.#batches = batches;
  }

  get blobs(): NatsBlobs {
    return this.#blobs;
  }

  /** Set once the server was found to have forgotten what it acknowledged. */
  get failure(): JournalError | undefined {
    return this.#failure;
  }

  /** @throws JournalError `journal/conflict`, `journal/unavailable`, `journal/tail-lost` */
  async append({ subject, body }: Entry, after: Sequence): Promise<Sequence> {
    const text = Buffer.from(JSON.stringify(body));
    const known = this.#acknowledged;
    const writer = `${this.#name}-${++this.#count}`;
    const long = text.length > this.#blobs.chunkBytes;
    const blob = long ? await this.#blobs.put(text, this.#place.outage(`append to ${subject}`)) : undefined;
    const message = long ? Buffer.alloc(0) : text;
    const natsSubject = this.#place.subjects.toNats(subject);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ subject, natsSubject, message, blob, after, writer, known, resolve, reject });
      if (this.#flushing) return;
      this.#flushing = true;
      // Deferred until the caller has made all the appends it has at hand: they go together.
      queueMicrotask(() => {
        this.#flushing = false;
        this.#flush();
      });
    });
  }

  #flush(): void {
    if (!this.#batches) {
      for (const one of this.#waiting.splice(0)) this.#send(one, false).catch(one.reject);
      return;
    }
    while (this.#waiting.length > 0 && this.#batchesInFlight < BATCHES_IN_FLIGHT) {
      this.#batchesInFlight++;
      const group = this.#takeGroup();
      const ended = () => {
        this.#batchesInFlight--;
        this.#flush();
      };
      this.#sendGroup(group).then(ended, (error: unknown) => {
        for (const { reject } of group) reject(error);
        ended();
      });
    }
  }

  /** The first that wait, of different subjects: a batch knows nothing of its own messages when it compares. */
  #takeGroup(): Waiting[] {
    const group = new Map<string, Waiting>();
    const left: Waiting[] = [];
    let bytes = 0;
    for (const one of this.#waiting) {
      const fits = group.size === 0 || (group.size < BATCH_LENGTH && bytes + one.message.length <= BATCH_BYTES);
      if (!fits || group.has(one.natsSubject)) {
        left.push(one);
        continue;
      }
      group.set(one.natsSubject, one);
      bytes += one.message.length;
    }
    this.#waiting = left;
    return [...group.values()];
  }

  async #sendGroup(group: readonly Waiting[]): Promise<void> {
    const [first, ...others] = group;
    const final = others.pop();
    if (first === undefined) return;
    if (final === undefined) {
      await this.#send(first, false);
      return;
    }
    try {
      const { client, requestTimeoutMs: timeout } = this.#place.nats;
      const batch = await client.startBatch(first.natsSubject, first.message, { headers: headersOf(first) });
      for (const one of others) batch.add(one.natsSubject, one.message, { headers: headersOf(one) });
      const ack = await batch.commit(final.natsSubject, final.message, { headers: headersOf(final), timeout });
      if (ack.count !== group.length) throw new Error(`${ack.count} of ${group.length} entries were stored`);
      for (const [k, one] of group.entries()) this.#stored(one, BigInt(ack.seq - group.length + 1 + k));
    } catch {
      // Refused because of one of them, or unanswered: each finds out for itself.
      await Promise.all(group.map((one) => this.#send(one, true)));
    }
  }

  /** Settles the append, whatever happens. `maybeThere`: it may have been stored before. */
  #send(one: Waiting, maybeThere: boolean): Promise<void> {
    return this.#window
      .run(one.message.length, () => this.#publish(one, maybeThere))
      .then((sequence) => this.#stored(one, sequence), one.reject);
  }

  async #publish(one: Waiting, maybeThere: boolean): Promise<bigint> {
    const { nats, stream, where } = this.#place;
    const { natsSubject: subject, message: payload, after } = one;
    const message = { stream, subject, payload, headers: headersOf(one), after, maybeThere };
    const outcome = await compareAndSet(nats, message, this.#place.outage(`append to ${one.subject}`));
    if (outcome.stored) return outcome.sequence;
    throw conflict(where, one, outcome.last?.seq ?? 0);
  }

  /** Sequences never fall, unless the server forgot some. */
  #stored(one: Waiting, sequence: bigint): void {
    if (sequence <= one.known) {
      this.#failure ??= tailLost(this.#place.where, one.known, sequence);
      one.reject(this.#failure);
      return;
    }
    if (sequence > this.#acknowledged) this.#acknowledged = sequence;
    one.resolve(sequence as Sequence);
  }
}

/** The condition too: of a batch the client would send it with the first message only. */
function headersOf({ writer, known, blob, after }: Waiting) {
  const made = entryHeaders(writer, known, blob);
  made.set(PubHeaders.ExpectedLastSubjectSequenceHdr, String(after));
  return made;
}

function conflict(where: string, { subject, after }: Waiting, last: number): JournalError {
  return new JournalError("journal/conflict", `${where}: the last entry of ${subject} is ${last}, not ${after}`, {
    hint: "Another writer was first: read what it wrote.",
  });
}

function tailLost(where: string, known: bigint, found: bigint): JournalError {
  return new JournalError(
    "journal/tail-lost",
    `${where}: entry ${known} was acknowledged, and now ${found} comes after it: the server forgot what it had stored`,
    { hint: "The job must be taken over anew: what the journal lost is computed again. See that NATS syncs always." },
  );
}
