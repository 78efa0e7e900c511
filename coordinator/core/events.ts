import type { AttemptRef, Failure, UnitId, WorkerId } from "../../merge/work/index.ts";
import type { Stretch } from "./earlier.ts";

interface Timed {
  /** Milliseconds of a monotonic clock that the driver reads. */
  readonly nowMs: number;
}

/** What a worker says of one of its attempts. */
interface OfAttempt extends AttemptRef, Timed {
  readonly worker: WorkerId;
}

export interface AttachedWorker {
  readonly worker: WorkerId;
  readonly trust: "own" | "other";
  readonly incarnation: string;
  readonly host: string;
  readonly memoryBytes: number;
  readonly slots: number;
  readonly isBarred?: boolean;
  /** Attempts that it still has. */
  readonly held: readonly AttemptRef[];
}

/** What can happen to a job. */
export type CoreEvent =
  | ({ readonly type: "started" } & Timed)
  /** Answered by "dropped" for those of `held` that are not the worker's any more. */
  | ({ readonly type: "worker-attached" } & AttachedWorker & Timed)
  /** Of an attached worker: all attempts of the job that it may be writing, whoever granted them. */
  | ({ readonly type: "writing-told"; readonly worker: WorkerId; readonly attempts: readonly AttemptRef[] } & Timed)
  /** Cut off, perhaps alive: its leases run on. */
  | ({ readonly type: "worker-detached"; readonly worker: WorkerId } & Timed)
  /** Certainly dead, with all that it held. */
  | ({ readonly type: "worker-lost"; readonly worker: WorkerId; readonly failure: Failure } & Timed)
  | ({ readonly type: "worker-draining"; readonly worker: WorkerId } & Timed)
  | ({ readonly type: "slots-changed"; readonly worker: WorkerId; readonly slots: number } & Timed)
  /** Whether the pool gives the worker to no job at all: another one set it aside. */
  | ({ readonly type: "worker-barred"; readonly worker: WorkerId; readonly isBarred: boolean } & Timed)
  /**
   * Renews the leases of those that are alive, as long as nobody else may lead. Answered by "renewed" for those, and "dropped" for those that
   * are not the worker's any more.
   */
  | ({
      readonly type: "heartbeat";
      readonly worker: WorkerId;
      readonly held: readonly (AttemptRef & { readonly alive: boolean })[];
    } & Timed)
  /** Given up, and nothing of them is being written any more. */
  | ({ readonly type: "handed-back"; readonly worker: WorkerId; readonly attempts: readonly AttemptRef[] } & Timed)
  | ({ readonly type: "time-passed" } & Timed)
  /** The journal confirmed that no other coordinator leads; until then grants and renewals are safe. */
  | ({ readonly type: "leadership-confirmed"; readonly untilMs: number } & Timed)
  /** A request begins a round: these units survey the tensor's ranges, in range order. */
  | ({ readonly type: "round-begun"; readonly task: number; readonly surveys: readonly UnitId[] } & Timed)
  | ({ readonly type: "verdict-durable"; readonly task: number } & Timed)
  | ({
      readonly type: "writer-durable";
      readonly worker: WorkerId;
      readonly incarnation: string;
      readonly stretch: Stretch;
    } & Timed)
  /** `sha256`: of what was computed; absent where the worker asks before it computes. */
  | ({ readonly type: "grant-requested"; readonly sha256?: string } & OfAttempt)
  /** `answer`: SHA-256 of what was found, where answers are compared. */
  | ({ readonly type: "surveyed"; readonly answer?: string } & OfAttempt)
  | ({ readonly type: "slice-computed"; readonly sha256: string } & OfAttempt)
  | ({ readonly type: "audited"; readonly sha256: string } & OfAttempt)
  | ({ readonly type: "slice-durable"; readonly unit: UnitId; readonly sha256: string } & Timed)
  | ({ readonly type: "slice-not-durable"; readonly unit: UnitId; readonly failure: Failure } & Timed)
  | ({ readonly type: "unit-failed"; readonly failure: Failure } & OfAttempt)
  /**
   * The seal as units, once all slices are done; `slices`: those that a unit reads back. `isUnproven`: its answer can be compared with
   * nothing that is known.
   */
  | ({
      readonly type: "seal-begun";
      readonly units: readonly {
        readonly unit: UnitId;
        readonly slices: readonly UnitId[];
        readonly isUnproven?: boolean;
      }[];
    } & Timed)
  /**
   * What was read back: slices whose bytes are not those that were computed. `answer`: as of surveys. `isDoubtful`: something is damaged,
   * slice or not.
   */
  | ({
      readonly type: "sealed";
      readonly damaged: readonly UnitId[];
      readonly answer?: string;
      readonly isDoubtful?: boolean;
    } & OfAttempt)
  | ({ readonly type: "published" } & Timed)
  | ({ readonly type: "publish-failed"; readonly failure: Failure } & Timed)
  | ({ readonly type: "pause-requested"; readonly reason: Failure } & Timed)
  | ({ readonly type: "resume-requested" } & Timed)
  | ({ readonly type: "cancel-requested" } & Timed)
  | ({ readonly type: "terminate-requested" } & Timed)
  | ({ readonly type: "phase-durable"; readonly phase: DurablePhase } & Timed)
  | ({ readonly type: "stage-discarded" } & Timed)
  | ({ readonly type: "stop-requested" } & Timed)
  | ({ readonly type: "job-failed"; readonly failure: Failure } & Timed);

/**
 * Phases that outlive the coordinator: a job that was paused or being cancelled is so after a restart. "alone": nothing of earlier epochs
 * is being written any more; "stopped": nothing of this one either, nor will be.
 */
export type DurablePhase = "running" | "paused" | "cancelling" | "cancelled" | "alone" | "stopped";

export type EventType = CoreEvent["type"];
export type EventOf<T extends EventType> = Extract<CoreEvent, { readonly type: T }>;

/** An attempt and whose it is. */
export interface HeldBy extends AttemptRef {
  readonly worker: WorkerId;
}

/** What the driver must do. Effects of one step are carried out in order; none of them may be dropped. */
export type Effect =
  | { readonly type: "begin-round"; readonly task: number }
  /** `audit`: compute and report the hash, write nothing. */
  | ({ readonly type: "assign"; readonly audit?: true } & HeldBy)
  | ({ readonly type: "grant" | "refuse" | "later" } & HeldBy)
  /** Answers a report; "accept" once it is durable. */
  | ({ readonly type: "accept" | "stale" } & HeldBy)
  /** What was found by that attempt of a survey, or part of the seal, is what counts; what others found is not needed any more. */
  | ({ readonly type: "take" } & HeldBy)
  /** Stop, and write nothing more. */
  | { readonly type: "cancel"; readonly worker: WorkerId; readonly attempts: readonly AttemptRef[] }
  /** Of those that the worker named: their leases are renewed. Of no others the worker may think so. */
  | { readonly type: "renewed"; readonly worker: WorkerId; readonly attempts: readonly AttemptRef[] }
  /** Of those that the worker named: not its any more. */
  | { readonly type: "dropped"; readonly worker: WorkerId; readonly attempts: readonly AttemptRef[] }
  /** The worker gets no more work of this job, and should not get any of others; `isRefused`: what it was refused others may have. */
  | { readonly type: "set-aside"; readonly worker: WorkerId; readonly failure: Failure; readonly isRefused?: true }
  /** A worker that was set aside because everything failed on it gets work again. */
  | { readonly type: "pardon"; readonly worker: WorkerId }
  /** All ranges of the round are in: fold them in range order and settle. Answered by round-begun or verdict-durable. */
  | { readonly type: "settle"; readonly task: number }
  /** Make it durable, then say slice-durable; slice-not-durable where that fails. */
  | { readonly type: "journal-done"; readonly unit: UnitId; readonly attempt: number; readonly sha256: string }
  | {
      readonly type: "journal-disputed";
      readonly unit: UnitId;
      readonly attempt: number;
      readonly votes: readonly Vote[];
    }
  | { readonly type: "journal-quarantined"; readonly unit: UnitId; readonly attempt: number; readonly failure: Failure }
  | { readonly type: "journal-audited"; readonly unit: UnitId; readonly attempt: number }
  | { readonly type: "journal-lost"; readonly unit: UnitId; readonly attempt: number }
  /** Make it durable that this run may have grants of these slices, then say writer-durable. */
  | {
      readonly type: "journal-writer";
      readonly worker: WorkerId;
      readonly incarnation: string;
      readonly stretch: Stretch;
    }
  /** Make it durable that it has ended; nothing need be said. */
  | { readonly type: "journal-writer-gone"; readonly worker: WorkerId; readonly incarnation: string }
  /** Make it durable, then say phase-durable. */
  | { readonly type: "journal-phase"; readonly phase: DurablePhase; readonly reason?: Failure }
  | { readonly type: "begin-seal" }
  /** Answered by published or publish-failed. */
  | { readonly type: "publish" }
  /** No lease can write any more: remove what was staged, then say stage-discarded. */
  | { readonly type: "discard-stage" }
  | { readonly type: "count"; readonly counter: Counter }
  /** The job has ended. After a termination the stage is discarded later: "discarded" says when, or why it was not. */
  | {
      readonly type: "finished";
      readonly outcome: "done" | "stopped" | "failed" | "cancelled";
      readonly cause?: Failure;
    }
  | { readonly type: "discarded"; readonly failure?: Failure };

/** Which worker computed which hash of a slice, or gave an answer of which hash. */
export interface Vote {
  readonly attempt: number;
  readonly worker: WorkerId;
  readonly sha256: string;
  /** By a thread: each of its attempts is a vote of its own. */
  readonly local?: true;
  /** Of a part of the seal: slices that are not in storage as they were computed. */
  readonly damaged?: readonly UnitId[];
}

export type Counter =
  | "stale-report"
  /** Of something else than was lent. */
  | "refused-report"
  | "lapsed-lease"
  | "failed-attempt"
  | "lost-slice"
  | "second-attempt"
  | "audit"
  | "audit-skipped"
  | "dispute"
  | "handed-back"
  | "worker-set-aside"
  /** While leases of earlier epochs may last: none of them can write there. */
  | "granted-early";
