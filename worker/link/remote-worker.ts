import { type AttemptKey, type Failure, failureFrom, type Report, textOfAttempt } from "../../merge/work/index.ts";
import {
  type Assignment as AssignmentMessage,
  type AttachResponse,
  GrantDecision,
  type Hello,
  type JobDescription as JobMessage,
  OutputAccess,
  ReportDecision,
  type Welcome,
} from "../../proto/index.ts";
import type { Computed } from "../../runtime/index.ts";
import { type Files, openSignedObjects, type SignedObjects, type Stores, schemeOf } from "../../storage/index.ts";
import {
  assignmentOf,
  attemptOf,
  attemptOfAssignment,
  bytesOfHex,
  dataBytes,
  every,
  failuresOfCall,
  isTooLarge,
  messageOfAttempt,
  messageOfFailed,
  messageOfReport,
  numberOf,
  packedData,
  SUMMARY_MESSAGE_MAX_BYTES,
  systemTimers,
  type Timers,
  WireError,
} from "../../wire/index.ts";
import type { ConnectionOptions } from "../index.ts";
import {
  heldKeys,
  initialLeases,
  type LeaseEffect,
  type LeaseEvent,
  type LeaseRules,
  type LeaseState,
  mayBeginIo,
  reduceLeases,
  writingKeys,
} from "../lease/index.ts";
import { ThreadPool, type ThreadPoolListener, type ThreadPoolOptions } from "../pool/index.ts";
import { canPass, isServiceError, type OfferedResult, persist, sendResult, sendSummary } from "../transfer/index.ts";
import { type AttachListener, Attachment, type AttachmentSeams } from "./attachment.ts";
import { JobShelf } from "./job-shelf.ts";
import { type LocalJob, localJob } from "./local-job.ts";
import type { MountedRoots } from "./mounted-roots.ts";
import { putPart } from "./put-part.ts";
import { NoAnswer, Questions } from "./questions.ts";
import { readPlan } from "./read-plan.ts";
import type { WorkerLog } from "./worker-log.ts";
import { putResult, type ResultPlace, writeResult } from "./write-result.ts";

export interface RemoteWorkerOptions {
  readonly connection: ConnectionOptions;
  /** What does not change from one connection to the next. */
  readonly hello: Omit<Hello, "held" | "writing">;
  readonly pool: ThreadPoolOptions;
  /** Memory of one thread for inputs that come over the network. */
  readonly inputCacheBytes: number;
  readonly store: Files;
  /** What is put into buckets. Absent: nothing is. */
  readonly far?: Pick<Stores, "putPart"> | undefined;
  /** The same by signed addresses: at most so many bytes a second. */
  readonly sending?: { readonly bandwidthBytes?: number } | undefined;
  readonly roots: MountedRoots;
  readonly log: WorkerLog;
  /** The process must end now, whatever is under way. */
  readonly fatal: (failure: Failure) => void;
  readonly seams?: WorkerSeams;
}

/** What of a thread pool the link needs. */
export type WorkerPool = Pick<
  ThreadPool,
  "assign" | "begin" | "drop" | "end" | "finish" | "look" | "release" | "waiting"
>;

/** Where a simulation sets itself between the link and what it runs on. */
export interface WorkerSeams extends AttachmentSeams {
  readonly startPool?: (options: ThreadPoolOptions, listener: ThreadPoolListener) => Promise<WorkerPool>;
  /** How often leases are looked at; when unanswered questions are asked again, and "later" ones; how long a result may take to be sent. */
  readonly tickMs?: number;
  readonly answerMs?: number;
  readonly laterMs?: number;
  readonly sendMs?: number;
  /** After which a question has no answer; most bytes of a report. */
  readonly questionMs?: number;
  readonly reportBytesMax?: number;
  readonly memoryUsedBytes?: () => number;
}

/** One attempt and what there is of it. */
interface Work {
  readonly key: AttemptKey;
  readonly message: AssignmentMessage;
  /** It is with the pool, or will be; nothing has come of it. */
  computing: boolean;
  job?: LocalJob;
  place?: ResultPlace;
  /** A computed slice, until it is in storage. */
  result?: OfferedResult & { readonly buffer: ArrayBuffer };
  /** What is to be said of it. */
  report?: Report;
  reporting: boolean;
  /** Questions and reports that got no answer. */
  unanswered: number;
  /** Of the write that is under way: set when it must not go on. */
  write?: { fenced: boolean };
}

/** How often leases are looked at. */
const TICK_MS = 100;
/** An answer that has not come for so long is asked for again. */
const ANSWER_MS = 5_000;
/** "Later": when to ask again. */
const LATER_MS = 500;
/** A whole result goes up in this time, or the stream is begun anew from where it was. */
const SEND_DEADLINE_MS = 120_000;
/** A summary waits until the coordinator has room for it. */
const SUMMARY_DEADLINE_MS = 600_000;
/** Every so many calls without an answer somebody should hear of it. */
const UNANSWERED_SHOWN = 10;
const PLAN_BACKOFF = { firstMs: 200, mostMs: 2_000 };
const PLAN_PATIENCE_MS = 60_000;
/** A coordinator that never let the worker in has no times either; nothing is leased before it does. */
const NO_RULES = { leaseMs: 0, ioTimeoutMs: 0 };

/**
 * A worker on another machine than its coordinator: the thread pool behind the link. Computes first and keeps the result in memory,
 * asks for the grant with its hash, then writes, syncs and reports. What it may do with a lease, worker/lease/ decides; this carries
 * it out.
 */
export class RemoteWorker implements AttachListener {
  readonly #options: RemoteWorkerOptions;
  readonly #attachment: Attachment;
  readonly #questions: Questions;
  readonly #jobs: JobShelf;
  readonly #work = new Map<string, Work>();
  readonly #timers: Timers;
  readonly #rules: { -readonly [K in keyof LeaseRules]: LeaseRules[K] };
  readonly #leases: LeaseState;
  readonly #events: LeaseEvent[] = [];
  #reducing = false;
  #signed: Promise<SignedObjects> | undefined;
  #pool: WorkerPool | undefined;
  #drained: () => void = () => {};

  constructor(options: RemoteWorkerOptions) {
    this.#options = options;
    const { timers = systemTimers, answerMs = ANSWER_MS, laterMs = LATER_MS } = options.seams ?? {};
    this.#timers = timers;
    this.#rules = { ...NO_RULES, answerMs, laterMs };
    this.#leases = initialLeases(this.#rules);
    this.#attachment = new Attachment({ ...options, listener: this });
    this.#questions = new Questions({
      gather: (message) => this.#attachment.gather(message),
      timers,
      deadlineMs: options.seams?.questionMs,
      reportBytesMax: options.seams?.reportBytesMax,
    });
    this.#jobs = new JobShelf((message) => this.#load(message), options.log);
  }

  /**
   * Works until it is drained.
   * @throws WorkerError `worker/refused` where the coordinator does not want this worker; WireError; what threads throw at the start
   */
  async run(): Promise<void> {
    const done = new Promise<void>((resolve) => {
      this.#drained = resolve;
    });
    const { log, seams } = this.#options;
    const startPool = seams?.startPool ?? ThreadPool.start;
    this.#pool = await startPool(this.#options.pool, {
      computed: (unit, computed) => this.#computed(unit, computed),
      reported: (job, report) => this.#finished({ job, unit: report.unit, attempt: report.attempt }, report),
      dropped: () => {},
      replaced: (thread, failure) => log("warn", "thread replaced", { thread, ...failure }),
      broken: (failure) => this.#options.fatal(failure),
    });
    const stopTicks = every(this.#timers, seams?.tickMs ?? TICK_MS, () => {
      this.#post({ type: "time-passed", nowMs: this.#timers.nowMs() });
    });
    try {
      await Promise.race([this.#attachment.run(), done]);
      await this.#attachment.leave();
    } finally {
      stopTicks();
      this.#attachment.close();
      (await this.#signed?.catch(() => undefined))?.close();
      await this.#pool.end();
    }
  }

  /** Takes no more work, hands back what has not begun, and ends when the rest is done or `graceMs` are over. */
  drain(graceMs: number): void {
    const begun = this.#leases.drainUntilMs !== undefined;
    const waitingInPool = new Set(this.#pool?.waiting().map(textOfAttempt));
    const waiting = [...this.#work.values()]
      .filter(({ key, computing, job }) => computing && (job === undefined || waitingInPool.has(textOfAttempt(key))))
      .map(({ key }) => key);
    if (!begun) {
      this.#options.log("info", "draining", { graceMs, held: this.#work.size, handedBack: waiting.length });
      this.#sayDraining(graceMs);
    }
    this.#post({ type: "drain", graceMs, waiting, nowMs: this.#timers.nowMs() });
  }

  /** The result of an attempt that may be fetched; undefined where there is none. */
  resultOf(id: AttemptKey): OfferedResult | undefined {
    const work = this.#work.get(textOfAttempt(id));
    return work?.job?.output === OutputAccess.OUTPUT_ACCESS_FETCH_RESULT ? work.result : undefined;
  }

  // ---- the connection

  hello(): Hello {
    const [held, writing] = [heldKeys(this.#leases), writingKeys(this.#leases)];
    return {
      ...this.#options.hello,
      held: held.map(messageOfAttempt),
      writing: { ids: writing.map(messageOfAttempt) },
    };
  }

  attached(welcome: Welcome): void {
    this.#rules.leaseMs = numberOf(welcome.leaseMs, "a lease of ms");
    this.#rules.ioTimeoutMs = numberOf(welcome.ioTimeoutMs, "a timeout of ms");
    this.#options.log("info", "attached", { coordinator: welcome.softwareVersion, held: this.#work.size });
    this.#post({ type: "link-restored", dropped: welcome.dropped.map(attemptOf), nowMs: this.#timers.nowMs() });
    const { drainUntilMs } = this.#leases;
    if (drainUntilMs !== undefined) this.#sayDraining(Math.max(0, drainUntilMs - this.#timers.nowMs()));
  }

  detached(): void {
    this.#questions.disconnected();
    this.#post({ type: "link-lost", nowMs: this.#timers.nowMs() });
  }

  /** A thread that hangs does not look alive: what it holds is not renewed. */
  heartbeat() {
    // Its leases have lapsed by then, and whoever has them now may write.
    const hungAfterMs = this.#rules.leaseMs + this.#rules.ioTimeoutMs;
    const progress = new Map(
      this.#pool?.look(this.#timers.nowMs(), hungAfterMs).map((unit) => [textOfAttempt(unit), unit]),
    );
    const held = heldKeys(this.#leases).map((key) => {
      const { alive = true } = progress.get(textOfAttempt(key)) ?? {};
      return { id: messageOfAttempt(key), alive, bytesDone: 0n };
    });
    const { memoryUsedBytes = process.memoryUsage.rss } = this.#options.seams ?? {};
    return { held, memoryUsedBytes: memoryUsedBytes() };
  }

  answered(renewed: readonly AttemptKey[], sentMs: number, dropped: readonly AttemptKey[]): void {
    this.#post({ type: "heartbeat-answered", renewed, sentMs, dropped, nowMs: this.#timers.nowMs() });
  }

  received(message: NonNullable<AttachResponse["message"]>): void {
    switch (message.$case) {
      case "answer":
        return this.#questions.answered(message.value);
      case "job":
        if (this.#jobs.describe(message.value)) this.#dropJob(message.value.jobId);
        return;
      case "assignment":
        return this.#assigned(message.value);
      case "cancel":
        return this.#post({ type: "dropped", keys: message.value.ids.map(attemptOf), nowMs: this.#timers.nowMs() });
      case "jobEnded":
        if (!this.#jobs.remove(message.value.jobId)) return;
        this.#dropJob(message.value.jobId);
        return this.#options.log("info", "job ended", { job: message.value.jobId });
      case "drain":
        this.#options.log("info", "the coordinator wants this worker to end", { reason: message.value.reason });
        return this.drain(Number.MAX_SAFE_INTEGER);
      default:
        return;
    }
  }

  #sayDraining(graceMs: number): void {
    const value = { graceMs: BigInt(Math.floor(Math.min(graceMs, Number.MAX_SAFE_INTEGER))) };
    this.#attachment.send({ $case: "draining", value });
  }

  // ---- jobs and assignments

  async #load(message: JobMessage): Promise<LocalJob> {
    const { store, roots, connection, inputCacheBytes, log } = this.#options;
    const planText = await persist(() => readPlan(this.#attachment.client, message.jobId), {
      ...PLAN_BACKOFF,
      timers: this.#timers,
      untilMs: this.#timers.nowMs() + PLAN_PATIENCE_MS,
    });
    const remoteInputs = { connection, cacheBytes: inputCacheBytes };
    const local = await localJob(message, planText, { store, roots, remoteInputs });
    if (this.#jobs.has(message.jobId)) this.#pool?.begin(local.begin);
    log("info", "job begins", { job: message.jobId, inputs: message.inputAccess, output: message.outputAccess });
    return local;
  }

  #dropJob(id: string): void {
    const keys = [...this.#work.values()].filter(({ key }) => key.job === id).map(({ key }) => key);
    this.#post({ type: "dropped", keys, nowMs: this.#timers.nowMs() });
    this.#pool?.finish(id);
  }

  #assigned(message: AssignmentMessage): void {
    const key = attemptOfAssignment(message);
    if (!this.#work.has(textOfAttempt(key))) {
      this.#work.set(textOfAttempt(key), { key, message, computing: true, reporting: false, unanswered: 0 });
    }
    this.#post({ type: "assigned", key, nowMs: this.#timers.nowMs() });
    if (this.#leases.leases.has(textOfAttempt(key))) return;
    // Handed back at once, where no more work is taken; by the leases themselves, as long as they are not over.
    this.#work.delete(textOfAttempt(key));
    if (this.#leases.over) this.#attachment.send({ $case: "handBack", value: { ids: [messageOfAttempt(key)] } });
  }

  async #compute(work: Work): Promise<void> {
    try {
      const job = await this.#jobs.local(work.key.job);
      if (!this.#isCurrent(work)) return;
      if (job === undefined) return this.#post({ type: "dropped", keys: [work.key], nowMs: this.#timers.nowMs() });
      const { assignment } = assignmentOf(work.message, job.index);
      work.job = job;
      if (assignment.kind === "slice") {
        const { shard, offsetBytes } = assignment.slice;
        const path = job.index.shardPaths[shard];
        if (path === undefined) throw new Error(`there is no shard ${shard}`);
        work.place = { path, offsetBytes };
      }
      this.#pool?.assign(work.key.job, assignment);
    } catch (error) {
      this.#failed(work, error);
    }
  }

  #computed(unit: AttemptKey, { sha256, warnings, counts, buffer }: Computed): void {
    const work = this.#work.get(textOfAttempt(unit));
    const slice = work?.job?.index.slices.get(unit.unit);
    if (work === undefined || slice === undefined || buffer === undefined) {
      if (buffer !== undefined) this.#pool?.release(buffer);
      if (work !== undefined) this.#finished(unit, { ...attemptIn(unit), kind: "audit", sha256, counts });
      return;
    }
    work.computing = false;
    work.result = { bytes: new Uint8Array(buffer, 0, slice.sizeBytes), sha256, buffer };
    work.report = { ...attemptIn(unit), kind: "slice", sha256, warnings, counts };
    this.#post({ type: "computed", key: work.key, sha256, nowMs: this.#timers.nowMs() });
  }

  #failed(work: Work, error: unknown): void {
    if (this.#isCurrent(work)) {
      this.#finished(work.key, { ...attemptIn(work.key), kind: "failed", failure: this.#failureOf(error) });
    }
  }

  /** Nothing is (any more) to be written for it. */
  #finished(key: AttemptKey, report: Report): void {
    const work = this.#work.get(textOfAttempt(key));
    if (work === undefined) return;
    work.computing = false;
    work.report = report;
    this.#release(work);
    this.#post({ type: "finished", key, nowMs: this.#timers.nowMs() });
  }

  // ---- what the leases ask for

  /** Events are taken one after another, also those that effects cause at once. */
  #post(event: LeaseEvent): void {
    this.#events.push(event);
    if (this.#reducing) return;
    this.#reducing = true;
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        if ("key" in next && next.type !== "io-began" && next.type !== "io-ended") {
          this.#options.log("debug", next.type, { ...next.key });
        }
        for (const effect of reduceLeases(this.#leases, next)) this.#perform(effect);
      }
    } catch (error) {
      this.#defect(error);
    } finally {
      this.#reducing = false;
    }
  }

  /** An invariant is broken, so that nothing that is known of the leases can be relied on: the process must end. */
  #defect(error: unknown): void {
    this.#events.length = 0;
    this.#options.fatal(failureFrom(error));
  }

  /** What goes on by itself says so where it fails, unless it has been said already. */
  #goesOn(work: Promise<void>): void {
    work.catch((error: unknown) => this.#defect(error));
  }

  #perform(effect: LeaseEffect): void {
    switch (effect.type) {
      case "hand-back":
        return this.#attachment.send({ $case: "handBack", value: { ids: effect.keys.map(messageOfAttempt) } });
      case "exit":
        return this.#options.fatal(outlived(effect.key, this.#timers.nowMs() - effect.sinceMs));
      case "drained":
        return this.#drained();
    }
    const work = this.#work.get(textOfAttempt(effect.key));
    if (work === undefined) return;
    switch (effect.type) {
      case "compute":
        return this.#goesOn(this.#compute(work));
      case "ask-grant":
        return this.#goesOn(this.#askForGrant(work, effect.sha256));
      case "write":
        return this.#goesOn(this.#store(work));
      case "fence":
        if (work.write !== undefined) work.write.fenced = true;
        return;
      case "report":
        return this.#goesOn(this.#report(work));
      case "drop":
        if (work.write !== undefined) work.write.fenced = true;
        if (work.computing && work.job !== undefined) this.#pool?.drop(work.key);
        this.#work.delete(textOfAttempt(work.key));
        this.#release(work);
    }
  }

  async #askForGrant({ key }: Work, sha256: string): Promise<void> {
    const askedMs = this.#timers.nowMs();
    try {
      const request = { id: messageOfAttempt(key), sha256: bytesOfHex(sha256) };
      const decision = await this.#questions.requestGrant(request);
      const answer =
        decision === GrantDecision.GRANT_DECISION_GRANTED
          ? "granted"
          : decision === GrantDecision.GRANT_DECISION_LATER
            ? "later"
            : "refused";
      this.#post({ type: "grant-answered", key, answer, askedMs, nowMs: this.#timers.nowMs() });
    } catch (error) {
      this.#notAnswered("grant", key, error);
    }
  }

  /** A granted slice from memory to its place. */
  async #store(work: Work): Promise<void> {
    const { key, job, place, result } = work;
    if (job === undefined || place === undefined || result === undefined) {
      throw new Error(`${textOfAttempt(key)} was granted before it was computed`);
    }
    const write = { fenced: false };
    work.write = write;
    try {
      const isThere = await this.#bring(work, job, place, result, write);
      if (write.fenced) return;
      if (!isThere) return this.#post({ type: "write-stopped", key, nowMs: this.#timers.nowMs() });
      // What may be fetched must stay until the coordinator says that it has it.
      if (job.output !== OutputAccess.OUTPUT_ACCESS_FETCH_RESULT) this.#release(work);
      this.#post({ type: "written", key, nowMs: this.#timers.nowMs() });
    } catch (error) {
      if (!write.fenced) this.#failed(work, error);
    }
  }

  /** False: it was fenced. */
  async #bring(
    { key }: Work,
    job: LocalJob,
    place: ResultPlace,
    result: OfferedResult,
    write: { readonly fenced: boolean },
  ): Promise<boolean> {
    if (job.output === OutputAccess.OUTPUT_ACCESS_FETCH_RESULT) return true; // the coordinator comes for it
    const nowMs = () => this.#timers.nowMs();
    const mayGoOn = () => !write.fenced && mayBeginIo(this.#leases, key, nowMs());
    if (job.output === OutputAccess.OUTPUT_ACCESS_SIGNED_PART) {
      const ways = { mayGoOn, timers: this.#timers };
      this.#signed ??= openSignedObjects(this.#options.sending);
      const part = { id: key, slot: place.path, ...result };
      return putPart(await this.#signed, () => this.#attachment.client, part, ways);
    }
    if (job.output === OutputAccess.OUTPUT_ACCESS_ROOTS) {
      const { store, far } = this.#options;
      const fence = {
        mayBegin: mayGoOn,
        began: () => this.#post({ type: "io-began", key, nowMs: nowMs() }),
        ended: () => this.#post({ type: "io-ended", key, nowMs: nowMs() }),
      };
      if (schemeOf(place.path) === "file") return writeResult(store, place, result.bytes, fence);
      if (far === undefined) throw new Error(`nothing here writes to ${place.path}`);
      return putResult((...part) => far.putPart(...part), place, result, fence);
    }
    const { sendMs = SEND_DEADLINE_MS } = this.#options.seams ?? {};
    const send = () => sendResult(this.#attachment.client, { id: key, ...result }, sendMs, mayGoOn);
    const patience = { ...PLAN_BACKOFF, timers: this.#timers, untilMs: nowMs() + sendMs, mayGoOn };
    return persist(send, patience).then(
      () => true,
      (error: unknown) => {
        if (mayGoOn()) throw error;
        return false;
      },
    );
  }

  async #report(work: Work): Promise<void> {
    const { key, report } = work;
    if (work.reporting || report === undefined) return;
    work.reporting = true;
    try {
      const decision = await this.#sent(key, report);
      const answer = decision === ReportDecision.REPORT_DECISION_ACCEPTED ? "accepted" : "stale";
      this.#post({ type: "report-answered", key, answer, nowMs: this.#timers.nowMs() });
    } catch (error) {
      if (report.kind !== "failed" && neverArrives(error)) {
        // It would be so each time: the job must hear of it.
        work.report = { ...attemptIn(key), kind: "failed", failure: this.#failureOf(error) };
      } else this.#notAnswered("report", key, error);
    } finally {
      work.reporting = false;
    }
    if (work.report !== report && this.#isCurrent(work)) await this.#report(work);
  }

  async #sent(key: AttemptKey, report: Report): Promise<ReportDecision> {
    if (report.kind === "failed") return this.#questions.reportFailure(messageOfFailed(key.job, report));
    if (report.kind !== "survey") return this.#questions.reportSlice(messageOfReport(key.job, report));
    const { summary, counts } = report;
    const bytes = dataBytes(summary);
    if (bytes <= SUMMARY_MESSAGE_MAX_BYTES) return this.#questions.reportSlice(messageOfReport(key.job, report));
    const data = packedData(summary);
    this.#options.log("debug", "a summary in pieces", { unit: key.unit, bytes });
    return sendSummary(this.#attachment.client, { id: key, counts, data }, SUMMARY_DEADLINE_MS);
  }

  /** What can pass is asked again in a while; else the coordinator knows nothing of the attempt, nor ever will. */
  #notAnswered(what: string, key: AttemptKey, error: unknown): void {
    const failure = this.#failureOf(error);
    const work = this.#work.get(textOfAttempt(key));
    const times = work === undefined ? 1 : ++work.unanswered;
    const passes = error instanceof NoAnswer ? error.retryable : canPass(error);
    const isNews = !passes || times % UNANSWERED_SHOWN === 0;
    this.#options.log(isNews ? "warn" : "debug", `no answer to a ${what}`, { unit: key.unit, times, ...failure });
    if (!passes) this.#post({ type: "dropped", keys: [key], nowMs: this.#timers.nowMs() });
  }

  #release(work: Work): void {
    const { result } = work;
    if (result === undefined) return;
    delete work.result;
    this.#pool?.release(result.buffer);
  }

  #isCurrent(work: Work): boolean {
    return this.#work.get(textOfAttempt(work.key)) === work;
  }

  #failureOf(error: unknown): Failure {
    if (!isServiceError(error)) return failureFrom(error);
    return failuresOfCall(error, this.#options.connection.address)[0];
  }
}

function attemptIn({ unit, attempt }: AttemptKey): Pick<AttemptKey, "unit" | "attempt"> {
  return { unit, attempt };
}

/** However often it is said. */
function neverArrives(error: unknown): boolean {
  if (error instanceof WireError) return error.code === "wire/too-large";
  return isServiceError(error) && isTooLarge(error);
}

function outlived({ unit }: AttemptKey, ms: number): Failure {
  return {
    code: "worker/lease-outlived",
    message: `a call that writes ${unit} has taken ${Math.round(ms)} ms and outlived its lease`,
    hint: "The worker ended itself, so that nothing is written behind another's back. Look at the disk or the mount; then start it again.",
    retryable: true,
  };
}
