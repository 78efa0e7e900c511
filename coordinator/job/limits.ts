import { coordinatorDefaults } from "../../options/index.ts";
import type { Limits } from "../core/index.ts";

/** All but what the epoch fixes. */
export type JobLimits = Omit<Limits, "attemptBase" | "earlierGrantsMs">;

/** Threads of this process: a lease lapses only if the thread dies, which is noticed at once; and nobody is there to resume a job. */
export const localLimits: JobLimits = {
  leaseMs: Number.POSITIVE_INFINITY,
  ioTimeoutMs: 0,
  attemptsMax: 3,
  workersFailedMax: Number.POSITIVE_INFINITY,
  vanishedMax: Number.POSITIVE_INFINITY,
  failuresMax: Number.POSITIVE_INFINITY,
  workerFaultsMax: Number.POSITIVE_INFINITY,
  pausingCodes: [],
  refusingCodes: [],
  runLength: 1,
};

export interface RemoteLimits {
  readonly leaseMs: number;
  readonly ioTimeoutMs: number;
  readonly attemptsMax: number;
  /** Of the job's slices; so many failed attempts in all are too many, but never fewer than 100. */
  readonly slices: number;
  /** 0 to 1. */
  readonly auditShare: number;
  readonly auditSeed: number;
  readonly speculates: boolean;
}

/** Defaults for workers on other machines. */
const remoteDefaults = {
  leaseMs: coordinatorDefaults.lease,
  ioTimeoutMs: coordinatorDefaults.ioTimeout,
  attemptsMax: 5,
  auditShare: 0,
  auditSeed: 0,
  speculates: true,
} as const satisfies Omit<RemoteLimits, "slices">;

/** A worker has its own user, mounts, quota and limits. */
const OF_ONE_WORKER = ["storage/denied", "storage/over-limit"];

/** Machines that come and go. */
export function remoteLimits(given: Partial<RemoteLimits> & Pick<RemoteLimits, "slices">): JobLimits {
  const { leaseMs, ioTimeoutMs, attemptsMax, slices, auditShare, auditSeed, speculates } = {
    ...remoteDefaults,
    ...given,
  };
  return {
    leaseMs,
    ioTimeoutMs,
    attemptsMax,
    workersFailedMax: 3,
    vanishedMax: 20,
    failuresMax: Math.max(100, Math.ceil(slices / 10)),
    workerFaultsMax: 3,
    pausingCodes: ["storage/full", ...OF_ONE_WORKER],
    refusingCodes: OF_ONE_WORKER,
    // Spark's newer defaults: late enough to cost little, early enough to save the tail.
    ...(speculates ? { speculation: { doneShare: 0.75, slowness: 2 } } : {}),
    ...(auditShare > 0 ? { audit: { share: auditShare, seed: auditSeed } } : {}),
    runLength: 16,
  };
}
