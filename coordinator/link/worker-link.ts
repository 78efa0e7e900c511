import type { Assignment, Failure, Report, UnitId, WorkerId } from "../../merge/work/index.ts";

/** A worker as the coordinator sees it: a thread of this process, or another machine. Calls do not wait; answers are events. */
export interface WorkerLink {
  readonly id: WorkerId;
  /** How many assignments it takes at once: one to compute while another becomes durable. */
  readonly slots: number;
  assign(assignment: Assignment): void;
  answerGrant(unit: UnitId, attempt: number, granted: boolean): void;
  /** Ends the worker; what it still holds is dropped. */
  close(): Promise<void>;
}

export interface WorkerListener {
  grantRequested(worker: WorkerId, unit: UnitId, attempt: number): void;
  reported(worker: WorkerId, report: Report): void;
  lost(worker: WorkerId, failure: Failure): void;
}

/** Brings workers up for a job that has work for them. */
export type WorkerSource = (listener: WorkerListener) => Promise<readonly WorkerLink[]>;
