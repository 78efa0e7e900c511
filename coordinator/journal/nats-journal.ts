import type { JsMsg } from "@nats-io/jetstream";
import type { Json } from "../../merge/work/index.ts";
import { journalKeeper, type Nats, replay } from "../nats/index.ts";
import { JournalError } from "./errors.ts";
import { type Entry, type Journal, type JournalRecord, nothingYet, type Sequence } from "./journal.ts";
import { NatsAppends } from "./nats-appends.ts";
import { acknowledgedBefore, maybeBlob } from "./nats-entries.ts";
import { NatsPlace } from "./nats-place.ts";

export interface NatsJournalOptions {
  /** How long an append or a read waits for a server that does not answer. */
  readonly outageMs?: number;
  /** How long what is under way may go on once the journal is closed. */
  readonly closeMs?: number;
}

export interface NatsJournal extends Journal {
  /**
   * More than 0: records say that so many, at least, were acknowledged before them and are gone: the server was put back
   * to an older state. Known once they were read. Their work is redone.
   */
  readonly lostRecords: number;
  /**
   * Names what keeps the journal, for as long as that has forgotten nothing that it acknowledged; undefined: that cannot be told.
   * @throws JournalError `journal/unavailable`
   */
  keeper(): Promise<string | undefined>;
}

/** NATS may be away for minutes (an upgrade, a lost node) while workers go on computing. */
const OUTAGE_MS = 5 * 60_000;
const CLOSE_MS = 5000;

/** See open-nats-journal.ts. */
export async function openJetStreamJournal(nats: Nats, job: string, options: NatsJournalOptions): Promise<NatsJournal> {
  const place = new NatsPlace(nats, job, options.outageMs ?? OUTAGE_MS);
  return new OpenNatsJournal(place, await takesBatches(place), options.closeMs ?? CLOSE_MS);
}

/** What the stream's configuration says, as read back: a server that knows no batches passes over the setting. */
async function takesBatches(place: NatsPlace): Promise<boolean> {
  const outage = place.outage("open the journal");
  for (;;) {
    try {
      return (await place.nats.manager.streams.info(place.stream)).config.allow_atomic === true;
    } catch (error) {
      await outage.passing(error);
    }
  }
}

class OpenNatsJournal implements NatsJournal {
  readonly #place: NatsPlace;
  readonly #appends: NatsAppends;
  readonly #closeMs: number;
  #lostRecords = 0;
  readonly #underWay = new Set<Promise<unknown>>();
  /** Settles when the appends to a subject that are under way have. */
  readonly #appending = new Map<string, Promise<void>>();
  #closed = false;

  constructor(place: NatsPlace, batches: boolean, closeMs: number) {
    this.#place = place;
    this.#closeMs = closeMs;
    this.#appends = new NatsAppends(place, batches);
  }

  get lostRecords(): number {
    return this.#lostRecords;
  }

  async append(entry: Entry, after: Sequence): Promise<Sequence> {
    this.#checkUsable();
    const call = this.#track(this.#appends.append(entry, after));
    const { subject } = entry;
    const settled = Promise.allSettled([this.#appending.get(subject), call]).then(() => {
      if (this.#appending.get(subject) === settled) this.#appending.delete(subject);
    });
    this.#appending.set(subject, settled);
    return call;
  }

  async last(subject: string): Promise<Sequence> {
    this.#checkUsable();
    await this.#appending.get(subject);
    return (await this.#track(this.#place.lastSequence(this.#place.subjects.toNats(subject)))) as Sequence;
  }

  async *read(after: Sequence = nothingYet): AsyncGenerator<JournalRecord> {
    this.#checkUsable();
    await Promise.allSettled(this.#underWay);
    const { nats, stream, subjects } = this.#place;
    const end = await this.#track(this.#place.lastSequence(subjects.all));
    const outage = () => this.#place.outage("read");
    for await (const message of replay(nats, { stream, subjects: subjects.all, after, end, outage })) {
      const missing = acknowledgedBefore(message) - BigInt(message.seq) + 1n;
      this.#lostRecords = Math.max(this.#lostRecords, Number(missing));
      yield { sequence: BigInt(message.seq) as Sequence, entry: await this.#entryOf(message) };
    }
  }

  keeper(): Promise<string | undefined> {
    this.#checkUsable();
    return this.#track(journalKeeper(this.#place.nats, this.#place.outage("see who keeps the journal")));
  }

  async close(): Promise<void> {
    this.#closed = true;
    const timer = setTimeout(() => this.#place.giveUp(), this.#closeMs);
    await Promise.allSettled(this.#underWay);
    clearTimeout(timer);
  }

  async #entryOf(message: JsMsg): Promise<Entry> {
    const subject = this.#place.subjects.fromNats(message.subject);
    const blob = maybeBlob(message);
    const bytes =
      blob === undefined ? message.data : await this.#appends.blobs.get(blob, this.#place.outage(`read ${subject}`));
    try {
      return { subject, body: JSON.parse(Buffer.from(bytes).toString()) as Json };
    } catch (cause) {
      throw new JournalError(
        "journal/corrupt",
        `${this.#place.where}: message ${message.seq} of ${subject} is no entry`,
        { hint: "Something else publishes into the stream: give its subjects to deltaworks alone.", cause },
      );
    }
  }

  #track<T>(call: Promise<T>): Promise<T> {
    this.#underWay.add(call);
    const gone = () => this.#underWay.delete(call);
    call.then(gone, gone);
    return call;
  }

  #checkUsable(): void {
    if (this.#appends.failure !== undefined) throw this.#appends.failure;
    if (this.#closed) {
      const message = `${this.#place.where} was closed`;
      throw new JournalError("journal/unavailable", message, { hint: "Open the journal again." });
    }
  }
}
