import type { Plan, Slice, UnitId } from "../../merge/work/index.ts";
import type { SliceSpecification } from "../core/index.ts";
import type { JobHistory } from "./records.ts";

/** What the core is told of a plan, and of what the journal knows already. */
export function sliceSpecifications(plan: Plan, history: JobHistory): SliceSpecification[] {
  return plan.slices.map((slice) => ({
    id: unitOf(slice),
    slice: slice.id,
    sizeBytes: Math.max(1, slice.sizeBytes),
    memoryBytes: memoryBytesOf(slice),
    attempt: 0,
    ...history.slices.get(slice.id),
  }));
}

/** Per element: accumulators, what is being read and what is kept of it, as f32. */
const WORKING_BYTES = 16;

/** What a worker needs to compute the slice's largest part in one range; with less it cuts, and reads more often. */
function memoryBytesOf({ parts }: Slice): number {
  let most = 0;
  for (const { elementCount } of parts) most = Math.max(most, elementCount);
  return most * WORKING_BYTES;
}

export function unitOf(slice: Slice): UnitId {
  return slice.id as string as UnitId;
}

/** Tensors that more than one slice shares, with those slices. */
export function cutTensors(plan: Plan): Map<number, UnitId[]> {
  const cut = new Map<number, UnitId[]>();
  for (const slice of plan.slices) {
    for (const { task, partCount } of slice.parts) {
      if (partCount === 1 || plan.tasks[task]?.kind !== "merge") continue;
      const slices = cut.get(task) ?? [];
      if (slices.at(-1) !== unitOf(slice)) slices.push(unitOf(slice));
      cut.set(task, slices);
    }
  }
  return cut;
}
