import type { SealRange, SealWork } from "./assignment.ts";

/** What a part of the seal reads back of its file. */
export function sealRanges(work: SealWork): readonly SealRange[] {
  return work.kind === "seal-slices" ? work.ranges : [{ offsetBytes: 0, sizeBytes: work.sizeBytes }];
}
