import type { Failure, UnitId } from "../../merge/work/index.ts";
import { cancel, currentAttempt, drop } from "./attempts.ts";
import { reopen } from "./disputes.ts";
import type { Effect, EventOf } from "./events.ts";
import { blame, praise } from "./failures.ts";
import { addDuration } from "./pace.ts";
import { fail, givesWork } from "./phases.ts";
import { type Attempt, type JobState, newUnit, type Unit } from "./state.ts";

/** Surveys and seals: units that need no grant, and whose answer need not become durable. */

export function onRoundBegun(state: JobState, event: EventOf<"round-begun">): void {
  const tensor = state.cut.get(event.task);
  if (tensor === undefined || tensor.settled) return;
  for (const id of tensor.surveys) state.units.delete(id);
  tensor.surveys = [...event.surveys];
  tensor.surveysOpen = event.surveys.length;
  for (const id of event.surveys) {
    state.units.set(id, newUnit(id, "survey", { task: event.task, attempt: state.limits.attemptBase }));
    state.readySurveys.items.push(id);
  }
}

export function onSurveyed(state: JobState, event: EventOf<"surveyed">, out: Effect[]): void {
  const unit = answered(state, event, out);
  if (unit === undefined) return;
  const tensor = state.cut.get(unit.task);
  if (tensor === undefined) return;
  tensor.surveysOpen--;
  if (tensor.surveysOpen > 0) return;
  if (givesWork(state)) out.push({ type: "settle", task: tensor.task });
  else state.settleLater.push(tensor.task);
}

export function onVerdictDurable(state: JobState, event: EventOf<"verdict-durable">): void {
  const tensor = state.cut.get(event.task);
  if (tensor === undefined || tensor.settled) return;
  tensor.settled = true;
  tensor.known = true;
  state.tensorsOpen--;
  for (const id of tensor.surveys) state.units.delete(id);
  tensor.surveys = [];
  for (const id of tensor.slices) {
    const unit = state.units.get(id);
    if (unit?.status !== "blocked") continue;
    unit.status = "pending";
    state.readySlices.items.push(id);
  }
}

export function onSealBegun(state: JobState, event: EventOf<"seal-begun">): void {
  for (const { unit: id, slices } of event.units) {
    const hosts = slices.flatMap((slice) => state.units.get(slice)?.doneBy?.host ?? []);
    const facts = { attempt: state.limits.attemptBase, writtenOn: new Set(hosts) };
    state.units.set(id, newUnit(id, "seal", facts));
    state.readySeals.items.push(id);
  }
  state.sealsOpen = event.units.length;
  state.sealAsked = false;
}

export function onSealed(state: JobState, event: EventOf<"sealed">, out: Effect[]): void {
  if (answered(state, event, out) === undefined) return;
  state.sealsOpen--;
  for (const id of event.damaged) sliceLost(state, id, out);
}

/** Storage gave back other bytes than were written: the slice is computed again, but not for ever. */
function sliceLost(state: JobState, id: UnitId, out: Effect[]): void {
  const unit = state.units.get(id);
  if (unit?.status !== "done") return;
  unit.lost++;
  const failure = damagedAgain(id, unit.lost);
  if (unit.lost >= state.limits.attemptsMax) return fail(state, failure, out);
  // A worker may report one thing and write another.
  const writer = unit.doneBy === undefined ? undefined : state.workers.get(unit.doneBy.worker);
  if (writer !== undefined) {
    unit.vanishedOn = writer.id;
    blame(state, writer, id, failure, out);
  }
  reopen(state, unit, out);
  out.push({ type: "count", counter: "lost-slice" }, { type: "journal-lost", unit: id, attempt: unit.attempt });
}

/** The unit of a report that is current; the first one counts, and whoever else works on it is told to stop. */
function answered(state: JobState, event: EventOf<"surveyed"> | EventOf<"sealed">, out: Effect[]): Unit | undefined {
  const who = { worker: event.worker, unit: event.unit, attempt: event.attempt };
  const found = currentAttempt(state, event);
  if (found === undefined) {
    out.push({ type: "count", counter: "stale-report" }, { type: "stale", ...who });
    return undefined;
  }
  const { unit, attempt } = found;
  finish(state, unit, attempt);
  for (const other of unit.attempts) cancel(state, unit, other, out);
  out.push({ type: "accept", ...who });
  return unit;
}

function finish(state: JobState, unit: Unit, attempt: Attempt): void {
  drop(state, unit, attempt);
  unit.status = "done";
  addDuration(state.paces[unit.kind], state.nowMs - attempt.startedMs);
  praise(state, state.workers.get(attempt.worker));
}

function damagedAgain(unit: UnitId, times: number): Failure {
  return {
    code: "coordinator/storage-damages",
    message: `${unit}: storage gave back other bytes than were written, ${times} times`,
    hint: "Check the disk and its cables, or write to another one; finished slices are kept.",
    retryable: false,
  };
}
