import { type AttemptRef, textOfRef, type WorkerId } from "../../merge/work/index.ts";
import { closeGrant, currentAttempt, drop, giveBack, isHeld, reindex, renew } from "./attempts.ts";
import { addDeadline, takeDeadline } from "./deadlines.ts";
import { forgetGone, writerIsHere } from "./earlier.ts";
import type { Effect, EventOf } from "./events.ts";
import { attemptVanished, pardon, removeWorker, requeueAudit, takeBack, workerLost } from "./failures.ts";
import { fail, isRunning } from "./phases.ts";
import { leaveRun } from "./queues.ts";
import type { JobState, Worker } from "./state.ts";

export function onWorkerAttached(state: JobState, event: EventOf<"worker-attached">, out: Effect[]): void {
  const known = state.workers.get(event.worker);
  const same = known?.incarnation === event.incarnation;
  if (known !== undefined && !same) {
    // The process before is gone, or a zombie that writes on until its leases end.
    takeBack(state, known, (unit, attempt) => attemptVanished(state, unit, attempt, out));
    removeWorker(state, known);
  }
  const worker = known !== undefined && same ? known : newWorker(event);
  // Started anew it may be well again, but for its memory.
  if (known?.setAside !== undefined && known.pardonMs === undefined) worker.setAside = known.setAside;
  state.workers.set(worker.id, worker);
  worker.attached = true;
  worker.silent = false;
  worker.draining = false;
  worker.heardMs = state.nowMs;
  worker.slots = event.slots;
  worker.isBarred = event.isBarred === true;
  const named = new Set(event.held.map(textOfRef));
  takeBack(state, worker, (unit, attempt) => {
    if (named.has(textOfRef({ unit: unit.id, attempt: attempt.number }))) return;
    // The assignment never came to it, or it has given it up. It may be in the middle of a write: it says so next, or its grant ends.
    drop(state, unit, attempt);
    if (attempt.audit) requeueAudit(state, unit);
    else giveBack(state, unit);
  });
  reindex(state, worker);
  writerIsHere(state, event);
  sayDropped(state, worker.id, event.held, out);
}

function newWorker(event: EventOf<"worker-attached">): Worker {
  const { worker: id, trust, incarnation, host, memoryBytes, slots, nowMs } = event;
  return {
    ...{ id, trust, incarnation, host, memoryBytes, slots },
    attached: true,
    silent: false,
    heardMs: nowMs,
    draining: false,
    isBarred: false,
    able: false,
    units: new Set(),
    faults: new Set(),
    finishedBefore: 0,
    freeAt: -1,
  };
}

export function onWorkerDetached(state: JobState, event: EventOf<"worker-detached">, out: Effect[]): void {
  const worker = state.workers.get(event.worker);
  if (worker === undefined) return;
  worker.attached = false;
  reindex(state, worker);
  leaveRun(state.readySlices, worker.id);
  forget(state, worker);
  // One that was told to end does not come back; a connection that breaks is not worth a record.
  if (worker.draining) forgetGone(state, out);
}

/** Names of machines come and go: one that is away and holds nothing is forgotten, unless it is not to come back. */
function forget(state: JobState, worker: Worker): void {
  if (!worker.attached && worker.units.size === 0 && worker.setAside === undefined) removeWorker(state, worker);
}

export function onWorkerLost(state: JobState, event: EventOf<"worker-lost">, out: Effect[]): void {
  const trust = state.workers.get(event.worker)?.trust;
  workerLost(state, event, out);
  // Publishing needs no workers. Others may attach from elsewhere; threads do not come back.
  const needed = isRunning(state) && state.phase !== "publishing";
  if (state.workers.size === 0 && needed && trust === "own") fail(state, event.failure, out);
}

export function onWorkerDraining(state: JobState, event: EventOf<"worker-draining">): void {
  const worker = state.workers.get(event.worker);
  if (worker === undefined) return;
  worker.draining = true;
  reindex(state, worker);
  leaveRun(state.readySlices, worker.id);
}

export function onSlotsChanged(state: JobState, event: EventOf<"slots-changed">): void {
  const worker = state.workers.get(event.worker);
  if (worker === undefined) return;
  worker.slots = event.slots;
  reindex(state, worker);
}

export function onWorkerBarred(state: JobState, event: EventOf<"worker-barred">): void {
  const worker = state.workers.get(event.worker);
  if (worker === undefined) return;
  worker.isBarred = event.isBarred;
  reindex(state, worker);
  if (event.isBarred) leaveRun(state.readySlices, worker.id);
}

/** A worker that is alive may have a thread that hangs: its attempts are named, and not renewed. */
export function onHeartbeat(state: JobState, event: EventOf<"heartbeat">, out: Effect[]): void {
  const worker = state.workers.get(event.worker);
  if (worker !== undefined) {
    worker.heardMs = state.nowMs;
    worker.silent = false;
    reindex(state, worker);
  }
  // Whoever leads by then may have taken the job over, and waits for leases that ended with our leadership.
  if (state.nowMs < state.leadsUntilMs) {
    const renewed: AttemptRef[] = [];
    for (const ref of event.held) {
      const found = currentAttempt(state, { ...ref, worker: event.worker });
      if (!ref.alive || found === undefined) continue;
      renew(state, found.unit, found.attempt);
      renewed.push({ unit: ref.unit, attempt: ref.attempt });
    }
    if (renewed.length > 0) out.push({ type: "renewed", worker: event.worker, attempts: renewed });
  }
  sayDropped(state, event.worker, event.held, out);
}

export function onHandedBack(state: JobState, event: EventOf<"handed-back">, out: Effect[]): void {
  for (const ref of event.attempts) {
    const who = { unit: ref.unit, attempt: ref.attempt, worker: event.worker };
    closeGrant(state, who);
    const found = currentAttempt(state, who);
    if (found === undefined || !isHeld(found.attempt)) continue;
    drop(state, found.unit, found.attempt);
    if (found.attempt.audit) requeueAudit(state, found.unit);
    else giveBack(state, found.unit);
    out.push({ type: "count", counter: "handed-back" });
  }
}

export function onTimePassed(state: JobState, _event: EventOf<"time-passed">, out: Effect[]): void {
  if (state.aside.size > 0) pardon(state, out);
  forgetGone(state, out);
  for (;;) {
    const due = takeDeadline(state.deadlines, state.nowMs);
    if (due === undefined) return;
    const unit = state.units.get(due.unit);
    const attempt = unit?.attempts.find(({ number }) => number === due.attempt);
    if (unit === undefined || attempt === undefined || !isHeld(attempt)) continue;
    if (attempt.leaseEndsMs > state.nowMs) {
      addDeadline(state.deadlines, due, attempt.leaseEndsMs);
      continue;
    }
    out.push({ type: "count", counter: "lapsed-lease" });
    attemptVanished(state, unit, attempt, out);
    const worker = state.workers.get(attempt.worker);
    if (worker?.trust !== "other") continue;
    worker.silent = state.nowMs - worker.heardMs >= state.limits.leaseMs;
    reindex(state, worker);
    forget(state, worker);
  }
}

function sayDropped(state: JobState, worker: WorkerId, held: readonly AttemptRef[], out: Effect[]): void {
  const attempts = held
    .filter((ref) => currentAttempt(state, { ...ref, worker }) === undefined)
    .map(({ unit, attempt }) => ({ unit, attempt }));
  if (attempts.length > 0) out.push({ type: "dropped", worker, attempts });
}
