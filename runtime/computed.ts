import type { WorkCounts } from "../merge/work/index.ts";

/** A slice's result before it is anywhere but in memory. */
export interface Computed {
  readonly sha256: string;
  readonly warnings: readonly string[];
  readonly counts: WorkCounts;
  /** The buffer that was lent, for "hold"; the slice is in its first bytes. */
  readonly buffer?: ArrayBuffer;
}
