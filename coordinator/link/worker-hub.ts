import type { AttemptKey, AttemptRef, Failure, SealWork, WorkerId } from "../../merge/work/index.ts";
import type { AttemptId, Hello } from "../../proto/index.ts";
import type { Files } from "../../storage/index.ts";
import {
  attemptOf,
  type BatchWriter,
  checkVersions,
  messageOfAttempt,
  numberOf,
  PlanPieces,
  PROTOCOL_VERSION,
} from "../../wire/index.ts";
import { LinkError } from "./errors.ts";
import { InputOutlet } from "./input-outlet.ts";
import { JobLink, type OpenJob } from "./job-link.ts";
import { Limiter } from "./limiter.ts";
import { accessOf, type RemoteJob, seesOutput } from "./remote-job.ts";
import { ResultIntake } from "./result-intake.ts";
import type { HeldAttempt, WorkerSource } from "./worker-link.ts";
import { type WorkerFacts, WorkerPeer } from "./worker-peer.ts";

export interface HubTimes {
  /** A lease that is not renewed for this long lapses. */
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  /** How long one I/O call of a worker may take before it ends itself. */
  readonly ioTimeoutMs: number;
}

export interface HubOptions {
  readonly softwareVersion: string;
  /** Which start of this coordinator it is. */
  readonly startNumber: number;
  readonly times: HubTimes;
  readonly store: Files;
  readonly clock: { nowMs(): number };
  /** Calls `act` once, when what is at hand has been taken: whatever a worker is sent meanwhile goes as one message. */
  readonly soon?: (act: () => void) => void;
  /** Brings a granted result from a worker that listens into the intake. */
  fetch(worker: WorkerPeer, job: RemoteJob, intake: ResultIntake, ref: AttemptRef): Promise<void>;
  /** A worker has been away for so long that nothing is kept of it. */
  forgotten?(worker: WorkerId): void;
  /** Workers or jobs have come, gone or changed: slots are to be shared out anew. */
  changed(): void;
  log(event: string, facts: Readonly<Record<string, unknown>>): void;
  /** An invariant of the link is broken, so that nothing here can be relied on: the process must end, with this error. */
  defect(error: unknown, where: string): void;
}

/** A worker that was not heard of for so many heartbeats is cut off: the connection may be half open. */
const HEARTBEATS_MISSED_MAX = 4;
/** A worker that is gone for so many leases is forgotten. */
const LEASES_GONE_MAX = 10;

/** Parts of the seal that are read back here at once, for workers that cannot see the output. */
const READ_BACKS_MAX = { count: 8, bytes: 64 * 1024 * 1024 } as const;
/** Most that reading one part back takes: two buffers of output/seal. */
const READ_BACK_BYTES = 16 * 1024 * 1024;

/** Parts that come through here on their way to a bucket: each lies in memory until it is whole. */
const PARTS_MAX = { count: 64, bytes: 256 * 1024 * 1024 } as const;

/** Failure of a worker that was outvoted on the bytes of a slice. */
const COMPUTES_WRONGLY = "coordinator/nondeterministic";

/** All workers on other machines, and the jobs that they can be put to. */
export class WorkerHub {
  readonly options: HubOptions;
  readonly #workers = new Map<WorkerId, WorkerPeer>();
  readonly #jobs = new Map<string, OpenJob>();
  /** How each connection is ended by this end. */
  readonly #cut = new Map<BatchWriter, (error: Error) => void>();
  readonly #readBacks = new Limiter(READ_BACKS_MAX);
  readonly #partsRoom = new Limiter(PARTS_MAX);
  #stopping = false;

  constructor(options: HubOptions) {
    this.options = options;
  }

  get workers(): Iterable<WorkerPeer> {
    return this.#workers.values();
  }

  get jobs(): ReadonlyMap<string, OpenJob> {
    return this.#jobs;
  }

  // ---- jobs

  /** A job's source of workers: those that are attached and those that come. */
  source(job: RemoteJob): WorkerSource {
    return async (listener) => {
      const { store, fetch } = this.options;
      const mayWrite = (ref: AttemptRef) => listener.mayWrite(ref);
      const parts = job.putPart && { put: job.putPart, room: this.#partsRoom };
      const intake = new ResultIntake(store, job.plan, job.shardPaths, mayWrite, parts);
      const open: OpenJob = {
        job,
        planPieces: new PlanPieces(job.plan),
        listener,
        intake,
        outlet: new InputOutlet(store, job.inputs),
        owners: new Map(),
        readBack: (work, isWanted) => this.#readBack(job, work, isWanted),
        defect: (error) => this.options.defect(error, `seal of ${job.id}`),
        fetch: (worker, ref) => fetch(worker, job, intake, ref),
      };
      this.#jobs.set(job.id, open);
      for (const worker of this.#workers.values()) {
        if (!worker.attached) continue;
        const link = this.#link(worker, open);
        listener.attached(link, []);
        this.#tellWriting(worker, open);
        if (worker.draining) listener.draining(worker.id);
      }
      this.options.changed();
    };
  }

  /** The job has ended: its links are closed. */
  async closeJob(id: string): Promise<void> {
    const open = this.#jobs.get(id);
    if (open === undefined) return;
    this.#jobs.delete(id);
    for (const worker of this.#workers.values()) {
      await worker.links.get(id)?.close();
      worker.links.delete(id);
    }
    open.intake.close();
    await open.outlet.close();
    this.options.changed();
  }

  /** How many assignments of a job a worker may have at once. */
  setSlots(worker: WorkerPeer, job: string, slots: number): void {
    const link = worker.links.get(job);
    if (link === undefined || link.slots === slots) return;
    link.slots = slots;
    link.listener.slotsChanged(worker.id, slots);
  }

  /** Whether a worker is nobody's, so that the job need not wait for it. */
  setBarred(worker: WorkerPeer, job: string, isBarred: boolean): void {
    const link = worker.links.get(job);
    if (link === undefined || link.isBarred === isBarred) return;
    link.isBarred = isBarred;
    link.listener.barred(worker.id, isBarred);
  }

  /** A job found that the worker fails at everything, or computes wrongly. */
  setAside(id: WorkerId, failure: Failure): void {
    const worker = this.#workers.get(id);
    if (worker === undefined || worker.setAside?.code === COMPUTES_WRONGLY) return;
    if (worker.setAside !== undefined && failure.code !== COMPUTES_WRONGLY) return;
    worker.setAside = failure;
    this.options.log("worker set aside", { worker: id, ...failure });
    this.options.changed();
  }

  /** What failed on a worker may have passed. One that computed wrongly is not pardoned. */
  pardon(id: WorkerId): void {
    const worker = this.#workers.get(id);
    if (worker?.setAside === undefined || worker.setAside.code === COMPUTES_WRONGLY) return;
    worker.setAside = undefined;
    this.options.log("worker gets work again", { worker: id });
    this.options.changed();
  }

  // ---- workers

  /**
   * A worker's hello on a new connection. Where it throws, nobody is attached by it.
   * @throws WireError `wire/other-version`, `wire/malformed`; LinkError `link/name-taken`, `link/stopping`
   */
  attach(hello: Hello, writer: BatchWriter, peerHost: string, cut: (error: Error) => void): WorkerPeer {
    const { softwareVersion, clock, times, startNumber, log } = this.options;
    const own = { role: "coordinator", protocolVersion: PROTOCOL_VERSION, softwareVersion };
    checkVersions(own, {
      role: "worker",
      protocolVersion: hello.protocolVersion,
      softwareVersion: hello.softwareVersion,
    });
    if (this.#stopping) throw stopping();
    const facts = factsOf(hello, peerHost);
    const held = hello.held.map(attemptOf);
    const writing = hello.writing?.ids.map(attemptOf);
    const id = hello.workerName as WorkerId;
    const before = this.#workers.get(id);
    const same = before !== undefined && before.facts.incarnation === hello.incarnation;
    if (before?.attached === true) {
      if (!same) throw nameTaken(id, before.facts.host);
      this.#cutOff(before, new LinkError("link/silent", `worker ${id} attached again`, { hint: "", retryable: true }));
    }
    const worker = same ? before : new WorkerPeer(id, facts, clock.nowMs());
    if (before !== undefined && !same) for (const link of before.links.values()) link.end();
    this.#workers.set(id, worker);
    this.#cut.set(writer, cut);
    worker.begin(writer);
    worker.heardMs = clock.nowMs();
    worker.draining = false;
    worker.saysWriting(writing);
    let dropped: AttemptId[];
    try {
      dropped = [...this.#jobs.values()].flatMap((open) => this.#attachTo(worker, open, ofJob(held, open.job.id)));
    } catch (error) {
      if (!same) this.#forget(worker);
      this.detach(worker, writer);
      throw error;
    }
    const unknown = held.filter(({ job }) => !this.#jobs.has(job)).map(messageOfAttempt);
    worker.welcome({
      $case: "welcome",
      value: {
        protocolVersion: PROTOCOL_VERSION,
        softwareVersion,
        epoch: BigInt(startNumber),
        leaseMs: BigInt(times.leaseMs),
        heartbeatMs: BigInt(times.heartbeatMs),
        ioTimeoutMs: BigInt(times.ioTimeoutMs),
        dropped: [...dropped, ...unknown],
      },
    });
    const { softwareVersion: version, host, threads, engine, kernels } = worker.facts;
    log("worker attached", { worker: id, host, threads, version, engine, kernels: kernels.slice(0, 12), again: same });
    this.options.changed();
    return worker;
  }

  /** The connection has ended, from whichever side. */
  detach(worker: WorkerPeer, writer: BatchWriter): void {
    this.#cut.delete(writer);
    if (!worker.isOn(writer)) return;
    worker.detach();
    this.options.log("worker detached", { worker: worker.id });
    for (const link of worker.links.values()) {
      link.listener.detached(worker.id);
      link.disconnected();
    }
    this.options.changed();
  }

  heartbeat(worker: WorkerPeer, held: readonly (AttemptKey & HeldAttempt)[]) {
    worker.heardMs = this.options.clock.nowMs();
    const renewed: AttemptId[] = [];
    const dropped: AttemptId[] = [];
    const byJob = groupByJob(held);
    for (const [job, { sealing }] of worker.links) if (sealing.size > 0 && !byJob.has(job)) byJob.set(job, []);
    for (const [job, named] of byJob) {
      const link = worker.links.get(job);
      const sealing = [...(link?.sealing.values() ?? [])].map((ref) => ({ ...ref, job, alive: true }));
      const attempts = [...named, ...sealing];
      const answer = link?.listener.heartbeat(worker.id, attempts) ?? { renewed: [], dropped: attempts };
      for (const { unit, attempt } of answer.renewed) renewed.push(messageOfAttempt({ job, unit, attempt }));
      for (const { unit, attempt } of answer.dropped) {
        link?.forgetLease({ unit, attempt });
        dropped.push(messageOfAttempt({ job, unit, attempt }));
      }
    }
    return { renewed, dropped };
  }

  handBack(worker: WorkerPeer, attempts: readonly AttemptKey[]): void {
    for (const [job, link] of worker.links) link.handedBack(ofJob(attempts, job));
    const isElsewhere = attempts.some(({ job }) => !this.#jobs.has(job));
    for (const key of attempts) worker.wroteAll(key);
    if (isElsewhere) for (const open of this.#jobs.values()) this.#tellWriting(worker, open);
  }

  draining(worker: WorkerPeer): void {
    worker.draining = true;
    for (const link of worker.links.values()) link.listener.draining(worker.id);
    this.options.changed();
  }

  /** The worker that makes a call. @throws LinkError `link/not-attached` */
  attachedWorker(name: string): WorkerPeer {
    const worker = this.#workers.get(name as WorkerId);
    if (worker?.attached === true) return worker;
    throw new LinkError("link/not-attached", `worker ${JSON.stringify(name)} is not attached`, {
      hint: "Attach first, then try again.",
      retryable: true,
    });
  }

  /** @throws LinkError `link/unknown-job` */
  openJob(id: string): OpenJob {
    const open = this.#jobs.get(id);
    if (open !== undefined) return open;
    throw new LinkError("link/unknown-job", `job ${JSON.stringify(id)} is not running here`, {
      hint: "It has ended, or this coordinator has not taken it up yet. Drop what you hold of it.",
    });
  }

  /** Of the errors that end calls, those that nobody's input explains: they carry no code. */
  noteDefect(error: unknown, where: string): void {
    if (error instanceof Error && "code" in error) return;
    this.options.defect(error, where);
  }

  /** To be called every heartbeat or so: cuts off connections that are silent, forgets workers that are gone for good. */
  tick(): void {
    const nowMs = this.options.clock.nowMs();
    const { heartbeatMs, leaseMs } = this.options.times;
    for (const worker of [...this.#workers.values()]) {
      const silentMs = nowMs - worker.heardMs;
      if (worker.attached && silentMs > heartbeatMs * HEARTBEATS_MISSED_MAX) {
        const message = `worker ${worker.id} was silent for ${Math.round(silentMs)} ms`;
        this.#cutOff(worker, new LinkError("link/silent", message, { hint: "Attach again.", retryable: true }));
      } else if (!worker.attached && silentMs > leaseMs * LEASES_GONE_MAX) {
        this.#forget(worker);
      }
    }
  }

  #forget(worker: WorkerPeer): void {
    for (const link of worker.links.values()) link.end();
    this.#workers.delete(worker.id);
    this.options.forgotten?.(worker.id);
  }

  /** Nobody attaches any more, and those who are attached are cut off: they come back to whoever listens next. */
  stop(): void {
    this.#stopping = true;
    for (const worker of this.#workers.values()) this.#cutOff(worker, stopping());
  }

  #readBack(job: RemoteJob, work: SealWork, isWanted: () => boolean): Promise<readonly string[] | undefined> {
    const bytes = work.kind === "seal-file" ? work.sizeBytes : sum(work.ranges.map(({ sizeBytes }) => sizeBytes));
    return this.#readBacks.run(Math.min(bytes, READ_BACK_BYTES), async () => {
      return isWanted() ? job.readBack(work) : undefined;
    });
  }

  #cutOff(worker: WorkerPeer, error: Error): void {
    for (const [writer, cut] of [...this.#cut]) {
      if (!worker.isOn(writer)) continue;
      this.detach(worker, writer);
      cut(error);
    }
  }

  #attachTo(worker: WorkerPeer, open: OpenJob, held: readonly AttemptKey[]): AttemptId[] {
    const link = worker.links.get(open.job.id) ?? this.#link(worker, open);
    link.reconnected();
    const dropped = link.listener.attached(link, [...held, ...link.sealing.values()]);
    this.#tellWriting(worker, open);
    for (const ref of dropped) link.forgetLease(ref);
    return dropped.map(({ unit, attempt }) => messageOfAttempt({ job: open.job.id, unit, attempt }));
  }

  /**
   * What a worker says that it is writing of a job that is not open may be of the same output, under the id of an earlier submission: until
   * that is over nothing is said.
   */
  #tellWriting(worker: WorkerPeer, { job, listener }: OpenJob): void {
    const { writing } = worker;
    if (writing?.every((key) => this.#jobs.has(key.job)) !== true) return;
    listener.writing(worker.id, ofJob(writing, job.id));
  }

  #link(worker: WorkerPeer, open: OpenJob): JobLink {
    const link = new JobLink(worker, open);
    worker.links.set(open.job.id, link);
    const { input, output } = accessOf(open.job, worker.facts);
    if (!seesOutput(output)) {
      this.options.log("results come through the coordinator", { worker: worker.id, job: open.job.id, input, output });
    }
    return link;
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}

function ofJob<A extends AttemptKey>(attempts: readonly A[], job: string): A[] {
  return attempts.filter((attempt) => attempt.job === job);
}

function groupByJob<A extends AttemptKey>(attempts: readonly A[]): Map<string, A[]> {
  const byJob = new Map<string, A[]>();
  for (const attempt of attempts) {
    const known = byJob.get(attempt.job);
    if (known === undefined) byJob.set(attempt.job, [attempt]);
    else known.push(attempt);
  }
  return byJob;
}

/** @throws WireError `wire/malformed` */
function factsOf(hello: Hello, peerHost: string): WorkerFacts {
  return {
    incarnation: hello.incarnation,
    softwareVersion: hello.softwareVersion,
    engine: hello.engine,
    kernels: Buffer.from(hello.kernelId).toString("hex"),
    host: hello.host === "" ? peerHost : hello.host,
    threads: Math.max(1, hello.threads),
    memoryBytes: numberOf(hello.memoryBytes, "memory"),
    roots: new Map(hello.roots.map(({ name, writable }) => [name, { writable }])),
    listenAddress: hello.listenAddress,
    takesSigned: hello.takesSigned,
  };
}

function nameTaken(id: WorkerId, host: string): LinkError {
  return new LinkError("link/name-taken", `a worker named ${id} is attached already, from ${host}`, {
    hint: "Give each worker a name of its own with --name. If it is the same one, restarted, it is let in as soon as the old connection is noticed to be gone.",
    retryable: true,
  });
}

function stopping(): LinkError {
  return new LinkError("link/stopping", "the coordinator is shutting down", {
    hint: "Keep what you have and attach again: it, or another one, goes on.",
    retryable: true,
  });
}
