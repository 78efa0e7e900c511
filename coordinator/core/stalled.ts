import type { Failure } from "../../merge/work/index.ts";
import { earlierMayWrite } from "./earlier.ts";
import { medianOf } from "./pace.ts";
import { isRunning } from "./phases.ts";
import type { JobState } from "./state.ts";
import { areDivided } from "./votes.ts";

/** So many leases without a unit that anybody finished are too many, and never less than a minute. */
const LEASES = 4;
const LEAST_MS = 60_000;
/** And so many times what a slice of that size usually takes: slow is not stalled. */
const SLOWNESS = 10;

/** Why a job stands still although workers hold units of it, or are free; undefined: it does not, as far as can be told. */
export function stalled(state: JobState, nowMs: number): Failure | undefined {
  if (!isRunning(state) || state.paused !== undefined || state.phase === "publishing" || isAtRest(state))
    return undefined;
  const standsMs = nowMs - state.movedMs;
  if (standsMs < patienceOf(state)) return undefined;
  const workers = [...state.workers.values()];
  const message = `nothing was finished for ${Math.round(standsMs / 1000)} s, though `;
  if (state.held === 0) {
    const free = workers.filter(({ freeAt }) => freeAt >= 0).length;
    const reason = disputesFor(state, `${message}${free} ${free === 1 ? "worker is" : "workers are"} free`);
    return { code: "coordinator/stalled", ...reason, retryable: true };
  }
  const holders = workers.filter(({ units }) => units.size > 0).length;
  const who = `${holders} ${holders === 1 ? "worker holds" : "workers hold"} ${state.held} ${state.held === 1 ? "unit" : "units"}`;
  return { code: "coordinator/stalled", ...reasonFor(state, nowMs, `${message}${who}`), retryable: true };
}

/** Nobody holds anything, and nobody is free to: the job waits for workers, or its turn. */
export function isAtRest(state: JobState): boolean {
  return state.held === 0 && !state.free.some(({ size }) => size > 0);
}

/** Slices that all who are there have voted on, and differently. */
function disputesFor(state: JobState, message: string): Pick<Failure, "message" | "hint"> {
  const disputed = [...state.units.values()].filter(({ status, votes }) => status === "pending" && areDivided(votes));
  const [first] = disputed;
  if (first === undefined)
    return { message, hint: "Look into the coordinator's log, and whether its journal answers." };
  const voters = [...new Set(first.votes?.map(({ worker }) => worker || "a worker of an earlier run"))].join(" and ");
  const others = disputed.length === 1 ? "" : `, and ${disputed.length - 1} more`;
  return {
    message: `${message}: ${voters} computed ${first.id} differently${others}, and only another worker can decide`,
    hint: "Start one more worker, on another machine: of those that differ one has bad memory, or is of another release.",
  };
}

function patienceOf(state: JobState): number {
  const { leaseMs } = state.limits;
  if (leaseMs === Number.POSITIVE_INFINITY) return leaseMs; // threads of this process
  let longestMs = 0;
  // What is held is little: a worker has a handful of slots.
  for (const worker of state.workers.values()) {
    for (const id of worker.units) {
      const unit = state.units.get(id);
      if (unit !== undefined) longestMs = Math.max(longestMs, (medianOf(state.paces[unit.kind]) ?? 0) * unit.sizeBytes);
    }
  }
  return Math.max(LEAST_MS, LEASES * leaseMs, SLOWNESS * longestMs);
}

function reasonFor(state: JobState, nowMs: number, message: string): Pick<Failure, "message" | "hint"> {
  if (earlierMayWrite({ ...state, nowMs })) {
    const leftS = Math.ceil((state.grantsFromMs - nowMs) / 1000);
    const names = [...(state.earlier.unheard?.values() ?? [])].map(({ worker }) => worker);
    const who = names.length === 0 ? "workers of an earlier coordinator" : names.slice(0, 5).join(", ");
    return {
      message: `${message}: ${who} may still be writing, for ${leftS} s at most`,
      hint: "Start those workers again, or wait: nothing is written twice at a time.",
    };
  }
  if (nowMs >= state.leadsUntilMs) {
    return {
      message: `${message}: the journal does not confirm that this coordinator leads`,
      hint: "Look whether NATS answers; the log of the coordinator says more.",
    };
  }
  return { message, hint: "Look into the logs of the workers, and at the storage that they read from and write to." };
}
