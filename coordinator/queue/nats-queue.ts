import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { DeliverPolicy } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import {
  ACK_WAIT_MS,
  compareAndSet,
  consumerName,
  type Nats,
  Outage,
  PRIORITIES,
  serverOf,
  WRITER_HEADER,
} from "../nats/index.ts";
import { QueueError } from "./errors.ts";
import type { JobClaim, JobId, JobQueue, JobRecord, NewJob, PlannedFacts, Reserved, Wish } from "./job-queue.ts";
import { NatsClaim } from "./nats-claim.ts";
import { type AllRecords, NatsRecords } from "./nats-records.ts";
import { NatsReservation } from "./nats-reservation.ts";
import { giveBackToken, type QueueToken, takeToken } from "./nats-tokens.ts";
import {
  byAge,
  checkForgettable,
  checkJob,
  claimed,
  isDue,
  isId,
  newId,
  newRecord,
  outputTaken,
  reservationLost,
  wished,
} from "./records.ts";
import { decide } from "./reserve.ts";
import { Silence } from "./silence.ts";
import type { RecordFault, StoredPlanning } from "./stored-record.ts";

export interface NatsQueueOptions {
  /** How long a call waits for a server that does not answer. */
  readonly outageMs?: number;
  /** How often a claim is vouched for; a third of the time after which it goes to somebody else. */
  readonly keepAliveMs?: number;
  /** A submission that nobody vouched for while it was looked at for so long is that of a coordinator that is gone. */
  readonly silenceMs?: number;
  /** Of records that are passed over. */
  log?(event: string, facts: Readonly<Record<string, unknown>>): void;
}

const OUTAGE_MS = 60_000;
/** A token whose record is not there yet: its submitter is about to write it, or died. */
const ORPHAN_MS = 60_000;
/** A token that is not due, a paused job's for instance, is looked at again after so long. */
const NOT_DUE_MS = 1000;
/** Between two looks at a submission that others wait for. */
const LOOK_MS = 100;
/** Names of ids; a job takes some 100 bytes. */
const NAMES_KEPT = 10_000;
/** After others were first. */
const CONFLICT_MS_MAX = 50;

/**
 * A queue that several coordinators share. Each job has a record (a stream that keeps the last one of each name, changed
 * by compare-and-set) and, until it ends, a token in a work-queue stream. Who holds the token runs the job; it goes to
 * somebody else when its holder no longer vouches for it. The token is given up only after the record says that the job
 * ended, and a token whose job has ended is dropped by whoever gets it: what is lost of the two is never the job.
 *
 * A submission that is being planned has a record too. It is written, and later turned into the job's, on the
 * condition that nothing at all has changed in the stream since all records were read: so names, request ids and outputs that
 * overlap are decided by all of them at once. Its coordinator writes it again and again; one that is silent is taken away.
 * The connection stays the caller's.
 */
export function openNatsQueue(nats: Nats, options: NatsQueueOptions = {}): JobQueue {
  return new NatsQueue(nats, options);
}

class NatsQueue implements JobQueue {
  readonly #nats: Nats;
  readonly #options: NatsQueueOptions;
  readonly #claims = new Set<NatsClaim>();
  readonly #reservations = new Set<NatsReservation>();
  readonly #records: NatsRecords;
  /** Of submissions that are being planned, by whomever. */
  readonly #silence: Silence;
  /** Of ids that were looked for, for ever: so whoever looks again and again, as those who watch do, need not read all records. */
  readonly #nameOf = new Map<JobId, string>();
  readonly #closing = new AbortController();
  readonly #writer = randomBytes(8).toString("hex");
  #count = 0;

  constructor(nats: Nats, options: NatsQueueOptions) {
    this.#nats = nats;
    this.#options = options;
    this.#records = new NatsRecords(nats, (what) => this.#outage(what), options.log);
    this.#silence = new Silence(options.silenceMs ?? ACK_WAIT_MS);
    setMaxListeners(0, this.#closing.signal); // each call that waits listens
  }

  async reserve(job: NewJob, holder: string): Promise<Reserved> {
    checkJob(job);
    for (;;) {
      const all = await this.#records.readAll(`submit ${job.name}`);
      const { found, planned, free, streamRevision: streamAfter } = all;
      const unread = [...found].flatMap(([name, one]) => (one.unread === undefined ? [] : [name]));
      const decision = decide(job, jobsIn(all), planned, unread);
      if (decision.kind === "wait") {
        await this.#settle(decision.planning);
        if (this.#closing.signal.aborted) throw closing(job);
        continue;
      }
      if (decision.kind !== "free") return { state: decision.kind, job: decision.job };
      const planning = { id: newId(), holder, job: { ...job, name: decision.name } };
      const expected = { after: free.revision, streamAfter };
      const revision = await this.#records.putPlanning(free.key, planning, expected);
      if (revision !== undefined) {
        return { state: "reserved", reservation: this.#reservation(free.key, planning, revision) };
      }
      await delay(Math.random() * CONFLICT_MS_MAX);
    }
  }

  async submit(job: NewJob): Promise<JobRecord> {
    const reserved = await this.reserve(job, this.#writer);
    if (reserved.state === "output-taken") throw outputTaken(job, reserved.job);
    return reserved.state === "repeated" ? reserved.job : reserved.reservation.confirm({});
  }

  async claim(holder: string): Promise<JobClaim | undefined> {
    await this.#sweep();
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

  async giveBackOf(hasEnded: (holder: string) => boolean): Promise<void> {
    const all = await this.#records.readAll("give back what is held");
    for (const { state, holder, claim } of jobsIn(all)) {
      if (state !== "claimed" || holder === undefined || claim === undefined || !hasEnded(holder)) continue;
      await giveBackToken(this.#nats, claim);
    }
  }

  async find(idOrName: string): Promise<JobRecord | undefined> {
    const find = async () => (await this.#findById(idOrName)) ?? (await this.#records.find(idOrName)).job;
    const found = await find();
    if (found !== undefined) return found;
    // Whoever hears that there is no such job believes that it has ended.
    await this.#records.catchUp(`look for ${idOrName}`);
    return find();
  }

  async list(): Promise<readonly JobRecord[]> {
    return [...jobsIn(await this.#records.readAll("list the jobs"))].sort(byAge);
  }

  async wish(idOrName: string, wish: Wish): Promise<JobRecord> {
    const byId = await this.#findById(idOrName);
    return this.#change(byId?.name ?? idOrName, (job) => {
      // Its name may be another one's by now, because it has ended.
      const isIt = byId === undefined || job?.id === byId.id;
      return wished(isIt ? job : { ...byId, state: "ended" }, idOrName, wish);
    });
  }

  async forget(idOrName: string): Promise<void> {
    for (;;) {
      const byId = await this.#findById(idOrName);
      const name = byId?.name ?? idOrName;
      const { job, revision } = await this.#records.find(name);
      if (byId === undefined || job?.id === byId.id) {
        checkForgettable(job, idOrName);
        if ((await this.#records.forget(name, revision)) !== undefined) return;
        continue;
      }
      const past = await this.#records.findPast(byId.id);
      checkForgettable(past.job, idOrName);
      if ((await this.#records.forgetPast(byId.id, past.revision)) !== undefined) return;
    }
  }

  async *changes(signal: AbortSignal): AsyncGenerator<JobRecord> {
    const ends = AbortSignal.any([signal, this.#closing.signal]);
    let seen = 0n;
    let outage = this.#outage("listen for changes");
    while (!ends.aborted) {
      try {
        const consumer = await this.#nats.client.consumers.get(this.#records.stream, {
          filter_subjects: this.#records.subjects,
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
            const { job, key, planning } = this.#records.hear(message);
            if (job !== undefined) yield job;
            else if (planning !== undefined) this.#silence.isSilent(planning.key, planning.revision);
            else if (key !== undefined) this.#silence.forget(key);
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
    await Promise.all([...this.#claims, ...this.#reservations].map((held) => held.release().catch(() => undefined)));
    this.#closing.abort();
  }

  async #findById(text: string): Promise<JobRecord | undefined> {
    if (!isId(text)) return undefined;
    const name = this.#nameOf.get(text);
    const last = name === undefined ? undefined : (await this.#records.find(name)).job;
    if (last?.id === text) return last;
    // Kept for the past before its name was another's: what is no more in the one place is in the other, or forgotten.
    const { job: past } = await this.#records.findPast(text);
    if (past !== undefined || name !== undefined) return past;
    const job = jobsIn(await this.#records.readAll(`look for ${text}`)).find(({ id }) => id === text);
    if (job === undefined) return undefined;
    if (this.#nameOf.size >= NAMES_KEPT) this.#nameOf.clear();
    this.#nameOf.set(job.id, job.name);
    return job;
  }

  /** The job of a token, if it is due; else the token goes back or away. */
  async #claim(token: QueueToken, holder: string): Promise<NatsClaim | undefined> {
    for (;;) {
      const { job, unread, revision } = await this.#records.find(token.name);
      if (unread !== undefined) {
        await token.giveBack(NOT_DUE_MS); // for a coordinator of the version that wrote it
        return undefined;
      }
      if (job?.id !== token.id) {
        if (token.ageMs < ORPHAN_MS || (await this.#isThere(token))) await token.giveBack(NOT_DUE_MS);
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
        if (job.state === "queued" || (await this.#records.put(free, { after: revision })) !== undefined) {
          await token.giveBack(NOT_DUE_MS);
          return undefined;
        }
        continue;
      }
      const mine = claimed(free, holder, token.claim);
      if ((await this.#records.put(mine, { after: revision })) === undefined) continue;
      const claim = new NatsClaim(mine, token, {
        change: (to) => this.#change(mine.name, to),
        find: async () => (await this.#records.find(mine.name)).job,
        gone: () => this.#claims.delete(claim),
        keepAliveMs: this.#options.keepAliveMs ?? ACK_WAIT_MS / 3,
      });
      this.#claims.add(claim);
      return claim;
    }
  }

  async #change(name: string, to: (now: JobRecord | undefined) => JobRecord): Promise<JobRecord> {
    for (;;) {
      const { job, unread, revision } = await this.#records.find(name);
      if (unread !== undefined) throw unreadable(name, unread);
      const changed = to(job);
      if ((await this.#records.put(changed, { after: revision })) !== undefined) return changed;
    }
  }

  #reservation(key: string, planning: StoredPlanning, firstRevision: bigint): NatsReservation {
    let revision: bigint | undefined = firstRevision;
    const reservation = new NatsReservation(planning.job, {
      vouch: async () => {
        if (revision !== undefined) revision = await this.#records.putPlanning(key, planning, { after: revision });
        return revision !== undefined;
      },
      confirm: (facts) => this.#confirm(key, planning, facts),
      release: async () => {
        if (revision !== undefined) await this.#records.forgetPlanning(key, revision);
      },
      gone: () => this.#reservations.delete(reservation),
      keepAliveMs: this.#options.keepAliveMs ?? ACK_WAIT_MS / 3,
    });
    this.#reservations.add(reservation);
    return reservation;
  }

  /** The submission becomes a job, if it is still there: its name, output and request id are kept from others by it. */
  async #confirm(key: string, { id, job }: StoredPlanning, facts: PlannedFacts): Promise<JobRecord> {
    const what = `submit ${job.name}`;
    const record = newRecord({ ...job, ...facts }, id);
    // First the token, that nobody takes for a job without a record. The other way round, a submitter that dies in between
    // would leave a job that never runs.
    await this.#publishToken(record);
    let kept: string | undefined;
    for (;;) {
      const streamAfter = await this.#records.lastSequence(what);
      const planning = await this.#records.findPlanning(key, what);
      if (planning?.id !== id) throw reservationLost(job);
      const { job: before, revision: after } = await this.#records.find(job.name);
      if (before !== undefined && before.id !== id && before.id !== kept) {
        // It has ended: its name was this submission's. What is read is read again, for the stream has changed.
        await this.#records.keepPast(before);
        kept = before.id;
        continue;
      }
      if ((await this.#records.put(record, { after, streamAfter })) !== undefined) {
        // It holds nothing any more, and is swept if this does not reach the server.
        await this.#records.forgetPlanning(key, planning.revision).catch(() => undefined);
        return record;
      }
      await delay(Math.random() * CONFLICT_MS_MAX);
    }
  }

  /** Waits a little for what becomes of a submission; takes it away where nobody is behind it. */
  async #settle({ key, revision }: { readonly key: string; readonly revision: bigint }): Promise<void> {
    if (this.#silence.isSilent(key, revision)) await this.#records.forgetPlanning(key, revision);
    else await delay(LOOK_MS, undefined, { signal: this.#closing.signal }).catch(() => undefined);
  }

  /** Whether there is a job or a submission of a token that seems to have none. */
  async #isThere({ id, name }: QueueToken): Promise<boolean> {
    const what = `look for ${name}`;
    await this.#records.catchUp(what);
    const { found, planned } = await this.#records.readAll(what);
    return found.get(name)?.job?.id === id || planned.some((planning) => planning.id === id);
  }

  /** Takes away what coordinators that are gone were planning. */
  async #sweep(): Promise<void> {
    for (const [key, revision] of this.#silence.silent()) {
      await this.#records.forgetPlanning(key, revision);
      this.#silence.forget(key);
    }
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

/** Each once: one that was being kept for the past when a coordinator died is in both places. */
function jobsIn({ found, past }: Pick<AllRecords, "found" | "past">): readonly JobRecord[] {
  const now = [...found.values()].flatMap(({ job }) => job ?? []);
  const ids = new Set(now.map(({ id }) => id));
  return [...past.filter(({ id }) => !ids.has(id)), ...now];
}

function unreadable(name: string, cause: RecordFault): QueueError {
  return new QueueError("queue/corrupt", `the record of ${name} cannot be read: ${cause.message}`, {
    hint: "A coordinator of another version wrote it: ask that one, or upgrade this one.",
    cause,
  });
}

function closing({ name }: NewJob): QueueError {
  return new QueueError("queue/unavailable", `cannot submit ${name}: the queue is being closed`, {
    hint: "Ask again in a moment: it, or another coordinator, goes on.",
    retryable: true,
  });
}
