import { estimateOf, largestTensorBytes } from "../../coordinator/plan/index.ts";
import { prepare } from "../../coordinator/prepare/index.ts";
import { beginsTensor, type Plan, usageOf } from "../../merge/work/index.ts";
import { FileStore } from "../../storage/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { printWarnings, reportError } from "../report-error.ts";
import { resourcesFor } from "../resources.ts";
import type { PlanningOptions } from "./merge-options.ts";

export interface PlanOptions extends PlanningOptions {
  readonly threads?: number;
  readonly memory?: number;
  readonly verbose: boolean;
}

/** Notes beyond this many are counted only, unless --verbose. */
const NOTES_SHOWN = 20;

/** `deltaworks plan RECIPE`: what a merge would do; reads headers only. */
export async function planCommand([recipePath = ""]: readonly string[], options: PlanOptions, io: Io): Promise<number> {
  try {
    const prepared = await prepare(new FileStore({ blocking: false }), recipePath, {
      seed: options.randomSeed,
      sliceBytes: options.sliceSize,
      shardBytes: options.shardSize,
      allowNonfinite: options.allowNonfinite,
      allowUnknownKeys: options.allowUnknownKeys,
      allowVocabularyMismatch: options.allowVocabularyMismatch,
      cutEmbeddings: options.cutEmbeddings,
      modelsRoot: options.modelsRoot,
      cwd: process.cwd(),
      environment: process.env,
    });
    const { plan, digest } = prepared;
    const resources = resourcesFor({ threads: options.threads, memoryBytes: options.memory });
    printWarnings(io, prepared.warnings, options.json);
    if (options.json) {
      const { memoryBytes, threads } = resources;
      io.stdout(
        `${JSON.stringify({ digest, estimate: estimateOf(plan), usage: usageOf(plan), memoryBytes, threads, plan })}\n`,
      );
      return exitCodes.done;
    }
    io.stdout(`${planSummary(plan, digest)}\n${planDetails(plan, resources.memoryBytes, options.verbose)}`);
    return exitCodes.done;
  } catch (error) {
    return reportError(io, error, options.json);
  }
}

/** plan 3f9c…a1  ties, 3 models, 291 tensors, 412 slices, 14.2 GiB to read */
export function planSummary(plan: Plan, digest: string): string {
  const method = methodOf(plan);
  const { readBytes } = estimateOf(plan);
  const counts = [
    counted(plan.inputs.length, "model"),
    counted(plan.tasks.filter(beginsTensor).length, "tensor"),
    counted(plan.slices.length, "slice"),
  ];
  return `plan ${digest.slice(0, 4)}…${digest.slice(-2)}  ${[method, ...counts].join(", ")}, ${sizeText(readBytes)} to read`;
}

function methodOf(plan: Plan): string {
  const { recipe } = plan;
  return typeof recipe === "object" && recipe !== null && "method" in recipe ? String(recipe.method) : "?";
}

function planDetails(plan: Plan, memoryBytes: number, verbose: boolean): string {
  const estimate = estimateOf(plan);
  const rows: [string, string][] = [
    ["inputs", plan.inputs.map(({ label, files }) => `${label} (${counted(files.length, "file")})`).join(", ")],
    [
      "tensors",
      `${estimate.mergedTensors} merged, ${estimate.copiedTensors} copied, ${estimate.cutTensors} cut into several slices`,
    ],
    ["read", `${sizeText(estimate.readBytes)} (inputs hold ${sizeText(estimate.inputBytes)})`],
    ["write", `${sizeText(estimate.writeBytes)} in ${counted(plan.shards.length, "shard")}`],
    ["uses", usesText(plan, verbose ? Number.POSITIVE_INFINITY : USES_SHOWN)],
    ["largest", `${sizeText(largestTensorBytes(plan))} for one output tensor`],
    ["memory", `at most ${sizeText(memoryBytes)} (--memory)`],
  ];
  const shown = verbose ? plan.notes : plan.notes.slice(0, NOTES_SHOWN);
  const notes = shown.map(
    ({ tensor, input, reason }) => `note    ${tensor}${input === undefined ? "" : ` (${input})`}: ${reason}\n`,
  );
  const more = plan.notes.length - shown.length;
  return [
    ...rows.map(([name, text]) => `${name.padEnd(8)}${text}\n`),
    ...notes,
    more > 0 ? `note    and ${more} more; --verbose shows all\n` : "",
  ].join("");
}

/** Models beyond this many are counted only, unless --verbose; those that are used in part come first. */
const USES_SHOWN = 8;

/** base 100 %, tuned 97.3 %; of more models than are shown, those that are used in part first. */
export function usesText(plan: Plan, most = USES_SHOWN): string {
  const usage = [...usageOf(plan)];
  if (usage.length > most) usage.sort((a, b) => a.share - b.share);
  const shown = usage.slice(0, most).map(({ model, share, usedElements, zeroElements }) => {
    return `${model} ${usedElements === 0 && zeroElements > 0 ? "nothing (weight 0)" : percent(share)}`;
  });
  const more = usage.length - shown.length;
  return [...shown, ...(more > 0 ? [`${more} more`] : [])].join(", ");
}

/** "62.5 %": never rounded up to a whole. */
function percent(share: number): string {
  return `${share === 1 ? "100" : (Math.floor(share * 1000) / 10).toFixed(1)} %`;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** "14.2 GiB" */
export function sizeText(bytes: number): string {
  let size = bytes;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (size < 1024) return `${unit === "B" ? size : size.toFixed(1)} ${unit}`;
    size /= 1024;
  }
  return `${size.toFixed(1)} TiB`;
}
