import {
  type Job,
  type JobEvent as JobEventMessage,
  JobState,
  type WatchResponse,
  type WorkerStatus,
} from "../../proto/index.ts";
import type { JobEvent, JobStateName, JobView, Recorded, WorkerView } from "../../service/index.ts";
import { bytesOfHex, failureOf, hexOf, malformed, messageOfFailure, numberOf } from "../../wire/index.ts";

const states: Readonly<Record<JobStateName, JobState>> = {
  queued: JobState.JOB_STATE_QUEUED,
  running: JobState.JOB_STATE_RUNNING,
  paused: JobState.JOB_STATE_PAUSED,
  cancelling: JobState.JOB_STATE_CANCELLING,
  cancelled: JobState.JOB_STATE_CANCELLED,
  failed: JobState.JOB_STATE_FAILED,
  done: JobState.JOB_STATE_DONE,
};

/** Undefined: of another version. */
export function stateNameOf(state: JobState): JobStateName | undefined {
  return (Object.keys(states) as JobStateName[]).find((name) => states[name] === state);
}

export function messageOfJob(job: JobView): Job {
  const { id, state, cause, output, planSha256, stalled, counters, warnings, ...same } = job;
  return {
    jobId: id,
    name: same.name,
    priority: same.priority,
    state: states[state],
    cause: cause && messageOfFailure(cause),
    output: { ...output },
    planSha256: planSha256 === undefined ? Buffer.alloc(0) : bytesOfHex(planSha256),
    slices: same.slices,
    slicesDone: same.slicesDone,
    bytesRead: BigInt(same.bytesRead),
    bytesWritten: BigInt(same.bytesWritten),
    submittedAtMs: BigInt(same.submittedAtMs),
    endedAtMs: BigInt(same.endedAtMs ?? 0),
    phase: same.phase,
    stalled: stalled && messageOfFailure(stalled),
    counters: Object.fromEntries(Object.entries(counters).map(([name, count]) => [name, BigInt(count)])),
    warnings: [...warnings],
    coordinator: same.coordinator,
    submitter: same.submitter,
  };
}

/** As `messageOfJob` made it. @throws WireError `wire/malformed` */
export function jobOfMessage(message: Job | undefined): JobView {
  if (message === undefined) throw malformed("an answer without a job");
  const { jobId, state, cause, output, planSha256, stalled, counters, endedAtMs } = message;
  const known = stateNameOf(state);
  if (known === undefined) throw malformed(`a job in state ${state}, which is unknown here`);
  return {
    id: jobId,
    name: message.name,
    submitter: message.submitter,
    priority: message.priority,
    state: known,
    cause: cause && failureOf(cause),
    output: { root: output?.root ?? "", path: output?.path ?? "" },
    planSha256: planSha256.length === 0 ? undefined : hexOf(planSha256, "a plan's SHA-256"),
    slices: message.slices,
    slicesDone: message.slicesDone,
    bytesRead: numberOf(message.bytesRead, "bytes read"),
    bytesWritten: numberOf(message.bytesWritten, "bytes written"),
    submittedAtMs: numberOf(message.submittedAtMs, "a time"),
    endedAtMs: endedAtMs === 0n ? undefined : numberOf(endedAtMs, "a time"),
    phase: message.phase,
    stalled: stalled && failureOf(stalled),
    counters: Object.fromEntries(Object.entries(counters).map(([name, count]) => [name, numberOf(count, "a count")])),
    warnings: [...message.warnings],
    coordinator: message.coordinator,
  };
}

export function messageOfEvent(event: JobEvent): WatchResponse {
  if (event.cursor === undefined) {
    if (event.type === "warning") return { message: { $case: "warning", value: event.message } };
    return { message: { $case: event.type, value: messageOfJob(event.job) } };
  }
  const { cursor, ...recorded } = event;
  return { message: { $case: "event", value: { sequence: BigInt(cursor), event: messageOfRecorded(recorded) } } };
}

/** Undefined: of a kind that is unknown here. @throws WireError `wire/malformed` */
export function eventOfMessage({ message }: WatchResponse): JobEvent | undefined {
  switch (message?.$case) {
    case "warning":
      return { type: "warning", message: message.value };
    case "progress":
    case "ended":
      return { type: message.$case, job: jobOfMessage(message.value) };
    case "event": {
      const recorded = recordedOf(message.value.event);
      return recorded && { cursor: numberOf(message.value.sequence, "a sequence"), ...recorded };
    }
    case undefined:
      return undefined;
  }
}

function messageOfRecorded(event: Recorded): JobEventMessage["event"] {
  switch (event.type) {
    case "taken-over":
      return { $case: "takenOver", value: event.by };
    case "begun":
      return { $case: "begun", value: bytesOfHex(event.planSha256) };
    case "tensor-settled":
      return { $case: "tensorSettled", value: event.task };
    case "slices-done":
      return { $case: "slicesDone", value: { slices: event.slices.map((slice) => ({ ...slice })) } };
    case "slice-audited":
      return { $case: "sliceAudited", value: event.slice };
    case "slice-disputed":
      return { $case: "sliceDisputed", value: { slice: event.slice, workers: [...event.workers] } };
    case "slice-lost":
      return { $case: "sliceLost", value: event.slice };
    case "paused":
      return { $case: "paused", value: messageOfFailure(event.cause) };
    case "publishing": {
      const files = event.files.map(({ name, sizeBytes, sha256 }) => {
        return { name, sizeBytes: BigInt(sizeBytes), sha256: bytesOfHex(sha256) };
      });
      return { $case: "publishing", value: { files } };
    }
    default:
      return { $case: event.type, value: {} };
  }
}

function recordedOf(event: JobEventMessage["event"]): Recorded | undefined {
  if (event === undefined) return undefined;
  switch (event.$case) {
    case "takenOver":
      return { type: "taken-over", by: event.value };
    case "begun":
      return { type: "begun", planSha256: hexOf(event.value, "a plan's SHA-256") };
    case "tensorSettled":
      return { type: "tensor-settled", task: event.value };
    case "slicesDone":
      return { type: "slices-done", slices: event.value.slices.map(({ slice, worker }) => ({ slice, worker })) };
    case "sliceAudited":
      return { type: "slice-audited", slice: event.value };
    case "sliceDisputed":
      return { type: "slice-disputed", slice: event.value.slice, workers: [...event.value.workers] };
    case "sliceLost":
      return { type: "slice-lost", slice: event.value };
    case "paused":
      return { type: "paused", cause: failureOf(event.value) };
    case "publishing": {
      const files = event.value.files.map(({ name, sizeBytes, sha256 }) => {
        return { name, sizeBytes: numberOf(sizeBytes, "a size"), sha256: hexOf(sha256, "a SHA-256") };
      });
      return { type: "publishing", files };
    }
    default:
      return { type: event.$case };
  }
}

export function messageOfWorker({ memoryBytes, setAside, ...worker }: WorkerView): WorkerStatus {
  return { ...worker, memoryBytes: BigInt(memoryBytes), quarantined: setAside && messageOfFailure(setAside) };
}

export function workerOfMessage(message: WorkerStatus): WorkerView {
  const { name, softwareVersion, threads, unitsHeld, draining, quarantined } = message;
  const memoryBytes = numberOf(message.memoryBytes, "bytes of memory");
  const setAside = quarantined && failureOf(quarantined);
  return { name, softwareVersion, threads, memoryBytes, unitsHeld, draining, setAside };
}
