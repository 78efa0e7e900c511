import type { Failure, UnitId } from "../../merge/work/index.ts";
import { cancel, currentAttempt, drop, giveBack } from "./attempts.ts";
import { reopen } from "./disputes.ts";
import type { Effect, EventOf, Vote } from "./events.ts";
import { blame, praise } from "./failures.ts";
import { hasSaid, mustDo, weigh } from "./opinions.ts";
import { addDuration } from "./pace.ts";
import { fail, givesWork, isRunning } from "./phases.ts";
import { isBlocked, isChosen, type JobState, newUnit, type Unit } from "./state.ts";

/** Surveys and seals: units that need no grant, and whose answer need not become durable. */

export function onRoundBegun(state: JobState, event: EventOf<"round-begun">): void {
  const tensor = state.cut.get(event.task);
  if (tensor === undefined || tensor.settled) return;
  for (const id of tensor.surveys) forgetUnit(state, id);
  tensor.surveys = [...event.surveys];
  tensor.surveysOpen = event.surveys.length;
  for (const id of event.surveys) {
    const unit = newUnit(id, "survey", { tasks: [event.task], attempt: state.limits.attemptBase });
    unit.audit = isAudited(state, id);
    state.units.set(id, unit);
    state.readySurveys.items.push(id);
  }
}

export function onSurveyed(state: JobState, event: EventOf<"surveyed">, out: Effect[]): void {
  answered(state, event, { damaged: [], isDoubtful: false }, out);
}

function surveyIsIn(state: JobState, unit: Unit, out: Effect[]): void {
  const tensor = state.cut.get(unit.tasks[0] ?? -1);
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
  for (const id of tensor.surveys) forgetUnit(state, id);
  tensor.surveys = [];
  for (const id of tensor.slices) {
    const unit = state.units.get(id);
    if (unit?.status !== "blocked" || isBlocked(state, unit)) continue;
    unit.status = "pending";
    state.readySlices.items.push(id);
  }
}

export function onSealBegun(state: JobState, event: EventOf<"seal-begun">): void {
  for (const { unit: id, slices, isUnproven = false } of event.units) {
    const hosts = slices.flatMap((slice) => state.units.get(slice)?.doneBy?.host ?? []);
    const facts = { attempt: state.limits.attemptBase, writtenOn: new Set(hosts) };
    const unit = newUnit(id, "seal", facts);
    unit.audit = isUnproven && isAudited(state, id);
    state.units.set(id, unit);
    state.readySeals.items.push(id);
  }
  state.sealsOpen = event.units.length;
  state.sealAsked = false;
}

export function onSealed(state: JobState, event: EventOf<"sealed">, out: Effect[]): void {
  const { damaged, isDoubtful = damaged.length > 0 } = event;
  answered(state, event, { damaged, isDoubtful }, out);
}

/** Units that nobody else is left to answer are not waited for. */
export function settleOpinions(state: JobState, out: Effect[]): void {
  if (!isRunning(state)) return;
  for (const id of state.opinions) {
    const unit = state.units.get(id);
    const opinion = unit?.status === "pending" ? mustDo(state, unit, out) : undefined;
    if (unit !== undefined && opinion !== undefined) conclude(state, unit, opinion, out);
  }
}

function isAudited({ limits }: JobState, id: UnitId): boolean {
  return limits.audit !== undefined && isChosen(id, limits.audit);
}

function forgetUnit(state: JobState, id: UnitId): void {
  state.units.delete(id);
  state.opinions.delete(id);
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
  unit.audit = isAudited(state, id); // of what is written now nobody has said anything
  reopen(state, unit, out);
  out.push({ type: "count", counter: "lost-slice" }, { type: "journal-lost", unit: id, attempt: unit.attempt });
}

/** A report that is current: it counts, or somebody else is asked as well. */
function answered(
  state: JobState,
  event: EventOf<"surveyed"> | EventOf<"sealed">,
  { damaged, isDoubtful }: { readonly damaged: readonly UnitId[]; readonly isDoubtful: boolean },
  out: Effect[],
): void {
  const who = { worker: event.worker, unit: event.unit, attempt: event.attempt };
  const found = currentAttempt(state, event);
  if (found === undefined) {
    const isKnown = hasSaid(state, who);
    out.push({ type: "count", counter: "stale-report" }, { type: isKnown ? "accept" : "stale", ...who });
    return;
  }
  const { unit, attempt } = found;
  drop(state, unit, attempt);
  addDuration(state.paces[unit.kind], state.nowMs - attempt.startedMs);
  out.push({ type: "accept", ...who });
  const worker = state.workers.get(event.worker);
  const said = { worker: event.worker, attempt: event.attempt, sha256: event.answer ?? "", damaged };
  const local = worker?.trust === "other" ? {} : { local: true as const };
  const opinion = weigh(state, unit, { ...said, ...local }, isDoubtful, out);
  if (opinion === undefined) return giveBack(state, unit);
  praise(state, worker);
  conclude(state, unit, opinion, out);
}

/** The unit is done, by what somebody said; whoever else works on it is told to stop. */
function conclude(state: JobState, unit: Unit, { worker, attempt, damaged = [] }: Vote, out: Effect[]): void {
  for (const other of unit.attempts) cancel(state, unit, other, out);
  unit.status = "done";
  unit.votes = undefined;
  state.opinions.delete(unit.id);
  out.push({ type: "take", worker, unit: unit.id, attempt });
  if (unit.kind === "survey") return surveyIsIn(state, unit, out);
  state.sealsOpen--;
  for (const id of damaged) sliceLost(state, id, out);
}

function damagedAgain(unit: UnitId, times: number): Failure {
  return {
    code: "coordinator/storage-damages",
    message: `${unit}: storage gave back other bytes than were written, ${times} times`,
    hint: "Check the disk and its cables, or write to another one; finished slices are kept.",
    retryable: false,
  };
}
