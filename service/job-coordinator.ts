import { setTimeout as delay } from "node:timers/promises";
import { type Shares, shareSlots, slotChanges } from "../coordinator/core/index.ts";
import type { Outcome } from "../coordinator/job/index.ts";
import { LinkError, type WorkerPeer } from "../coordinator/link/index.ts";
import { type JobClaim, type JobQueue, type JobRecord, QueueError, type Wish } from "../coordinator/queue/index.ts";
import { type Failure, failureFrom } from "../merge/work/index.ts";
import { checkOutputIsNoInput } from "../output/index.ts";
import type { Prepared } from "../prepare/index.ts";
import { formatFault } from "../recipe/index.ts";
import { isPredecessor, nameText } from "./coordinator-name.ts";
import { ServiceError } from "./errors.ts";
import { detailOf, detailOfEnd, detailOfRun, keptWarnings, waitingFor } from "./job-detail.ts";
import { type JobOptions, jsonOfOptions } from "./job-options.ts";
import { layoutFor, removeJournal } from "./job-output.ts";
import { keepOn } from "./keep-on.ts";
import { PlanCache } from "./plan-cache.ts";
import { noteProgress } from "./progress-notes.ts";
import { ServedJob, type ServedJobSurroundings } from "./served-job.ts";

export interface JobCoordinatorOptions extends Omit<ServedJobSurroundings, "hasEnded"> {
  readonly queue: JobQueue;
  /** Jobs that run at once; others wait. */
  readonly jobsMax: number;
  readonly slotsPerThread: number;
  /** For how long a job that has ended is kept. Absent: as long as there are not too many. */
  readonly endedKeptMs?: number | undefined;
}

/** What somebody wants merged, as it came. */
export interface Submission {
  /** Empty: one is made up. */
  readonly name: string;
  readonly priority: number;
  readonly recipe: string;
  readonly out: { readonly root: string; readonly path: string };
  readonly submitter: string;
  readonly options: JobOptions;
}

/** How long the wants of jobs may have changed before slots are shared out anew. */
const SHARE_MS = 250;
const CLAIM_MS = 2000;
/** After a job could not be planned for a reason that may pass. */
const RETRY_MS = 10_000;
/** Plans of jobs that wait: the next ones' begin without a pause, and memory does not grow with the queue. */
const PLANS_KEPT = 4;
/** Between two looks at what has ended long ago. */
const FORGET_MS = 3_600_000;
/** Jobs that have ended, at most: each list and submission reads all of them. */
const ENDED_MAX = 2000;
/** How often a submission whose planning others took for a dead coordinator's is tried. */
const RESERVATIONS_MAX = 3;

/** The long-lived coordinator: takes jobs from the queue, runs several at once, and shares the workers out among them. */
export class JobCoordinator {
  readonly #options: JobCoordinatorOptions;
  readonly #holder: string;
  /** By id. */
  readonly #served = new Map<string, { readonly job: ServedJob; readonly ended: Promise<void> }>();
  /** By id: as they were heard of last, claimed for this coordinator, whose own claim has not been answered yet. */
  readonly #unserved = new Map<string, JobRecord>();
  readonly #plans = new PlanCache(PLANS_KEPT);
  /** By id: who wants to know of a change. */
  readonly #listeners = new Map<string, Set<() => void>>();
  readonly #end = new AbortController();
  #claiming: Promise<void> | undefined;
  #claimAgain = false;
  #tookOver = false;
  #shareTimer: NodeJS.Timeout | undefined;

  constructor(options: JobCoordinatorOptions) {
    this.#options = options;
    this.#holder = nameText(options.name);
  }

  /** Plans that are kept for jobs that wait. */
  get plansKept(): number {
    return this.#plans.size;
  }

  /** Takes up what is due, and goes on until `stop`. */
  start(): void {
    const failed = (error: unknown) => this.#options.log("queue failed", { ...failureFrom(error) });
    keepOn((tries, goesOn) => this.#watchQueue(tries, goesOn), { signal: this.#end.signal, failed }).catch(failed);
    this.#claim();
    // A job whose coordinator is gone comes back to the queue without a word.
    const again = setInterval(() => this.#claim(), CLAIM_MS).unref();
    const forget = () => this.#forgetOld().catch(failed);
    void forget();
    const forgetting = setInterval(forget, FORGET_MS).unref();
    this.#end.signal.addEventListener("abort", () => {
      clearInterval(again);
      clearInterval(forgetting);
    });
  }

  /** The served job of an id, while it runs here. */
  served(id: string): ServedJob | undefined {
    return this.#served.get(id)?.job;
  }

  /**
   * Plans the job, so that a bad recipe is refused before any work, and queues it. What it needs for itself is reserved before, among
   * all coordinators. Repeating it with the same request id gives the first one's job. @throws RefusedError; QueueError; ServiceError
   */
  async submit(submission: Submission): Promise<{ readonly record: JobRecord; readonly warnings: readonly string[] }> {
    const { queue, roots, log } = this.#options;
    const { options, out } = submission;
    const job = {
      name: submission.name === "" ? nameFor(out.path) : submission.name,
      nameTaken: submission.name === "" ? "suffix" : "refuse",
      priority: submission.priority,
      recipe: submission.recipe,
      options: jsonOfOptions(options),
      requestId: options.requestId,
      out,
      place: await roots.placeFor(out),
      submitter: submission.submitter,
    } as const;
    const layout = layoutFor(await roots.outputPath(out), options);
    let prepared: Prepared | undefined;
    for (let tries = 1; ; tries++) {
      const reserved = await queue.reserve(job, this.#holder);
      if (reserved.state === "repeated") return { record: reserved.job, warnings: reserved.job.warnings ?? [] };
      if (reserved.state === "output-taken") throw outputTaken(out, reserved.job);
      const { reservation } = reserved;
      try {
        prepared ??= await this.#options.planner.plan(submission.recipe, submission.options, layout);
        const { store } = this.#options;
        // As the job would be when it begins, perhaps much later.
        await checkOutputIsNoInput(store, await roots.outputPath(out), prepared.inputs);
        const warnings = prepared.warnings.map(formatFault);
        const record = await reservation.confirm({ plan: prepared.digest, warnings: keptWarnings(warnings) });
        this.#plans.keep(record.id, prepared);
        log("job submitted", { job: record.name, id: record.id, by: submission.submitter, plan: prepared.digest });
        this.#claim();
        return { record, warnings };
      } catch (error) {
        await reservation.release().catch((error: unknown) => log("queue failed", { ...failureFrom(error) }));
        // Others took this one for dead while it planned, and its plan is made.
        if (!isLost(error) || tries === RESERVATIONS_MAX) throw error;
      }
    }
  }

  /** @throws ServiceError `service/unknown-job` */
  async find(nameOrId: string): Promise<JobRecord> {
    const found = await this.#options.queue.find(nameOrId);
    if (found !== undefined) return found;
    throw new ServiceError("service/unknown-job", `there is no job ${JSON.stringify(nameOrId)}`, {
      hint: "deltaworks list --all shows the jobs; those that ended long ago are forgotten.",
    });
  }

  /** Whether no job was submitted later for the same output. */
  async isLastAt(record: JobRecord): Promise<boolean> {
    const where = placeText(record);
    const jobs = await this.#options.queue.list();
    return !jobs.some(
      (other) => other.id !== record.id && other.submittedAt >= record.submittedAt && placeText(other) === where,
    );
  }

  /** @throws LinkError `link/stopping`, once it is: those who watch come back to whoever listens next */
  checkServing(): void {
    if (this.#end.signal.aborted) throw stopping();
  }

  /** Calls back whenever a job may have changed, until the returned function is called. */
  listen(id: string, changed: () => void): () => void {
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners.add(changed));
    return () => {
      listeners.delete(changed);
      if (listeners.size === 0 && this.#listeners.get(id) === listeners) this.#listeners.delete(id);
    };
  }

  /** Calls back with what those who watch are to be told, once it stops. */
  onStop(stopped: (error: LinkError) => void): void {
    this.#end.signal.addEventListener("abort", () => stopped(stopping()));
  }

  list(): Promise<readonly JobRecord[]> {
    return this.#options.queue.list();
  }

  /** Notes what somebody asks, durably, and has it carried out. @throws ServiceError `service/unknown-job`; QueueError */
  async wish(nameOrId: string, wish: Wish): Promise<JobRecord> {
    const { id } = await this.find(nameOrId);
    const record = await this.#options.queue.wish(id, wish);
    this.#carryOut(record);
    if (record.state === "ended") this.#plans.drop(record.id);
    this.#changed(record.id);
    this.#claim();
    return record;
  }

  /** Workers or jobs have come, gone or changed. */
  share(): void {
    this.#shareTimer ??= setTimeout(() => {
      this.#shareTimer = undefined;
      this.#shareNow();
    }, 0);
  }

  /** Lets slices in flight become durable, for `graceMs` at most, and gives the jobs back to the queue. */
  async stop(graceMs: number): Promise<void> {
    this.#end.abort();
    clearTimeout(this.#shareTimer);
    const stopAll = () => {
      for (const { job } of this.#served.values()) job.stop();
      return Promise.all([...this.#served.values()].map(({ ended }) => ended));
    };
    // A queue that does not answer must not keep what runs from being stopped, nor the process from ending.
    const ended = Promise.all([stopAll(), Promise.resolve(this.#claiming).then(stopAll)]);
    const over = new AbortController();
    await Promise.race([ended, delay(graceMs, undefined, { signal: over.signal }).catch(() => undefined)]);
    over.abort();
  }

  /** Jobs that ended longer ago than they are to be kept; others may forget them at the same time. */
  async #forgetOld(): Promise<void> {
    const { queue, endedKeptMs = Number.POSITIVE_INFINITY, log, store, far } = this.#options;
    const old = forgettable(await queue.list(), Date.now() - endedKeptMs, ENDED_MAX);
    for (const { id, name } of old) {
      if (this.#end.signal.aborted) return;
      await queue.forget(id).catch((error: unknown) => {
        if (!(error instanceof QueueError && error.code === "queue/unknown-job")) throw error;
      });
      if (far !== undefined) await removeJournal(store, far, id);
      log("job forgotten", { job: name, id });
    }
  }

  async #hasEnded(id: string): Promise<boolean> {
    const found = await this.#options.queue.find(id);
    return found === undefined || found.state === "ended";
  }

  /** Claims what is due while there is room; calls meanwhile are one more round. */
  #claim(): void {
    if (this.#end.signal.aborted) return;
    this.#claimAgain = true;
    this.#claiming ??= (async () => {
      // What this coordinator had when it was killed is due at once, not when its claims run out.
      if (!this.#tookOver) await this.#options.queue.giveBackOf((holder) => isPredecessor(holder, this.#options.name));
      this.#tookOver = true;
      while (this.#claimAgain && !this.#end.signal.aborted) {
        this.#claimAgain = false;
        while (this.#served.size < this.#options.jobsMax && !this.#end.signal.aborted) {
          const claim = await this.#options.queue.claim(this.#holder);
          if (claim === undefined) break;
          this.#take(claim);
        }
      }
    })()
      .catch((error: unknown) => {
        this.#options.log("queue failed", { ...failureFrom(error) });
        setTimeout(() => this.#claim(), RETRY_MS).unref();
      })
      .finally(() => {
        this.#claiming = undefined;
      });
  }

  /** A record that no job can be made of must not stay claimed. */
  #take(claim: JobClaim): void {
    try {
      this.#serve(claim, new ServedJob(claim.job, { ...this.#options, hasEnded: (id) => this.#hasEnded(id) }));
    } catch (error) {
      const failure = failureFrom(error);
      this.#options.log("job failed", { job: claim.job.name, ...failure });
      // Not waited for: other jobs may be claimed meanwhile.
      void this.#note(claim, undefined, async () => {
        await claim.end("failed", detailOfEnd(undefined, failure));
        this.#plans.drop(claim.job.id);
      });
    }
  }

  #serve(claim: JobClaim, job: ServedJob): void {
    const unlisten = job.listen(() => {
      this.#changed(claim.job.id);
      this.#shareTimer ??= setTimeout(() => {
        this.#shareTimer = undefined;
        this.#shareNow();
      }, SHARE_MS);
    });
    claim.lost.addEventListener("abort", () => job.stop());
    // Claimed again by the same coordinator: the first claim ran out, for NATS was away. Two runs must not share the job's workers.
    const before = this.#served.get(claim.job.id);
    before?.job.stop();
    const ended = (before?.ended ?? Promise.resolve())
      .then(() => this.#run(job, claim))
      .finally(() => {
        unlisten();
        if (this.#served.get(claim.job.id)?.job === job) this.#served.delete(claim.job.id);
        this.#changed(claim.job.id);
        this.share();
        this.#claim();
      });
    this.#served.set(claim.job.id, { job, ended });
    // What was said since it was claimed may have come before the claim's answer did.
    const heard = this.#unserved.get(claim.job.id);
    this.#unserved.delete(claim.job.id);
    this.#carryOut(heard?.claims === claim.job.claims ? heard : claim.job);
  }

  async #run(job: ServedJob, claim: JobClaim): Promise<void> {
    const { log } = this.#options;
    const { name, id } = claim.job;
    const prepared = this.#plans.take(id);
    let end: Pick<Outcome, "outcome" | "cause">;
    try {
      const { outcome, cause } = await this.#runNoted(job, claim, prepared);
      const counts = Object.fromEntries(job.counters);
      log("job ended", { job: name, outcome, counts, ...(cause === undefined ? {} : { cause }) });
      if (cause !== undefined && this.#isForNextLeader(cause)) return await this.#giveBack(claim, cause, job);
      end = { outcome, ...(cause === undefined ? {} : { cause }) };
    } catch (error) {
      const failure = failureFrom(error);
      log("job failed", { job: name, ...failure });
      // Its journal, if it has one, is as it was.
      if (failure.retryable || failure.code === "journal/superseded") return await this.#giveBack(claim, failure, job);
      end = { outcome: "failed", cause: failure };
    }
    await this.#note(claim, job, async () => {
      if (end.outcome !== "stopped") return void (await claim.end(end.outcome, detailOfEnd(job, end.cause)));
      await claim.update({ detail: detailOfRun(job) });
      await claim.release();
    });
  }

  /** Where others may be asked for it, the queue knows how far it is. */
  async #runNoted(job: ServedJob, claim: JobClaim, prepared: Prepared | undefined): Promise<Outcome> {
    if (this.#options.journals === undefined) return job.run(prepared);
    const failed = (error: unknown) => {
      if (!isLost(error)) this.#options.log("queue failed", { job: claim.job.name, ...failureFrom(error) });
    };
    const stopNoting = noteProgress(claim, job, failed);
    try {
      return await job.run(prepared);
    } finally {
      await stopNoting();
    }
  }

  /**
   * What became of a job must get into the queue: before it has, nobody can have the job, its name or its output. So it is tried again
   * until it holds, or others have the job; once the coordinator ends, only once: whoever begins next takes the job up.
   */
  #note(claim: JobClaim, job: ServedJob | undefined, change: () => Promise<void>): Promise<void> {
    const failed = (error: unknown) => {
      const failure = failureFrom(error);
      this.#options.log("queue failed", { job: claim.job.name, ...failure });
      if (job !== undefined) job.unnoted = failure;
    };
    const noted = async () => {
      if (claim.lost.aborted) return;
      await change().catch((error: unknown) => {
        if (!isLost(error)) throw error;
      });
    };
    return keepOn(noted, { signal: this.#end.signal, failed });
  }

  /** The job itself is well; who takes it over reads the journal anew. */
  #isForNextLeader({ code }: Failure): boolean {
    if (code === "journal/superseded" || code === "journal/tail-lost") return true;
    // A shared journal cannot be claimed from before it is there again; a disk that fails would be tried for ever.
    return code === "journal/unavailable" && this.#options.journals !== undefined;
  }

  /** What may pass by itself is tried again later, not at once. */
  async #giveBack(claim: JobClaim, failure: Failure, job?: ServedJob): Promise<void> {
    if (claim.lost.aborted) return;
    await claim
      .update({ detail: waitingFor(claim.job.detail, failure) })
      .catch((error: unknown) => this.#options.log("queue failed", { ...failureFrom(error) }));
    await delay(RETRY_MS, undefined, { signal: this.#end.signal }).catch(() => undefined);
    await this.#note(claim, job, () => claim.release());
  }

  async #watchQueue(tries: number, goesOn: () => void): Promise<void> {
    const { queue } = this.#options;
    const changes = queue.changes(this.#end.signal);
    // What changed while nobody listened.
    if (tries > 0) for (const record of await queue.list()) this.#see(record);
    for await (const record of changes) {
      goesOn();
      this.#see(record);
    }
  }

  #see(record: JobRecord): void {
    if (record.state === "queued") this.#claim();
    else this.#carryOut(record);
    const isServed = this.#served.get(record.id)?.job.record.claims === record.claims;
    if (record.state === "claimed" && record.holder === this.#holder && !isServed) {
      this.#unserved.set(record.id, record);
    } else this.#unserved.delete(record.id);
    if (record.state === "ended" || (record.state === "claimed" && record.holder !== this.#holder))
      this.#plans.drop(record.id);
    this.#changed(record.id);
  }

  #changed(id: string): void {
    for (const listener of this.#listeners.get(id) ?? []) listener();
  }

  #carryOut(record: JobRecord): void {
    const job = this.#served.get(record.id)?.job;
    if (job === undefined) return;
    if (record.wish === "pause") job.pause(pausedBy(record));
    else if (record.wish === "cancel") job.cancel();
    else if (record.wish === "terminate") job.terminate();
    // A job that paused by itself (a full disk) goes on when somebody says so, to whichever coordinator, not when its record changes.
    else if (job.wish === "pause" || resumesOf(record) > job.resumes) job.resume();
    job.wish = record.wish;
    job.resumes = resumesOf(record);
  }

  #shareNow(): void {
    const { hub, slotsPerThread } = this.#options;
    const present = [...hub.workers].filter(({ attached, draining }) => attached && !draining);
    const workers = ableOf(present);
    const jobs = [...hub.jobs.keys()].flatMap((id) => {
      const job = this.#served.get(id)?.job;
      if (job === undefined) return [];
      // Twice what is open: stragglers may be overtaken, and audits made. The last units must find a worker where they did not fail.
      const spread = job.wanted > 0 && job.wanted <= workers.length;
      const wanted = spread ? Math.max(2 * job.wanted, workers.length) : 2 * job.wanted;
      const { workersWanted: needs = [], workersRefused: without = [] } = job.progressNow ?? {};
      return [{ id, priority: job.record.priority, wanted, spread, needs, without }];
    });
    const before: Shares = new Map(
      [...hub.jobs.keys()].map((id) => [
        id,
        new Map(workers.map((worker) => [worker.id, worker.links.get(id)?.slots ?? 0] as const)),
      ]),
    );
    const able = new Set(workers);
    for (const worker of present) {
      for (const { id } of jobs) {
        if (!able.has(worker)) hub.setSlots(worker, id, 0);
        hub.setBarred(worker, id, !able.has(worker));
      }
    }
    const pool = workers.map(({ id, facts }) => ({ id, slots: facts.threads * slotsPerThread }));
    const byId = new Map(workers.map((worker) => [worker.id, worker]));
    for (const { job, worker: id, slots } of slotChanges(before, shareSlots(pool, jobs, before))) {
      const worker = byId.get(id);
      if (worker !== undefined) hub.setSlots(worker, job, slots);
    }
  }
}

/** All but those that were set aside; where there are no others, those that merely failed: another job may suit them better. */
function ableOf(workers: readonly WorkerPeer[]): readonly WorkerPeer[] {
  const sound = workers.filter(({ setAside }) => setAside === undefined);
  return sound.length > 0 ? sound : workers.filter(({ setAside }) => setAside?.code !== "coordinator/nondeterministic");
}

function stopping(): LinkError {
  return new LinkError("link/stopping", "the coordinator is shutting down", {
    hint: "Ask again in a moment: it, or another one, goes on.",
    retryable: true,
  });
}

function outputTaken(out: Submission["out"], { name, out: theirs }: JobRecord): ServiceError {
  const same = theirs.root === out.root && theirs.path === out.path;
  const which = same ? "" : `, and ${out.root}:${out.path} is the same place, around it or in it`;
  return new ServiceError("service/output-taken", `job ${name} writes to ${theirs.root}:${theirs.path}${which}`, {
    hint: "Choose another output, or wait until that job has ended.",
  });
}

/** Of jobs in order of submission, those that ended before a time, by the clock of who ended them, and the oldest of too many. */
export function forgettable(jobs: readonly JobRecord[], beforeMs: number, endedMax: number): readonly JobRecord[] {
  const ended = jobs.filter(({ state }) => state === "ended");
  const tooMany = ended.length - endedMax;
  return ended.filter(({ detail, submittedAt }, k) => {
    const { endedAtMs = Date.parse(submittedAt) } = detailOf(detail);
    return k < tooMany || endedAtMs < beforeMs;
  });
}

function placeText({ place, out }: Pick<JobRecord, "place" | "out">): string {
  const { root, path } = place ?? out;
  return `${root}:${path}`;
}

function resumesOf({ resumes = 0 }: JobRecord): number {
  return resumes;
}

function isLost(error: unknown): boolean {
  return error instanceof QueueError && error.code === "queue/claim-lost";
}

function pausedBy({ name }: JobRecord): Failure {
  return {
    code: "service/paused",
    message: `job ${name} was paused`,
    hint: `deltaworks resume ${name} goes on.`,
    retryable: true,
  };
}

/** From the last part of the output's path. */
function nameFor(path: string): string {
  const last = path.split("/").at(-1) ?? "";
  const name = last
    .replaceAll(/[^A-Za-z0-9._-]/g, "-")
    .replace(/^[^A-Za-z0-9]+/, "")
    .slice(0, 48);
  return name === "" ? "job" : name;
}
