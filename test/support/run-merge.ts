/** Whole merges in this process: recipe to published checkpoint, with worker sessions in place of threads. */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  type Begun,
  fileHome,
  type MergeJobOptions,
  type Outcome,
  type OutputOwner,
  type Progress,
  runMergeJob,
} from "../../coordinator/job/index.ts";
import type { WorkerLink, WorkerListener, WorkerSource } from "../../coordinator/link/index.ts";
import type { Device } from "../../merge/engines/index.ts";
import { parseSeed } from "../../merge/math/index.ts";
import { KEPT_INPUT_BYTES } from "../../merge/methods/index.ts";
import { failureFrom, type JobDescription, type Plan, type Report, type WorkerId } from "../../merge/work/index.ts";
import { FileOutput, ObjectOutput } from "../../output/index.ts";
import { prepareText } from "../../prepare/index.ts";
import type { Fault } from "../../recipe/index.ts";
import type { WorkerBudget } from "../../runtime/index.ts";
import { FileStore, type Files, type Objects, type Place, placeOf } from "../../storage/index.ts";
import type { EngineChoice } from "../../worker/index.ts";
// The door offers threads their messages; a session without a thread is for tests only.
import { WorkerSession } from "../../worker/session.ts";
import { type ReadTensor, readCheckpoint } from "./read-safetensors.ts";

export interface MergeSettings {
  /** Folder from which the recipe's model paths count. */
  readonly models: string;
  readonly engine: string;
  /** In place of the engine's. */
  readonly device: Device | undefined;
  /** Called at once when a worker reports. */
  readonly onReport: (kind: Report["kind"]) => void;
  readonly workers: number;
  /** In place of sessions in this thread. */
  readonly source?: (job: JobDescription, budget: WorkerBudget, engine: EngineChoice) => WorkerSource;
  readonly sliceBytes: number;
  readonly shardBytes: number;
  readonly layout: "parts" | undefined;
  readonly budget: Omit<WorkerBudget, "openFilesMax">;
  /** Elements of a cut tensor that one worker surveys at once. */
  readonly surveyElements: number;
  /** Decimal. */
  readonly seed: string;
  readonly allowNonfinite: boolean;
  readonly cutEmbeddings: boolean;
  readonly store: Files;
  /** In place of a folder: the journal lies in the folder that is given as output then. */
  readonly bucket?: { readonly objects: Objects; readonly place: Place };
  readonly seal: MergeJobOptions["seal"];
  readonly overwrite: boolean;
  readonly restart: boolean;
  readonly submission?: MergeJobOptions["submission"];
  /** What the output's disk has left; unknown unless given. */
  readonly freeBytes: () => Promise<number | undefined>;
  /** A journal that does not lie in the output, and who the job is to it. */
  readonly shared: Partial<Pick<MergeJobOptions, "home">> & { readonly owner?: Omit<OutputOwner, "beside"> };
  /** Leases that end by a clock. */
  readonly leases: Partial<Pick<MergeJobOptions, "limits" | "clock" | "ticks">>;
  /** Given a function that stops the job cleanly. */
  readonly onStop: (stop: () => void) => void;
  readonly onProgress: (progress: Progress) => void;
}

export interface MergeRun {
  readonly outcome: Outcome;
  readonly plan: Plan;
  readonly begun: Begun;
  /** Undefined where there was nothing to do. */
  readonly progress: Progress | undefined;
  readonly warnings: readonly string[];
  /** What is said of the recipe before work is done, by code. */
  readonly planWarnings: readonly string[];
  readonly planFindings: readonly Fault[];
  readonly counters: ReadonlyMap<string, number>;
}

/** Nothing is cut: one slice for each tensor that is large, and room for all of it. */
const defaults = {
  engine: "wasm",
  workers: 2,
  sliceBytes: 2 ** 30,
  shardBytes: 2 ** 40,
  layout: undefined,
  device: undefined,
  budget: { rangeElements: 2 ** 32, spareBytes: 2 ** 25, keptBytes: KEPT_INPUT_BYTES, heldBytes: 2 ** 28 },
  surveyElements: 2 ** 32,
  seed: "0",
  allowNonfinite: false,
  cutEmbeddings: false,
  seal: undefined,
  overwrite: false,
  restart: false,
  freeBytes: async () => undefined,
  shared: {} as MergeSettings["shared"],
  leases: {},
  onStop: () => {},
  onReport: () => {},
  onProgress: () => {},
} as const satisfies Partial<MergeSettings>;

const ENGINE_MAXIMUM_BYTES = 2 ** 30;
const OPEN_FILES_MAX = 64;
const THE_JOB = "merge";
/** As threads have. */
const SLOTS = 2;

/** Merges into `out`, from wherever an earlier run left it. Rejects where the recipe or the directory is refused. */
export async function runMerge(
  recipe: string,
  out: string,
  settings: Partial<MergeSettings> & Pick<MergeSettings, "models">,
): Promise<MergeRun> {
  const chosen = { ...defaults, store: new FileStore({ blocking: true }), ...settings };
  const { store, sliceBytes, shardBytes, layout, allowNonfinite } = chosen;
  const budget = { ...chosen.budget, openFilesMax: OPEN_FILES_MAX };
  const prepared = await prepareText(store, recipe, "recipe.yml", {
    seed: chosen.seed,
    sliceBytes,
    shardBytes,
    layout,
    allowNonfinite,
    cutEmbeddings: chosen.cutEmbeddings,
    allowUnknownKeys: false,
    modelsRoot: placeOf(chosen.models),
    cwd: placeOf(chosen.models),
    environment: {},
  });
  const { plan, digest, definingCheckpoint, text, inputs, recipeText } = prepared;
  const warnings: string[] = [];
  const counters = new Map<string, number>();
  let begun: Begun = { state: "fresh", slicesDone: 0, tornBytes: 0, lostRecords: 0 };
  let last: Progress | undefined;
  const engine = { name: chosen.engine, maximumBytes: ENGINE_MAXIMUM_BYTES, arenas: 1 };
  const { bucket } = chosen;
  const output =
    bucket === undefined ? new FileOutput(store, placeOf(out)) : new ObjectOutput(bucket.objects, bucket.place);
  const beside = fileHome(store, output.journalFolder ?? placeOf(out));
  const { home = beside, owner } = chosen.shared;
  const outcome = await runMergeJob({
    store,
    output,
    home,
    ...(owner === undefined ? {} : { owner: { ...owner, beside } }),
    plan,
    digest,
    recipeText,
    definingCheckpoint,
    text,
    inputs,
    seed: parseSeed(plan.seed),
    overwrite: chosen.overwrite,
    restart: chosen.restart,
    ...(chosen.submission === undefined ? {} : { submission: chosen.submission }),
    freeBytes: chosen.freeBytes,
    hashInputs: false,
    ...(chosen.seal === undefined ? {} : { seal: chosen.seal }),
    toolVersion: "0.0.0-test",
    surveyElements: chosen.surveyElements,
    workers: (job) =>
      settings.source?.(job, budget, engine) ??
      inlineWorkers(chosen.workers, store, job, budget, engine, chosen.device, chosen.onReport),
    clock: { nowMs: () => performance.now() },
    observer: {
      began: (how) => {
        begun = how;
      },
      progress: (progress) => {
        last = progress;
        chosen.onProgress(progress);
      },
      warning: (text) => warnings.push(text),
      counted: (counter) => counters.set(counter, (counters.get(counter) ?? 0) + 1),
    },
    onStop: chosen.onStop,
    ...chosen.leases,
  });
  const planWarnings = prepared.warnings.map(({ code }) => code);
  return { outcome, plan, begun, progress: last, warnings, planWarnings, planFindings: prepared.warnings, counters };
}

/** As `runMerge`, for merges that must succeed: the tensors that an independent reader finds. */
export async function mergedTensors(
  recipe: string,
  out: string,
  settings: Partial<MergeSettings> & Pick<MergeSettings, "models">,
): Promise<{ readonly tensors: Map<string, ReadTensor>; readonly run: MergeRun }> {
  const run = await runMerge(recipe, out, settings);
  if (run.outcome.outcome !== "done")
    throw new Error(`the merge ${run.outcome.outcome}: ${run.outcome.cause?.message}`);
  return { tensors: readCheckpoint(out), run };
}

/** SHA-256 of each file of an output; `.deltaworks` is no part of it. */
export function fileHashes(out: string): Record<string, string> {
  const names = readdirSync(out).filter((name) => statSync(join(out, name)).isFile());
  return Object.fromEntries(
    names.sort().map((name) => [
      name,
      createHash("sha256")
        .update(readFileSync(join(out, name)))
        .digest("hex"),
    ]),
  );
}

/** Sessions that take messages as a thread would: later, in order, and as copies. */
function inlineWorkers(
  count: number,
  store: Files,
  job: JobDescription,
  budget: WorkerBudget,
  engine: EngineChoice,
  device: Device | undefined,
  onReport: MergeSettings["onReport"],
): WorkerSource {
  return async (listener) => {
    const ids = Array.from({ length: count }, (_, k) => `inline-${k + 1}` as WorkerId);
    for (const link of await Promise.all(ids.map((id) => inlineWorker(id, listener)))) listener.attached(link, []);
  };

  async function inlineWorker(id: WorkerId, listener: WorkerListener): Promise<WorkerLink> {
    let ended = () => {};
    const end = new Promise<void>((resolve) => {
      ended = resolve;
    });
    const session = new WorkerSession({
      storeFor: () => store,
      ...(device === undefined ? {} : { openDevice: async () => device }),
      send: (message) => {
        if (message.type === "report") onReport(message.report.kind);
        const copy = structuredClone(message);
        setImmediate(() => {
          if (copy.type === "grant-request") listener.grantRequested(id, copy.unit, copy.attempt);
          else if (copy.type === "report") listener.reported(id, copy.report);
          else if (copy.type === "ended") ended();
        });
      },
    });
    const send = (message: Parameters<WorkerSession["receive"]>[0]) => {
      const copy = structuredClone(message);
      setImmediate(() => session.receive(copy).catch((error: unknown) => listener.lost(id, failureFrom(error))));
    };
    await session.receive({ type: "start", budget, engine });
    await session.receive({ type: "begin", job: THE_JOB, description: job });
    return {
      id,
      trust: "own",
      incarnation: id,
      host: "here",
      memoryBytes: Number.POSITIVE_INFINITY,
      slots: SLOTS + (device?.limits.arenas ?? 1) - 1,
      assign: (assignment) => send({ type: "assign", job: THE_JOB, assignment, output: "stream" }),
      answerGrant: ({ unit, attempt }, answer) =>
        send({ type: answer === "granted" ? "granted" : "refused", job: THE_JOB, unit, attempt }),
      answerReport: () => {},
      cancel: () => {},
      close: () => {
        send({ type: "end" });
        return end;
      },
    };
  }
}
