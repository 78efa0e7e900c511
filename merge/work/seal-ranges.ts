import type { SealRange, SealWork } from "./assignment.ts";

/** Of what a part of the seal gives hashes, in their order. */
export function sealRanges(work: SealWork): readonly SealRange[] {
  if (work.kind === "seal-slices") return work.ranges;
  return [{ offsetBytes: 0, sizeBytes: work.sizeBytes }, ...(work.ranges ?? [])];
}
