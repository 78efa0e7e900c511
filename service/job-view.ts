import type { JobRecord } from "../coordinator/queue/index.ts";
import type { Failure, RootedPath } from "../merge/work/index.ts";
import { type Counts, countsOf, detailOf, runIn } from "./job-detail.ts";
import type { ServedJob } from "./served-job.ts";

/** The life of a job: docs/architecture.md. */
export type JobStateName = "queued" | "running" | "paused" | "cancelling" | "cancelled" | "failed" | "done";

/** A job as it is now. Plain data. */
export interface JobView {
  /** For ever; no other job has it. */
  readonly id: string;
  /** Of one job that has not ended. */
  readonly name: string;
  readonly submitter: string;
  /** 0 to 4; a higher one goes first. */
  readonly priority: number;
  readonly state: JobStateName;
  /** Why it is paused or failed. */
  readonly cause: Failure | undefined;
  readonly output: RootedPath;
  /** Hex; undefined before it is planned. */
  readonly planSha256: string | undefined;
  readonly slices: number;
  readonly slicesDone: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Milliseconds since 1970. */
  readonly submittedAtMs: number;
  /** Undefined: it has not ended. */
  readonly endedAtMs: number | undefined;
  /** "planning", "surveying", "merging", "sealing", "publishing" while it runs; "" where another coordinator runs it, which has not said yet. */
  readonly phase: string;
  /** Why it stands still although workers hold slices of it, or what it is tried again after. */
  readonly stalled: Failure | undefined;
  /** By names that do not change: docs/operations.md, "Counters". */
  readonly counters: Counts;
  readonly warnings: readonly string[];
  /** Which coordinator has it; "": none. */
  readonly coordinator: string;
}

/** What the queue says, and how far it is; where another coordinator runs it, as that one noted last. */
export function viewOf(record: JobRecord, served: ServedJob | undefined): JobView {
  const progress = served?.progressNow;
  const detail = detailOf(record.detail);
  const plan = served?.plan?.digest ?? record.plan;
  const run = served === undefined ? runIn(record) : progress;
  // Why it was given back the last time, until it gets going.
  const waits = record.state === "ended" || progress !== undefined ? undefined : detail.waits;
  return {
    id: record.id,
    name: record.name,
    submitter: record.submitter,
    priority: record.priority,
    state: stateOf(record, run?.paused !== undefined),
    cause: detail.cause ?? run?.paused,
    output: { ...record.out },
    planSha256: plan !== undefined && /^[0-9a-f]{64}$/.test(plan) ? plan : undefined,
    slices: progress?.slices ?? served?.plan?.slices ?? detail.slices ?? 0,
    slicesDone: progress?.slicesDone ?? detail.slicesDone ?? 0,
    bytesRead: progress?.bytesRead ?? detail.bytesRead ?? 0,
    bytesWritten: progress?.bytesWritten ?? detail.bytesWritten ?? 0,
    submittedAtMs: Date.parse(record.submittedAt),
    endedAtMs: detail.endedAtMs,
    phase: record.state === "claimed" ? (run?.phase ?? (served === undefined ? "" : "planning")) : "",
    stalled: served?.unnoted ?? run?.stalled ?? waits,
    counters: served === undefined ? (detail.counters ?? {}) : countsOf(served),
    warnings: [...(served?.warnings ?? detail.warnings ?? [])],
    coordinator: record.state === "claimed" ? (record.holder ?? "") : "",
  };
}

function stateOf({ state, wish, outcome }: JobRecord, isPaused: boolean): JobStateName {
  if (state === "ended") return outcome === "done" || outcome === "cancelled" ? outcome : "failed";
  if (wish === "cancel" || wish === "terminate") return "cancelling";
  if (wish === "pause" || isPaused) return "paused";
  return state === "claimed" ? "running" : "queued";
}

/** Whether nothing more will happen to a job. */
export function hasEnded({ state }: Pick<JobView, "state">): boolean {
  return state === "done" || state === "failed" || state === "cancelled";
}
