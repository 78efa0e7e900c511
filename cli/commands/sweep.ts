import { runSweep, type SweepEnd } from "../../app/index.ts";
import type { OptionValues } from "../../options/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { printFailure } from "../print-failure.ts";
import { printFetching } from "../print-fetching.ts";
import { printWarnings, reportError } from "../report-error.ts";
import { Signals } from "../signals.ts";
import { readableBytes, textTable } from "./text-table.ts";

export interface SweepOptions extends OptionValues<"sweep"> {
  readonly json: boolean;
  readonly quiet: boolean;
}

/** `deltaworks sweep SWEEP [OUT]` */
export async function sweepCommand(
  [sweep = "", out]: readonly string[],
  options: SweepOptions,
  io: Io,
): Promise<number> {
  const { json, quiet } = options;
  const signals = new Signals();
  try {
    const end = await runSweep(
      { ...options, sweep, out },
      {
        fetching: (...file) => printFetching(file, options, io),
        warned: (faults) => {
          if (!quiet) printWarnings(io, faults, json);
        },
        planned: (merges, width) => {
          if (!quiet && !json) io.stderr(`sweep  ${merges.length} merges, ${width} at a time\n`);
        },
        warning: (message) => {
          if (json) io.stdout(`${JSON.stringify({ event: "warning", message })}\n`);
          else if (!quiet) io.stderr(`warning  ${message}\n`);
        },
        onStop: (stop) => signals.listen(io, stop),
      },
    );
    report(end, json, io);
    if (end.made.some(({ outcome }) => outcome === "stopped")) return signals.exitCode;
    return end.made.every(({ outcome }) => outcome === "done") ? exitCodes.done : exitCodes.failed;
  } catch (error) {
    return reportError(io, error, json);
  } finally {
    signals.close();
  }
}

function report({ made, merges, bytesRead, seconds }: SweepEnd, json: boolean, io: Io): void {
  for (const { cause, planned } of made) {
    if (cause !== undefined) printFailure(io, { ...cause, message: `${planned.point.name}: ${cause.message}` }, json);
  }
  if (json) {
    for (const { planned, outcome, bytesWritten } of made) {
      const { point, out, prepared } = planned;
      const values = Object.fromEntries(point.values);
      io.stdout(
        `${JSON.stringify({ event: "merge", name: point.name, values, out, plan: prepared.digest, outcome, bytesWritten })}\n`,
      );
    }
    io.stdout(`${JSON.stringify({ event: "sweep", merges, made: made.length, bytesRead, seconds })}\n`);
    return;
  }
  io.stdout(
    textTable([
      ["merge", "plan", "outcome"],
      ...made.map(({ planned, outcome }) => [planned.out, planned.prepared.digest.slice(0, 12), outcome]),
    ]),
  );
  io.stdout(`swept  ${made.length} of ${merges} merges, ${readableBytes(bytesRead)} read, ${seconds.toFixed(1)} s\n`);
}
