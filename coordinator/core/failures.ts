import type { Failure, UnitId } from "../../merge/work/index.ts";
import { cancel, closeGrant, currentAttempt, drop, giveBack, isHeld, reindex } from "./attempts.ts";
import { writerIsGone } from "./earlier.ts";
import type { Effect, EventOf } from "./events.ts";
import { fail, pause } from "./phases.ts";
import { leaveRun } from "./queues.ts";
import type { Attempt, JobState, Unit, Worker } from "./state.ts";
import { isOpenTo } from "./votes.ts";

/** Of the data of a merge: the same on every machine, so nobody need try again. */
const ofTheData = ["merge/nonfinite", "merge/input-changed"];

/** An attempt said that it failed: nothing of it is being written any more. */
export function attemptFailed(state: JobState, unit: Unit, attempt: Attempt, failure: Failure, out: Effect[]): void {
  drop(state, unit, attempt);
  closeGrant(state, { worker: attempt.worker, unit: unit.id, attempt: attempt.number });
  out.push({ type: "count", counter: "failed-attempt" });
  if (state.limits.pausingCodes.includes(failure.code)) {
    giveBack(state, unit);
    if (attempt.audit) requeueAudit(state, unit);
    return refused(state, unit, attempt, failure, out);
  }
  if (attempt.audit) return auditFailed(state, unit, attempt, failure, out);
  unit.failures++;
  state.failures++;
  unit.failedOn = [...new Set([...(unit.failedOn ?? []), attempt.worker])];
  const worker = state.workers.get(attempt.worker);
  const { attemptsMax, workersFailedMax, failuresMax } = state.limits;
  // Threads of one machine fail alike.
  const hopeless = !failure.retryable && (worker?.trust !== "other" || ofTheData.includes(failure.code));
  const tooOften = unit.failures >= attemptsMax || unit.failedOn.length >= workersFailedMax;
  if (hopeless || tooOften) return quarantine(state, unit, failure, out);
  if (worker !== undefined) blame(state, worker, unit.id, failure, out);
  giveBack(state, unit);
  if (state.failures >= failuresMax) fail(state, failure, out);
}

/**
 * Storage refused something that somebody must see to. A quota, a limit or a right that is missing may be one worker's: where another may
 * do what this one may not, it goes on; where nobody is left, or the place is full for all, the job pauses.
 */
function refused(state: JobState, unit: Unit, attempt: Attempt, failure: Failure, out: Effect[]): void {
  const worker = state.workers.get(attempt.worker);
  const mayAudit = ({ id }: Worker) => unit.doneBy?.worker !== id;
  const may = attempt.audit ? mayAudit : (other: Worker) => isOpenTo(unit, other);
  const isLeft = (other: Worker) => other !== worker && other.able && may(other);
  const isItsOwn = mayBeSetAside(worker) && state.limits.refusingCodes.includes(failure.code);
  if (isItsOwn && [...state.workers.values()].some(isLeft)) return setAsideForAWhile(state, worker, failure, out);
  takeIn(state);
  pause(state, failure, out);
}

/** Whether it is set aside for what it was refused: no other job need know. */
export function isRefused({ limits }: JobState, { setAside }: Worker): boolean {
  return setAside !== undefined && limits.refusingCodes.includes(setAside.code);
}

/** Workers that were refused something try again: somebody has seen to it, or must. */
export function takeIn(state: JobState): void {
  for (const id of state.aside) {
    const worker = state.workers.get(id);
    if (worker === undefined || !isRefused(state, worker)) continue;
    state.aside.delete(id);
    restore(state, worker);
  }
}

/** Nothing more was heard of an attempt: its lease lapsed, or its worker was started anew. It may still be writing. */
export function attemptVanished(state: JobState, unit: Unit, attempt: Attempt, out: Effect[]): void {
  drop(state, unit, attempt);
  if (attempt.audit) return auditEnded(state, unit, AUDIT_TRIES_PASSING, out);
  unit.vanished++;
  unit.vanishedOn = attempt.worker;
  if (unit.vanished >= state.limits.vanishedMax) return quarantine(state, unit, vanishedAgain(unit), out);
  giveBack(state, unit);
}

export function quarantine(state: JobState, unit: Unit, failure: Failure, out: Effect[]): void {
  for (const other of unit.attempts) cancel(state, unit, other, out);
  unit.status = "quarantined";
  state.opinions.delete(unit.id);
  out.push({ type: "journal-quarantined", unit: unit.id, attempt: unit.attempt, failure });
  fail(state, failure, out);
}

/**
 * A worker speaks of an attempt of its as of something else than it was lent: it, or its release, is not to be relied on. It may still be
 * writing. Others take its units, where there are others; where not, the unit fails in the end, and says why.
 */
export function misreported(state: JobState, unit: Unit, attempt: Attempt, failure: Failure, out: Effect[]): void {
  drop(state, unit, attempt);
  const worker = state.workers.get(attempt.worker);
  if (attempt.audit) auditEnded(state, unit, AUDIT_TRIES_PASSING, out);
  else {
    unit.failures++;
    state.failures++;
    unit.failedOn = [...new Set([...(unit.failedOn ?? []), attempt.worker])];
    const { attemptsMax, workersFailedMax, failuresMax } = state.limits;
    if (unit.failures >= attemptsMax || unit.failedOn.length >= workersFailedMax) {
      return quarantine(state, unit, failure, out);
    }
    giveBack(state, unit);
    if (state.failures >= failuresMax) fail(state, failure, out);
  }
  if (mayBeSetAside(worker) && state.able > (worker.able ? 1 : 0)) setAsideForAWhile(state, worker, failure, out);
}

/** Threads of this process are not: where one fails the others do, for they have the same memory and storage. */
export function mayBeSetAside(worker: Worker | undefined): worker is Worker {
  return worker?.trust === "other";
}

/** How many leases a worker is set aside on which everything failed: what was wrong with it may have passed. */
const ASIDE_LEASES = 40;

/**
 * Units of all kinds that fail one after another on one worker, while others finish theirs, are the worker's fault. Where nobody
 * finishes anything, something is wrong that they share.
 */
export function blame(state: JobState, worker: Worker, unit: UnitId, failure: Failure, out: Effect[]): void {
  if (worker.faults.size === 0) worker.finishedBefore = state.finished;
  worker.faults.add(unit);
  if (!mayBeSetAside(worker) || worker.faults.size < state.limits.workerFaultsMax) return;
  const othersFinish = state.finished > worker.finishedBefore;
  // The last one is better than none.
  if (!othersFinish || state.able <= (worker.able ? 1 : 0)) return;
  setAsideForAWhile(state, worker, failure, out);
}

function setAsideForAWhile(state: JobState, worker: Worker, failure: Failure, out: Effect[]): void {
  if (worker.setAside !== undefined) return;
  worker.pardonMs = state.nowMs + ASIDE_LEASES * state.limits.leaseMs;
  state.aside.add(worker.id);
  setAside(state, worker, failure, out);
}

/** A worker finished something: what failed on it before was not its fault. */
export function praise(state: JobState, worker: Worker | undefined): void {
  state.finished++;
  worker?.faults.clear();
}

/** Workers that were set aside for a while get work again. Those that computed wrongly do not. */
export function pardon(state: JobState, out: Effect[]): void {
  for (const id of state.aside) {
    const worker = state.workers.get(id);
    if (worker?.pardonMs !== undefined) {
      // Those who were better have gone. They may only be away for a moment.
      if (state.able === 0) worker.pardonMs = Math.min(worker.pardonMs, state.nowMs + state.limits.leaseMs);
      if (worker.pardonMs > state.nowMs) continue;
    }
    state.aside.delete(id);
    if (worker?.pardonMs === undefined) continue;
    const isOwn = isRefused(state, worker);
    restore(state, worker);
    if (!isOwn) out.push({ type: "pardon", worker: id });
  }
}

function restore(state: JobState, worker: Worker): void {
  delete worker.setAside;
  delete worker.pardonMs;
  worker.faults.clear();
  reindex(state, worker);
}

/** The worker gets no more work, and what it has goes to others. */
export function setAside(state: JobState, worker: Worker, failure: Failure, out: Effect[]): void {
  if (worker.setAside !== undefined) return;
  worker.setAside = failure;
  takeBack(state, worker, (unit, attempt) => {
    cancel(state, unit, attempt, out);
    if (attempt.audit) requeueAudit(state, unit);
    else giveBack(state, unit);
  });
  leaveRun(state.readySlices, worker.id);
  reindex(state, worker);
  const own = isRefused(state, worker) ? { isRefused: true as const } : {};
  out.push({ type: "set-aside", worker: worker.id, failure, ...own }, { type: "count", counter: "worker-set-aside" });
}

/** Calls for each attempt that a worker holds and has not reported. */
export function takeBack(state: JobState, worker: Worker, use: (unit: Unit, attempt: Attempt) => void): void {
  for (const id of [...worker.units]) {
    const unit = state.units.get(id);
    for (const attempt of unit?.attempts ?? []) {
      if (unit !== undefined && attempt.worker === worker.id && isHeld(attempt)) use(unit, attempt);
    }
  }
}

/** What passes by itself has ten tries: an audit that is given up leaves a lie where it is. */
const AUDIT_TRIES = 3;
const AUDIT_TRIES_PASSING = 10;

export function requeueAudit(state: JobState, unit: Unit): void {
  if (unit.status === "done") state.readyAudits.returned.push(unit.id);
  else state.auditsOpen--; // it is computed anew, and audited after that
}

function auditFailed(state: JobState, unit: Unit, attempt: Attempt, failure: Failure, out: Effect[]): void {
  const worker = state.workers.get(attempt.worker);
  if (worker !== undefined) blame(state, worker, unit.id, failure, out);
  auditEnded(state, unit, failure.retryable ? AUDIT_TRIES_PASSING : AUDIT_TRIES, out);
}

/** An audit that came to nothing: one that takes its worker down each time must not be tried for ever. */
function auditEnded(state: JobState, unit: Unit, tries: number, out: Effect[]): void {
  if (++unit.auditsFailed < tries) return requeueAudit(state, unit);
  state.auditsOpen--;
  out.push({ type: "count", counter: "audit-skipped" });
}

/** The units that a lost worker held; each counts as a failed attempt, for the unit may be what killed it. */
export function workerLost(state: JobState, event: EventOf<"worker-lost">, out: Effect[]): void {
  const worker = state.workers.get(event.worker);
  if (worker === undefined) return;
  const failure = { ...event.failure, retryable: true };
  takeBack(state, worker, (unit, attempt) => attemptFailed(state, unit, attempt, failure, out));
  for (const [unit, grant] of state.grants) if (grant.worker === worker.id) state.grants.delete(unit);
  removeWorker(state, worker);
}

export function removeWorker(state: JobState, worker: Worker): void {
  writerIsGone(state, worker);
  worker.attached = false;
  reindex(state, worker);
  leaveRun(state.readySlices, worker.id);
  state.workers.delete(worker.id);
}

function vanishedAgain(unit: Unit): Failure {
  return {
    code: "coordinator/workers-vanish",
    message: `${unit.id}: ${unit.vanished} attempts ended without a word`,
    hint: "Look into the workers' logs: they may be killed for their memory, or be cut off. Submit the job again to go on.",
    retryable: false,
  };
}

export function onUnitFailed(state: JobState, event: EventOf<"unit-failed">, out: Effect[]): void {
  const who = { worker: event.worker, unit: event.unit, attempt: event.attempt };
  const found = currentAttempt(state, event);
  if (found === undefined || !isHeld(found.attempt)) {
    closeGrant(state, who);
    out.push({ type: "count", counter: "stale-report" }, { type: "stale", ...who });
    return;
  }
  out.push({ type: "accept", ...who });
  attemptFailed(state, found.unit, found.attempt, event.failure, out);
}
