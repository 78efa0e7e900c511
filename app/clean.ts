import { findLeftovers, type Leftover, removeLeftover } from "../output/index.ts";
import { openStores } from "../storage/index.ts";
import { outPlaceOf } from "./out-place.ts";

export interface CleanSettings {
  /** A bucket, or a prefix of one. */
  readonly place: string;
  /** Removes what is found, and does not only say it. */
  readonly remove: boolean;
  /** Milliseconds: younger uploads are somebody's who may go on, and stay. */
  readonly olderThan: number;
  readonly takeOver?: string | undefined;
}

export interface Cleaned extends Leftover {
  /** `removed`; `young`, `held` of what stays although it was to be removed; `found` where nothing was to be. */
  readonly state: "found" | "removed" | "young" | "held";
}

/** Finds what merges left in a bucket, and removes it if that is asked for. @throws OptionError, StorageError */
export async function runClean({ place, remove, olderThan, takeOver }: CleanSettings): Promise<readonly Cleaned[]> {
  const at = outPlaceOf(place);
  const objects = await openStores().objects(at);
  const cleaned: Cleaned[] = [];
  for (const leftover of await findLeftovers(objects, at)) {
    const { out, lastMs = 0 } = leftover;
    const isYoung = Date.now() - lastMs < olderThan;
    if (!remove) cleaned.push({ ...leftover, state: "found" });
    else if (isYoung) cleaned.push({ ...leftover, state: "young" });
    else cleaned.push({ ...leftover, state: (await removeLeftover(objects, out, takeOver)) ? "removed" : "held" });
  }
  return cleaned;
}
