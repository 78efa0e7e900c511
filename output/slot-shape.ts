import type { Plan, PlanShard } from "../merge/work/index.ts";
import { partBytesOf } from "../plan/index.ts";
import type { SlotShape } from "../storage/index.ts";

/** How a shard is uploaded: a slice a part. */
export function slotShapeOf({ options }: Plan, { sizeBytes }: PlanShard): SlotShape {
  if (options.layout !== "parts") throw new Error("an output in a bucket needs a plan whose slices are parts");
  return { sizeBytes, partBytes: partBytesOf(sizeBytes, options.sliceBytes) };
}
