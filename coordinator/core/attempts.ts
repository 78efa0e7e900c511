import type { AttemptRef, WorkerId } from "../../merge/work/index.ts";
import { addDeadline, keepDeadlines } from "./deadlines.ts";
import { closeEarlier, earlierMayWrite, nameWriter } from "./earlier.ts";
import type { Effect, HeldBy } from "./events.ts";
import type { Queue } from "./queues.ts";
import { type Attempt, type JobState, NO_ATTEMPTS, type Unit, type Worker } from "./state.ts";

/** What every handler does with leases, grants and slots; decides nothing. */

/** The attempt, if it is current and this worker's. */
export function currentAttempt(
  state: JobState,
  ref: AttemptRef & { readonly worker: WorkerId },
): { readonly unit: Unit; readonly attempt: Attempt } | undefined {
  const unit = state.units.get(ref.unit);
  const attempt = unit?.attempts.find(({ number }) => number === ref.attempt);
  return unit !== undefined && attempt?.worker === ref.worker ? { unit, attempt } : undefined;
}

/** Whether it may come to an end by itself: leases of reported attempts do not matter any more. */
export function isHeld(attempt: Attempt): boolean {
  return attempt.status !== "reported";
}

function isHeldAs(number: number): (attempt: Attempt) => boolean {
  return (attempt) => attempt.number === number && isHeld(attempt);
}

export function attemptOn(unit: Unit, worker: WorkerId): Attempt | undefined {
  return unit.attempts.find((attempt) => attempt.worker === worker);
}

/** Deadlines of attempts that are over, besides one for each that is held, before they are cleared away. */
const DEADLINES_OVER_MAX = 256;

export function lend(state: JobState, unit: Unit, worker: Worker, audit: boolean, out: Effect[]): void {
  const { leaseMs, attemptBase } = state.limits;
  unit.attempt = Math.max(unit.attempt, attemptBase) + 1;
  const leaseEndsMs = state.nowMs + leaseMs;
  const number = unit.attempt;
  const startedMs = state.nowMs;
  const status = "leased";
  const lent: Attempt = { number, worker: worker.id, audit, status, leaseEndsMs, startedMs, sha256: undefined };
  // No push: the list of a unit is mostly of one, and one that grows has room for seventeen.
  unit.attempts = unit.attempts.length === 0 ? [lent] : [...unit.attempts, lent];
  if (!audit && unit.status === "pending") unit.status = "leased";
  noteSingle(state, unit);
  if (unit.kind === "slice") {
    const { id, host, trust } = worker;
    unit.holders = { attempt: number, worker: id, host, local: trust === "own", before: unit.holders };
  }
  worker.units.add(unit.id);
  reindex(state, worker);
  state.held++;
  addDeadline(state.deadlines, { unit: unit.id, attempt: number }, leaseEndsMs);
  // A lease lasts a minute, and a coordinator may lend thousands in a second.
  if (state.deadlines.length > 2 * state.held + DEADLINES_OVER_MAX) {
    keepDeadlines(state.deadlines, (of) => state.units.get(of.unit)?.attempts.some(isHeldAs(of.attempt)) === true);
  }
  if (unit.kind === "slice" && !audit) nameWriter(state, worker, unit, out);
  out.push({
    type: "assign",
    worker: worker.id,
    unit: unit.id,
    attempt: number,
    ...(audit ? { audit: true as const } : {}),
  });
}

/** The attempt is current no more. A grant of it stays open until somebody knows that nothing is being written. */
export function drop(state: JobState, unit: Unit, attempt: Attempt): void {
  const left = unit.attempts.filter((other) => other !== attempt);
  unit.attempts = left.length === 0 ? NO_ATTEMPTS : left;
  noteSingle(state, unit);
  if (isHeld(attempt)) state.held--;
  const worker = state.workers.get(attempt.worker);
  if (worker !== undefined) {
    worker.units.delete(unit.id);
    reindex(state, worker);
  }
}

function noteSingle(state: JobState, unit: Unit): void {
  const [only] = unit.attempts;
  if (unit.attempts.length === 1 && only?.audit === false) state.single.add(unit.id);
  else state.single.delete(unit.id);
}

/** As `drop`, telling the worker to stop. */
export function cancel(state: JobState, unit: Unit, attempt: Attempt, out: Effect[]): void {
  drop(state, unit, attempt);
  out.push({ type: "cancel", worker: attempt.worker, attempts: [{ unit: unit.id, attempt: attempt.number }] });
}

/** After attempts were dropped: a unit that nobody works on any more can be lent again. */
export function giveBack(state: JobState, unit: Unit): void {
  if (unit.status !== "leased" && unit.status !== "granted") return;
  const left = unit.attempts.filter(({ audit }) => !audit);
  if (left.length > 0) {
    unit.status = left.some(({ status }) => status === "granted") ? "granted" : "leased";
    return;
  }
  unit.status = "pending";
  queueOf(state, unit).returned.push(unit.id);
}

export function queueOf(state: JobState, unit: Unit): Queue {
  return unit.kind === "survey" ? state.readySurveys : unit.kind === "slice" ? state.readySlices : state.readySeals;
}

export function renew(state: JobState, unit: Unit, attempt: Attempt): void {
  attempt.leaseEndsMs = Math.max(attempt.leaseEndsMs, state.nowMs + state.limits.leaseMs);
  if (attempt.status === "granted") openGrant(state, unit, attempt);
}

export function openGrant(state: JobState, unit: Unit, attempt: Attempt): void {
  const endsMs = attempt.leaseEndsMs + state.limits.ioTimeoutMs;
  state.grants.set(unit.id, { attempt: attempt.number, worker: attempt.worker, endsMs });
}

/** This attempt writes nothing any more, as its worker says: nobody else can know. */
export function closeGrant(state: JobState, { worker, unit, attempt }: HeldBy): void {
  const grant = state.grants.get(unit);
  if (grant?.attempt === attempt && grant.worker === worker) state.grants.delete(unit);
  closeEarlier(state, { unit, attempt }, worker);
}

/**
 * Whether a call that writes may begin now for this attempt, by whoever carries it out in the worker's stead: its lease is not over. A
 * process that was stopped asks when it wakes up, and another may lead by then.
 */
export function mayBeginWrite(state: JobState, { unit, attempt }: AttemptRef, nowMs: number): boolean {
  const grant = state.grants.get(unit);
  return grant?.attempt === attempt && nowMs < grant.endsMs - state.limits.ioTimeoutMs;
}

/** Whether anybody may still write: leases of this epoch or of earlier ones. */
export function mayWrite(state: JobState): boolean {
  if (earlierMayWrite(state)) return true;
  for (const [unit, grant] of state.grants) {
    if (state.nowMs < grant.endsMs) return true;
    state.grants.delete(unit);
  }
  return false;
}

/** Puts the worker where `dispatch` looks for it. */
export function reindex(state: JobState, worker: Worker): void {
  const able = isAble(worker);
  if (able !== worker.able) {
    worker.able = able;
    state.able += able ? 1 : -1;
    if (!able && state.able === 1) state.aloneSinceMs = state.nowMs;
    // Looked up again when it is next asked for: a thousand workers may come one after another.
    state.largestMemoryBytes = undefined;
  }
  const isFree = able && worker.units.size < worker.slots;
  const at = isFree ? worker.units.size : -1;
  if (at === worker.freeAt) return;
  if (worker.freeAt >= 0) state.free[worker.freeAt]?.delete(worker.id);
  worker.freeAt = at;
  if (at < 0) return;
  while (state.free.length <= at) state.free.push(new Set());
  state.free[at]?.add(worker.id);
}

/** Whether it would take work if it had a free slot. */
function isAble(worker: Worker): boolean {
  return worker.attached && !worker.silent && !worker.draining && !worker.isBarred && worker.setAside === undefined;
}
