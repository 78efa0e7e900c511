import {
  onCancelRequested,
  onJobFailed,
  onLeadershipConfirmed,
  onPauseRequested,
  onPhaseDurable,
  onPublished,
  onPublishFailed,
  onResumeRequested,
  onStageDiscarded,
  onStarted,
  onStopRequested,
  onTerminateRequested,
} from "./control.ts";
import { isMisreport, refuse } from "./counterparts.ts";
import { dispatch, speculate } from "./dispatch.ts";
import { noteEarlierOver, onWritingTold } from "./earlier.ts";
import type { CoreEvent, Effect, EventOf, EventType } from "./events.ts";
import { onUnitFailed } from "./failures.ts";
import { advance, quiesce } from "./phases.ts";
import { onRoundBegun, onSealBegun, onSealed, onSurveyed, onVerdictDurable, settleOpinions } from "./rounds.ts";
import {
  onAudited,
  onGrantRequested,
  onSliceComputed,
  onSliceDurable,
  onSliceNotDurable,
  onWriterDurable,
} from "./slices.ts";
import { isAtRest } from "./stalled.ts";
import type { JobState } from "./state.ts";
import {
  onHandedBack,
  onHeartbeat,
  onSlotsChanged,
  onTimePassed,
  onWorkerAttached,
  onWorkerBarred,
  onWorkerDetached,
  onWorkerDraining,
  onWorkerLost,
} from "./workers.ts";

type Handler<T extends EventType> = (state: JobState, event: EventOf<T>, out: Effect[]) => void;

/** The compiler refuses an event without a handler. */
const on: { readonly [T in EventType]: Handler<T> } = {
  started: onStarted,
  "worker-attached": onWorkerAttached,
  "writing-told": onWritingTold,
  "worker-detached": onWorkerDetached,
  "worker-lost": onWorkerLost,
  "worker-draining": onWorkerDraining,
  "slots-changed": onSlotsChanged,
  "worker-barred": onWorkerBarred,
  heartbeat: onHeartbeat,
  "handed-back": onHandedBack,
  "time-passed": onTimePassed,
  "leadership-confirmed": onLeadershipConfirmed,
  "round-begun": onRoundBegun,
  "verdict-durable": onVerdictDurable,
  "writer-durable": onWriterDurable,
  "grant-requested": onGrantRequested,
  surveyed: onSurveyed,
  "slice-computed": onSliceComputed,
  audited: onAudited,
  "slice-durable": onSliceDurable,
  "slice-not-durable": onSliceNotDurable,
  "unit-failed": onUnitFailed,
  "seal-begun": onSealBegun,
  sealed: onSealed,
  published: onPublished,
  "publish-failed": onPublishFailed,
  "pause-requested": onPauseRequested,
  "resume-requested": onResumeRequested,
  "cancel-requested": onCancelRequested,
  "terminate-requested": onTerminateRequested,
  "phase-durable": onPhaseDurable,
  "stage-discarded": onStageDiscarded,
  "stop-requested": onStopRequested,
  "job-failed": onJobFailed,
};

/**
 * One step of a job: a deterministic function of state and event. The state handed in is consumed: it is changed in place and given
 * back, since a job has up to 100,000 slices and copying them at each event would cost more than the event.
 *
 * What speaks of a unit as of something else than it is, is refused before any handler sees it. After the handler come, in this order
 * and whatever the event was: work for free slots, the next phase, the end.
 */
export function reduce(state: JobState, event: CoreEvent): Effect[] {
  const out: Effect[] = [];
  state.nowMs = Math.max(state.nowMs, event.nowMs);
  const { finished, held, phase, paused } = state;
  const rested = isAtRest(state);
  if (isMisreport(state, event)) refuse(state, event, out);
  else (on[event.type] as Handler<EventType>)(state, event, out);
  if (rested || finished !== state.finished || phase !== state.phase || paused !== state.paused) {
    state.movedMs = state.nowMs;
  }
  if (event.type === "time-passed" && state.opinions.size > 0) settleOpinions(state, out);
  dispatch(state, out);
  if (held === 0 && state.held > 0) state.movedMs = state.nowMs;
  if (event.type === "time-passed") speculate(state, out);
  advance(state, out);
  noteEarlierOver(state, out);
  quiesce(state, out);
  return out;
}
