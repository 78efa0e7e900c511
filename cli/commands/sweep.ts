import { OwnThreads, type Resources, resourcesFor, SWEEP_MERGE_BYTES, sweepWidth } from "../../app/index.ts";
import { bytesToWrite, fileHome, type Outcome, runMergeJob, spaceWarning } from "../../coordinator/job/index.ts";
import { parseSeed } from "../../merge/math/index.ts";
import { type Failure, failureFrom } from "../../merge/work/index.ts";
import type { OptionValues } from "../../options/index.ts";
import { FileOutput } from "../../output/index.ts";
import { type Prepared, prepareText, readRecipe } from "../../prepare/index.ts";
import { checkFaults, type Fault, filledRecipe, parseSweep, type Sweep, type SweepPoint } from "../../recipe/index.ts";
import {
  type Files,
  freeBytes,
  join,
  maybePlaceOf,
  nameOf,
  openStores,
  type Place,
  parentOf,
  placeFrom,
  placeOf,
  type Source,
  wholePlace,
} from "../../storage/index.ts";
import { toolVersion } from "../../version/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { printFailure } from "../print-failure.ts";
import { ProgressReport } from "../progress.ts";
import { printWarnings, reportError } from "../report-error.ts";
import { Signals } from "../signals.ts";
import { readableBytes, textTable } from "./text-table.ts";

export interface SweepOptions extends OptionValues<"sweep"> {
  readonly json: boolean;
  readonly quiet: boolean;
}

/** A merge of the sweep: what it will be, and where. */
interface Planned {
  readonly point: SweepPoint;
  readonly out: Place;
  readonly prepared: Prepared;
}

interface Made {
  readonly planned: Planned;
  readonly outcome: Outcome["outcome"];
  readonly cause?: Failure;
  readonly bytesWritten: number;
}

/** `deltaworks sweep SWEEP [OUT]`: many merges that share their inputs; every input byte is read once for all of them. */
export async function sweepCommand(
  [sweepText = "", outText]: readonly string[],
  options: SweepOptions,
  io: Io,
): Promise<number> {
  const sweepPath = placeOf(sweepText);
  const store = openStores({ takeOver: options.takeOver });
  const started = performance.now();
  const signals = new Signals();
  try {
    const sweep = await readSweep(store, sweepPath, io, options.json);
    const root = wholePlace(placeOf(outText ?? sweep.out ?? nameOf(sweepPath).replace(/\.ya?ml$/i, "")));
    const planned = await planAll(store, sweep, sweepPath, root, options);
    const warned = new Set<string>();
    for (const { prepared } of planned) {
      const fresh = prepared.warnings.filter(({ code, message }) => !warned.has(`${code} ${message}`));
      for (const { code, message } of fresh) warned.add(`${code} ${message}`);
      if (!options.quiet) printWarnings(io, fresh, options.json);
    }
    await checkSpace(store, root, planned);
    const resources = resourcesFor(options);
    const width = Math.min(planned.length, sweepWidth(resources));
    if (!options.quiet && !options.json) io.stderr(`sweep  ${planned.length} merges, ${width} at a time\n`);
    const made: Made[] = [];
    let bytesRead = 0;
    for (let first = 0; first < planned.length; first += width) {
      const batch = await runBatch(store, planned.slice(first, first + width), resources, options, io, signals);
      made.push(...batch.made);
      bytesRead += batch.bytesRead;
      if (batch.made.some(({ outcome }) => outcome === "stopped")) break;
    }
    return report(made, planned.length, bytesRead, (performance.now() - started) / 1000, options.json, io, signals);
  } catch (error) {
    return reportError(io, error, options.json);
  } finally {
    signals.close();
  }
}

async function readSweep(store: Source, path: Place, io: Io, json: boolean): Promise<Sweep> {
  const { sweep, faults, warnings } = parseSweep(await readRecipe(store, path), path);
  checkFaults(faults);
  printWarnings(io, warnings, json);
  if (sweep === undefined) throw new Error("a sweep without faults should have been read");
  return sweep;
}

/** Plans every merge before any is begun: a fault in the last of them is told before bytes are computed. */
async function planAll(
  store: Source,
  sweep: Sweep,
  sweepPath: Place,
  root: Place,
  options: SweepOptions,
): Promise<Planned[]> {
  const folder = parentOf(wholePlace(sweepPath));
  const texts = await Promise.all(
    sweep.recipes.map(async (recipe) =>
      "text" in recipe
        ? { text: recipe.text, path: sweepPath }
        : { text: await readRecipe(store, placeFrom(folder, recipe.path)), path: placeFrom(folder, recipe.path) },
    ),
  );
  const planned: Planned[] = [];
  for (const point of sweep.points) {
    const { text, path } = texts[point.recipe] ?? { text: "", path: folder };
    const filled = filledRecipe(text, point.values);
    checkFaults(placeholderFaults(sweep, sweepPath, point, filled));
    const prepared = await prepareText(store, filled.text, path, {
      ...options,
      modelsRoot: maybePlaceOf(options.modelsRoot),
      cwd: placeOf(process.cwd()),
      environment: process.env,
    });
    planned.push({ point, out: join(root, point.name), prepared });
  }
  return planned;
}

/** All outputs together must have room; those that were begun before have taken some of theirs. @throws JobError `coordinator/no-space` */
async function checkSpace(store: Source, root: Place, planned: readonly Planned[]): Promise<void> {
  let needed = 0;
  for (const { out, prepared } of planned)
    if ((await store.identity(out)) === undefined) needed += bytesToWrite(prepared);
  if (needed > 0) spaceWarning(root, needed, await freeBytes(root), false, "the merges together have");
}

function placeholderFaults(
  sweep: Sweep,
  file: string,
  { recipe, values }: SweepPoint,
  { unknown, unused }: { readonly unknown: readonly string[]; readonly unused: readonly string[] },
): Fault[] {
  const place = sweep.recipes[recipe]?.place ?? { line: 1, column: 1 };
  const known = [...values.keys()].join(", ") || "none";
  return [
    ...unknown.map((name) => ({
      ...place,
      file,
      code: "recipe/wrong-value" as const,
      message: `the recipe asks for \${${name.replace(/,.*/, "")}}, which the sweep does not give${name.replace(/^[^,]*/, "")}`,
      hint: `The sweep gives: ${known}.`,
    })),
    ...unused.map((name) => ({
      ...place,
      file,
      code: "recipe/wrong-value" as const,
      message: `the sweep gives "${name}", and the recipe has no \${${name}}`,
      hint: `Write \${${name}} in the recipe where the value belongs.`,
    })),
  ];
}

async function runBatch(
  store: Files,
  planned: readonly Planned[],
  resources: Resources,
  options: SweepOptions,
  io: Io,
  signals: Signals,
): Promise<{ readonly made: Made[]; readonly bytesRead: number }> {
  const { threads } = resources;
  const each = resourcesFor({
    threads: threads * planned.length,
    memoryBytes: Math.max(resources.memoryBytes, threads * planned.length * SWEEP_MERGE_BYTES),
  });
  const engine = { name: options.engine, maximumBytes: resources.engineMaximumBytes };
  const replaced = ({ message }: Failure) => {
    if (options.json) io.stdout(`${JSON.stringify({ event: "warning", message })}\n`);
    else if (!options.quiet) io.stderr(`warning  ${message}\n`);
  };
  const own = await OwnThreads.start({ threads, budget: each.budget, engine, replaced, inStep: true });
  const made = await Promise.all(
    planned.map(async (one): Promise<Made> => {
      const progress = new ProgressReport({
        io,
        terminal: false,
        json: false,
        quiet: true,
        nowMs: () => performance.now(),
      });
      const { plan, digest, recipeText, definingCheckpoint, text, inputs } = one.prepared;
      try {
        const output = new FileOutput(store, one.out);
        const outcome = await runMergeJob({
          ...{ store, output, home: fileHome(store, output.journalFolder) },
          ...{ plan, digest, recipeText, definingCheckpoint, text, inputs, toolVersion },
          seed: parseSeed(plan.seed),
          overwrite: options.overwrite,
          restart: options.restart,
          hashInputs: options.hashInputs,
          surveyElements: each.budget.rangeElements,
          workers: (job) => own.workersFor(one.point.name, job),
          clock: { nowMs: () => performance.now() },
          freeBytes,
          observer: progress,
          onStop: (stop) => signals.listen(io, stop),
        });
        return { planned: one, bytesWritten: progress.end()?.bytesWritten ?? 0, ...outcome };
      } catch (error) {
        // The other merges of the sweep go on.
        return { planned: one, outcome: "failed", cause: failureFrom(error), bytesWritten: 0 };
      }
    }),
  );
  await own.end();
  return { made, bytesRead: own.bytesRead };
}

function report(
  made: readonly Made[],
  merges: number,
  bytesRead: number,
  seconds: number,
  json: boolean,
  io: Io,
  signals: Signals,
): number {
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
  } else {
    io.stdout(
      textTable([
        ["merge", "plan", "outcome"],
        ...made.map(({ planned, outcome }) => [planned.out, planned.prepared.digest.slice(0, 12), outcome]),
      ]),
    );
    io.stdout(`swept  ${made.length} of ${merges} merges, ${readableBytes(bytesRead)} read, ${seconds.toFixed(1)} s\n`);
  }
  if (made.some(({ outcome }) => outcome === "stopped")) return signals.exitCode;
  return made.every(({ outcome }) => outcome === "done") ? exitCodes.done : exitCodes.failed;
}
