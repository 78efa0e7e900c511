import { sha256Hex } from "../checkpoint/index.ts";
import {
  fileHome,
  type JobHome,
  lockedHome,
  type MergeJobOptions,
  type OutputOwner,
  ownerIn,
  ownerOfMachine,
} from "../coordinator/job/index.ts";
import { parseSeed } from "../merge/math/index.ts";
import type { OptionValues } from "../options/index.ts";
import { FileOutput, ObjectOutput, type Output } from "../output/index.ts";
import type { Prepared } from "../prepare/index.ts";
import { type Files, freeBytes, join, nameOf, type Place, type Stores, schemeOf } from "../storage/index.ts";
import { toolVersion } from "../version/index.ts";
import { stateFolder } from "./state-folder.ts";

type JobHere = Omit<MergeJobOptions, "surveyElements" | "observer" | "onStop"> & { readonly folder: Place };

/** Where a merge goes, and where its journal and log are kept. */
interface Surroundings {
  readonly output: Output;
  readonly home: JobHome;
  readonly folder: Place;
  readonly owner?: OutputOwner;
}

/**
 * What is the same of every merge that this machine makes alone, into a folder: the journal lies beside the output, or in a folder below
 * `state`, which is that output's alone.
 */
function jobHere(store: Files, prepared: Prepared, out: Place, options: OptionValues<"sweep">, state?: Place): JobHere {
  const output = new FileOutput(store, out);
  const beside = fileHome(store, output.journalFolder);
  const own = ownFolder(out, state);
  const where =
    own === undefined
      ? { output, home: beside, folder: output.journalFolder }
      : { output, home: fileHome(store, own), folder: own, owner: ownerIn(own, beside) };
  return { ...jobIn(store, prepared, options, where), freeBytes };
}

/** The same into a folder or a bucket: of that journal, log and the lock of this machine are always in a folder of their own. */
export async function jobAnywhere(
  store: Stores,
  prepared: Prepared,
  out: Place,
  options: OptionValues<"sweep">,
  state?: Place,
): Promise<JobHere> {
  if (schemeOf(out) === "file") return jobHere(store, prepared, out, options, state);
  const output = new ObjectOutput(await store.objects(out), out, { takeOver: options.takeOver });
  const folder = journalFolder(store, out, state);
  const [home, owner] = [lockedHome(store, folder), await ownerOfMachine(store, folder)];
  return jobIn(store, prepared, options, { output, home, folder, owner });
}

function jobIn(
  store: Files,
  { plan, digest, recipeText, definingCheckpoint, text, inputs }: Prepared,
  { overwrite, restart, hashInputs, seal }: OptionValues<"sweep">,
  where: Surroundings,
): JobHere {
  return {
    ...{ store, ...where, ...(seal === "checksums" && { seal: "checksums" as const }) },
    ...{ plan, digest, recipeText, definingCheckpoint, text, inputs, seed: parseSeed(plan.seed) },
    ...{ overwrite, restart, hashInputs, toolVersion },
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
