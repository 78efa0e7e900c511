import { TensorRounds } from "../coordinator/job/index.ts";
import { chooseEngines, openDevice } from "../merge/engines/index.ts";
import { parseSeed } from "../merge/math/index.ts";
import {
  type JobDescription,
  type PlainData,
  type Plan,
  preambleIn,
  type Report,
  type Slice,
  type SlicePart,
  type UnitId,
} from "../merge/work/index.ts";
import { RECIPE_NAME, type RepairInput, type RepairSource, WORK_DIRECTORY } from "../output/index.ts";
import { InputsError, openModels, parseBeside, planOpened } from "../prepare/index.ts";
import type { RecipeInput } from "../recipe/index.ts";
import { SliceWorker } from "../runtime/index.ts";
import { type Files, join, type Place, placeOf } from "../storage/index.ts";
import { recordedFolders } from "./recorded-folders.ts";
import { resourcesFor } from "./resources.ts";

export interface RepairSourceOptions {
  readonly store: Files;
  /** The output directory: its recipe, and its journal, which knows where the models were. */
  readonly out: Place;
  readonly modelsRoot?: Place | undefined;
  readonly cwd: Place;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Finds the models of an output by its recipe, and computes slices again, on this thread: they are few. */
export function repairSource(options: RepairSourceOptions): RepairSource {
  const { store, out } = options;
  const recipePath = join(out, RECIPE_NAME);
  // What made the output passed with or without these; the digest of the plan tells whether it is the same one.
  const allowUnknownKeys = true;
  const allowVocabularyMismatch = true;
  const cutEmbeddings = true;
  let opened: readonly RecipeInput[] = [];
  return {
    openInputs: async (recipeText, sources) => {
      const { recipe } = await parseBeside(store, recipeText, recipePath, { ...options, allowUnknownKeys });
      const found = await openModels(store, recipe, recipePath, {
        ...options,
        recordedFolders: async () => {
          const folders = await recordedFolders(store, join(out, WORK_DIRECTORY));
          return folders.length > 0 ? folders : sources.map((source) => placeOf(source ?? ""));
        },
      });
      const [failure, ...others] = found.failures;
      if (failure !== undefined) throw new InputsError([failure, ...others]);
      opened = found.opened;
      return opened;
    },
    planFor: async (recipeText, _inputs, { seed, options: planOptions }) => {
      const parsed = await parseBeside(store, recipeText, recipePath, { ...options, allowUnknownKeys });
      return planOpened(parsed, opened, { ...planOptions, seed, allowVocabularyMismatch, cutEmbeddings });
    },
    recomputeSlices: (plan, slices, shardPaths) => recompute(store, plan, opened, slices, shardPaths),
  };
}

/** The right one everywhere: how long a few slices take is nobody's concern. */
const ENGINE = "wasm";

async function recompute(
  store: Files,
  plan: Plan,
  inputs: readonly RepairInput[],
  slices: readonly number[],
  shardPaths: readonly Place[],
): Promise<readonly string[]> {
  const { budget, engineMaximumBytes } = resourcesFor({ threads: 1 });
  await chooseEngines(ENGINE);
  const device = await openDevice(ENGINE);
  const job: JobDescription = {
    seed: parseSeed(plan.seed),
    allowNonfinite: plan.options.allowNonfinite,
    inputs: inputs.map(({ label, checkpoint }) => ({ label, files: checkpoint.files })),
    shardPaths,
  };
  const hooks = { grant: async () => true, pause: async () => undefined };
  const worker = new SliceWorker(device.open(engineMaximumBytes), store, job, budget, hooks);
  const verdicts = new Map<number, PlainData>();
  const hashes: string[] = [];
  try {
    for (const index of slices) {
      const slice = plan.slices[index];
      if (slice === undefined) throw new Error(`the plan has no slice ${index}`);
      for (const part of slice.parts) await settle(plan, part, worker, budget.rangeElements, verdicts);
      hashes.push(await computeSlice(plan, slice, worker, verdicts));
    }
  } finally {
    await worker.close();
    device.close();
  }
  return hashes;
}

/** The verdict of a cut tensor, once. */
async function settle(
  plan: Plan,
  { task, partCount }: SlicePart,
  worker: SliceWorker,
  rangeElements: number,
  verdicts: Map<number, PlainData>,
): Promise<void> {
  if (partCount === 1 || plan.tasks[task]?.kind !== "merge" || verdicts.has(task)) return;
  const rounds = new TensorRounds(plan, task, rangeElements);
  const { verdict } = await rounds.run(async (k) => {
    const range = rounds.ranges[k];
    if (range === undefined) throw new Error(`${rounds.task.name} has no range ${k}`);
    const { request, firstRound } = rounds;
    const about = { taskIndex: task, task: rounds.task, parts: range.parts, request, firstRound };
    const report = await reportOf(worker, { kind: "survey", ...about, unit: range.unit, attempt: 1 });
    if (report.kind !== "survey") throw new Error(`${range.unit} was answered by a report of kind ${report.kind}`);
    return report.summary;
  });
  verdicts.set(task, verdict);
}

async function computeSlice(
  plan: Plan,
  slice: Slice,
  worker: SliceWorker,
  verdicts: ReadonlyMap<number, PlainData>,
): Promise<string> {
  const tasks = slice.parts.flatMap(({ task }) => plan.tasks[task] ?? []);
  const unit = slice.id as string as UnitId;
  const ofParts = slice.parts.map(({ task }) => verdicts.get(task));
  const work = {
    kind: "slice",
    slice,
    tasks,
    verdicts: ofParts,
    preamble: preambleIn(plan, slice),
    audit: false,
    unit,
    attempt: 1,
  } as const;
  const report = await reportOf(worker, work);
  if (report.kind !== "slice") throw new Error(`slice ${slice.id} was answered by a report of kind ${report.kind}`);
  return report.sha256;
}

async function reportOf(worker: SliceWorker, assignment: Parameters<SliceWorker["execute"]>[0]): Promise<Report> {
  const written = await worker.execute(assignment);
  if (written === undefined) throw new Error(`${assignment.unit} was refused its grant`);
  await written.durable;
  return written.report;
}
