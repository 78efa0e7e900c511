import { hostname } from "node:os";
import { Worker } from "node:worker_threads";
import type { WorkerLink, WorkerListener, WorkerSource } from "../coordinator/link/index.ts";
import { failureFrom, type JobDescription, type WorkerId } from "../merge/work/index.ts";
import type { EngineChoice, FromWorker, ToWorker, WorkerBudget } from "../worker/index.ts";

/** One is computed while the one before it becomes durable. */
const SLOTS = 2;

/** What a thread makes and drops are small objects for each read; V8's default would let 48 MB of them gather. */
const YOUNG_GENERATION_MB = 4;

/** Where the entry of a worker thread lies once built; under a test runner that reads the sources, the built one is taken. */
const threadEntry = new URL(
  import.meta.url.endsWith(".ts") ? "../dist/worker/thread.js" : "../worker/thread.js",
  import.meta.url,
);

export interface ThreadOptions {
  readonly threads: number;
  readonly job: JobDescription;
  readonly budget: WorkerBudget;
  readonly engine: EngineChoice;
}

/** Workers that are threads of this process. */
export function workerThreads(options: ThreadOptions): WorkerSource {
  return async (listener) => {
    const links = await Promise.all(
      Array.from({ length: options.threads }, (_, k) => startThread(`thread-${k + 1}` as WorkerId, options, listener)),
    );
    for (const link of links) listener.attached(link, []);
  };
}

function startThread(
  id: WorkerId,
  { job, budget, engine }: ThreadOptions,
  listener: WorkerListener,
): Promise<WorkerLink> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(threadEntry, {
      name: id,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    });
    const send = (message: ToWorker) => thread.postMessage(message);
    let ended = false;
    const exited = new Promise<void>((done) => {
      thread.once("exit", (code) => {
        done();
        const error = new Error(`worker ${id} ended with code ${code}`);
        reject(error);
        if (!ended) listener.lost(id, failureFrom(error));
      });
    });
    thread.on("error", (error) => {
      reject(error);
      if (!ended) listener.lost(id, failureFrom(error));
      ended = true;
    });
    thread.on("message", (message: FromWorker) => {
      if (message.type === "grant-request") listener.grantRequested(id, message.unit, message.attempt);
      else if (message.type === "report") listener.reported(id, message.report);
      else if (message.type === "ready") resolve(link);
    });
    const link: WorkerLink = {
      id,
      kind: "local",
      incarnation: id,
      host: hostname(),
      memoryBytes: Number.POSITIVE_INFINITY, // of all threads together, which the budget sees to
      slots: SLOTS,
      assign: (assignment) => send({ type: "assign", assignment }),
      answerGrant: ({ unit, attempt }, answer) =>
        send({ type: answer === "granted" ? "granted" : "refused", unit, attempt }),
      answerReport: () => {}, // a thread holds nothing back to report it again
      cancel: () => {},
      close: async () => {
        ended = true;
        send({ type: "end" });
        await exited;
      },
    };
    send({ type: "begin", job, budget, engine });
  });
}
