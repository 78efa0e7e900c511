import { Worker } from "node:worker_threads";
import { type Failure, failureFrom } from "../../merge/work/index.ts";
import type { WorkerBudget } from "../../runtime/index.ts";
import { type EngineChoice, type FromWorker, SignsOfLife, type ToWorker, WorkerError } from "../index.ts";

/** What a thread makes and drops are small objects for each read; V8's default would let 48 MB of them gather. */
const YOUNG_GENERATION_MB = 4;

/** Where the entry of a worker thread lies once built; under a test runner that reads the sources, the built one is taken. */
const built = import.meta.url.endsWith(".ts") ? "../../dist/worker/" : "../";
const threadEntry = new URL(`${built}pool/thread.js`, import.meta.url);
const lockstepEntry = new URL(`${built}lockstep/thread.js`, import.meta.url);

export interface PoolThreadOptions {
  readonly name: string;
  readonly budget: WorkerBudget;
  readonly engine: EngineChoice;
  /** "lockstep": several merges of the same models at once, every byte read once. A URL: another entry, for tests. */
  readonly entry?: "lockstep" | URL;
}

export interface PoolThreadListener {
  received(message: FromWorker): void;
  /** It ended without having been asked to. Said once. */
  lost(failure: Failure): void;
}

/** A worker thread of this process: starts, takes messages, ends. */
export class PoolThread {
  readonly name: string;
  readonly #worker: Worker;
  readonly #signs: SignsOfLife;
  /** Nothing of it is being done any more: a thread inside a system call ends when that call does. */
  readonly exited: Promise<void>;
  #leaving = false;

  private constructor(worker: Worker, name: string, signs: SignsOfLife, exited: Promise<void>) {
    this.#worker = worker;
    this.name = name;
    this.#signs = signs;
    this.exited = exited;
  }

  /** Resolves once it can be given work; rejects where it cannot start. */
  static start({ name, budget, engine, entry }: PoolThreadOptions, listener: PoolThreadListener): Promise<PoolThread> {
    return new Promise((resolve, reject) => {
      const worker = new Worker(entry === "lockstep" ? lockstepEntry : (entry ?? threadEntry), {
        name,
        resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
      });
      const memory = SignsOfLife.memory();
      let exit = () => {};
      const exited = new Promise<void>((done) => {
        exit = done;
      });
      const thread = new PoolThread(worker, name, new SignsOfLife(memory), exited);
      const lost = (error: Error) => {
        reject(error);
        if (!thread.#leaving) listener.lost(failureFrom(error));
        thread.#leaving = true;
      };
      worker.on("error", (error: Error) => lost(isOutOfMemory(error) ? threadEnded(name, "ran out of memory") : error));
      worker.once("exit", (code) => {
        exit();
        lost(threadEnded(name, `ended with code ${code}`));
      });
      worker.on("message", (message: FromWorker) => {
        if (message.type === "ready") resolve(thread);
        else listener.received(message);
      });
      thread.send({ type: "start", budget, engine, signs: memory });
    });
  }

  send(message: ToWorker, transfer: readonly ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  /** Steps and bytes that the thread has shown to have done. */
  get signs(): Pick<SignsOfLife, "steps"> {
    return this.#signs;
  }

  /** Lets it finish what it computes, close its files, and go. */
  async end(): Promise<void> {
    this.#leaving = true;
    this.send({ type: "end" });
    await this.exited;
  }

  /** At once; its buffers are gone. Does not wait: a thread inside a system call ends when that call does. */
  terminate(): void {
    this.#leaving = true;
    this.#worker.terminate().catch(() => undefined); // it has ended by itself
  }
}

function isOutOfMemory(error: Error): boolean {
  return "code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY";
}

function threadEnded(name: string, how: string): WorkerError {
  return new WorkerError("worker/thread-ended", `${name} ${how}`, {
    hint: "It was replaced, and what it had is computed again. If it goes on: less `--memory` or `--threads` where memory is short; else please report it.",
    retryable: true,
  });
}
