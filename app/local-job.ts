import { fileHome, type MergeJobOptions } from "../coordinator/job/index.ts";
import { parseSeed } from "../merge/math/index.ts";
import type { OptionValues } from "../options/index.ts";
import { FileOutput } from "../output/index.ts";
import type { Prepared } from "../prepare/index.ts";
import { type Files, freeBytes, type Place } from "../storage/index.ts";
import { toolVersion } from "../version/index.ts";

/** What is the same of every merge that this machine makes alone: into a folder, with the journal beside it. */
export function localJob(
  store: Files,
  { plan, digest, recipeText, definingCheckpoint, text, inputs }: Prepared,
  out: Place,
  { overwrite, restart, hashInputs }: OptionValues<"sweep">,
): Omit<MergeJobOptions, "output" | "surveyElements" | "observer" | "onStop"> & { readonly output: FileOutput } {
  const output = new FileOutput(store, out);
  return {
    ...{ store, output, home: fileHome(store, output.journalFolder) },
    ...{ plan, digest, recipeText, definingCheckpoint, text, inputs, seed: parseSeed(plan.seed) },
    ...{ overwrite, restart, hashInputs, toolVersion, freeBytes },
    clock: { nowMs: () => performance.now() },
  };
}
