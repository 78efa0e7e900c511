import type { Failure, UnitId } from "../../merge/work/index.ts";
import type { Effect, EventOf, EventType, JobEvent } from "./events.ts";
import { type JobState, type Queue, takeFrom, type Unit } from "./state.ts";

type Handler<T extends EventType> = (state: JobState, event: EventOf<T>) => Effect[];

/** The compiler refuses an event without a handler. */
const on: { readonly [T in EventType]: Handler<T> } = {
  started: onStarted,
  "worker-attached": onWorkerAttached,
  "worker-lost": onWorkerLost,
  heartbeat: onHeartbeat,
  "time-passed": onTimePassed,
  "round-begun": onRoundBegun,
  "verdict-durable": onVerdictDurable,
  "grant-requested": onGrantRequested,
  surveyed: onSurveyed,
  "slice-computed": onSliceComputed,
  "slice-durable": onSliceDurable,
  "slice-not-durable": onSliceNotDurable,
  "unit-failed": onUnitFailed,
  "seal-begun": onSealBegun,
  sealed: onSealed,
  published: onPublished,
  "stop-requested": onStopRequested,
  "job-failed": onJobFailed,
};

/**
 * One step of a job: a deterministic function of state and event. The state handed in is consumed: it is changed in place and given
 * back, since a job has up to 100,000 slices and copying them at each event would cost more than the event.
 */
export function reduce(state: JobState, event: JobEvent): Effect[] {
  const handler = on[event.type] as Handler<EventType>;
  return handler(state, event);
}

function onStarted(state: JobState): Effect[] {
  const rounds = [...state.cut.values()]
    .filter((tensor) => !tensor.settled)
    .map(({ task }): Effect => ({ type: "begin-round", task }));
  return [...rounds, ...advance(state)];
}

function onWorkerAttached(state: JobState, event: EventOf<"worker-attached">): Effect[] {
  state.workers.set(event.worker, { id: event.worker, slots: event.slots, units: new Set() });
  return dispatch(state, event.nowMs);
}

/** Its units go back; each counts as a failed attempt, for the unit may be what killed it. */
function onWorkerLost(state: JobState, event: EventOf<"worker-lost">): Effect[] {
  const worker = state.workers.get(event.worker);
  if (worker === undefined) return [];
  state.workers.delete(event.worker);
  const effects = [...worker.units].flatMap((id) => {
    const unit = state.units.get(id);
    if (unit === undefined) return [];
    if (isHeld(unit)) return attemptFailed(state, unit, { ...event.failure, retryable: true });
    release(state, unit); // computed, and on its way into the journal whatever becomes of its worker
    return [];
  });
  // Publishing needs no workers.
  const needed = isRunning(state) && state.phase !== "publishing";
  if (state.workers.size === 0 && needed) effects.push(...fail(state, event.failure));
  return [...effects, ...dispatch(state, event.nowMs), ...quiesce(state)];
}

function onHeartbeat(state: JobState, event: EventOf<"heartbeat">): Effect[] {
  for (const id of state.workers.get(event.worker)?.units ?? []) {
    const unit = state.units.get(id);
    if (unit !== undefined && isHeld(unit)) unit.leaseEndsMs = event.nowMs + state.limits.leaseMs;
  }
  return [];
}

function onTimePassed(state: JobState, event: EventOf<"time-passed">): Effect[] {
  const effects: Effect[] = [];
  for (const worker of state.workers.values()) {
    for (const id of worker.units) {
      const unit = state.units.get(id);
      if (unit === undefined || !isHeld(unit) || (unit.leaseEndsMs ?? Number.POSITIVE_INFINITY) > event.nowMs) continue;
      release(state, unit);
      giveBack(state, unit);
      effects.push({ type: "count", counter: "lapsed-lease" });
    }
  }
  return [...effects, ...dispatch(state, event.nowMs), ...quiesce(state)];
}

function onRoundBegun(state: JobState, event: EventOf<"round-begun">): Effect[] {
  const tensor = state.cut.get(event.task);
  if (tensor === undefined || tensor.settled) return [];
  tensor.surveys = [...event.surveys];
  tensor.surveysOpen = event.surveys.length;
  for (const id of event.surveys) {
    state.units.set(id, {
      id,
      kind: "survey",
      status: "pending",
      attempt: state.limits.attemptBase,
      failures: 0,
      lost: 0,
    });
    state.readySurveys.items.push(id);
  }
  return dispatch(state, event.nowMs);
}

function onVerdictDurable(state: JobState, event: EventOf<"verdict-durable">): Effect[] {
  const tensor = state.cut.get(event.task);
  if (tensor === undefined || tensor.settled) return [];
  tensor.settled = true;
  state.tensorsOpen--;
  for (const id of tensor.surveys) state.units.delete(id);
  tensor.surveys = [];
  for (const id of tensor.slices) {
    const unit = state.units.get(id);
    if (unit?.status !== "blocked") continue;
    unit.status = "pending";
    state.readySlices.items.push(id);
  }
  return [...dispatch(state, event.nowMs), ...advance(state)];
}

/** The attempt decides, not the time: a worker may ask long after its lease went to another. */
function onGrantRequested(state: JobState, event: EventOf<"grant-requested">): Effect[] {
  const { unit: id, attempt, worker } = event;
  const unit = state.units.get(id);
  const current = unit !== undefined && isHeld(unit) && unit.attempt === attempt && unit.worker === worker;
  if (!current) return [{ type: "refuse", worker, unit: id, attempt }];
  unit.status = "granted";
  return [{ type: "grant", worker, unit: id, attempt }];
}

function onSurveyed(state: JobState, event: EventOf<"surveyed">): Effect[] {
  const unit = currentUnit(state, event);
  if (unit === undefined) return [stale];
  release(state, unit);
  unit.status = "done";
  const tensor = [...state.cut.values()].find(({ surveys }) => surveys.includes(unit.id));
  if (tensor === undefined) return [];
  tensor.surveysOpen--;
  const settle: Effect[] = tensor.surveysOpen === 0 && isRunning(state) ? [{ type: "settle", task: tensor.task }] : [];
  return [...settle, ...dispatch(state, event.nowMs), ...quiesce(state)];
}

function onSliceComputed(state: JobState, event: EventOf<"slice-computed">): Effect[] {
  const unit = currentUnit(state, event);
  if (unit === undefined) return contradicted(state, event);
  if (unit.disputed !== undefined && !unit.disputed.includes(event.sha256)) {
    release(state, unit);
    return [...fail(state, nondeterministic(unit.id, [...unit.disputed, event.sha256])), ...quiesce(state)];
  }
  unit.status = "computed";
  unit.sha256 = event.sha256;
  delete unit.leaseEndsMs;
  // The worker's slot stays taken until the journal has the slice: a crash costs no more slices than there are slots.
  return [{ type: "journal-done", unit: unit.id, attempt: event.attempt, sha256: event.sha256 }];
}

/** A late report of an old attempt changes nothing, unless its hash tells that one of two attempts was wrong: a third decides. */
function contradicted(state: JobState, event: EventOf<"slice-computed">): Effect[] {
  const unit = state.units.get(event.unit);
  const differs =
    unit !== undefined && unit.attempt >= event.attempt && unit.sha256 !== undefined && unit.sha256 !== event.sha256;
  // What is being published has been sealed, and cannot be taken back.
  const settled = !isRunning(state) || state.phase === "publishing";
  if (!differs || unit.status !== "done" || settled) return [stale];
  const hashes = [unit.sha256 ?? "", event.sha256];
  unit.disputed = hashes;
  reopen(state, unit);
  return [
    stale,
    { type: "journal-disputed", unit: unit.id, attempt: unit.attempt, hashes },
    ...dispatch(state, event.nowMs),
  ];
}

function onSliceDurable(state: JobState, event: EventOf<"slice-durable">): Effect[] {
  const unit = state.units.get(event.unit);
  if (unit?.status !== "computed" || unit.sha256 !== event.sha256) return [];
  release(state, unit);
  unit.status = "done";
  delete unit.disputed;
  state.slicesOpen--;
  return [...dispatch(state, event.nowMs), ...advance(state), ...quiesce(state)];
}

/** A journal that takes nothing more ends the job; nobody waits for the slice to become durable. */
function onSliceNotDurable(state: JobState, event: EventOf<"slice-not-durable">): Effect[] {
  const unit = state.units.get(event.unit);
  if (unit?.status === "computed") {
    release(state, unit);
    delete unit.sha256;
    giveBack(state, unit);
  }
  return [...fail(state, event.failure), ...quiesce(state)];
}

function onUnitFailed(state: JobState, event: EventOf<"unit-failed">): Effect[] {
  const unit = currentUnit(state, event);
  if (unit === undefined) return [stale];
  return [...attemptFailed(state, unit, event.failure), ...dispatch(state, event.nowMs), ...quiesce(state)];
}

function onSealBegun(state: JobState, event: EventOf<"seal-begun">): Effect[] {
  for (const id of event.units) {
    state.units.set(id, {
      id,
      kind: "seal",
      status: "pending",
      attempt: state.limits.attemptBase,
      failures: 0,
      lost: 0,
    });
    state.readySeals.items.push(id);
  }
  state.sealsOpen = event.units.length;
  return [...dispatch(state, event.nowMs), ...advance(state)];
}

function onSealed(state: JobState, event: EventOf<"sealed">): Effect[] {
  const unit = currentUnit(state, event);
  if (unit === undefined) return [stale];
  release(state, unit);
  unit.status = "done";
  state.sealsOpen--;
  const effects = event.damaged.flatMap((id) => sliceLost(state, id));
  return [...effects, ...dispatch(state, event.nowMs), ...advance(state), ...quiesce(state)];
}

/** Storage gave back other bytes than were written: the slice is computed again, but not for ever. */
function sliceLost(state: JobState, id: UnitId): Effect[] {
  const unit = state.units.get(id);
  if (unit?.status !== "done") return [];
  unit.lost++;
  if (unit.lost >= state.limits.attemptsMax) return fail(state, damagedAgain(id, unit.lost));
  reopen(state, unit);
  return [
    { type: "count", counter: "lost-slice" },
    { type: "journal-lost", unit: id, attempt: unit.attempt },
  ];
}

function onPublished(state: JobState): Effect[] {
  if (state.phase !== "publishing") return [];
  state.phase = "done";
  return [{ type: "finished", outcome: "done" }];
}

function onStopRequested(state: JobState): Effect[] {
  if (!isRunning(state) || state.phase === "publishing") return [];
  state.phase = "stopping";
  return quiesce(state);
}

function onJobFailed(state: JobState, event: EventOf<"job-failed">): Effect[] {
  return [...fail(state, event.failure), ...quiesce(state)];
}

// ---- what the handlers share

const stale: Effect = { type: "count", counter: "stale-report" };

function isRunning(state: JobState): boolean {
  return (
    state.phase === "surveying" ||
    state.phase === "merging" ||
    state.phase === "sealing" ||
    state.phase === "publishing"
  );
}

function isHeld(unit: Unit): boolean {
  return unit.status === "leased" || unit.status === "granted";
}

/** The unit, if this report is of its newest lease. */
function currentUnit(state: JobState, event: { readonly unit: UnitId; readonly attempt: number }): Unit | undefined {
  const unit = state.units.get(event.unit);
  return unit !== undefined && isHeld(unit) && unit.attempt === event.attempt ? unit : undefined;
}

function release(state: JobState, unit: Unit): void {
  if (unit.worker !== undefined) state.workers.get(unit.worker)?.units.delete(unit.id);
  delete unit.worker;
  delete unit.leaseEndsMs;
}

function queueOf(state: JobState, unit: Unit): Queue {
  return unit.kind === "survey" ? state.readySurveys : unit.kind === "slice" ? state.readySlices : state.readySeals;
}

function giveBack(state: JobState, unit: Unit): void {
  unit.status = "pending";
  queueOf(state, unit).returned.push(unit.id);
}

/** A slice that was done is so no more. */
function reopen(state: JobState, unit: Unit): void {
  state.slicesOpen++;
  delete unit.sha256;
  giveBack(state, unit);
  if (state.phase === "sealing") {
    state.phase = "merging";
  }
}

function attemptFailed(state: JobState, unit: Unit, failure: Failure): Effect[] {
  release(state, unit);
  unit.failures++;
  const count: Effect = { type: "count", counter: "failed-attempt" };
  if (failure.retryable && unit.failures < state.limits.attemptsMax) {
    giveBack(state, unit);
    return [count];
  }
  unit.status = "quarantined";
  const quarantine: Effect = { type: "journal-quarantined", unit: unit.id, attempt: unit.attempt, failure };
  return [count, quarantine, ...fail(state, failure)];
}

function fail(state: JobState, failure: Failure): Effect[] {
  if (isRunning(state) || state.phase === "stopping") {
    state.phase = "failing";
    state.cause = failure;
  }
  return [];
}

/** Leases ready units to workers with free slots, workers with the fewest units first. */
function dispatch(state: JobState, nowMs: number): Effect[] {
  if (!isRunning(state)) return [];
  const effects: Effect[] = [];
  for (;;) {
    const worker = leastBusy(state);
    const id = worker === undefined ? undefined : nextReady(state);
    const unit = id === undefined ? undefined : state.units.get(id);
    if (worker === undefined || id === undefined) return effects;
    if (unit === undefined || unit.status !== "pending") continue;
    unit.status = "leased";
    unit.attempt = Math.max(unit.attempt, state.limits.attemptBase) + 1;
    unit.worker = worker.id;
    unit.leaseEndsMs = nowMs + state.limits.leaseMs;
    worker.units.add(id);
    effects.push({ type: "assign", worker: worker.id, unit: id, attempt: unit.attempt });
  }
}

function leastBusy(state: JobState) {
  let best: { readonly id: Unit["worker"] & string; readonly units: Set<UnitId>; readonly slots: number } | undefined;
  for (const worker of state.workers.values()) {
    if (worker.units.size < worker.slots && (best === undefined || worker.units.size < best.units.size)) best = worker;
  }
  return best;
}

/** Surveys first: other slices wait for them. */
function nextReady(state: JobState): UnitId | undefined {
  return takeFrom(state.readySurveys) ?? takeFrom(state.readySlices) ?? takeFrom(state.readySeals);
}

/** Moves the job on where everything that a phase waits for has happened. */
function advance(state: JobState): Effect[] {
  if (state.phase === "surveying" && state.tensorsOpen === 0) state.phase = "merging";
  if (state.phase === "merging" && state.slicesOpen === 0 && state.sealsOpen === 0) {
    state.phase = "sealing";
    return [{ type: "begin-seal" }];
  }
  if (state.phase === "sealing" && state.sealsOpen === 0 && state.slicesOpen === 0) {
    state.phase = "publishing";
    return [{ type: "publish" }];
  }
  return [];
}

/** Stopping and failing end when nothing is held, computed slices of workers that are lost included. */
function quiesce(state: JobState): Effect[] {
  if (state.phase !== "stopping" && state.phase !== "failing") return [];
  for (const worker of state.workers.values()) if (worker.units.size > 0) return [];
  for (const unit of state.units.values()) if (unit.status === "computed") return [];
  const outcome = state.phase === "stopping" ? "stopped" : "failed";
  state.phase = outcome;
  return [{ type: "finished", outcome, ...(state.cause === undefined ? {} : { cause: state.cause }) }];
}

function nondeterministic(unit: UnitId, hashes: readonly string[]): Failure {
  return {
    code: "coordinator/nondeterministic",
    message: `${unit}: ${hashes.length} attempts gave ${new Set(hashes).size} different results`,
    hint: "Check the memory of this machine; the same slice must give the same bytes every time.",
    retryable: false,
  };
}

function damagedAgain(unit: UnitId, times: number): Failure {
  return {
    code: "coordinator/storage-damages",
    message: `${unit}: storage gave back other bytes than were written, ${times} times`,
    hint: "Check the disk and its cables, or write to another one; finished slices are kept.",
    retryable: false,
  };
}
