import { hostname } from "node:os";
import type { WorkerLink, WorkerListener, WorkerSource } from "../coordinator/link/index.ts";
import {
  type Assignment,
  type AttemptRef,
  type Failure,
  type JobDescription,
  textOfAttempt,
  type UnitId,
  type WorkerId,
} from "../merge/work/index.ts";
import type { WorkerBudget } from "../runtime/index.ts";
import type { EngineChoice, FromWorker } from "../worker/index.ts";
import { PoolThread } from "../worker/pool/index.ts";

/** For each thread: one is computed while the one before it becomes durable. */
const SLOTS = 2;
/** A unit waits so long for merges that have not come to it; one that was resumed further on never will. */
const GATHER_MS = 20;

export interface SweepPoolOptions {
  readonly threads: number;
  /** Of one merge in one thread. */
  readonly budget: WorkerBudget;
  readonly engine: EngineChoice;
}

interface Merge {
  readonly listener: WorkerListener;
  held: number;
}

interface Batch {
  readonly assignments: Map<string, Assignment>;
  readonly timer: NodeJS.Timeout;
}

/**
 * Threads that several merges of the same models share. To each merge they are one worker; the same unit of all merges goes to
 * the same thread at the same time, so that they read their inputs together. Where that does not come about, bytes are read more often,
 * and nothing else changes.
 */
export class SweepPool {
  readonly #options: SweepPoolOptions;
  readonly #threads: { readonly thread: PoolThread; units: number }[] = [];
  readonly #merges = new Map<string, Merge>();
  readonly #batches = new Map<UnitId, Batch>();
  /** Where attempts in flight are. */
  readonly #places = new Map<string, number>();
  /** Where a unit went first: those who come late follow. */
  readonly #homes = new Map<UnitId, number>();
  #gathered = 0;

  private constructor(options: SweepPoolOptions) {
    this.#options = options;
  }

  static async start(options: SweepPoolOptions): Promise<SweepPool> {
    const pool = new SweepPool(options);
    const { budget, engine } = options;
    for (let k = 0; k < options.threads; k++) {
      const thread = await PoolThread.start(
        { name: `thread-${k + 1}`, budget, engine, entry: "lockstep" },
        { received: (message) => pool.#received(message), lost: (failure) => pool.#lost(failure) },
      );
      pool.#threads.push({ thread, units: 0 });
    }
    return pool;
  }

  /** Bytes that all threads together read from files; whole after `end`. */
  get bytesRead(): number {
    return this.#gathered;
  }

  /** The workers of one merge. */
  workersFor(job: string, description: JobDescription): WorkerSource {
    return async (listener) => {
      this.#merges.set(job, { listener, held: 0 });
      for (const { thread } of this.#threads) thread.send({ type: "begin", job, description });
      listener.attached(this.#link(job), []);
    };
  }

  async end(): Promise<void> {
    await Promise.all(this.#threads.map(({ thread }) => thread.end()));
  }

  #link(job: string): WorkerLink {
    return {
      id: "sweep" as WorkerId,
      kind: "local",
      incarnation: job,
      host: hostname(),
      memoryBytes: Number.POSITIVE_INFINITY,
      slots: SLOTS * this.#options.threads,
      assign: (assignment) => this.#assign(job, assignment),
      answerGrant: (attempt, answer) =>
        this.#threadOf(job, attempt)?.send({ type: answer === "granted" ? "granted" : "refused", job, ...attempt }),
      answerReport: () => {},
      cancel: (attempts) => {
        for (const attempt of attempts) this.#threadOf(job, attempt)?.send({ type: "drop", job, ...attempt });
      },
      close: async () => {
        this.#merges.delete(job);
        for (const { thread } of this.#threads) thread.send({ type: "finish", job });
        for (const unit of [...this.#batches.keys()]) this.#releaseIfWhole(unit);
      },
    };
  }

  #assign(job: string, assignment: Assignment): void {
    const merge = this.#merges.get(job);
    if (merge !== undefined) merge.held++;
    const { unit } = assignment;
    const home = this.#homes.get(unit);
    if (home !== undefined) return this.#send(home, job, assignment);
    const batch = this.#batches.get(unit) ?? {
      assignments: new Map(),
      timer: setTimeout(() => this.#release(unit), GATHER_MS),
    };
    batch.assignments.set(job, assignment);
    this.#batches.set(unit, batch);
    this.#releaseIfWhole(unit);
  }

  /** Every merge has come to the unit, or has its hands full of others. */
  #releaseIfWhole(unit: UnitId): void {
    const batch = this.#batches.get(unit);
    if (batch === undefined) return;
    const slots = SLOTS * this.#options.threads;
    const whole = [...this.#merges].every(([job, { held }]) => batch.assignments.has(job) || held >= slots);
    if (whole) this.#release(unit);
  }

  #release(unit: UnitId): void {
    const batch = this.#batches.get(unit);
    if (batch === undefined) return;
    clearTimeout(batch.timer);
    this.#batches.delete(unit);
    let least = 0;
    for (const [k, { units }] of this.#threads.entries()) if (units < (this.#threads[least]?.units ?? 0)) least = k;
    this.#homes.set(unit, least);
    for (const [job, assignment] of batch.assignments) this.#send(least, job, assignment);
  }

  #send(home: number, job: string, assignment: Assignment): void {
    const place = this.#threads[home];
    if (place === undefined) throw new Error(`there is no thread ${home}`);
    place.units++;
    this.#places.set(textOfAttempt({ job, ...assignment }), home);
    place.thread.send({ type: "assign", job, assignment, output: "stream" });
  }

  #threadOf(job: string, attempt: AttemptRef): PoolThread | undefined {
    const home = this.#places.get(textOfAttempt({ job, ...attempt }));
    return home === undefined ? undefined : this.#threads[home]?.thread;
  }

  #received(message: FromWorker): void {
    if (message.type === "gathered") {
      this.#gathered += message.bytesRead;
      return;
    }
    if (message.type === "grant-request") {
      const { job, unit, attempt } = message;
      return this.#merges.get(job)?.listener.grantRequested("sweep" as WorkerId, unit, attempt);
    }
    if (message.type === "dropped") return this.#free(message.job, message);
    if (message.type !== "report") return;
    this.#free(message.job, message.report);
    this.#merges.get(message.job)?.listener.reported("sweep" as WorkerId, message.report);
  }

  #free(job: string, attempt: AttemptRef): void {
    const key = textOfAttempt({ job, ...attempt });
    const place = this.#threads[this.#places.get(key) ?? -1];
    if (place !== undefined) place.units--;
    this.#places.delete(key);
    const merge = this.#merges.get(job);
    if (merge !== undefined) merge.held--;
  }

  #lost(failure: Failure): void {
    for (const { listener } of [...this.#merges.values()]) listener.lost("sweep" as WorkerId, failure);
  }
}
