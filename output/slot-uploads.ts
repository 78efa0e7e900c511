import {
  type BegunUpload,
  inParallel,
  isBelow,
  join,
  maybeSlotOf,
  namesBelow,
  type Objects,
  type Place,
} from "../storage/index.ts";

/** Calls at once. */
const CALLS_MAX = 8;

/**
 * Gives up what was begun below a folder of an output, and at the places to which slots of that folder are copied: uploads that no record of a
 * slot names, too, whose answer was lost, or whose process ended before it noted them. Before the slots are removed: by them it is known
 * which uploads are ours. `staged`: all places below the folder.
 */
export async function abortUploads(
  objects: Objects,
  out: Place,
  folder: Place,
  staged: readonly Place[],
): Promise<void> {
  const finals = new Set(
    staged.flatMap((place) => {
      const slot = maybeSlotOf(place);
      const names = slot === undefined ? undefined : namesBelow(folder, slot);
      return names === undefined ? [] : [join(out, ...names)];
    }),
  );
  const uploads = (await objects.listUploads(out)).filter(isOurs);
  await inParallel(uploads, CALLS_MAX, ({ place, upload }) => objects.abortUpload(place, upload));

  function isOurs({ place }: BegunUpload): boolean {
    return isBelow(folder, place) || finals.has(place);
  }
}
