import { setMaxListeners } from "node:events";
import { lastMessage, type Nats, Outage, serverOf } from "../nats/index.ts";
import { JournalError } from "./errors.ts";
import { EntrySubjects } from "./nats-entries.ts";

/** Where a job's entries are, and how long its calls wait for an answer. */
export class NatsPlace {
  readonly nats: Nats;
  readonly stream: string;
  readonly subjects: EntrySubjects;
  readonly #outageMs: number;
  readonly #closing = new AbortController();

  constructor(nats: Nats, job: string, outageMs: number) {
    this.nats = nats;
    this.stream = nats.names.journalStream;
    this.subjects = new EntrySubjects(nats.names, job);
    this.#outageMs = outageMs;
    setMaxListeners(0, this.#closing.signal); // all that waits during an outage listens: hundreds of appends
  }

  /** For messages. */
  get where(): string {
    return `${this.stream} on ${serverOf(this.nats.connection)}`;
  }

  /** The patience for one call. */
  outage(what: string): Outage {
    return new Outage({
      what: `${what} in ${this.where}`,
      connection: this.nats.connection,
      budgetMs: this.#outageMs,
      given: this.#closing.signal,
      error: (message, options) => new JournalError("journal/unavailable", message, options),
    });
  }

  /** Ends all waiting. */
  giveUp(): void {
    this.#closing.abort();
  }

  /** Sequence of the last message of a subject, which may have wildcards; 0n where there is none. */
  async lastSequence(natsSubject: string): Promise<bigint> {
    const outage = this.outage(`read the last entry of ${natsSubject}`);
    return BigInt((await lastMessage(this.nats, this.stream, natsSubject, outage))?.seq ?? 0);
  }
}
