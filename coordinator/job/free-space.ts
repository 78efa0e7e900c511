import type { Plan, SliceId } from "../../merge/work/index.ts";
import { JobError } from "./errors.ts";

/** Records, card, index: they grow with the slices, and are small. */
const RECORD_BYTES = 1024 * 1024;

interface Merge {
  readonly plan: Pick<Plan, "shards" | "slices" | "definingInput">;
  readonly inputs: readonly { readonly documents?: readonly { readonly sizeBytes: number }[] | undefined }[];
}

/** Bytes that a merge has still to write, with the files that are copied: what is done lies in the stage already. */
export function bytesToWrite({ plan, inputs }: Merge, isDone: (id: SliceId) => boolean = () => false): number {
  const headers = plan.shards.reduce((sum, { dataOffsetBytes }) => sum + dataOffsetBytes, 0);
  const slices = plan.slices.reduce((sum, { id, sizeBytes }) => sum + (isDone(id) ? 0 : sizeBytes), 0);
  const copied = inputs[plan.definingInput]?.documents ?? [];
  const documents = copied.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return headers + slices + documents + RECORD_BYTES;
}

/**
 * Compares what a merge has to write with what the disk has left. A warning where the merge was begun before: some file systems have
 * given it all of its space then. @throws JobError `coordinator/no-space`
 */
export function spaceWarning(
  out: string,
  needed: number,
  free: number | undefined,
  isResumed: boolean,
  what = "the merge has",
): string | undefined {
  if (free === undefined || free >= needed) return undefined;
  const message = `${what} ${readable(needed)} to write, and the disk of ${out} has ${readable(free)} left`;
  if (isResumed) return message;
  throw new JobError("coordinator/no-space", message, {
    hint: "Free some space, or choose another directory. What a checkpoint that is replaced takes is free only once the new one is complete.",
  });
}

function readable(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = bytes;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
