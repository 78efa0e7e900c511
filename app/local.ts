import { hostname } from "node:os";
import type { WorkerLink, WorkerListener, WorkerSource } from "../coordinator/link/index.ts";
import type { JobDescription, WorkerId } from "../merge/work/index.ts";
import type { WorkerBudget } from "../runtime/index.ts";
import type { EngineChoice } from "../worker/index.ts";
import { PoolThread } from "../worker/pool/index.ts";

/** One is computed while the one before it becomes durable. */
const SLOTS = 2;

/** This process runs one. */
const JOB = "merge";

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

async function startThread(
  id: WorkerId,
  { job, budget, engine }: ThreadOptions,
  listener: WorkerListener,
): Promise<WorkerLink> {
  const thread = await PoolThread.start(
    { name: id, budget, engine },
    {
      received: (message) => {
        if (message.type === "grant-request") listener.grantRequested(id, message.unit, message.attempt);
        else if (message.type === "report") listener.reported(id, message.report);
      },
      lost: (failure) => listener.lost(id, failure),
    },
  );
  thread.send({ type: "begin", job: JOB, description: job });
  return {
    id,
    kind: "local",
    incarnation: id,
    host: hostname(),
    memoryBytes: Number.POSITIVE_INFINITY, // of all threads together, which the budget sees to
    slots: SLOTS,
    assign: (assignment) => thread.send({ type: "assign", job: JOB, assignment, output: "stream" }),
    answerGrant: ({ unit, attempt }, answer) =>
      thread.send({ type: answer === "granted" ? "granted" : "refused", job: JOB, unit, attempt }),
    answerReport: () => {}, // a thread holds nothing back to report it again
    cancel: (attempts) => {
      for (const { unit, attempt } of attempts) thread.send({ type: "drop", job: JOB, unit, attempt });
    },
    close: () => thread.end(),
  };
}
