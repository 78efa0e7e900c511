import { randomBytes } from "node:crypto";
import type { JsMsg, StoredMsg } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import {
  compareAndSet,
  lastMessage,
  lastSequence,
  type Nats,
  type Outage,
  replay,
  textOf,
  tokenOf,
  WRITER_HEADER,
  writeMark,
} from "../nats/index.ts";
import type { JobId, JobRecord } from "./job-queue.ts";
import type { Planning } from "./reserve.ts";
import {
  planningOfText,
  RecordFault,
  recordOfText,
  type StoredPlanning,
  textOfPlanning,
  textOfRecord,
} from "./stored-record.ts";

/** A record and its sequence; both absent where the name is free. */
export interface Found {
  readonly job: JobRecord | undefined;
  /** There is a record that this version cannot read: why. Its name is not free. */
  readonly unread?: RecordFault | undefined;
  readonly revision: bigint;
}

/** The record of a submission that is being planned. */
export interface FoundPlanning extends Planning, StoredPlanning {
  readonly id: StoredPlanning["id"];
  readonly key: string;
  readonly revision: bigint;
}

/** Every record, as of one moment. */
export interface AllRecords {
  /** By name. */
  readonly found: ReadonlyMap<string, Found>;
  /** Jobs that have ended and whose names others have by now. */
  readonly past: readonly JobRecord[];
  readonly planned: readonly FoundPlanning[];
  /** A key for one more submission, and its revision. */
  readonly free: { readonly key: string; readonly revision: bigint };
  /** The stream's last sequence before the first of them was read. */
  readonly streamRevision: bigint;
}

export interface Expected {
  /** The last sequence of the subject. */
  readonly after: bigint;
  /** The last sequence of the stream: nothing that was read has changed. Absent: any. */
  readonly streamAfter?: bigint;
}

type Log = (event: string, facts: Readonly<Record<string, unknown>>) => void;
type Message = Pick<JsMsg, "data" | "seq" | "subject">;

/** No name of a job begins so. Keys are used again: an empty record stays behind each. */
const PLANNING = "=p";
/** Nor so: with its id, a job that has ended and whose name another one has by now. */
const PAST = "=e";
/** What is written so that all that was written before it can be read; a past job of no id, for versions that know of none. */
const MARK = `${PAST}mark`;
const PASSED_OVER_MAX = 10_000;
/** A key takes some 100 bytes. */
const KNOWN_MAX = 10_000;

/**
 * The stream of records: jobs by name, and submissions that are being planned. A leader that was elected a moment ago answers
 * before it has taken over all that was acknowledged: what is older than this process knows is read again, behind a mark.
 */
export class NatsRecords {
  readonly #nats: Nats;
  readonly #outage: (what: string) => Outage;
  readonly #log: Log;
  readonly #writer = randomBytes(8).toString("hex");
  #count = 0;
  /** Revisions of records that were passed over, and said so. */
  readonly #passedOver = new Set<bigint>();
  /** The last revision of a key that was read or written here. */
  readonly #known = new Map<string, bigint>();
  /** That of the stream. */
  #highest = 0n;

  constructor(nats: Nats, outage: (what: string) => Outage, log: Log = () => {}) {
    this.#nats = nats;
    this.#outage = outage;
    this.#log = log;
  }

  get stream(): string {
    return this.#nats.names.recordsStream;
  }

  /** Matches all of them. */
  get subjects(): string {
    return this.#subjectOf("*");
  }

  async find(name: string): Promise<Found> {
    const last = await this.#last(tokenOf(name), `look for ${name}`);
    return last === null ? { job: undefined, revision: 0n } : this.#foundIn(last);
  }

  /** One that has ended, and whose name another one has by now. */
  async findPast(id: JobId): Promise<Found> {
    const last = await this.#last(PAST + id, `look for ${id}`);
    return last === null ? { job: undefined, revision: 0n } : this.#foundIn(last);
  }

  /** The submission that a key holds now; undefined for none. */
  async findPlanning(key: string, what: string): Promise<FoundPlanning | undefined> {
    const last = await this.#last(key, what);
    return last === null ? undefined : this.#planningIn(last);
  }

  /** Before something is believed to be gone: what is read after this has all that was acknowledged before the call. */
  async catchUp(what: string): Promise<void> {
    // A server that lost its newest messages is believed.
    this.#highest = await writeMark(this.#nats, this.#subjectOf(MARK), this.#outage(what));
  }

  async readAll(what: string): Promise<AllRecords> {
    const { stream, subjects } = this;
    const outage = () => this.#outage(what);
    let streamRevision = await this.lastSequence(what);
    if (streamRevision < this.#highest) {
      await this.catchUp(what);
      streamRevision = await this.lastSequence(what);
    }
    const end = BigInt((await lastMessage(this.#nats, stream, subjects, outage()))?.seq ?? 0);
    const found = new Map<string, Found>();
    const past = new Map<string, JobRecord | undefined>();
    const keys = new Map<string, { readonly planning: FoundPlanning | undefined } & Key>();
    for await (const message of replay(this.#nats, { stream, subjects, after: 0n, end, outage })) {
      const key = this.#keyOf(message);
      if (key.startsWith(PAST)) past.set(key, this.#foundIn(message).job);
      else if (!key.startsWith(PLANNING)) found.set(textOf(key), this.#foundIn(message));
      else
        keys.set(key, {
          planning: this.#planningIn(message),
          ...{ revision: BigInt(message.seq), isEmpty: message.data.length === 0 },
        });
    }
    const planned = [...keys.values()].flatMap(({ planning }) => planning ?? []);
    return {
      found,
      past: [...past.values()].flatMap((job) => job ?? []),
      planned,
      free: freeKey(keys),
      streamRevision,
    };
  }

  lastSequence(what: string): Promise<bigint> {
    return lastSequence(this.#nats, this.stream, this.#outage(what));
  }

  /** What a message of a watch tells: a job, or a key and the submission in it, if any; neither for what is passed over. */
  hear(message: Message): { readonly job?: JobRecord; readonly key?: string; readonly planning?: FoundPlanning } {
    const key = this.#keyOf(message);
    this.#know(key, BigInt(message.seq));
    if (key.startsWith(PAST)) return {}; // nothing happened to it
    if (key.startsWith(PLANNING)) {
      const planning = this.#planningIn(message);
      return planning === undefined ? { key } : { key, planning };
    }
    const { job } = this.#foundIn(message);
    return job === undefined ? {} : { job };
  }

  /** The sequence that it got; undefined if somebody else was first. So too the others. */
  put(job: JobRecord, expected: Expected): Promise<bigint | undefined> {
    return this.#publish(tokenOf(job.name), textOfRecord(job), expected);
  }

  /** Where it is kept already, nothing more is done. */
  async keepPast(job: JobRecord): Promise<void> {
    await this.#publish(PAST + job.id, textOfRecord(job), { after: 0n });
  }

  forgetPast(id: JobId, after: bigint): Promise<bigint | undefined> {
    return this.#publish(PAST + id, "", { after });
  }

  putPlanning(key: string, planning: StoredPlanning, expected: Expected): Promise<bigint | undefined> {
    return this.#publish(key, textOfPlanning(planning), expected);
  }

  forget(name: string, after: bigint): Promise<bigint | undefined> {
    return this.#publish(tokenOf(name), "", { after });
  }

  forgetPlanning(key: string, after: bigint): Promise<bigint | undefined> {
    return this.#publish(key, "", { after });
  }

  async #publish(key: string, text: string, expected: Expected): Promise<bigint | undefined> {
    const own = headers();
    own.set(WRITER_HEADER, `${this.#writer}-${++this.#count}`);
    const place = { stream: this.stream, subject: this.#subjectOf(key) };
    const message = { ...place, payload: Buffer.from(text), headers: own, ...expected };
    const outcome = await compareAndSet(this.#nats, message, this.#outage(`change ${textOf(key)}`));
    if (!outcome.stored) return undefined;
    this.#know(key, outcome.sequence);
    return outcome.sequence;
  }

  async #last(key: string, what: string): Promise<StoredMsg | null> {
    const known = this.#known.get(key) ?? 0n;
    const read = () => lastMessage(this.#nats, this.stream, this.#subjectOf(key), this.#outage(what));
    let last = await read();
    if (BigInt(last?.seq ?? 0) < known) {
      await this.catchUp(what);
      this.#known.delete(key);
      last = await read();
    }
    if (last !== null) this.#know(key, BigInt(last.seq));
    return last;
  }

  #know(key: string, revision: bigint): void {
    if (revision > this.#highest) this.#highest = revision;
    if (revision <= (this.#known.get(key) ?? 0n)) return;
    if (this.#known.size >= KNOWN_MAX) this.#known.clear();
    this.#known.set(key, revision);
  }

  #foundIn(message: Message | StoredMsg): Found {
    const revision = BigInt(message.seq);
    if (message.data.length === 0) return { job: undefined, revision };
    try {
      return { job: recordOfText(Buffer.from(message.data).toString()), revision };
    } catch (error) {
      return { job: undefined, unread: this.#fault(error, message), revision };
    }
  }

  #planningIn(message: Message | StoredMsg): FoundPlanning | undefined {
    if (message.data.length === 0) return undefined;
    const place = { key: this.#keyOf(message), revision: BigInt(message.seq) };
    try {
      return { ...planningOfText(Buffer.from(message.data).toString()), ...place };
    } catch (error) {
      this.#fault(error, message);
      return undefined;
    }
  }

  /** One record that cannot be read, a newer version's for instance, must not keep this coordinator from its jobs. */
  #fault(error: unknown, { seq, subject }: Pick<Message, "seq" | "subject">): RecordFault {
    if (!(error instanceof RecordFault)) throw error;
    const revision = BigInt(seq);
    if (!this.#passedOver.has(revision)) {
      if (this.#passedOver.size >= PASSED_OVER_MAX) this.#passedOver.clear();
      this.#passedOver.add(revision);
      this.#log("record passed over", { subject, revision: seq, message: error.message });
    }
    return error;
  }

  #subjectOf(key: string): string {
    return `${this.#nats.names.prefix}.r.${key}`;
  }

  #keyOf({ subject }: Pick<Message, "subject">): string {
    return subject.slice(this.#subjectOf("").length);
  }
}

interface Key {
  readonly revision: bigint;
  readonly isEmpty: boolean;
}

/** The first key without a submission; what cannot be read is one. */
function freeKey(keys: ReadonlyMap<string, Key>): AllRecords["free"] {
  for (let k = 0; ; k++) {
    const key = `${PLANNING}${k}`;
    const there = keys.get(key);
    if (there === undefined) return { key, revision: 0n };
    if (there.isEmpty) return { key, revision: there.revision };
  }
}
