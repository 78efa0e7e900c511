import { join, nameOf, type Objects, type Place, parentOf, placeOf, recordOf, StorageError } from "../storage/index.ts";
import { claimHolder } from "./object-claim.ts";
import { ObjectOutput } from "./object-output.ts";
import { isWeights, REPAIR_DIRECTORY, STAGE_PATH, WORK_DIRECTORY } from "./records/file-names.ts";
import { ObjectRepairTarget } from "./repair/object-repair-target.ts";

/** What a merge, a publication or a repair left in a bucket that did not come to its end: it may go on, or nobody does. */
export interface Leftover {
  /** Of the output. */
  readonly out: Place;
  /** Begun, and neither completed nor given up: their parts cost money, and are in no list of objects. */
  readonly uploads: number;
  /** Since the epoch: when the last of them was begun. */
  readonly lastMs?: number;
  /** Whose work it is, as whoever left it is called there. */
  readonly owner?: string;
  /** The process that has the prefix, or had it when it ended. */
  readonly holder?: string;
}

/** All of it at a place and below it, by places; of other programs' uploads nothing is said. @throws StorageError */
export async function findLeftovers(objects: Objects, place: Place): Promise<readonly Leftover[]> {
  const begun = new Map<Place, number[]>();
  for (const { place: at, begunMs } of await objects.listUploads(place)) {
    const out = maybeOutputOf(at) ?? (await maybeOutputWithSlotOf(objects, at));
    if (out !== undefined) begun.set(out, [...(begun.get(out) ?? []), begunMs]);
  }
  if ((await objects.identity(join(place, WORK_DIRECTORY))) !== undefined && !begun.has(place)) begun.set(place, []);
  const found: Leftover[] = [];
  for (const [out, times] of [...begun].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const owner = (await new ObjectOutput(objects, out).staged())?.owner;
    const holder = await claimHolder(objects, out);
    found.push({
      ...{ out, uploads: times.length },
      ...(times.length === 0 ? {} : { lastMs: Math.max(...times) }),
      ...(owner === undefined ? {} : { owner }),
      ...(holder === undefined ? {} : { holder }),
    });
  }
  return found;
}

/**
 * Removes what was left of an output, and nothing that was published. Whoever would have gone on with it begins anew.
 * `gone`: a holder of whom somebody is certain that it has ended. Resolves to false where somebody has the prefix.
 */
export async function removeLeftover(objects: Objects, out: Place, gone: string | undefined): Promise<boolean> {
  const output = new ObjectOutput(objects, out, { takeOver: gone });
  try {
    const lock = await output.lock();
    await output.discard();
    await new ObjectRepairTarget(objects, objects, out, gone).tidy();
    await lock.release();
    return true;
  } catch (error) {
    if (error instanceof StorageError && error.code === "storage/locked") return false;
    throw error;
  }
}

/** The output from whose stage, or repair, an upload is on its way to its place: a slot of its name lies there. */
async function maybeOutputWithSlotOf(objects: Objects, at: Place): Promise<Place | undefined> {
  if (!isWeights(nameOf(at))) return undefined;
  const out = parentOf(at);
  for (const folder of [STAGE_PATH, REPAIR_DIRECTORY])
    if ((await objects.identity(recordOf(join(out, folder, nameOf(at))))) !== undefined) return out;
  return undefined;
}

/** The output in whose work directory something lies; undefined of what does not. */
function maybeOutputOf(at: Place): Place | undefined {
  const [, out] = new RegExp(`^(.+?)/${WORK_DIRECTORY.replace(".", "\\.")}/`).exec(at) ?? [];
  return out === undefined ? undefined : placeOf(out);
}
