import type { Assignment, AttemptRef, Failure, Report, UnitId, WorkerId } from "../../merge/work/index.ts";

/**
 * A worker as one job sees it: the threads of this process, or another machine. Calls do not wait; answers are events.
 * A link may call its listener at any time, but not from within a call that the job makes of the link.
 * Calls on a link that is cut off or closed do nothing: what gets lost is settled by leases.
 */
export interface WorkerLink extends WorkerTraits {
  readonly id: WorkerId;
  /** How many assignments it takes at once: one to compute while another becomes durable. The pool may change it. */
  readonly slots: number;
  /** Whether the pool gives it to no job, for one set it aside. */
  readonly isBarred?: boolean;
  /** Lends an attempt for `leaseMs` from now. Receiving it twice is receiving it once. */
  assign(assignment: Assignment, leaseMs: number): void;
  /** Answers `grantRequested`: all calls of this attempt that wait. A grant also renews the lease: the worker counts from when it asked. */
  answerGrant(attempt: AttemptRef, answer: GrantAnswer): void;
  /** Answers `reported`: all calls of this attempt that wait; not at once where something must become durable first. */
  answerReport(attempt: AttemptRef, answer: ReportAnswer): void;
  /** Stop working on these and write nothing more of them. */
  cancel(attempts: readonly AttemptRef[]): void;
  /** The job has nothing more for this worker: what it still holds is dropped. A machine stays attached for others. */
  close(): Promise<void>;
}

export type Trust = "own" | "other";

/** What the choice of a worker rests on. */
export interface WorkerTraits {
  /**
   * "own": threads of this process. They live and die with it, on its memory and its storage: they ask for a grant before they compute and
   * write meanwhile, nobody need know of their grants when this process has ended, and what fails for one fails for all. "other": a process
   * of its own, held by leases, heartbeats and fences, whose word may be compared with another's; asks with the hash of what it has computed.
   */
  readonly trust: Trust;
  /** Names this run of the worker's process: tells a restart from a reconnection. */
  readonly incarnation: string;
  /** Names its machine: the seal is better read on another than the one that wrote. */
  readonly host: string;
  readonly memoryBytes: number;
}

/**
 * "granted": write, sync, report, while the lease lasts. "refused": drop the attempt. "later": ask again in a moment (an earlier grant,
 * or one of an earlier epoch, has not run out yet); go on with something else meanwhile.
 */
export type GrantAnswer = "granted" | "refused" | "later";

/** "accepted": taken, and durable where it must be; also said of a repeated report. "stale": of an attempt that is not current; changed nothing. */
export type ReportAnswer = "accepted" | "stale";

/** Whoever waits for an answer: one of the two is called, at most once. */
export interface Asked<A> {
  answer(answer: A): void;
  fail(error: unknown): void;
}

/** An attempt in a heartbeat. */
export interface HeldAttempt extends AttemptRef {
  /** Whether its thread has answered since the last heartbeat: where not, the lease is not renewed. */
  readonly alive: boolean;
}

/** Of the attempts that a heartbeat named. */
export interface Renewal {
  /** Their leases are renewed; all others run on as they were. */
  readonly renewed: readonly AttemptRef[];
  /** Not the worker's any more: it drops them. */
  readonly dropped: readonly AttemptRef[];
}

/** What a job hears of its workers. All calls are safe to repeat. */
export interface WorkerListener {
  /**
   * A worker is there, for the first time or again, at any time of the job. `held`: attempts of this job that it still has. Returns
   * those that are not its any more: it drops them. The same incarnation goes on with the others; of a new one nothing is left.
   */
  attached(link: WorkerLink, held: readonly AttemptRef[]): readonly AttemptRef[];
  /**
   * All attempts of this job that the worker may be writing, whoever granted them. Said after `attached` where it is known, and again when
   * it is known later: an epoch that begins need not wait for what the worker does not name.
   */
  writing(worker: WorkerId, attempts: readonly AttemptRef[]): void;
  /** The connection is gone, the worker perhaps not: its leases run on. Say `attached` when it is back. */
  detached(worker: WorkerId): void;
  /** Certainly dead, and with it all that it held: threads of this process, of which none can be started any more. */
  lost(worker: WorkerId, failure: Failure): void;
  /** Renews leases that it names, and no others. */
  heartbeat(worker: WorkerId, held: readonly HeldAttempt[]): Renewal;
  /** The worker will not finish these; nothing of them is being written any more. No failures. */
  handedBack(worker: WorkerId, attempts: readonly AttemptRef[]): void;
  /** The worker takes no more work; what it has it finishes or hands back. */
  draining(worker: WorkerId): void;
  /** `sha256`: of the computed output, from workers that compute before they ask. Answered by `answerGrant`. */
  grantRequested(worker: WorkerId, unit: UnitId, attempt: number, sha256?: string): void;
  /**
   * Before a large summary is brought: resolves when there is room for it, to what must be called once it was reported, or is not going to
   * be. A tensor's ranges are folded in their order: those that come long before their turn wait with their workers.
   */
  roomForSummary(worker: WorkerId, attempt: AttemptRef, bytes: number): Promise<() => void>;
  /** Answered by `answerReport`. */
  reported(worker: WorkerId, report: Report): void;
  /** Whether a call may begin now that writes for this attempt, on its way through the coordinator. Changes nothing. */
  mayWrite(attempt: AttemptRef): boolean;
  /** The pool gives the worker more or fewer slots for this job. What is assigned already stays. */
  slotsChanged(worker: WorkerId, slots: number): void;
  /** The pool gives the worker to no job any more, for one set it aside; or to this one again. */
  barred(worker: WorkerId, isBarred: boolean): void;
}

/** Brings workers up for a job that has work for them, and tells the listener of each. Rejects where none can be had. */
export type WorkerSource = (listener: WorkerListener) => Promise<void>;
