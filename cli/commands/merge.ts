import {
  hubMergeFolder,
  loadTransferOf,
  type MergeEnd,
  type MergePorts,
  resourcesFor,
  runMerge,
  type Transfer,
} from "../../app/index.ts";
import { usageOf } from "../../merge/work/index.ts";
import type { OptionValues } from "../../options/index.ts";
import { estimateOf } from "../../plan/index.ts";
import { outlineOf, type Prepared } from "../../prepare/index.ts";
import { isHubPlace, placeOf } from "../../storage/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { outlineText, planSummary } from "../plan-text.ts";
import { printFailure } from "../print-failure.ts";
import { printFetching } from "../print-fetching.ts";
import { ProgressReport } from "../progress.ts";
import { printWarnings, reportError } from "../report-error.ts";
import { Signals } from "../signals.ts";
import { publishCommand } from "./publish.ts";

export interface MergeOptions extends OptionValues<"merge"> {
  readonly state?: string | undefined;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly logLevel: string;
}

/** `deltaworks merge RECIPE OUT`. To the Hub: into a folder below the state's, and from there. */
export async function mergeCommand(
  [recipe = "", out = ""]: readonly string[],
  options: MergeOptions,
  io: Io,
): Promise<number> {
  if (!isHubPlace(placeOf(out))) return merge([recipe, out], options, io);
  const { json, quiet, overwrite, bandwidthBytes } = options;
  let folder: string;
  try {
    folder = await hubMergeFolder({ ...options, out });
  } catch (error) {
    return reportError(io, error, json);
  }
  const code = await merge([recipe, folder], { ...options, state: undefined }, io);
  if (code !== exitCodes.done) return code;
  return publishCommand([folder, out], { json, quiet, overwrite, bandwidthBytes }, io);
}

async function merge([recipe = "", out = ""]: readonly string[], options: MergeOptions, io: Io): Promise<number> {
  const { json, quiet, logLevel } = options;
  const transferOf = await loadTransferOf();
  const signals = new Signals();
  let progress: ProgressReport | undefined;
  const ports: MergePorts = {
    fetching: (...file) => printFetching(file, options, io),
    planned: (prepared) => {
      const means = { ...resourcesFor(options), cacheBytes: options.cacheBytes };
      printPlanned(prepared, transferOf(prepared.plan, prepared.inputs, means), options, io);
      const terminal = process.stderr.isTTY === true;
      progress = new ProgressReport({ io, terminal, json, quiet, nowMs: () => performance.now() });
      return progress;
    },
    ended: (end) => {
      progress?.end();
      if (end.outcome === "done") printDone(end, options, io);
    },
    onStop: (stop) => signals.listen(io, stop),
    log: { level: logLevel, write: io.stderr },
  };
  try {
    const { outcome, cause } = await runMerge({ ...options, recipe, out }, ports);
    if (outcome === "done") return exitCodes.done;
    if (outcome === "stopped") {
      io.stderr("stopped  finished slices are kept; the same command goes on from here\n");
      return signals.exitCode;
    }
    if (cause !== undefined) printFailure(io, cause, json);
    return exitCodes.failed;
  } catch (error) {
    return reportError(io, error, json);
  } finally {
    signals.close();
  }
}

function printPlanned(prepared: Prepared, transfer: Transfer | undefined, { json, quiet }: MergeOptions, io: Io): void {
  const { plan, digest, warnings } = prepared;
  if (!quiet) printWarnings(io, warnings, json);
  if (json) {
    const planned = { event: "planned", plan: digest, estimate: estimateOf(plan), usage: usageOf(plan), transfer };
    io.stdout(`${JSON.stringify({ ...planned, ...outlineOf(prepared) })}\n`);
  } else if (!quiet) io.stderr(`${planSummary(plan, digest)}\n${outlineText(prepared, transfer)}`);
}

function printDone({ out, digest, seconds, last }: MergeEnd, { json, quiet }: MergeOptions, io: Io): void {
  if (json) {
    const { bytesRead = 0, bytesWritten = 0, slicesComputed = 0, tensorsCut = 0 } = last ?? {};
    const done = { event: "done", out, plan: digest, seconds, bytesRead, bytesWritten, slicesComputed, tensorsCut };
    io.stdout(`${JSON.stringify(done)}\n`);
  } else if (!quiet) {
    io.stdout(
      last === undefined ? `done  ${out} holds this merge already\n` : `done  ${out}  ${seconds.toFixed(1)} s\n`,
    );
  }
}
