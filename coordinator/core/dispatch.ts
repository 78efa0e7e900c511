import type { UnitId } from "../../merge/work/index.ts";
import { attemptOn, lend } from "./attempts.ts";
import { isHeldUp } from "./earlier.ts";
import type { Effect } from "./events.ts";
import { medianOf } from "./pace.ts";
import { givesWork } from "./phases.ts";
import { isEmpty, takeFrom, takeSlice } from "./queues.ts";
import { isBlocked, type JobState, type Unit, type Worker } from "./state.ts";
import { isDisputed, isOpenTo } from "./votes.ts";

/** How many workers are looked at for a unit, or stragglers for a worker: no event may cost more with a thousand of them. */
const LOOK = 8;
const LOOK_AT_STRAGGLERS = 64;

/** Leases ready units to workers with free slots: those with the fewest units first, of these the fastest. */
export function dispatch(state: JobState, out: Effect[]): void {
  if (!givesWork(state)) return;
  while (hasReady(state)) {
    const workers = candidates(state);
    const served = workers.some((worker) => {
      const next = nextFor(state, worker);
      if (next !== undefined) lend(state, next.unit, worker, next.audit, out);
      return next !== undefined;
    });
    if (served) continue;
    // None of what is ready suits them: let others be looked at next time.
    for (const { id, freeAt } of workers) {
      const bucket = state.free[freeAt];
      if (bucket?.delete(id)) bucket.add(id);
    }
    return;
  }
}

function hasReady(state: JobState): boolean {
  const { readySurveys, readySlices, readyAudits, readySeals } = state;
  const slices = !isEmpty(readySlices) || readySlices.runs.size > 0 || readySlices.freeRuns.length > 0;
  return slices || !isEmpty(readySurveys) || !isEmpty(readyAudits) || !isEmpty(readySeals);
}

function candidates(state: JobState): Worker[] {
  const found: Worker[] = [];
  for (const bucket of state.free) {
    for (const id of bucket) {
      const worker = state.workers.get(id);
      if (worker !== undefined) found.push(worker);
      if (found.length === LOOK) break;
    }
    if (found.length === LOOK) break;
  }
  return found.sort((a, b) => a.freeAt - b.freeAt || (a.pace ?? 0) - (b.pace ?? 0));
}

/** Surveys first: other slices wait for them. Audits when there is nothing else to merge. */
function nextFor(state: JobState, worker: Worker): { readonly unit: Unit; readonly audit: boolean } | undefined {
  const { units } = state;
  const gone = (id: UnitId) => units.get(id)?.status !== "pending";
  const fits = (id: UnitId) => suits(state, worker, units.get(id));
  const heldUp = (id: UnitId) => {
    const unit = units.get(id);
    return unit !== undefined && isHeldUp(state, unit);
  };
  const plain =
    takeFrom(state.readySurveys, gone, fits) ??
    takeSlice(state.readySlices, worker.id, gone, (id) => fits(id) && !heldUp(id)) ??
    takeFrom(state.readySeals, gone, (id) => fits(id) && units.get(id)?.writtenOn?.has(worker.host) !== true) ??
    takeFrom(state.readySeals, gone, fits);
  const found = plain === undefined ? undefined : units.get(plain);
  if (found !== undefined) return { unit: found, audit: false };
  const audited = takeFrom(
    state.readyAudits,
    (id) => units.get(id)?.status !== "done",
    (id) => mayAudit(state, worker, units.get(id)),
  );
  const unit = audited === undefined ? undefined : units.get(audited);
  return unit === undefined ? undefined : { unit, audit: true };
}

/** Other workers are better where the unit failed, vanished or does not fit here, as long as there are others. */
export function suits(state: JobState, worker: Worker, unit: Unit | undefined): boolean {
  if (unit === undefined || attemptOn(unit, worker.id) !== undefined) return false;
  if (!isOpenTo(unit, worker)) return false;
  if (state.able <= 1) return true;
  const avoided = new Set(unit.failedOn);
  if (unit.vanishedOn !== undefined) avoided.add(unit.vanishedOn);
  const tooLarge = unit.memoryBytes > worker.memoryBytes && largestMemoryOf(state) > worker.memoryBytes;
  const disputed = isDisputed(unit);
  if (avoided.size === 0) return disputed || !tooLarge;
  if (!avoided.has(worker.id)) return true;
  if (disputed) for (const given of unit.votes ?? []) avoided.add(given.worker);
  // Were nobody left, the unit would wait for ever.
  return avoided.size >= state.able;
}

function largestMemoryOf(state: JobState): number {
  if (state.largestMemoryBytes === undefined) {
    let largest = 0;
    for (const worker of state.workers.values()) if (worker.able) largest = Math.max(largest, worker.memoryBytes);
    state.largestMemoryBytes = largest;
  }
  return state.largestMemoryBytes;
}

export function mayAudit(state: JobState, worker: Worker, unit: Unit | undefined): boolean {
  if (unit === undefined || isBlocked(state, unit)) return false;
  return unit.doneBy?.worker !== worker.id && attemptOn(unit, worker.id) === undefined;
}

/**
 * Second attempts of stragglers, for workers that have nothing else to do. As Spark does: once most is done, what takes much longer than
 * the median, per byte, is tried elsewhere too. What is being written is not: nobody else would be granted.
 */
export function speculate(state: JobState, out: Effect[]): void {
  const { speculation } = state.limits;
  if (speculation === undefined || !givesWork(state) || hasReady(state)) return;
  const mostAreDone = state.slices - state.slicesOpen >= speculation.doneShare * state.slices;
  let looked = 0;
  for (const id of state.single) {
    if (++looked > LOOK_AT_STRAGGLERS) return;
    const unit = state.units.get(id);
    const [attempt] = unit?.attempts ?? [];
    if (unit === undefined || attempt?.status !== "leased" || (unit.kind === "slice" && !mostAreDone)) continue;
    const median = medianOf(state.paces[unit.kind]);
    if (median === undefined) continue;
    if (state.nowMs - attempt.startedMs <= speculation.slowness * median * unit.sizeBytes) continue;
    const worker = candidates(state).find((other) => suits(state, other, unit));
    if (worker === undefined) return;
    lend(state, unit, worker, false, out);
    out.push({ type: "count", counter: "second-attempt" });
  }
}
