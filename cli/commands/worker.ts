import { collectInOneGo, startWorker, type WorkerSettings } from "../../app/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { printFailure } from "../print-failure.ts";
import { reportError } from "../report-error.ts";
import { openWorkerLog } from "../worker-log.ts";

export interface WorkerOptions extends WorkerSettings {
  readonly json: boolean;
  readonly logLevel: string;
}

/** `deltaworks worker --coordinator HOST:PORT` */
export async function workerCommand(_: readonly string[], options: WorkerOptions, io: Io): Promise<number> {
  collectInOneGo();
  const { log, write } = openWorkerLog(io, options);
  try {
    const worker = await startWorker(options, {
      log: write,
      fatal: (failure) => {
        printFailure(io, failure, options.json);
        process.exit(exitCodes.failed);
      },
    });
    const signals = listenForSignals(io, () => worker.drain());
    try {
      await worker.ended;
    } finally {
      signals.close();
    }
    log.info("worker ends");
    return exitCodes.done;
  } catch (error) {
    return reportError(io, error, options.json);
  }
}

/** The first signal drains, the second ends the process as it is: the coordinator's leases see to the rest. */
function listenForSignals(io: Io, drain: () => void): { close(): void } {
  const handlers = (["SIGINT", "SIGTERM"] as const).map((signal) => {
    let asked = false;
    const handler = () => {
      if (asked) process.exit(signal === "SIGINT" ? exitCodes.interrupted : exitCodes.terminated);
      asked = true;
      io.stderr("draining  what has not begun goes back, the rest is finished; once more to end at once\n");
      drain();
    };
    process.on(signal, handler);
    return [signal, handler] as const;
  });
  return {
    close: () => {
      for (const [signal, handler] of handlers) process.off(signal, handler);
    },
  };
}
