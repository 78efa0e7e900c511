import { openJobLog, resourcesFor, workerThreads } from "../../app/index.ts";
import { fileHome, runMergeJob } from "../../coordinator/job/index.ts";
import { parseSeed } from "../../merge/math/index.ts";
import { type Failure, usageOf } from "../../merge/work/index.ts";
import type { OptionValues } from "../../options/index.ts";
import { FileOutput } from "../../output/index.ts";
import { estimateOf } from "../../plan/index.ts";
import { outlineOf, prepareText, readRecipe } from "../../prepare/index.ts";
import { recipeTextUpTo } from "../../recipe/index.ts";
import {
  type Files,
  freeBytes,
  join,
  maybePlaceOf,
  openStores,
  type Place,
  placeOf,
  wholePlace,
} from "../../storage/index.ts";
import { toolVersion } from "../../version/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { outlineText, planSummary } from "../plan-text.ts";
import { printFailure } from "../print-failure.ts";
import { ProgressReport } from "../progress.ts";
import { printWarnings, reportError } from "../report-error.ts";
import { Signals } from "../signals.ts";

export interface MergeOptions extends OptionValues<"merge"> {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly logLevel: string;
}

/** `deltaworks merge RECIPE OUT` */
export async function mergeCommand(
  [recipeText = "", outText = ""]: readonly string[],
  options: MergeOptions,
  io: Io,
): Promise<number> {
  const [recipePath, outPath] = [placeOf(recipeText), placeOf(outText)];
  const store = openStores({ takeOver: options.takeOver });
  try {
    const text = await readRecipe(store, recipePath);
    for (const [name, folder] of options.keep.map((keep) => keptAs(keep, outPath))) {
      const upTo = recipeTextUpTo(text, name);
      if (upTo === undefined) {
        const message = `--keep ${name}: no document of ${recipePath} is called so`;
        printFailure(
          io,
          { code: "cli/unknown-document", message, hint: "A document is named by its key name:." },
          options.json,
        );
        return exitCodes.usage;
      }
      const ended = await mergeText(store, upTo, recipePath, folder, options, io);
      if (ended !== exitCodes.done) return ended;
    }
    return await mergeText(store, text, recipePath, outPath, options, io);
  } catch (error) {
    return reportError(io, error, options.json);
  }
}

/** NAME=DIR; NAME alone goes beside the output. */
function keptAs(keep: string, outPath: Place): readonly [name: string, folder: Place] {
  const equals = keep.indexOf("=");
  return equals < 0
    ? [keep, placeOf(`${outPath.replace(/[/\\]+$/, "")}-${keep}`)]
    : [keep.slice(0, equals), placeOf(keep.slice(equals + 1))];
}

async function mergeText(
  store: Files,
  recipeText: string,
  recipePath: Place,
  outPath: Place,
  options: MergeOptions,
  io: Io,
): Promise<number> {
  const out = wholePlace(outPath);
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  let log: ReturnType<typeof openJobLog> | undefined;
  const signals = new Signals();
  try {
    const prepared = await prepareText(store, recipeText, recipePath, {
      ...options,
      modelsRoot: maybePlaceOf(options.modelsRoot),
      cwd: placeOf(process.cwd()),
      environment: process.env,
    });
    if (!options.quiet) printWarnings(io, prepared.warnings, options.json);
    const { plan, digest } = prepared;
    const resources = resourcesFor(options);
    const { budget, threads } = resources;
    const engine = { name: options.engine, maximumBytes: resources.engineMaximumBytes };
    if (!options.quiet && !options.json) io.stderr(`${planSummary(plan, digest)}\n${outlineText(prepared)}`);
    if (options.json) {
      const planned = { event: "planned", plan: digest, estimate: estimateOf(plan), usage: usageOf(plan) };
      io.stdout(`${JSON.stringify({ ...planned, ...outlineOf(prepared) })}\n`);
    }
    const progress = new ProgressReport({
      io,
      terminal: process.stderr.isTTY === true,
      json: options.json,
      quiet: options.quiet,
      nowMs: () => performance.now(),
    });
    const output = new FileOutput(store, out);
    const outcome = await runMergeJob({
      store,
      output,
      home: fileHome(store, output.journalFolder),
      plan,
      digest,
      recipeText: prepared.recipeText,
      definingCheckpoint: prepared.definingCheckpoint,
      text: prepared.text,
      inputs: prepared.inputs,
      seed: parseSeed(plan.seed),
      overwrite: options.overwrite,
      restart: options.restart,
      hashInputs: options.hashInputs,
      toolVersion,
      surveyElements: budget.rangeElements,
      workers: (job) => {
        log = openJobLog(store, join(output.journalFolder, "job.log"), options.logLevel, io.stderr);
        log.log.info(
          {
            plan: digest,
            threads,
            memoryBytes: resources.memoryBytes,
            engine: engine.name,
            node: process.version,
            inputs: job.inputs.map(({ files }) => files.map(({ path }) => path)),
          },
          "merge begins",
        );
        const replaced = (failure: Failure) => {
          progress.warning(failure.message);
          log?.log.warn(failure, "thread replaced");
        };
        return workerThreads({ threads, job, budget, engine, replaced });
      },
      clock: { nowMs: () => performance.now() },
      freeBytes,
      observer: progress,
      onStop: (stop) => signals.listen(io, stop),
    });
    const last = progress.end();
    log?.log.info(
      {
        outcome: outcome.outcome,
        seconds: seconds(),
        bytesRead: last?.bytesRead,
        bytesWritten: last?.bytesWritten,
        counters: Object.fromEntries(progress.counters),
      },
      "merge ended",
    );
    switch (outcome.outcome) {
      case "done":
        if (options.json)
          io.stdout(
            `${JSON.stringify({ event: "done", out: outPath, plan: digest, seconds: seconds(), bytesRead: last?.bytesRead ?? 0, bytesWritten: last?.bytesWritten ?? 0, slicesComputed: last?.slicesComputed ?? 0, tensorsCut: last?.tensorsCut ?? 0 })}\n`,
          );
        else if (!options.quiet)
          io.stdout(
            last === undefined
              ? `done  ${outPath} holds this merge already\n`
              : `done  ${outPath}  ${seconds().toFixed(1)} s\n`,
          );
        return exitCodes.done;
      case "stopped":
        io.stderr("stopped  finished slices are kept; the same command goes on from here\n");
        return signals.exitCode;
      default:
        if (outcome.cause !== undefined) printFailure(io, outcome.cause, options.json);
        return exitCodes.failed;
    }
  } catch (error) {
    return reportError(io, error, options.json);
  } finally {
    signals.close();
    await log?.close();
  }
}
