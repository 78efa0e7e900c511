import type { Effect, EventOf } from "./events.ts";
import { takeIn } from "./failures.ts";
import { cancelAll, fail, isRunning, pause } from "./phases.ts";
import type { JobState } from "./state.ts";

/** What people ask of a job, and how its end is reached. */

export function onStarted(state: JobState, _event: EventOf<"started">, out: Effect[]): void {
  state.grantsFromMs = state.nowMs + state.limits.earlierGrantsMs;
  if (state.limits.earlierGrantsMs === 0) state.earlier.isOver = true;
  state.aloneSinceMs = state.nowMs;
  if (!isRunning(state)) return;
  for (const tensor of state.cut.values()) if (!tensor.settled) out.push({ type: "begin-round", task: tensor.task });
}

export function onLeadershipConfirmed(state: JobState, event: EventOf<"leadership-confirmed">): void {
  state.leadsUntilMs = event.untilMs;
}

export function onPublished(state: JobState, _event: EventOf<"published">, out: Effect[]): void {
  if (state.phase !== "publishing") return;
  state.phase = "done";
  out.push({ type: "finished", outcome: "done" });
}

export function onPublishFailed(state: JobState, event: EventOf<"publish-failed">, out: Effect[]): void {
  if (state.limits.pausingCodes.includes(event.failure.code)) pause(state, event.failure, out);
  else fail(state, event.failure, out);
}

export function onPauseRequested(state: JobState, event: EventOf<"pause-requested">, out: Effect[]): void {
  // What has begun to be published is published: readers must not be left with half of it.
  if (state.phase !== "publishing") pause(state, event.reason, out);
}

export function onResumeRequested(state: JobState, _event: EventOf<"resume-requested">, out: Effect[]): void {
  if (state.paused === undefined || !isRunning(state)) return;
  delete state.paused;
  takeIn(state);
  out.push({ type: "journal-phase", phase: "running" });
  for (const task of state.settleLater.splice(0)) out.push({ type: "settle", task });
  if (state.phase === "publishing") out.push({ type: "publish" });
}

export function onStopRequested(state: JobState): void {
  if (isRunning(state) && state.phase !== "publishing") state.phase = "stopping";
}

export function onCancelRequested(state: JobState, _event: EventOf<"cancel-requested">, out: Effect[]): void {
  if (mayCancel(state)) beginCancelling(state, "cancelling", out);
}

/** As cancelling, but the job has ended as soon as the journal has it. */
export function onTerminateRequested(state: JobState, _event: EventOf<"terminate-requested">, out: Effect[]): void {
  if (mayCancel(state)) beginCancelling(state, "terminating", out);
  else if (state.phase === "cancelling") {
    state.phase = "terminating";
    if (state.cancelDurable) out.push({ type: "finished", outcome: "cancelled" });
  }
}

/** Not once publishing has begun, however it goes: readers must not be left with half of it. */
function mayCancel(state: JobState): boolean {
  return !state.publishBegun && (isRunning(state) || state.phase === "stopping" || state.phase === "failing");
}

function beginCancelling(state: JobState, phase: "cancelling" | "terminating", out: Effect[]): void {
  state.phase = phase;
  delete state.paused;
  delete state.cause;
  cancelAll(state, out);
  out.push({ type: "journal-phase", phase: "cancelling" });
}

export function onPhaseDurable(state: JobState, event: EventOf<"phase-durable">, out: Effect[]): void {
  if (event.phase === "cancelling") {
    state.cancelDurable = true;
    if (state.phase === "terminating") out.push({ type: "finished", outcome: "cancelled" });
  }
  if (event.phase === "stopped") state.closing = "over";
  if (event.phase !== "cancelled") return;
  if (state.phase === "cancelling") out.push({ type: "finished", outcome: "cancelled" });
  else if (state.phase === "terminating") out.push({ type: "discarded" });
  state.phase = "cancelled";
}

export function onStageDiscarded(state: JobState, _event: EventOf<"stage-discarded">, out: Effect[]): void {
  if (state.discarding) out.push({ type: "journal-phase", phase: "cancelled" });
}

/** Storage or journal refused something that the job cannot do without. Whoever opens the journal next goes on. */
export function onJobFailed(state: JobState, event: EventOf<"job-failed">, out: Effect[]): void {
  if (state.closing !== undefined) state.closing = "over"; // what failed may be the last word
  if (state.phase === "cancelling" || state.phase === "terminating") {
    const isOver = state.phase === "terminating" && state.cancelDurable;
    if (isOver) out.push({ type: "discarded", failure: event.failure });
    else out.push({ type: "finished", outcome: "failed", cause: event.failure });
    state.phase = "failed";
    return;
  }
  fail(state, event.failure, out);
}
