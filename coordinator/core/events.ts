import type { Failure, UnitId, WorkerId } from "../../merge/work/index.ts";

/** What can happen to a job. Times are milliseconds of a monotonic clock that the driver reads. */
export type JobEvent =
  | { readonly type: "started" }
  | { readonly type: "worker-attached"; readonly worker: WorkerId; readonly slots: number; readonly nowMs: number }
  | { readonly type: "worker-lost"; readonly worker: WorkerId; readonly failure: Failure; readonly nowMs: number }
  | { readonly type: "heartbeat"; readonly worker: WorkerId; readonly nowMs: number }
  | { readonly type: "time-passed"; readonly nowMs: number }
  /** A request begins a round: these units survey the tensor's ranges, in range order. */
  | { readonly type: "round-begun"; readonly task: number; readonly surveys: readonly UnitId[]; readonly nowMs: number }
  | { readonly type: "verdict-durable"; readonly task: number; readonly nowMs: number }
  | { readonly type: "grant-requested"; readonly unit: UnitId; readonly attempt: number; readonly worker: WorkerId }
  | { readonly type: "surveyed"; readonly unit: UnitId; readonly attempt: number; readonly nowMs: number }
  | {
      readonly type: "slice-computed";
      readonly unit: UnitId;
      readonly attempt: number;
      readonly sha256: string;
      readonly nowMs: number;
    }
  | { readonly type: "slice-durable"; readonly unit: UnitId; readonly sha256: string; readonly nowMs: number }
  | { readonly type: "slice-not-durable"; readonly unit: UnitId; readonly failure: Failure }
  | {
      readonly type: "unit-failed";
      readonly unit: UnitId;
      readonly attempt: number;
      readonly failure: Failure;
      readonly nowMs: number;
    }
  /** The seal as units, once all slices are done. */
  | { readonly type: "seal-begun"; readonly units: readonly UnitId[]; readonly nowMs: number }
  /** What was read back: slices whose bytes are not those that were computed. */
  | {
      readonly type: "sealed";
      readonly unit: UnitId;
      readonly attempt: number;
      readonly damaged: readonly UnitId[];
      readonly nowMs: number;
    }
  | { readonly type: "published" }
  | { readonly type: "stop-requested" }
  | { readonly type: "job-failed"; readonly failure: Failure };

export type EventType = JobEvent["type"];
export type EventOf<T extends EventType> = Extract<JobEvent, { readonly type: T }>;

/** What the driver must do. Effects of one step are carried out in order; none of them may be dropped. */
export type Effect =
  | { readonly type: "begin-round"; readonly task: number }
  | { readonly type: "assign"; readonly worker: WorkerId; readonly unit: UnitId; readonly attempt: number }
  | { readonly type: "grant"; readonly worker: WorkerId; readonly unit: UnitId; readonly attempt: number }
  | { readonly type: "refuse"; readonly worker: WorkerId; readonly unit: UnitId; readonly attempt: number }
  /** All ranges of the round are in: fold them in range order and settle. Answered by round-begun or verdict-durable. */
  | { readonly type: "settle"; readonly task: number }
  /** Make it durable, then say slice-durable; slice-not-durable where that fails. */
  | { readonly type: "journal-done"; readonly unit: UnitId; readonly attempt: number; readonly sha256: string }
  | {
      readonly type: "journal-disputed";
      readonly unit: UnitId;
      readonly attempt: number;
      readonly hashes: readonly string[];
    }
  | { readonly type: "journal-quarantined"; readonly unit: UnitId; readonly attempt: number; readonly failure: Failure }
  | { readonly type: "journal-lost"; readonly unit: UnitId; readonly attempt: number }
  | { readonly type: "begin-seal" }
  | { readonly type: "publish" }
  | { readonly type: "count"; readonly counter: "stale-report" | "lapsed-lease" | "failed-attempt" | "lost-slice" }
  /** Nothing is in flight any more and nothing will be: the driver returns. */
  | { readonly type: "finished"; readonly outcome: "done" | "stopped" | "failed"; readonly cause?: Failure };
