import type { Failure } from "../../merge/work/index.ts";
import { cancel, giveBack, mayWrite } from "./attempts.ts";
import type { Effect } from "./events.ts";
import { isEmpty } from "./queues.ts";
import type { JobState } from "./state.ts";

/** Work is done and the job moves on, unless it is paused. */
export function isRunning(state: JobState): boolean {
  const { phase } = state;
  return phase === "surveying" || phase === "merging" || phase === "sealing" || phase === "publishing";
}

/** New work may be given out. */
export function givesWork(state: JobState): boolean {
  return isRunning(state) && state.paused === undefined;
}

export function fail(state: JobState, failure: Failure, out: Effect[]): void {
  if (!isRunning(state) && state.phase !== "stopping") return;
  state.phase = "failing";
  state.cause = failure;
  // Nobody waits for what other machines compute; what is being written is finished.
  for (const unit of state.units.values()) {
    for (const attempt of unit.attempts) {
      const remote = state.workers.get(attempt.worker)?.trust !== "own";
      if (attempt.status === "leased" && remote) cancel(state, unit, attempt, out);
    }
    giveBack(state, unit);
  }
}

export function pause(state: JobState, reason: Failure, out: Effect[]): void {
  if (!isRunning(state) || state.paused !== undefined) return;
  state.paused = reason;
  out.push({ type: "journal-phase", phase: "paused", reason });
}

/** Drops every attempt; the stage goes when no lease can write any more. */
export function cancelAll(state: JobState, out: Effect[]): void {
  for (const unit of state.units.values()) {
    for (const attempt of unit.attempts) cancel(state, unit, attempt, out);
    giveBack(state, unit);
  }
}

/** Moves the job on where everything that a phase waits for has happened. */
export function advance(state: JobState, out: Effect[]): void {
  if (!givesWork(state)) return;
  if (state.phase === "surveying" && state.tensorsOpen === 0) state.phase = "merging";
  if (state.phase === "merging" && state.slicesOpen === 0 && state.sealsOpen === 0 && auditsAreOver(state, out)) {
    state.phase = "sealing";
    state.sealAsked = true;
    out.push({ type: "begin-seal" });
  } else if (state.phase === "sealing" && !state.sealAsked && state.sealsOpen === 0 && state.slicesOpen === 0) {
    state.phase = "publishing";
    state.publishBegun = true;
    out.push({ type: "publish" });
  }
}

/** How many leases audits wait for a second worker. */
export const PATIENCE = 8;

/** Audits wait for another worker than the one that computed; where there is none, the job does not wait for ever. */
function auditsAreOver(state: JobState, out: Effect[]): boolean {
  if (state.auditsOpen === 0) return true;
  if (state.held > 0 || state.able !== 1) return false;
  if (state.nowMs - state.aloneSinceMs < PATIENCE * state.limits.leaseMs) return false;
  if (isEmpty(state.readyAudits)) return false;
  state.readyAudits.items = [];
  state.readyAudits.next = 0;
  state.readyAudits.returned.length = 0;
  for (; state.auditsOpen > 0; state.auditsOpen--) out.push({ type: "count", counter: "audit-skipped" });
  return true;
}

/** Stopping and failing end when nothing is held or on its way into the journal; cancelling when nothing can be written. */
export function quiesce(state: JobState, out: Effect[]): void {
  if (state.phase === "stopping" || state.phase === "failing") {
    if (state.held > 0 || state.journalling > 0 || !isClosed(state, out)) return;
    const outcome = state.phase === "stopping" ? "stopped" : "failed";
    state.phase = outcome;
    out.push({ type: "finished", outcome, ...(state.cause === undefined ? {} : { cause: state.cause }) });
  }
  if (state.phase === "cancelling" || state.phase === "terminating") {
    if (!state.cancelDurable || state.discarding || state.journalling > 0 || mayWrite(state)) return;
    state.discarding = true;
    out.push({ type: "discard-stage" });
  }
}

/** Whoever opens the journal next need not wait, where it is told that nothing is being written. A journal that fails is not asked to. */
function isClosed(state: JobState, out: Effect[]): boolean {
  if (state.closing === undefined) {
    const tells = state.named.size > 0 && !mayWrite(state) && state.cause?.code.startsWith("journal/") !== true;
    state.closing = tells ? "asked" : "over";
    if (tells) out.push({ type: "journal-phase", phase: "stopped" });
  }
  return state.closing === "over";
}
