import type { Transfer } from "../app/index.ts";
import { beginsTensor, type Plan, usageOf } from "../merge/work/index.ts";
import { sourceOf } from "../output/index.ts";
import { estimateOf, largestTensorBytes } from "../plan/index.ts";
import { outlineOf, type Prepared } from "../prepare/index.ts";
import { percentText } from "../recipe/index.ts";
import { counted, readableCount } from "./commands/text-table.ts";
import { sizeText } from "./size-text.ts";

/** Notes beyond this many are counted only, unless --verbose. */
const NOTES_SHOWN = 20;

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

/** What goes in, what comes out and what was decided: what `plan` and `merge` say before all else. */
export function outlineText(prepared: Prepared, transfer: Transfer | undefined, mostModels = USES_SHOWN): string {
  const { output, decisions } = outlineOf(prepared);
  const { architecture, modelType, elements, dtypes, vocabulary, stacks, experts } = output;
  const { shards } = prepared.plan;
  const bytes = shards.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const made = [
    architecture ?? modelType ?? (prepared.plan.adapter === undefined ? "tensors" : "an adapter"),
    `${readableCount(elements)} parameters`,
    ...(stacks.length > 0 ? [`${stacks.map(({ layers }) => layers).join(" and ")} layers`] : []),
    ...(vocabulary === undefined ? [] : [`${vocabulary.rows.toLocaleString("en-US")} rows of vocabulary`]),
    ...(experts === undefined ? [] : [`${experts.count} experts a layer`]),
    Object.keys(dtypes).join(" and "),
    `${sizeText(bytes)} in ${counted(shards.length, "shard")}`,
  ];
  const rows: [string, string][] = [
    ["uses", usesText(prepared.plan, mostModels)],
    ["makes", made.join(", ")],
    ...(transfer === undefined ? [] : [["brings", transferText(transfer)] satisfies [string, string]]),
    ...(decisions.length > 0 ? [["decided", decisions.join("; ")] satisfies [string, string]] : []),
  ];
  return rowsText(rows);
}

/** 20.0 GiB by about 3,412 requests: 8.00 GiB once, 6.00 GiB twice; --cache-bytes 6.00GiB would save 6.00 GiB */
function transferText({ bytes, requests, times, cache }: Transfer): string {
  const often = times.map(({ times, bytes }) => `${sizeText(bytes)} ${timesText(times)}`).join(", ");
  return `${sizeText(bytes)} by about ${counted(requests, "request")}: ${often}${cacheText(cache)}`;
}

/** What is kept on the disk saves, or would. */
function cacheText(cache: Transfer["cache"]): string {
  if (cache === undefined) return "";
  const { sizeBytes, savedBytes, whole } = cache;
  const saved = savedBytes === 0 ? [] : [`${sizeText(sizeBytes)} kept on the disk save ${sizeText(savedBytes)}`];
  const mib = Math.ceil(whole.sizeBytes / 2 ** 20);
  const would =
    savedBytes === whole.savedBytes ? [] : [`--cache-bytes ${mib}MiB would save ${sizeText(whole.savedBytes)}`];
  return [...saved, ...would].map((text) => `; ${text}`).join("");
}

function timesText(times: number): string {
  return times === 1 ? "once" : times === 2 ? "twice" : `${times} times`;
}

export function planDetails({ plan, inputs }: Prepared, memoryBytes: number, verbose: boolean): string {
  const estimate = estimateOf(plan);
  const described = plan.inputs.map(({ label, files }, k) => {
    const source = sourceOf(inputs[k]?.files ?? []);
    return `${label} (${counted(files.length, "file")}${source === undefined ? "" : ` of ${source}`})`;
  });
  const rows: [string, string][] = [
    ["inputs", described.join(", ")],
    [
      "tensors",
      `${estimate.mergedTensors} merged, ${estimate.copiedTensors} copied, ${estimate.cutTensors} cut into several slices`,
    ],
    ["read", `${sizeText(estimate.readBytes)} (inputs hold ${sizeText(estimate.inputBytes)})`],
    ["largest", `${sizeText(largestTensorBytes(plan))} for one output tensor`],
    ["memory", `at most ${sizeText(memoryBytes)} (--memory)`],
  ];
  const shown = verbose ? plan.notes : plan.notes.slice(0, NOTES_SHOWN);
  const notes = shown.map(
    ({ tensor, input, reason }) => `note    ${tensor}${input === undefined ? "" : ` (${input})`}: ${reason}\n`,
  );
  const more = plan.notes.length - shown.length;
  return [rowsText(rows), ...notes, more > 0 ? `note    and ${more} more; --verbose shows all\n` : ""].join("");
}

function rowsText(rows: readonly (readonly [string, string])[]): string {
  return rows.map(([name, text]) => `${name.padEnd(8)}${text}\n`).join("");
}

/** Models beyond this many are counted only, unless --verbose; those that are used in part come first. */
const USES_SHOWN = 8;

/** base 100 %, tuned 97.3 %; of more models than are shown, those that are used in part first. */
function usesText(plan: Plan, most = USES_SHOWN): string {
  const usage = [...usageOf(plan)];
  if (usage.length > most) usage.sort((a, b) => a.share - b.share);
  const shown = usage.slice(0, most).map(({ model, share, usedElements, zeroElements }) => {
    return `${model} ${usedElements === 0 && zeroElements > 0 ? "nothing (weight 0)" : percentText(share)}`;
  });
  const more = usage.length - shown.length;
  return [...shown, ...(more > 0 ? [`${more} more`] : [])].join(", ");
}
