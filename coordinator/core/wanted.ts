import type { WorkerId } from "../../merge/work/index.ts";
import { mayAudit, suits } from "./dispatch.ts";
import { isHeldUp } from "./earlier.ts";
import { givesWork } from "./phases.ts";
import { LOOK_AHEAD, type Queue } from "./queues.ts";
import type { JobState, Unit, Worker } from "./state.ts";

/**
 * Workers whose slots are all other jobs', and that this one needs all the same: something is ready that suits none of those that it has
 * slots at, for they computed it, answered it or failed at it. One for each such unit, of those that are next. Looks at all workers: not at
 * each event.
 */
export function workersWanted(state: JobState): readonly WorkerId[] {
  if (!givesWork(state)) return [];
  const able = [...state.workers.values()].filter((worker) => worker.able);
  if (!able.some(({ slots }) => slots === 0)) return [];
  const wanted = new Set<WorkerId>();
  for (const unit of nextUnits(state)) {
    const suited = able.filter((worker) => isFor(state, worker, unit));
    const [first] = suited;
    if (first === undefined || suited.some(({ id, slots }) => slots > 0 || wanted.has(id))) continue;
    wanted.add(first.id);
  }
  return [...wanted];
}

function isFor(state: JobState, worker: Worker, unit: Unit): boolean {
  if (unit.status === "done") return mayAudit(state, worker, unit);
  return unit.status === "pending" && suits(state, worker, unit) && !isHeldUp(state, unit);
}

/** Of each kind some; what suits nobody is moved on by `dispatch`, so that in the end all are seen. */
function nextUnits(state: JobState): Unit[] {
  const { readySurveys, readySlices, readyAudits, readySeals, units } = state;
  return [readySurveys, readySlices, readyAudits, readySeals].flatMap((queue: Queue) => {
    const ids = [...queue.returned.slice(-LOOK_AHEAD), ...queue.items.slice(queue.next, queue.next + LOOK_AHEAD)];
    return ids.flatMap((id) => units.get(id) ?? []);
  });
}
