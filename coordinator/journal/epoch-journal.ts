import { randomBytes } from "node:crypto";
import type { Json } from "../../merge/work/index.ts";
import { attemptBaseOf, type Epoch, EpochView, JOB_SUBJECT, stamped, takeOverEntry } from "./epoch.ts";
import { JournalError } from "./errors.ts";
import { type Entry, type Journal, type JournalRecord, nothingYet, type Sequence } from "./journal.ts";

/**
 * A job's journal as the coordinator sees it that leads. It reads what counts, take-overs included, and stamps what it
 * appends; the rule is in epoch.ts. An append resolves once the entry is durable and no take-over came before it.
 * All methods but `close` throw JournalError `journal/superseded`, once another coordinator took over: stop at once.
 */
export interface EpochJournal extends Journal {
  readonly epoch: Epoch;
  /** Attempts are numbered from here; those of earlier epochs lie below. */
  readonly attemptBase: number;
  /** Entries of lost epochs that were passed over so far. */
  readonly voidCount: number;
  /**
   * Resolves if no other coordinator had taken over when it was called. A leader confirms every few seconds, and grants
   * nothing when the last call that succeeded was made longer ago than its limit: then whoever takes over knows how long
   * the old leader may still grant.
   */
  confirm(): Promise<void>;
}

/**
 * Begins an epoch: from here on what any other coordinator appends is void. Whether that is right to do is for the
 * caller to know (a lock, the queue's claim). Closing the result closes `journal`. `holder`: by default a random name.
 * @throws JournalError `journal/conflict` if others take over at the same time, again and again
 */
export async function takeOver(
  journal: Journal,
  about: Json,
  holder: string = randomBytes(6).toString("hex"),
): Promise<EpochJournal> {
  for (let tries = 1; ; tries++) {
    const last = await journal.last(JOB_SUBJECT);
    try {
      const number = await journal.append(takeOverEntry(holder, about), last);
      return new LeadersJournal(journal, { number, holder });
    } catch (error) {
      if (!isConflict(error) || tries === TAKE_OVER_TRIES) throw error;
    }
  }
}

/** A job's journal for those who only look, and do not lead: it reads what counts. Closing it closes `journal`. */
export function lookAt(journal: Pick<Journal, "read" | "close">): Pick<Journal, "read" | "close"> {
  return {
    async *read(after: Sequence = nothingYet): AsyncGenerator<JournalRecord> {
      const view = new EpochView();
      for await (const record of journal.read()) {
        const valid = view.see(record);
        if (valid !== undefined && record.sequence > after) yield valid;
      }
    },
    close: () => journal.close(),
  };
}

const TAKE_OVER_TRIES = 10;

class LeadersJournal implements EpochJournal {
  readonly epoch: Epoch;
  readonly attemptBase: number;
  readonly #journal: Journal;
  /** Fed by `#catchUp` alone, so that it sees every record once and in order. */
  readonly #view = new EpochView();
  #seen: Sequence = nothingYet;
  /** Last sequence of a subject that counts, of records seen or appended here. */
  readonly #valid = new Map<string, Sequence>();
  /** Last sequence of a subject that is void, where none that counts came after it. */
  readonly #void = new Map<string, Sequence>();
  #catching: Promise<void> = Promise.resolve();
  #confirming: Promise<void> | undefined;
  #nextConfirming: Promise<void> | undefined;
  #superseded: JournalError | undefined;

  constructor(journal: Journal, epoch: Epoch) {
    this.#journal = journal;
    this.epoch = epoch;
    this.attemptBase = attemptBaseOf(epoch);
    this.#valid.set(JOB_SUBJECT, epoch.number);
  }

  get voidCount(): number {
    return this.#view.voidCount;
  }

  async append(entry: Entry, after: Sequence): Promise<Sequence> {
    this.#checkLeads();
    const mine = stamped({ subject: entry.subject, body: copyOf(entry.body) }, this.epoch);
    let last = this.#lastBefore(entry.subject, after);
    for (;;) {
      let sequence: Sequence;
      try {
        sequence = await this.#journal.append(mine, last);
      } catch (error) {
        if (!isConflict(error)) throw error;
        // Either it is void what was first, or another leads, or the caller is wrong.
        await this.#catchUp();
        const before = last;
        last = this.#lastBefore(entry.subject, after);
        if (last === before) throw error;
        continue;
      }
      this.#valid.set(entry.subject, sequence);
      this.#void.delete(entry.subject);
      await this.confirm();
      return sequence;
    }
  }

  async last(subject: string): Promise<Sequence> {
    await this.#catchUp();
    return this.#valid.get(subject) ?? nothingYet;
  }

  async *read(after: Sequence = nothingYet): AsyncGenerator<JournalRecord> {
    this.#checkLeads();
    const view = new EpochView();
    // From the beginning in any case: what counts depends on the take-overs before.
    for await (const record of this.#journal.read()) {
      const valid = view.see(record);
      if (record.sequence > this.#seen) this.#see(record);
      this.#checkLeads();
      if (valid !== undefined && record.sequence > after) yield valid;
    }
  }

  confirm(): Promise<void> {
    if (this.#confirming === undefined) {
      this.#confirming = this.#confirmNow().finally(() => {
        this.#confirming = undefined;
      });
      return this.#confirming;
    }
    // The one under way may have been answered before this call: the next one is shared by all who come meanwhile.
    this.#nextConfirming ??= this.#confirming
      .catch(() => undefined)
      .then(() => {
        this.#nextConfirming = undefined;
        return this.confirm();
      });
    return this.#nextConfirming;
  }

  close(): Promise<void> {
    return this.#journal.close();
  }

  async #confirmNow(): Promise<void> {
    this.#checkLeads();
    const last = await this.#journal.last(JOB_SUBJECT);
    // Somebody else may have read a take-over meanwhile: then it is known, and no news.
    this.#checkLeads();
    if (last === this.#valid.get(JOB_SUBJECT)) return;
    await this.#catchUp();
    // A journal that lost its newest records gives their numbers out again: whoever took over with one of them is not read as new.
    const known = [this.#valid, this.#void].map((sequences) => sequences.get(JOB_SUBJECT) ?? nothingYet);
    if (known.every((sequence) => sequence < last)) {
      this.#superseded = supersededUnseen(this.epoch, last);
      throw this.#superseded;
    }
  }

  /** The sequence that the subject has in the journal, where `after` is the last that counts. */
  #lastBefore(subject: string, after: Sequence): Sequence {
    const passedOver = this.#void.get(subject);
    return passedOver !== undefined && (this.#valid.get(subject) ?? nothingYet) === after ? passedOver : after;
  }

  /** Reads what was appended since the last time, by whomever. */
  #catchUp(): Promise<void> {
    this.#checkLeads();
    this.#catching = this.#catching
      .catch(() => undefined)
      .then(async () => {
        for await (const record of this.#journal.read(this.#seen)) {
          if (record.sequence > this.#seen) this.#see(record);
        }
        this.#checkLeads();
      });
    return this.#catching;
  }

  #see(record: JournalRecord): void {
    this.#seen = record.sequence;
    const { subject } = record.entry;
    if (this.#view.see(record) === undefined) {
      this.#void.set(subject, record.sequence);
    } else {
      if (record.sequence >= (this.#valid.get(subject) ?? nothingYet)) this.#valid.set(subject, record.sequence);
      if ((this.#void.get(subject) ?? nothingYet) < record.sequence) this.#void.delete(subject);
    }
    const { current } = this.#view;
    if (record.sequence >= this.epoch.number && current.holder !== this.epoch.holder) {
      this.#superseded ??= superseded(this.epoch, current);
    }
  }

  #checkLeads(): void {
    if (this.#superseded !== undefined) throw this.#superseded;
  }
}

/** The caller's may change while this one waits. structuredClone costs several times as much. */
function copyOf(body: Json): Json {
  if (typeof body !== "object" || body === null) return body;
  if (Array.isArray(body)) return body.map(copyOf);
  return Object.fromEntries(Object.entries(body).map(([key, value]) => [key, copyOf(value)]));
}

function isConflict(error: unknown): boolean {
  return error instanceof JournalError && error.code === "journal/conflict";
}

function superseded(own: Epoch, current: Epoch): JournalError {
  return new JournalError(
    "journal/superseded",
    `another coordinator (${current.holder}) took the job over in epoch ${current.number}; ours was ${own.number}`,
    { hint: "Nothing is lost: the other goes on with it. This one must let go of the job." },
  );
}

/** By a record that has the number of one which was read before the journal lost it. */
function supersededUnseen(own: Epoch, last: Sequence): JournalError {
  return new JournalError(
    "journal/superseded",
    `the journal has a record of the job, ${last}, that came while numbers were given out again: it lost some; ours was epoch ${own.number}`,
    { hint: "Whoever leads now goes on with the job. This one must let go of it." },
  );
}
