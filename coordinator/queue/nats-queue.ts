import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { DeliverPolicy } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import {
  ACK_WAIT_MS,
  compareAndSet,
  consumerName,
  lastMessage,
  type Nats,
  Outage,
  PRIORITIES,
  replay,
  serverOf,
  tokenOf,
  WRITER_HEADER,
} from "../nats/index.ts";
import { QueueError } from "./errors.ts";
import type { JobClaim, JobQueue, JobRecord, NewJob, Wish } from "./job-queue.ts";
import { NatsClaim } from "./nats-claim.ts";
import { type QueueToken, takeToken } from "./nats-tokens.ts";
import {
  byAge,
  checkForgettable,
  checkJob,
  claimed,
  isDue,
  namesFor,
  nameTaken,
  newRecord,
  wished,
} from "./records.ts";

export interface NatsQueueOptions {
  /** How long a call waits for a server that does not answer. */
  readonly outageMs?: number;
  /** How often a claim is vouched for; a third of the time after which it goes to somebody else. */
  readonly keepAliveMs?: number;
}

const OUTAGE_MS = 60_000;
/** A token whose record is not there yet: its submitter is about to write it, or died. */
const ORPHAN_MS = 60_000;
/** A token that is not due, a paused job's for instance, is looked at again after so long. */
const NOT_DUE_MS = 1000;

/**
 * A queue that several coordinators share. Each job has a record (a stream that keeps the last one of each name, changed
 * by compare-and-set) and, until it ends, a token in a work-queue stream. Who holds the token runs the job; it goes to
 * somebody else when its holder no longer vouches for it. The token is given up only after the record says that the job
 * ended, and a token whose job has ended is dropped by whoever gets it: what is lost of the two is never the job.
 * The connection stays the caller's.
 */
export function openNatsQueue(nats: Nats, options: NatsQueueOptions = {}): JobQueue {
  return new NatsQueue(nats, options);
}

/** A record and its sequence; both absent where the name is free. */
interface Found {
  readonly job: JobRecord | undefined;
  readonly revision: bigint;
}

class NatsQueue implements JobQueue {
  readonly #nats: Nats;
  readonly #options: NatsQueueOptions;
  readonly #claims = new Set<NatsClaim>();
  readonly #closing = new AbortController();
  readonly #writer = randomBytes(8).toString("hex");
  #count = 0;

  constructor(nats: Nats, options: NatsQueueOptions) {
    this.#nats = nats;
    this.#options = options;
    setMaxListeners(0, this.#closing.signal); // each call that waits listens
  }

  async submit(job: NewJob): Promise<JobRecord> {
    checkJob(job);
    for (const name of namesFor(job)) {
      const { job: there, revision } = await this.#find(name);
      if (there !== undefined && there.state !== "ended") continue;
      const record = newRecord(job, name);
      // First the token, that nobody takes for a job without a record. The other way round, a submitter that dies in between
      // would leave a job that never runs.
      await this.#publishToken(record);
      if (await this.#put(record, revision)) return record;
      if (job.nameTaken === "refuse") break;
    }
    throw nameTaken(job, (await this.#find(job.name)).job);
  }

  async claim(holder: string): Promise<JobClaim | undefined> {
    for (let priority = PRIORITIES - 1; priority >= 0; priority--) {
      for (;;) {
        const token = await takeToken(this.#nats, priority, this.#outage("look for a job"));
        if (token === undefined) break;
        const claim = await this.#claim(token, holder);
        if (claim !== undefined) return claim;
      }
    }
    return undefined;
  }

  async find(name: string): Promise<JobRecord | undefined> {
    return (await this.#find(name)).job;
  }

  async list(): Promise<readonly JobRecord[]> {
    const { recordsStream: stream } = this.#nats.names;
    const outage = () => this.#outage("list the jobs");
    const subjects = this.#subjectOf("*", false);
    const end = BigInt((await lastMessage(this.#nats, stream, subjects, outage()))?.seq ?? 0);
    const jobs = new Map<string, JobRecord>();
    for await (const message of replay(this.#nats, { stream, subjects, after: 0n, end, outage })) {
      const job = parseRecord(message.data, stream);
      if (job !== undefined) jobs.set(message.subject, job);
      else jobs.delete(message.subject);
    }
    return [...jobs.values()].sort(byAge);
  }

  async wish(name: string, wish: Wish): Promise<JobRecord> {
    return this.#change(name, (job) => wished(job, name, wish));
  }

  async forget(name: string): Promise<void> {
    for (;;) {
      const { job, revision } = await this.#find(name);
      checkForgettable(job, name);
      if (await this.#publish(name, Buffer.alloc(0), revision)) return;
    }
  }

  async *changes(signal: AbortSignal): AsyncGenerator<JobRecord> {
    const { recordsStream } = this.#nats.names;
    const ends = AbortSignal.any([signal, this.#closing.signal]);
    let seen = 0n;
    let outage = this.#outage("listen for changes");
    while (!ends.aborted) {
      try {
        const consumer = await this.#nats.client.consumers.get(recordsStream, {
          filter_subjects: this.#subjectOf("*", false),
          name_prefix: consumerName(this.#nats, "changes"),
          ...(seen === 0n
            ? { deliver_policy: DeliverPolicy.LastPerSubject }
            : { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: Number(seen) + 1 }),
        });
        const messages = await consumer.consume({ idle_heartbeat: 5000, expires: 30_000 });
        const stop = () => messages.stop();
        ends.addEventListener("abort", stop);
        try {
          if (ends.aborted) return;
          for await (const message of messages) {
            outage = this.#outage("listen for changes");
            seen = BigInt(message.seq);
            const job = parseRecord(message.data, recordsStream);
            if (job !== undefined) yield job;
            if (ends.aborted) return;
          }
        } finally {
          ends.removeEventListener("abort", stop);
          messages.stop();
          await consumer.delete().catch(() => undefined); // the server drops it after a while by itself
        }
      } catch (error) {
        if (!ends.aborted) await outage.passing(error);
      }
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#claims].map((claim) => claim.release().catch(() => undefined)));
    this.#closing.abort();
  }

  /** The job of a token, if it is due; else the token goes back or away. */
  async #claim(token: QueueToken, holder: string): Promise<NatsClaim | undefined> {
    for (;;) {
      const { job, revision } = await this.#find(token.name);
      if (job?.id !== token.id) {
        if (token.ageMs < ORPHAN_MS) await token.giveBack(NOT_DUE_MS);
        else await token.drop();
        return undefined;
      }
      if (job.state === "ended") {
        await token.drop();
        return undefined;
      }
      // Its holder, if it had one, no longer vouches for it.
      const free: JobRecord = { ...job, state: "queued" };
      if (!isDue(free)) {
        if (job.state === "queued" || (await this.#put(free, revision))) {
          await token.giveBack(NOT_DUE_MS);
          return undefined;
        }
        continue;
      }
      const mine = claimed(free, holder);
      if (!(await this.#put(mine, revision))) continue;
      const claim = new NatsClaim(mine, token, {
        change: (to) => this.#change(mine.name, to),
        find: () => this.find(mine.name),
        gone: () => this.#claims.delete(claim),
        keepAliveMs: this.#options.keepAliveMs ?? ACK_WAIT_MS / 3,
      });
      this.#claims.add(claim);
      return claim;
    }
  }

  async #change(name: string, to: (now: JobRecord | undefined) => JobRecord): Promise<JobRecord> {
    for (;;) {
      const { job, revision } = await this.#find(name);
      const changed = to(job);
      if (await this.#put(changed, revision)) return changed;
    }
  }

  async #find(name: string): Promise<Found> {
    const { recordsStream: stream } = this.#nats.names;
    const last = await lastMessage(this.#nats, stream, this.#subjectOf(name), this.#outage(`look for ${name}`));
    if (last === null) return { job: undefined, revision: 0n };
    return { job: parseRecord(last.data, stream), revision: BigInt(last.seq) };
  }

  /** Whether it was written: false if somebody else was first. */
  #put(job: JobRecord, after: bigint): Promise<boolean> {
    return this.#publish(job.name, Buffer.from(JSON.stringify({ version: FORMAT_VERSION, ...job })), after);
  }

  async #publish(name: string, payload: Buffer, after: bigint): Promise<boolean> {
    const own = headers();
    own.set(WRITER_HEADER, `${this.#writer}-${++this.#count}`);
    const { recordsStream: stream } = this.#nats.names;
    const message = { stream, subject: this.#subjectOf(name), payload, headers: own, after };
    return (await compareAndSet(this.#nats, message, this.#outage(`change ${name}`))).stored;
  }

  /** Of an id that is new: there is one token of it, however often it is sent. */
  async #publishToken({ id, name, priority }: JobRecord): Promise<void> {
    const own = headers();
    own.set(WRITER_HEADER, `${this.#writer}-${++this.#count}`);
    const { jobsStream: stream, prefix } = this.#nats.names;
    const payload = Buffer.from(JSON.stringify({ id, name }));
    const message = { stream, subject: `${prefix}.q.${priority}.${id}`, payload, headers: own, after: 0n };
    await compareAndSet(this.#nats, message, this.#outage(`submit ${name}`));
  }

  #subjectOf(name: string, isName = true): string {
    return `${this.#nats.names.prefix}.r.${isName ? tokenOf(name) : name}`;
  }

  #outage(what: string): Outage {
    return new Outage({
      what: `${what} at ${serverOf(this.#nats.connection)}`,
      connection: this.#nats.connection,
      budgetMs: this.#options.outageMs ?? OUTAGE_MS,
      given: this.#closing.signal,
      error: (message, options) => new QueueError("queue/unavailable", message, { ...options, retryable: true }),
    });
  }
}

const FORMAT_VERSION = 1;

/** Undefined for a name that was forgotten. */
function parseRecord(data: Uint8Array, stream: string): JobRecord | undefined {
  if (data.length === 0) return undefined;
  try {
    const { version, ...job } = JSON.parse(Buffer.from(data).toString()) as { version: number } & JobRecord;
    if (version === FORMAT_VERSION) return job;
  } catch {
    // said below
  }
  throw new QueueError("queue/corrupt", `a record in ${stream} cannot be read`, {
    hint: "Another version of deltaworks, or something else, wrote it: give its subjects to this version alone.",
  });
}
