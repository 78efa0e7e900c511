import type { AttemptKey } from "../../merge/work/index.ts";

interface Timed {
  readonly nowMs: number;
}

interface OfLease extends Timed {
  readonly key: AttemptKey;
}

/** What happens to a worker's leases. */
export type LeaseEvent =
  /** Received twice is received once. */
  | ({ readonly type: "assigned" } & OfLease)
  /** A slice lies in memory; its hash. */
  | ({ readonly type: "computed"; readonly sha256: string } & OfLease)
  /** A result that is not written anywhere: of a survey, a seal, an audit; or an attempt that failed. No I/O of it is under way. */
  | ({ readonly type: "finished" } & OfLease)
  /** `askedMs`: when the question was sent that this answers; a later one may be under way. */
  | ({
      readonly type: "grant-answered";
      readonly answer: "granted" | "refused" | "later";
      readonly askedMs: number;
    } & OfLease)
  /** A call that may change storage begins; only after `mayBeginIo`. */
  | ({ readonly type: "io-began" } & OfLease)
  | ({ readonly type: "io-ended" } & OfLease)
  /** The write was given up, for the lease was nearly over; no call is under way. It may have been renewed meanwhile. */
  | ({ readonly type: "write-stopped" } & OfLease)
  /** Written and synced, the file closed. */
  | ({ readonly type: "written" } & OfLease)
  | ({ readonly type: "report-answered"; readonly answer: "accepted" | "stale" } & OfLease)
  /** By a cancel, the answer to a heartbeat, a job's end: not this worker's any more. */
  | ({ readonly type: "dropped"; readonly keys: readonly AttemptKey[] } & Timed)
  /** The coordinator answered a heartbeat that was sent at `sentMs`: it has renewed these. Other leases that it named run on as they were. */
  | ({
      readonly type: "heartbeat-answered";
      readonly sentMs: number;
      readonly renewed: readonly AttemptKey[];
      readonly dropped: readonly AttemptKey[];
    } & Timed)
  | ({ readonly type: "time-passed" } & Timed)
  | ({ readonly type: "link-lost" } & Timed)
  | ({ readonly type: "link-restored"; readonly dropped: readonly AttemptKey[] } & Timed)
  /** `waiting`: attempts whose computation has not begun. */
  | ({ readonly type: "drain"; readonly graceMs: number; readonly waiting: readonly AttemptKey[] } & Timed);

export type LeaseEventType = LeaseEvent["type"];
export type LeaseEventOf<T extends LeaseEventType> = Extract<LeaseEvent, { readonly type: T }>;

/** What the worker must do, in order. */
export type LeaseEffect =
  | { readonly type: "compute"; readonly key: AttemptKey }
  /** Answered by grant-answered; the question may get lost. */
  | { readonly type: "ask-grant"; readonly key: AttemptKey; readonly sha256: string }
  /** From the beginning: open, write, sync, close, each call only after `mayBeginIo`. */
  | { readonly type: "write"; readonly key: AttemptKey }
  /** Begin no further call of this write. */
  | { readonly type: "fence"; readonly key: AttemptKey }
  /** Answered by report-answered; the report may get lost. */
  | { readonly type: "report"; readonly key: AttemptKey }
  /** Stop computing it, forget its result. */
  | { readonly type: "drop"; readonly key: AttemptKey }
  /** Say that these are given up and that nothing of them is being written. */
  | { readonly type: "hand-back"; readonly keys: readonly AttemptKey[] }
  /** An I/O call has outlived its lease and may do harm whenever it ends: the process must end now. */
  | { readonly type: "exit"; readonly key: AttemptKey; readonly sinceMs: number }
  /** Drained: nothing is held any more. */
  | { readonly type: "drained" };
