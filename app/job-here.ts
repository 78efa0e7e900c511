import { sha256Hex } from "../checkpoint/index.ts";
import { fileHome, type MergeJobOptions, ownerIn } from "../coordinator/job/index.ts";
import { parseSeed } from "../merge/math/index.ts";
import type { OptionValues } from "../options/index.ts";
import { FileOutput } from "../output/index.ts";
import type { Prepared } from "../prepare/index.ts";
import { type Files, freeBytes, join, nameOf, type Place } from "../storage/index.ts";
import { toolVersion } from "../version/index.ts";
import { stateFolder } from "./state-folder.ts";

/**
 * What is the same of every merge that this machine makes alone, into a folder: the journal lies beside the output, or in a folder below
 * `state`, which is that output's alone.
 */
export function jobHere(
  store: Files,
  { plan, digest, recipeText, definingCheckpoint, text, inputs }: Prepared,
  out: Place,
  { overwrite, restart, hashInputs }: OptionValues<"sweep">,
  state?: Place,
): Omit<MergeJobOptions, "surveyElements" | "observer" | "onStop"> & { readonly folder: Place } {
  const output = new FileOutput(store, out);
  const beside = fileHome(store, output.journalFolder);
  const own = ownFolder(out, state);
  const home = own === undefined ? beside : fileHome(store, own);
  return {
    ...{ store, output, home, folder: own ?? output.journalFolder },
    ...(own === undefined ? {} : { owner: ownerIn(own, beside) }),
    ...{ plan, digest, recipeText, definingCheckpoint, text, inputs, seed: parseSeed(plan.seed) },
    ...{ overwrite, restart, hashInputs, toolVersion, freeBytes },
    clock: { nowMs: () => performance.now() },
  };
}

/** Where the journal of a merge into `out` is kept. */
export function journalFolder(store: Files, out: Place, state?: Place): Place {
  return ownFolder(out, state) ?? new FileOutput(store, out).journalFolder;
}

/** Below a folder of journals, and that output's alone; undefined: beside the output. */
function ownFolder(out: Place, state: Place | undefined): Place | undefined {
  const kept = stateFolder(out, state, process.env, process.platform);
  if (kept === undefined) return undefined;
  return join(kept, `${nameOf(out)}-${sha256Hex(Buffer.from(out)).slice(0, 12)}`);
}
