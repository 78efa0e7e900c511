import { hostname } from "node:os";
import { pino } from "pino";
import { type CoordinatorSettings, collectInOneGo, keepHeapSmall, startCoordinator } from "../../app/index.ts";
import { redact } from "../../trust/secrets/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { reportError } from "../report-error.ts";

export interface CoordinatorOptions extends CoordinatorSettings {
  readonly json: boolean;
  readonly logLevel: string;
}

/** `deltaworks coordinator` */
export async function coordinatorCommand(_: readonly string[], options: CoordinatorOptions, io: Io): Promise<number> {
  keepHeapSmall();
  collectInOneGo();
  const log = pino(
    {
      level: options.logLevel,
      redact,
      base: { host: hostname(), pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    { write: io.stderr },
  );
  try {
    const defect = () => process.exit(exitCodes.failed);
    const running = await startCoordinator(options, { log, defect });
    const { address } = running;
    io.stdout(options.json ? `${JSON.stringify({ event: "listening", address })}\n` : `listening  ${address}\n`);
    const signal = await stopSignal();
    log.info({ signal }, "coordinator is stopping");
    await running.stop();
    return exitCodes.done;
  } catch (error) {
    return reportError(io, error, options.json);
  }
}

function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = false;
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => {
        // A second one ends the process as it is, which loses nothing but slices in flight.
        if (asked) process.exit(signal === "SIGINT" ? exitCodes.interrupted : exitCodes.terminated);
        asked = true;
        resolve(signal);
      });
    }
  });
}
