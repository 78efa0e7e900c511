import { loadTransferOf, prepareHere, resourcesFor } from "../../app/index.ts";
import { usageOf } from "../../merge/work/index.ts";
import type { OptionValues } from "../../options/index.ts";
import { sourceOf } from "../../output/index.ts";
import { estimateOf } from "../../plan/index.ts";
import { outlineOf, readRecipe } from "../../prepare/index.ts";
import { openStores, placeOf } from "../../storage/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { outlineText, planDetails, planSummary } from "../plan-text.ts";
import { printWarnings, reportError } from "../report-error.ts";

export interface PlanOptions extends OptionValues<"plan"> {
  readonly json: boolean;
  readonly verbose: boolean;
}

/** `deltaworks plan RECIPE`: what a merge would do; reads headers only. */
export async function planCommand([recipePath = ""]: readonly string[], options: PlanOptions, io: Io): Promise<number> {
  try {
    const store = openStores();
    const path = placeOf(recipePath);
    const prepared = await prepareHere(store, await readRecipe(store, path), path, options);
    const { plan, digest } = prepared;
    const resources = resourcesFor(options);
    const transfer = (await loadTransferOf())(plan, prepared.inputs, {
      ...resources,
      cacheBytes: options.cacheBytes,
    });
    printWarnings(io, prepared.warnings, options.json);
    if (options.json) {
      const { memoryBytes, threads } = resources;
      const sources = prepared.inputs.map(({ files }) => sourceOf(files) ?? null);
      io.stdout(
        `${JSON.stringify({ digest, estimate: estimateOf(plan), usage: usageOf(plan), transfer, ...outlineOf(prepared), sources, memoryBytes, threads, plan })}\n`,
      );
      return exitCodes.done;
    }
    const outline = outlineText(prepared, transfer, options.verbose ? Number.POSITIVE_INFINITY : undefined);
    io.stdout(
      `${planSummary(plan, digest)}\n${outline}${planDetails(prepared, resources.memoryBytes, options.verbose)}`,
    );
    return exitCodes.done;
  } catch (error) {
    return reportError(io, error, options.json);
  }
}
