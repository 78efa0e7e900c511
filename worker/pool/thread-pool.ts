import type { Assignment, AttemptKey, Failure, Report } from "../../merge/work/index.ts";
import type { Computed, WorkerBudget } from "../../runtime/index.ts";
import type { EngineChoice, FromWorker, JobToBegin } from "../index.ts";
import { WorkerError } from "../index.ts";
import { ResultBuffers } from "./buffers.ts";
import { PoolThread } from "./pool-thread.ts";

export interface ThreadPoolOptions {
  readonly threads: number;
  readonly budget: WorkerBudget;
  readonly engine: EngineChoice;
  /** Memory for slices that are computed and not yet in storage. */
  readonly resultBytes: number;
  /** Test hook: the entry of the threads. */
  readonly entry?: URL;
}

/** What comes out of the pool. Every assignment ends in exactly one of the first three. */
export interface ThreadPoolListener {
  /** A slice, its bytes in memory: `bytes` belong to the listener until it calls `release` with their buffer. */
  computed(unit: AttemptKey, computed: Computed): void;
  /** Of a survey, a seal, or what failed. */
  reported(job: string, report: Report): void;
  /** As it was asked for. */
  dropped(unit: AttemptKey): void;
  /** A thread ended or hung, and another takes its place. */
  replaced(name: string, failure: Failure): void;
  /** No thread can be started any more. */
  broken(failure: Failure): void;
}

/** One attempt that is computed or waits to be. */
export interface UnitProgress extends AttemptKey {
  /** Whether it waits, or its thread has taken a step since the last look. */
  readonly alive: boolean;
}

interface Order {
  readonly unit: AttemptKey;
  readonly assignment: Assignment;
}

interface Slot {
  thread: PoolThread | undefined;
  order: Order | undefined;
  lentBytes: number;
  /** Jobs that the thread knows. */
  readonly jobs: Set<string>;
  /** What it had shown at the last look, and since when it shows no more than that. */
  steps: number;
  stillSinceMs: number;
  alive: boolean;
}

/** A thread that cannot be started so often in a row never will be. */
const STARTS_MAX = 3;

/** The threads of a worker: takes assignments of several jobs, and gives each to a thread that is free. */
export class ThreadPool {
  readonly #options: ThreadPoolOptions;
  readonly #listener: ThreadPoolListener;
  readonly #buffers: ResultBuffers;
  readonly #slots: Slot[];
  readonly #jobs = new Map<string, JobToBegin>();
  #waiting: Order[] = [];
  #failedStarts = 0;
  #ending = false;

  private constructor(options: ThreadPoolOptions, listener: ThreadPoolListener) {
    this.#options = options;
    this.#listener = listener;
    this.#buffers = new ResultBuffers(options.resultBytes);
    this.#slots = Array.from({ length: options.threads }, () => ({
      thread: undefined,
      order: undefined,
      lentBytes: 0,
      jobs: new Set(),
      steps: 0,
      stillSinceMs: 0,
      alive: true,
    }));
  }

  /** Rejects where the threads do not start. */
  static async start(options: ThreadPoolOptions, listener: ThreadPoolListener): Promise<ThreadPool> {
    const pool = new ThreadPool(options, listener);
    await Promise.all(pool.#slots.map((_, k) => pool.#start(k)));
    return pool;
  }

  /** Before the first assignment of the job. */
  begin(job: JobToBegin): void {
    this.#jobs.set(job.job, job);
  }

  assign(job: string, assignment: Assignment): void {
    const { unit, attempt } = assignment;
    this.#waiting.push({ unit: { job, unit, attempt }, assignment });
    this.#dispatch();
  }

  /** Stops it, if it is still here; `dropped` or, where it is finished by then, something else follows. */
  drop(unit: AttemptKey): void {
    const before = this.#waiting.length;
    this.#waiting = this.#waiting.filter((order) => !isSame(order.unit, unit));
    if (this.#waiting.length < before) {
      this.#listener.dropped(unit);
      return;
    }
    for (const { thread, order } of this.#slots) {
      if (order !== undefined && isSame(order.unit, unit)) thread?.send({ type: "drop", ...unit });
    }
  }

  /** Of what waits for a thread: nothing has been done for it. */
  waiting(): readonly AttemptKey[] {
    return this.#waiting.map(({ unit }) => unit);
  }

  release(buffer: ArrayBuffer): void {
    this.#buffers.give(buffer);
    this.#dispatch();
  }

  /** The job is over: files are closed. Its attempts must be dropped before. */
  finish(job: string): void {
    this.#jobs.delete(job);
    for (const { thread, jobs } of this.#slots) {
      if (jobs.delete(job)) thread?.send({ type: "finish", job });
    }
  }

  /** Looks at what every thread has done since the last look, and replaces those that had work and took no step for `hungAfterMs`. */
  look(nowMs: number, hungAfterMs: number): readonly UnitProgress[] {
    for (const [k, slot] of this.#slots.entries()) {
      const { thread, order } = slot;
      if (thread === undefined) continue;
      const { steps } = thread.signs;
      slot.alive = order === undefined || steps !== slot.steps;
      if (slot.alive) slot.stillSinceMs = nowMs;
      slot.steps = steps;
      if (nowMs - slot.stillSinceMs > hungAfterMs) this.#replaceHung(k, nowMs - slot.stillSinceMs);
    }
    return [
      ...this.#slots.flatMap(({ thread, order, alive }): UnitProgress[] =>
        order === undefined || thread === undefined ? [] : [{ ...order.unit, alive }],
      ),
      ...this.#waiting.map(({ unit }) => ({ ...unit, alive: true })),
    ];
  }

  /** Nothing waits and nothing is computed. */
  get idle(): boolean {
    return this.#waiting.length === 0 && this.#slots.every(({ order }) => order === undefined);
  }

  /** What is computed is finished first, unless it was dropped. */
  async end(): Promise<void> {
    this.#ending = true;
    this.#waiting = [];
    await Promise.all(this.#slots.map(({ thread }) => thread?.end()));
  }

  async #start(k: number): Promise<void> {
    const slot = this.#slots[k];
    if (slot === undefined || this.#ending) return;
    const { budget, engine, entry } = this.#options;
    let thread: PoolThread | undefined;
    thread = await PoolThread.start(
      { name: `thread-${k + 1}`, budget, engine, ...(entry === undefined ? {} : { entry }) },
      {
        received: (message) => {
          if (slot.thread === thread) this.#received(slot, message);
        },
        lost: (failure) => {
          if (slot.thread === thread) this.#replace(k, failure);
        },
      },
    );
    this.#failedStarts = 0;
    Object.assign(slot, { thread, steps: 0, alive: true, stillSinceMs: performance.now() });
    slot.jobs.clear();
    this.#dispatch();
  }

  #dispatch(): void {
    for (const slot of this.#slots) {
      if (slot.thread === undefined || slot.order !== undefined) continue;
      const next = this.#waiting.findIndex((order) => this.#give(slot, order));
      if (next < 0) return;
      this.#waiting.splice(next, 1);
    }
  }

  /** False: there is no memory for its result now. */
  #give(slot: Slot, order: Order): boolean {
    const { thread, jobs } = slot;
    const { assignment, unit } = order;
    if (thread === undefined) return false;
    const held = assignment.kind === "slice" && !assignment.audit;
    const buffer = held ? this.#buffers.maybeTake(assignment.slice.sizeBytes) : undefined;
    if (held && buffer === undefined) return false;
    if (!jobs.has(unit.job)) {
      const job = this.#jobs.get(unit.job);
      if (job === undefined) throw new Error(`job ${unit.job} was not begun`);
      thread.send({ type: "begin", ...job });
      jobs.add(unit.job);
    }
    slot.order = order;
    slot.lentBytes = buffer?.byteLength ?? 0;
    slot.alive = true;
    slot.stillSinceMs = performance.now();
    thread.send(
      {
        type: "assign",
        job: unit.job,
        assignment,
        output: held ? "hold" : "hash",
        ...(buffer === undefined ? {} : { buffer }),
      },
      buffer === undefined ? [] : [buffer],
    );
    return true;
  }

  #received(slot: Slot, message: FromWorker): void {
    const { order } = slot;
    switch (message.type) {
      case "computed": {
        const { job, unit, attempt, sha256, warnings, counts, buffer } = message;
        this.#free(slot);
        const computed = { sha256, warnings, counts, ...(buffer === undefined ? {} : { buffer }) };
        this.#listener.computed({ job, unit, attempt }, computed);
        break;
      }
      case "report":
        this.#free(slot);
        if (message.buffer !== undefined) this.#buffers.give(message.buffer);
        this.#listener.reported(message.job, message.report);
        break;
      case "dropped":
        this.#free(slot);
        if (message.buffer !== undefined) this.#buffers.give(message.buffer);
        if (order !== undefined) this.#listener.dropped(order.unit);
        break;
      default:
        return;
    }
    this.#dispatch();
  }

  #free(slot: Slot): void {
    slot.order = undefined;
    slot.lentBytes = 0;
  }

  #replaceHung(k: number, stillMs: number): void {
    const slot = this.#slots[k];
    slot?.thread?.terminate();
    const unit = slot?.order?.unit.unit ?? "nothing";
    const error = new WorkerError(
      "worker/hung",
      `a thread showed no sign of life for ${Math.round(stillMs)} ms while it worked on ${unit}; it was ended`,
      {
        hint: "Look at the storage of that machine: a mount that does not answer is the common cause.",
        retryable: true,
      },
    );
    const { code, message, hint, retryable } = error;
    this.#replace(k, { code, message, hint, retryable });
  }

  /** Its work fails here, and may be tried elsewhere: the unit may be what ended it. */
  #replace(k: number, failure: Failure): void {
    const slot = this.#slots[k];
    if (slot === undefined || this.#ending) return;
    const { order, thread, lentBytes } = slot;
    this.#buffers.lost(lentBytes);
    this.#free(slot);
    slot.thread = undefined;
    this.#listener.replaced(thread?.name ?? `thread-${k + 1}`, failure);
    if (order !== undefined) {
      const { unit, attempt } = order.assignment;
      const report: Report = { unit, attempt, kind: "failed", failure: { ...failure, retryable: true } };
      this.#listener.reported(order.unit.job, report);
    }
    this.#start(k).catch((error: unknown) => {
      const message = error instanceof Error ? error.message : String(error);
      if (++this.#failedStarts >= STARTS_MAX) this.#listener.broken({ ...failure, message });
      else this.#replace(k, { ...failure, message });
    });
  }
}

function isSame(a: AttemptKey, b: AttemptKey): boolean {
  return a.unit === b.unit && a.attempt === b.attempt && a.job === b.job;
}
