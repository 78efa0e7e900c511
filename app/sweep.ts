import {
  bytesToWrite,
  type MergeJobOptions,
  type Outcome,
  type Progress,
  runMergeJob,
  spaceWarning,
} from "../coordinator/job/index.ts";
import { type ChosenEngine, chooseEngines } from "../merge/engines/index.ts";
import { type Failure, failureFrom } from "../merge/work/index.ts";
import { checkOptions } from "../options/index.ts";
import type { Fault } from "../recipe/index.ts";
import { freeBytes, openStores, type Source, type Stores, schemeOf } from "../storage/index.ts";
import { engineThreads } from "./engine-threads.ts";
import { jobAnywhere } from "./job-here.ts";
import { uploadBytesFor } from "./out-place.ts";
import { OwnThreads } from "./own-threads.ts";
import { type PlannedMerge, type PlannedSweep, planSweep, type SweepSettings } from "./plan-sweep.ts";
import { type Resources, resourcesFor, SWEEP_MERGE_BYTES, sweepWidth } from "./resources.ts";

/** What a sweep tells whoever started it. */
export interface SweepPorts {
  /** As of `MergePorts`. */
  fetching?(model: string, path: string, sizeBytes: number): void;
  /** What the sweep and its recipes should be looked at for. */
  warned(faults: readonly Fault[]): void;
  /** What will be made, before anything is written, and how many of them at a time. */
  planned(merges: readonly PlannedMerge[], width: number): void;
  /** What happens meanwhile to the threads that all merges share. */
  warning(text: string): void;
  /** Called with a function that stops a merge cleanly: of each one, and again where another one does from then on. */
  onStop(stop: () => void): void;
}

/** A merge that was begun. */
export interface SweptMerge extends Outcome {
  readonly planned: PlannedMerge;
  readonly bytesWritten: number;
}

export interface SweepEnd {
  readonly made: readonly SweptMerge[];
  /** How many there were to make. */
  readonly merges: number;
  /** Of input files, by all merges together. */
  readonly bytesRead: number;
  readonly seconds: number;
}

/**
 * Many merges that share their inputs, in threads of this process: every input byte is read once for all that are made at a time. One that
 * fails does not hold up the others.
 * @throws OptionError, EngineError; RecipeError, InputsError; JobError `coordinator/no-space`
 */
export async function runSweep(settings: SweepSettings, ports: SweepPorts): Promise<SweepEnd> {
  const began = performance.now();
  checkOptions("sweep", settings);
  const engines = await chooseEngines(settings.engine);
  const store = openStores({ takeOver: settings.takeOver });
  const sweep = await planSweep(store, settings, ports.fetching);
  const { merges } = sweep;
  ports.warned(sweep.warnings);
  await checkSpace(store, sweep);
  const uploadBytes = uploadBytesFor(sweep.root, settings);
  const resources = resourcesFor({ ...settings, uploadBytes });
  const width = Math.min(merges.length, sweepWidth(resources, uploadBytes));
  ports.planned(merges, width);
  const made: SweptMerge[] = [];
  let bytesRead = 0;
  for (let first = 0; first < merges.length; first += width) {
    const batch = await runBatch(store, merges.slice(first, first + width), resources, engines, settings, ports);
    made.push(...batch.made);
    bytesRead += batch.bytesRead;
    if (batch.made.some(({ outcome }) => outcome === "stopped")) break;
  }
  return { made, merges: merges.length, bytesRead, seconds: (performance.now() - began) / 1000 };
}

/** All outputs together must have room; those that were begun before have taken some of theirs. @throws JobError `coordinator/no-space` */
async function checkSpace(store: Source, { root, merges }: PlannedSweep): Promise<void> {
  if (schemeOf(root) !== "file") return;
  let needed = 0;
  for (const { out, prepared } of merges)
    if ((await store.identity(out)) === undefined) needed += bytesToWrite(prepared);
  if (needed > 0) spaceWarning(root, needed, await freeBytes(root), false, "the merges together have");
}

async function runBatch(
  store: Stores,
  merges: readonly PlannedMerge[],
  resources: Resources,
  chosen: readonly ChosenEngine[],
  settings: SweepSettings,
  ports: SweepPorts,
): Promise<{ readonly made: readonly SweptMerge[]; readonly bytesRead: number }> {
  const { threads, memoryBytes, engineMaximumBytes } = resources;
  const inThreads = threads * merges.length;
  const uploadBytes = Math.max(0, ...merges.map(({ out }) => uploadBytesFor(out, settings)));
  const least = inThreads * (SWEEP_MERGE_BYTES + uploadBytes);
  const each = resourcesFor({ threads: inThreads, memoryBytes: Math.max(memoryBytes, least), uploadBytes });
  const { connectionsMax, bandwidthBytes } = resources.budget;
  // The merges of a thread share its connections.
  const budget = {
    ...{ ...each.budget, ...(connectionsMax === undefined ? {} : { connectionsMax }) },
    ...(bandwidthBytes === undefined ? {} : { bandwidthBytes }),
  };
  const engines = engineThreads(chosen, threads, engineMaximumBytes);
  const replaced = ({ message }: Failure) => ports.warning(message);
  const own = await OwnThreads.start({ engines, budget, replaced, inStep: true });
  const runOne = async (planned: PlannedMerge): Promise<SweptMerge> => {
    const { point, prepared, out } = planned;
    let last: Progress | undefined;
    const observer: MergeJobOptions["observer"] = {
      progress: (progress) => {
        last = progress;
      },
      ...{ began: () => {}, warning: () => {}, counted: () => {} },
    };
    try {
      const outcome = await runMergeJob({
        ...(await jobAnywhere(store, prepared, out, settings)),
        surveyElements: budget.rangeElements,
        workers: (job) => own.workersFor(point.name, job),
        observer,
        onStop: (stop) => ports.onStop(stop),
      });
      return { planned, bytesWritten: last?.bytesWritten ?? 0, ...outcome };
    } catch (error) {
      return { planned, outcome: "failed", cause: failureFrom(error), bytesWritten: 0 };
    }
  };
  const made = await Promise.all(merges.map(runOne));
  await own.end();
  return { made, bytesRead: own.bytesRead };
}
