import { hostname } from "node:os";
import type { WorkerLink, WorkerListener, WorkerSource } from "../coordinator/link/index.ts";
import type { AttemptKey, Failure, JobDescription, WorkerId } from "../merge/work/index.ts";
import type { WorkerBudget } from "../runtime/index.ts";
import type { EngineChoice } from "../worker/index.ts";
import { streamedAtOnce, ThreadPool } from "../worker/pool/index.ts";
import { GatheredUnits } from "./gathered-units.ts";

/** To each merge all threads of this process are one worker. */
const WORKER = "threads" as WorkerId;

/** What one merge on this machine is called among its threads. */
const THE_MERGE = "merge";

/** How often threads are looked at, and how long one that has work may show no sign of life: storage that is merely slow has answered by then. */
const LOOK_MS = 1_000;
const HUNG_AFTER_MS = 120_000;

/** A grant that cannot be given yet is asked for again. */
const LATER_MS = 500;

export interface OwnThreadsOptions {
  /** One for each thread. */
  readonly engines: readonly EngineChoice[];
  /** Of one merge in one thread. */
  readonly budget: WorkerBudget;
  /** A thread ended or hung, and another takes its place; the message says both. */
  readonly replaced: (failure: Failure) => void;
  /** Merges of the same models: a unit of all goes to the same thread at the same time, and every byte is read once. */
  readonly inStep?: boolean;
  /** For tests: another entry, other times. */
  readonly entry?: URL;
  readonly lookMs?: number;
  readonly hungAfterMs?: number;
}

/** The threads of this process, as workers of the merges that it makes. They stream: what is granted is written while it is computed. */
export class OwnThreads {
  readonly #options: OwnThreadsOptions;
  readonly #merges = new Map<string, WorkerListener>();
  readonly #gathered: GatheredUnits | undefined;
  readonly #slots: number;
  #pool: ThreadPool | undefined;
  #stopLooking = () => {};
  #broken: Failure | undefined;
  #bytesRead = 0;

  private constructor(options: OwnThreadsOptions) {
    this.#options = options;
    this.#slots = options.engines.reduce((sum, engine) => sum + streamedAtOnce(engine), 0);
    if (options.inStep !== true) return;
    this.#gathered = new GatheredUnits(this.#slots, (job, assignment) => this.#pool?.assign(job, assignment));
  }

  static async start(options: OwnThreadsOptions): Promise<OwnThreads> {
    const own = new OwnThreads(options);
    await own.#start();
    return own;
  }

  /** Of threads that read in step: bytes that all of them read from files, but those that were replaced; whole after `end`. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** The worker of one merge. `ended`: called when that has nothing more for it. */
  workersFor(job: string, description: JobDescription, ended = async (): Promise<void> => {}): WorkerSource {
    return async (listener) => {
      this.#merges.set(job, listener);
      this.#gathered?.join(job);
      this.#pool?.begin({ job, description });
      listener.attached(this.#link(job, ended), []);
      if (this.#broken !== undefined) listener.lost(WORKER, this.#broken);
    };
  }

  async end(): Promise<void> {
    this.#stopLooking();
    await this.#pool?.end();
  }

  async #start(): Promise<void> {
    const { engines, budget, inStep = false, entry, lookMs = LOOK_MS, hungAfterMs = HUNG_AFTER_MS } = this.#options;
    const ways = inStep
      ? { entry: "lockstep" as const, sameThread: ({ unit }: { readonly unit: string }) => unit }
      : {};
    const pool = await ThreadPool.start(
      { engines, budget, ...ways, ...(entry === undefined ? {} : { entry }) },
      {
        asked: (key) => this.#merges.get(key.job)?.grantRequested(WORKER, key.unit, key.attempt),
        reported: (job, report) => {
          this.#gathered?.ended(job);
          this.#merges.get(job)?.reported(WORKER, report);
        },
        dropped: (key) => {
          this.#gathered?.ended(key.job);
          this.#handedBack(key);
        },
        computed: ({ job, unit, attempt }, { sha256, counts }) => {
          this.#gathered?.ended(job);
          this.#merges.get(job)?.reported(WORKER, { unit, attempt, kind: "audit", sha256, counts });
        },
        gathered: (bytesRead) => {
          this.#bytesRead += bytesRead;
        },
        replaced: (_, failure) => this.#options.replaced({ ...failure, message: replacedText(failure) }),
        broken: (failure) => {
          this.#broken = failure;
          this.#stopLooking();
          for (const listener of [...this.#merges.values()]) listener.lost(WORKER, failure);
        },
      },
    );
    this.#pool = pool;
    // Time in which this process was stopped is no time in which its threads hung.
    let lookedMs = performance.now();
    let runMs = 0;
    const timer = setInterval(() => {
      const nowMs = performance.now();
      runMs += Math.min(nowMs - lookedMs, 2 * lookMs);
      lookedMs = nowMs;
      pool.look(runMs, hungAfterMs);
    }, lookMs).unref();
    this.#stopLooking = () => clearInterval(timer);
  }

  #link(job: string, ended: () => Promise<void>): WorkerLink {
    return {
      id: WORKER,
      trust: "own",
      incarnation: job,
      host: hostname(),
      memoryBytes: Number.POSITIVE_INFINITY, // of all threads together, which the budget sees to
      slots: this.#slots,
      assign: (assignment) => {
        if (this.#gathered !== undefined) this.#gathered.add(job, assignment);
        else this.#pool?.assign(job, assignment);
      },
      answerGrant: (attempt, answer) => {
        const key = { job, ...attempt };
        if (answer === "later") setTimeout(() => this.#askAgain(key), LATER_MS).unref();
        else this.#pool?.answer(key, answer === "granted");
      },
      answerReport: () => {}, // a thread holds nothing back to report it again
      cancel: (attempts) => {
        for (const attempt of attempts) this.#drop({ job, ...attempt });
      },
      close: async () => {
        this.#merges.delete(job);
        this.#gathered?.leave(job);
        this.#pool?.finish(job);
        await ended();
      },
    };
  }

  #drop(key: AttemptKey): void {
    if (this.#gathered?.takeOut(key) === true) this.#handedBack(key);
    else this.#pool?.drop(key);
  }

  #handedBack({ job, unit, attempt }: AttemptKey): void {
    // Not from within a call of the merge.
    setImmediate(() => this.#merges.get(job)?.handedBack(WORKER, [{ unit, attempt }]));
  }

  #askAgain(key: AttemptKey): void {
    if (this.#pool?.has(key) === true) this.#merges.get(key.job)?.grantRequested(WORKER, key.unit, key.attempt);
  }
}

function replacedText({ message }: Failure): string {
  return `a thread was replaced, and what it had is computed again: ${message}`;
}

export type MergeThreadsOptions = Omit<OwnThreadsOptions, "inStep"> & { readonly job: JobDescription };

/** Threads of this process for one merge: they end with it. */
export function workerThreads({ job, ...options }: MergeThreadsOptions): WorkerSource {
  return async (listener) => {
    const own = await OwnThreads.start(options);
    await own.workersFor(THE_MERGE, job, () => own.end())(listener);
  };
}
