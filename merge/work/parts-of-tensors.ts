import type { Plan, SlicePart } from "./plan.ts";

const ofPlans = new WeakMap<Plan, ReadonlyMap<number, readonly SlicePart[]>>();

/**
 * The parts that the tensor of each task is cut into, whole, in the order of the tensor: where slices share a part, it is that of the one
 * which has all of it. Found once a plan.
 */
export function partsOfTensors(plan: Plan): ReadonlyMap<number, readonly SlicePart[]> {
  const known = ofPlans.get(plan);
  if (known !== undefined) return known;
  const byTask = new Map<number, SlicePart[]>();
  for (const { parts } of plan.slices) {
    for (const part of parts) {
      const ofTask = byTask.get(part.task) ?? [];
      if (part.elementCount >= (ofTask[part.part]?.elementCount ?? 0)) ofTask[part.part] = part;
      byTask.set(part.task, ofTask);
    }
  }
  ofPlans.set(plan, byTask);
  return byTask;
}

/** How the parts of a tensor are surveyed: each range holds as many neighbouring whole ones as `rangeElements` allows, one at least. */
export function surveyRanges(parts: readonly SlicePart[], rangeElements: number): readonly (readonly SlicePart[])[] {
  const groups: SlicePart[][] = [];
  let elements = 0;
  for (const part of parts) {
    const group = groups.at(-1);
    if (group !== undefined && elements + part.elementCount <= rangeElements) {
      group.push(part);
      elements += part.elementCount;
    } else {
      groups.push([part]);
      elements = part.elementCount;
    }
  }
  return groups;
}
