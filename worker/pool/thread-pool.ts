import { type Assignment, type AttemptKey, type Failure, failureFrom, type Report } from "../../merge/work/index.ts";
import type { Computed, WorkerBudget } from "../../runtime/index.ts";
import type { EngineChoice, FromWorker, JobToBegin } from "../index.ts";
import { WorkerError } from "../index.ts";
import { ResultBuffers } from "./buffers.ts";
import { PoolThread } from "./pool-thread.ts";

export interface ThreadPoolOptions {
  /** One for each thread. */
  readonly engines: readonly EngineChoice[];
  readonly budget: WorkerBudget;
  /**
   * Memory for slices that are computed and not yet in storage. Absent: nothing is held, threads stream slices to their places
   * after a grant.
   */
  readonly resultBytes?: number;
  /** What is equal in this goes to the same thread, whatever that has to do. Absent: all goes to whoever has least to do. */
  readonly sameThread?: (assignment: Assignment) => string;
  /** See PoolThreadOptions. */
  readonly entry?: "lockstep" | URL;
}

/** What comes out of the pool. Every assignment ends in exactly one of the first three. */
export interface ThreadPoolListener {
  /** A slice, its bytes in memory: `bytes` belong to the listener until it calls `release` with their buffer. */
  computed(unit: AttemptKey, computed: Computed): void;
  /** Of a survey, a seal, a slice that was streamed and is durable, or what failed: nothing of it is being written any more. */
  reported(job: string, report: Report): void;
  /** As it was asked for, or as its grant was refused. Nothing of it is being written. */
  dropped(unit: AttemptKey): void;
  /** Of a slice that is streamed: may it be written? Answered by `answer`, as often as it is asked. */
  asked?(unit: AttemptKey): void;
  /** Of threads that compute several merges in step, when one ends: bytes that came from files. */
  gathered?(bytesRead: number): void;
  /** A thread ended or hung, and another takes its place. */
  replaced(name: string, failure: Failure): void;
  /** No thread can be started any more; nothing is being written. The last that is said. */
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
  lentBytes: number;
  /** Of what is streamed: asking: its thread waits for an answer; granted: it may write; written: only its durability is waited for. */
  status: "given" | "asking" | "granted" | "written";
}

interface Slot {
  readonly name: string;
  readonly engine: EngineChoice;
  /** Most that it is given at once. */
  readonly ordersMax: number;
  thread: PoolThread | undefined;
  /** What the thread has, as it was given. Of each job it computes one after another. */
  orders: readonly Order[];
  /** Jobs that the thread knows. */
  readonly jobs: Set<string>;
  /** What it had shown at the last look, and since when it shows no more than that; undefined: not looked at since it was given work. */
  steps: number;
  stillSinceMs: number | undefined;
  alive: boolean;
}

/** A thread that cannot be started so often in a row never will be. */
const STARTS_MAX = 3;
/** Orders of a thread that streams: as many as it computes at once, and one that becomes durable meanwhile. */
export function streamedAtOnce({ arenas }: EngineChoice): number {
  return arenas + 1;
}

/**
 * The threads of a process: takes assignments of several jobs, and gives each to a thread. One that ends or hangs is replaced: what it
 * computed has failed, as soon as it is certain that it writes no more; what it had not begun another computes.
 */
export class ThreadPool {
  readonly #options: ThreadPoolOptions;
  readonly #listener: ThreadPoolListener;
  readonly #buffers: ResultBuffers | undefined;
  readonly #slots: readonly Slot[];
  /** Where what is equal in `sameThread` goes. */
  readonly #homes = new Map<string, Slot>();
  readonly #jobs = new Map<string, JobToBegin>();
  readonly #starting = new Set<Promise<void>>();
  /** Ends of threads that were given up and may still be in the middle of a write. */
  readonly #writing = new Set<Promise<void>>();
  #waiting: Order[] = [];
  #failedStarts = 0;
  #ending = false;

  private constructor(options: ThreadPoolOptions, listener: ThreadPoolListener) {
    this.#options = options;
    this.#listener = listener;
    const { resultBytes, sameThread } = options;
    this.#buffers = resultBytes === undefined ? undefined : new ResultBuffers(resultBytes);
    const streamed = (engine: EngineChoice) =>
      sameThread === undefined ? streamedAtOnce(engine) : Number.POSITIVE_INFINITY;
    this.#slots = options.engines.map((engine, k) => ({
      name: `thread-${k + 1}`,
      engine,
      ordersMax: resultBytes === undefined ? streamed(engine) : engine.arenas,
      thread: undefined,
      orders: [],
      jobs: new Set(),
      steps: 0,
      stillSinceMs: undefined,
      alive: true,
    }));
  }

  /** Rejects where the threads do not start. */
  static async start(options: ThreadPoolOptions, listener: ThreadPoolListener): Promise<ThreadPool> {
    const pool = new ThreadPool(options, listener);
    try {
      await Promise.all(pool.#slots.map((slot) => pool.#start(slot)));
    } catch (error) {
      await pool.end();
      throw error;
    }
    return pool;
  }

  /** Before the first assignment of the job. */
  begin(job: JobToBegin): void {
    this.#jobs.set(job.job, job);
    // Those that compute in step begin together.
    if (this.#isStreaming) for (const slot of this.#slots) this.#beginIn(slot, job.job);
  }

  assign(job: string, assignment: Assignment): void {
    const { unit, attempt } = assignment;
    this.#waiting.push({ unit: { job, unit, attempt }, assignment, lentBytes: 0, status: "given" });
    this.#dispatch();
  }

  /** Whether a slice may be written, which a thread has asked. */
  answer(unit: AttemptKey, granted: boolean): void {
    const { thread, order } = this.#placeOf(unit);
    if (thread === undefined || order?.status !== "asking") return;
    order.status = granted ? "granted" : "given";
    thread.send({ type: granted ? "granted" : "refused", ...unit });
  }

  /** Stops it, if it is still here; `dropped` or, where it is finished by then, something else follows. */
  drop(unit: AttemptKey): void {
    const before = this.#waiting.length;
    this.#waiting = this.#waiting.filter((order) => !isSame(order.unit, unit));
    if (this.#waiting.length < before) this.#listener.dropped(unit);
    else this.#placeOf(unit).thread?.send({ type: "drop", ...unit });
  }

  /** Whether it waits for a thread, or a thread has it. */
  has(unit: AttemptKey): boolean {
    return this.#waiting.some((order) => isSame(order.unit, unit)) || this.#placeOf(unit).order !== undefined;
  }

  /** Of what waits for a thread: nothing has been done for it. */
  waiting(): readonly AttemptKey[] {
    return this.#waiting.map(({ unit }) => unit);
  }

  release(buffer: ArrayBuffer): void {
    this.#buffers?.give(buffer);
    this.#dispatch();
  }

  /** The job is over: files are closed. Its attempts must be dropped before. */
  finish(job: string): void {
    this.#jobs.delete(job);
    this.#waiting = this.#waiting.filter((order) => order.unit.job !== job);
    for (const { thread, jobs } of this.#slots) {
      if (jobs.delete(job)) thread?.send({ type: "finish", job });
    }
  }

  /** Looks at what every thread has done since the last look, and replaces those that had work and took no step for `hungAfterMs`. */
  look(nowMs: number, hungAfterMs: number): readonly UnitProgress[] {
    for (const slot of this.#slots) {
      const { thread, steps } = slot;
      if (thread === undefined) continue;
      slot.steps = thread.signs.steps;
      slot.alive = slot.stillSinceMs === undefined || slot.steps !== steps || headsOf(slot).every(isWaiting);
      if (slot.alive || slot.stillSinceMs === undefined) slot.stillSinceMs = nowMs;
      const stillMs = nowMs - slot.stillSinceMs;
      if (stillMs <= hungAfterMs) continue;
      thread.terminate();
      this.#replace(slot, failureFrom(hung(slot, stillMs)));
    }
    return [
      ...this.#slots.flatMap(({ orders, alive }) => orders.map(({ unit }): UnitProgress => ({ ...unit, alive }))),
      ...this.#waiting.map(({ unit }) => ({ ...unit, alive: true })),
    ];
  }

  /** What is computed is finished first, unless it was dropped. */
  async end(): Promise<void> {
    this.#ending = true;
    this.#waiting = [];
    await Promise.allSettled([...this.#slots.map(({ thread }) => thread?.end()), ...this.#starting]);
  }

  get #isStreaming(): boolean {
    return this.#buffers === undefined;
  }

  #start(slot: Slot): Promise<void> {
    const started = this.#startIn(slot).finally(() => this.#starting.delete(started));
    this.#starting.add(started);
    return started;
  }

  async #startIn(slot: Slot): Promise<void> {
    if (this.#ending) return;
    const { budget, entry } = this.#options;
    let thread: PoolThread | undefined;
    const isIts = () => thread !== undefined && slot.thread === thread;
    thread = await PoolThread.start(
      { name: slot.name, budget, engine: slot.engine, ...(entry === undefined ? {} : { entry }) },
      {
        received: (message) => {
          if (isIts()) this.#received(slot, message);
        },
        lost: (failure) => {
          if (!isIts()) return;
          const message = `${failure.message}${whileWorkingOn(slot)}`;
          this.#replace(slot, { ...failure, message });
        },
      },
    );
    if (this.#ending) return thread.end();
    this.#failedStarts = 0;
    Object.assign(slot, { thread, steps: 0, alive: true, stillSinceMs: undefined });
    slot.jobs.clear();
    if (this.#isStreaming) for (const job of this.#jobs.keys()) this.#beginIn(slot, job);
    this.#dispatch();
  }

  #beginIn({ thread, jobs }: Slot, job: string): void {
    if (thread === undefined || jobs.has(job)) return;
    const begun = this.#jobs.get(job);
    if (begun === undefined) throw new Error(`job ${job} was not begun`);
    thread.send({ type: "begin", ...begun });
    jobs.add(job);
  }

  #dispatch(): void {
    this.#waiting = this.#waiting.filter((order) => {
      const slot = this.#slotFor(order);
      return slot?.thread === undefined || !this.#give(slot, slot.thread, order);
    });
  }

  /** Undefined, or without a thread: none can take it now. */
  #slotFor({ assignment }: Order): Slot | undefined {
    const home = this.#homes.get(this.#options.sameThread?.(assignment) ?? "");
    if (home !== undefined) return home;
    let least: Slot | undefined;
    for (const slot of this.#slots) {
      if (slot.thread === undefined || slot.orders.length >= slot.ordersMax) continue;
      if (least === undefined || slot.orders.length < least.orders.length) least = slot;
    }
    return least;
  }

  /** False: there is no memory for its result now. */
  #give(slot: Slot, thread: PoolThread, order: Order): boolean {
    const { assignment, unit } = order;
    const isWritten = assignment.kind === "slice" && !assignment.audit;
    const buffer = isWritten ? this.#buffers?.maybeTake(assignment.slice.sizeBytes) : undefined;
    if (isWritten && buffer === undefined && !this.#isStreaming) return false;
    this.#beginIn(slot, unit.job);
    const key = this.#options.sameThread?.(assignment);
    if (key !== undefined) this.#homes.set(key, slot);
    order.lentBytes = buffer?.byteLength ?? 0;
    if (headsOf(slot).every(isWaiting)) slot.stillSinceMs = undefined;
    slot.orders = [...slot.orders, order];
    const output = !isWritten ? "hash" : buffer === undefined ? "stream" : "hold";
    thread.send(
      { type: "assign", job: unit.job, assignment, output, ...(buffer === undefined ? {} : { buffer }) },
      buffer === undefined ? [] : [buffer],
    );
    return true;
  }

  #received(slot: Slot, message: FromWorker): void {
    switch (message.type) {
      case "computed": {
        const { job, unit, attempt, sha256, warnings, counts, buffer } = message;
        this.#free(slot, { job, unit, attempt });
        const computed = { sha256, warnings, counts, ...(buffer === undefined ? {} : { buffer }) };
        this.#listener.computed({ job, unit, attempt }, computed);
        break;
      }
      case "report": {
        const { job, report, buffer } = message;
        this.#free(slot, { job, unit: report.unit, attempt: report.attempt });
        if (buffer !== undefined) this.#buffers?.give(buffer);
        this.#listener.reported(job, report);
        break;
      }
      case "dropped": {
        const { job, unit, attempt, buffer } = message;
        this.#free(slot, { job, unit, attempt });
        if (buffer !== undefined) this.#buffers?.give(buffer);
        this.#listener.dropped({ job, unit, attempt });
        break;
      }
      case "grant-request": {
        const { job, unit, attempt } = message;
        this.#note(slot, { job, unit, attempt }, "asking");
        this.#listener.asked?.({ job, unit, attempt });
        return;
      }
      case "written":
        return this.#note(slot, message, "written");
      case "gathered":
        return this.#listener.gathered?.(message.bytesRead);
      default:
        return;
    }
    this.#dispatch();
  }

  #note(slot: Slot, unit: AttemptKey, status: Order["status"]): void {
    const order = slot.orders.find((other) => isSame(other.unit, unit));
    if (order !== undefined) order.status = status;
  }

  #free(slot: Slot, unit: AttemptKey): void {
    slot.orders = slot.orders.filter((order) => !isSame(order.unit, unit));
  }

  #placeOf(unit: AttemptKey): { readonly thread?: PoolThread | undefined; readonly order?: Order } {
    for (const { thread, orders } of this.#slots) {
      const order = orders.find((other) => isSame(other.unit, unit));
      if (order !== undefined) return { thread, order };
    }
    return {};
  }

  /** What it computed fails, and may be tried again: it may be what ended it. */
  #replace(slot: Slot, failure: Failure): void {
    if (this.#ending) return;
    const { orders, thread } = slot;
    slot.thread = undefined;
    slot.orders = [];
    this.#listener.replaced(slot.name, failure);
    const heads = headsOf({ orders, engine: slot.engine });
    const begun = orders.filter((order) => order.status === "written" || heads.includes(order));
    this.#waiting.unshift(...orders.filter((order) => !begun.includes(order)));
    for (const { lentBytes } of orders) this.#buffers?.lost(lentBytes);
    const mayWrite = begun.filter(({ status }) => status === "granted" || status === "written");
    for (const order of begun) if (!mayWrite.includes(order)) this.#fail(order, failure);
    if (mayWrite.length > 0 && thread !== undefined) {
      const ended = thread.exited.then(() => {
        this.#writing.delete(ended);
        for (const order of mayWrite) this.#fail(order, failure);
      });
      this.#writing.add(ended);
    }
    this.#startAgain(slot, failure);
  }

  #startAgain(slot: Slot, failure: Failure): void {
    this.#start(slot).catch((error: unknown) => {
      if (this.#ending) return;
      const { message } = failureFrom(error);
      if (++this.#failedStarts < STARTS_MAX) return this.#startAgain(slot, failure);
      void this.#break({
        ...failure,
        message: `${failure.message}; ${STARTS_MAX} times in a row no other could be started: ${message}`,
      });
    });
  }

  #fail({ unit: { job }, assignment: { unit, attempt } }: Order, failure: Failure): void {
    this.#listener.reported(job, { unit, attempt, kind: "failed", failure: { ...failure, retryable: true } });
  }

  /** Whoever hears of it may take it for certain that nothing is written any more; what is held in memory nobody writes. */
  async #break(failure: Failure): Promise<void> {
    this.#ending = true;
    this.#waiting = [];
    for (const { thread } of this.#slots) thread?.terminate();
    if (this.#isStreaming) await Promise.all([...this.#slots.map(({ thread }) => thread?.exited), ...this.#writing]);
    this.#listener.broken(failure);
  }
}

type OrdersOfOne = Pick<Slot, "orders" | "engine">;

/** Of each job the first that are not written: what the thread computes, or waits with. Those behind them are not begun. */
function headsOf({ orders, engine }: OrdersOfOne): readonly Order[] {
  const begun = new Map<string, number>();
  return orders.filter(({ status, unit: { job } }) => {
    const before = begun.get(job) ?? 0;
    if (status === "written" || before >= engine.arenas) return false;
    begun.set(job, before + 1);
    return true;
  });
}

function isWaiting({ status }: Order): boolean {
  return status === "asking";
}

function hung(slot: OrdersOfOne, stillMs: number): WorkerError {
  return new WorkerError(
    "worker/hung",
    `a thread showed no sign of life for ${Math.round(stillMs)} ms${whileWorkingOn(slot)}; it was ended`,
    {
      hint: "Look at the storage of that machine: a mount that does not answer is the common cause.",
      retryable: true,
    },
  );
}

function whileWorkingOn(slot: OrdersOfOne): string {
  const units = new Set(headsOf(slot).map(({ unit }) => unit.unit));
  return units.size === 0 ? "" : ` while it worked on ${[...units].join(", ")}`;
}

function isSame(a: AttemptKey, b: AttemptKey): boolean {
  return a.unit === b.unit && a.attempt === b.attempt && a.job === b.job;
}
