import { createHash } from "node:crypto";
import type { Checkpoint } from "../checkpoint/index.ts";
import { methodNamed } from "../merge/methods/index.ts";
import {
  type Json,
  PLAN_VERSION,
  type Plan,
  type PlanAdapter,
  type PlanConfigValue,
  type PlanNote,
  type PlanOptions,
  type PlanStack,
  type PlanUsage,
  type PlanVocabulary,
  planLines,
  sourcesOf,
  type TensorTask,
} from "../merge/work/index.ts";
import { PlanError } from "./errors.ts";
import { layOutAdapter, layOutShards, layOutSlices } from "./layout.ts";
import { layOutParts } from "./part-layout.ts";

/** What planning starts from: a recipe bound to the headers of its inputs. */
export interface PlanSources {
  readonly recipe: Json;
  readonly seed: string;
  readonly options: PlanOptions;
  readonly inputs: readonly { readonly label: string; readonly checkpoint: Checkpoint }[];
  readonly definingInput: number;
  readonly layerCount?: number | undefined;
  readonly stacks?: readonly PlanStack[] | undefined;
  readonly configValues?: readonly PlanConfigValue[] | undefined;
  readonly embeddingRows?: number | undefined;
  /** Of the output's files, besides their format. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly adapter?: PlanAdapter | undefined;
  readonly vocabulary?: PlanVocabulary | undefined;
  readonly chatTemplateSha256?: string | undefined;
  readonly tasks: readonly TensorTask[];
  readonly notes: readonly PlanNote[];
  readonly usage?: readonly PlanUsage[] | undefined;
}

/**
 * The plan: a pure function of its sources.
 * @throws PlanError for options that make no sense; MethodError for parameters that cannot be merged with.
 */
export function buildPlan(sources: PlanSources): Plan {
  const { options, tasks } = sources;
  for (const name of ["sliceBytes", "shardBytes"] as const) {
    if (Number.isSafeInteger(options[name]) && options[name] > 0) continue;
    throw new PlanError("plan/option", `${name} is ${options[name]}; it must be a whole number of bytes above 0`, {
      hint: "Leave it out for the default.",
    });
  }
  for (const task of tasks) checkParameters(task);
  const shards =
    sources.adapter === undefined ? layOutShards(tasks, options.shardBytes, sources.metadata) : [layOutAdapter(tasks)];
  return {
    version: PLAN_VERSION,
    recipe: sources.recipe,
    seed: sources.seed,
    options,
    inputs: sources.inputs.map(({ label, checkpoint }) => ({
      label,
      files: checkpoint.files.map(({ name, sizeBytes, headerSha256 }) => ({ name, sizeBytes, headerSha256 })),
    })),
    definingInput: sources.definingInput,
    ...(sources.layerCount === undefined ? {} : { layerCount: sources.layerCount }),
    ...(sources.stacks === undefined ? {} : { stacks: sources.stacks }),
    ...(sources.configValues === undefined ? {} : { configValues: sources.configValues }),
    ...(sources.embeddingRows === undefined ? {} : { embeddingRows: sources.embeddingRows }),
    ...(sources.adapter === undefined ? {} : { adapter: sources.adapter }),
    ...(sources.vocabulary === undefined ? {} : { vocabulary: sources.vocabulary }),
    ...(sources.chatTemplateSha256 === undefined ? {} : { chatTemplateSha256: sources.chatTemplateSha256 }),
    tasks,
    shards,
    slices: (options.layout === "parts" ? layOutParts : layOutSlices)(tasks, shards, options.sliceBytes),
    notes: sources.notes,
    ...(sources.usage === undefined ? {} : { usage: sources.usage }),
  };
}

/** @throws MethodError for parameters that cannot be merged with, of the task or of one within it */
function checkParameters(task: TensorTask): void {
  if (task.kind === "merge") methodNamed(task.method).begin(task);
  for (const source of sourcesOf(task)) if (source.kind === "merged") checkParameters(source.task);
}

/** The plan's name: SHA-256 (hex) over all that it holds, field by field so that no text of its whole size is made. */
export function planDigest(plan: Plan): string {
  const hash = createHash("sha256");
  for (const line of planLines(plan)) hash.update(line);
  return hash.digest("hex");
}
