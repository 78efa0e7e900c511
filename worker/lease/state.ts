import { type AttemptKey, textOfAttempt } from "../../merge/work/index.ts";

/**
 * computing → offered → asked → granted → reporting. What writes nothing (surveys, seals, audits) goes from computing to reporting.
 * offered: its hash is known, and it may ask; asked: the question is on its way; granted: it may write, while `writeUntilMs` is far enough.
 * leaving: it is not the worker's any more, but an I/O call of it is still under way.
 */
export type LeaseStep = "computing" | "offered" | "asked" | "granted" | "reporting" | "leaving";

export interface Lease {
  readonly key: AttemptKey;
  step: LeaseStep;
  sha256?: string;
  /** When to ask, or report, again. */
  askAgainMs: number;
  /** End of the lease, counted from what was sent and answered: neither of the coordinator's clock nor later than its end there. */
  writeUntilMs: number;
  /** Since when an I/O call of it is under way. */
  ioSinceMs?: number;
  /** It had a grant: the coordinator gives none to others before it knows that nothing is being written. */
  hadGrant: boolean;
}

/** What a worker knows of its leases. Plain data; every time is of the worker's own monotonic clock. */
export interface LeaseState {
  readonly rules: LeaseRules;
  nowMs: number;
  linked: boolean;
  /** Since when. A question that is older was asked of a coordinator that may lead no more: its answer counts for nothing. */
  linkedSinceMs: number;
  readonly leases: Map<string, Lease>;
  /** Set once no more work is taken. */
  drainUntilMs?: number;
  /** The process must end, or has: nothing happens any more. */
  over: boolean;
}

export interface LeaseRules {
  readonly leaseMs: number;
  /** Longest that one I/O call may take; then the process ends itself. */
  readonly ioTimeoutMs: number;
  /** An answer that has not come for so long is asked for again. */
  readonly answerMs: number;
  /** "later": when to ask again. */
  readonly laterMs: number;
}

export function initialLeases(rules: LeaseRules): LeaseState {
  const never = Number.NEGATIVE_INFINITY;
  return { rules, nowMs: never, linked: false, linkedSinceMs: never, leases: new Map(), over: false };
}

/** Whether an I/O call that begins now, and takes as long as one may, is over before the lease is. */
export function mayBeginIo(state: LeaseState, key: AttemptKey, nowMs: number): boolean {
  const lease = state.leases.get(textOfAttempt(key));
  if (state.over || lease?.step !== "granted") return false;
  return nowMs + state.rules.ioTimeoutMs <= lease.writeUntilMs;
}

/** Attempts that a heartbeat or a hello names. */
export function heldKeys(state: LeaseState): readonly AttemptKey[] {
  return [...state.leases.values()].filter(({ step }) => step !== "leaving").map(({ key }) => key);
}

/** Attempts of which something may be being written: what a hello says of them, a coordinator that takes over relies on. */
export function writingKeys(state: LeaseState): readonly AttemptKey[] {
  return [...state.leases.values()]
    .filter(({ hadGrant, step, ioSinceMs }) => (hadGrant && step !== "reporting") || ioSinceMs !== undefined)
    .map(({ key }) => key);
}
