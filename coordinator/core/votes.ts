import type { WorkerId } from "../../merge/work/index.ts";
import type { Vote } from "./events.ts";
import type { Unit, Worker } from "./state.ts";

/** Whether not all say the same. */
export function areDivided(votes: readonly Vote[] | undefined): boolean {
  return votes?.some(({ sha256 }) => sha256 !== votes[0]?.sha256) === true;
}

/** Whoever has voted on a disputed slice, or answered what another is asked for, has nothing new to say. */
export function isOpenTo(unit: Unit, worker: Worker): boolean {
  return !(worker.trust === "other" && isDisputed(unit) && hasVoted(unit, worker.id));
}

/** A slice on whose bytes workers disagree; a survey or a part of the seal that another is asked for, too. */
export function isDisputed({ kind, votes }: Unit): boolean {
  return kind === "slice" ? areDivided(votes) : votes !== undefined;
}

function hasVoted(unit: Unit, worker: WorkerId): boolean {
  return unit.votes?.some((given) => given.worker === worker) === true;
}
