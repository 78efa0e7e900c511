import { startWorker, type WorkerSettings } from "../../app/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { printFailure } from "../print-failure.ts";
import { reportError, reportFaults } from "../report-error.ts";
import { brokenRules, workerRules } from "../settings.ts";
import { openWorkerLog } from "../worker-log.ts";

export interface WorkerOptions extends WorkerSettings {
  /** Milliseconds. */
  readonly grace: number;
  readonly json: boolean;
  readonly logLevel: string;
}

/** `deltaworks worker --coordinator HOST:PORT` */
export async function workerCommand(_: readonly string[], options: WorkerOptions, io: Io): Promise<number> {
  const { log, write } = openWorkerLog(io, options);
  try {
    const faults = brokenRules(workerRules, options);
    if (faults.length > 0) return reportFaults(io, faults, options.json);
    const worker = await startWorker(options, {
      log: write,
      fatal: (failure) => {
        printFailure(io, failure, options.json);
        process.exit(exitCodes.failed);
      },
    });
    const signals = listenForSignals(io, options.grace, (graceMs) => worker.drain(graceMs));
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
function listenForSignals(io: Io, graceMs: number, drain: (graceMs: number) => void): { close(): void } {
  const handlers = (["SIGINT", "SIGTERM"] as const).map((signal) => {
    let asked = false;
    const handler = () => {
      if (asked) process.exit(signal === "SIGINT" ? exitCodes.interrupted : exitCodes.terminated);
      asked = true;
      io.stderr("draining  what has not begun goes back, the rest is finished; once more to end at once\n");
      drain(graceMs);
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
