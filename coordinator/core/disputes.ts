import type { Failure, UnitId, WorkerId } from "../../merge/work/index.ts";
import { cancel, giveBack } from "./attempts.ts";
import type { Effect, Vote } from "./events.ts";
import { mayBeSetAside, setAside } from "./failures.ts";
import { fail } from "./phases.ts";
import type { JobState, Unit } from "./state.ts";
import { areDivided } from "./votes.ts";

/**
 * What the hashes of a slice say. Same slice, same bytes: of two hashes one is wrong, and nobody can tell which before a third worker
 * has computed the slice as well.
 */
export type Judgement =
  | { readonly kind: "agreed" | "won"; readonly sha256: string }
  | { readonly kind: "undecided" | "hopeless" };

/**
 * A machine has one vote, its newest, however often it computes; threads of one machine have one each time. One that contradicts itself
 * agrees with nobody, not with itself either: others say which of the two is right.
 */
export function judge(votes: readonly Vote[]): Judgement {
  const [first] = votes;
  if (!areDivided(votes)) return { kind: "agreed", sha256: first?.sha256 ?? "" };
  const counted = new Map<string, Vote>();
  for (const given of votes) {
    const own = given.local === true || given.worker === "";
    counted.set(own ? `${given.attempt}/${given.sha256}` : given.worker, given);
  }
  const counts = new Map<string, number>();
  for (const { sha256 } of counted.values()) counts.set(sha256, (counts.get(sha256) ?? 0) + 1);
  for (const [sha256, count] of counts) if (count > 1) return { kind: "won", sha256 };
  return { kind: counts.size > 2 ? "hopeless" : "undecided" };
}

export function voteOf({ worker, attempt }: Pick<Vote, "worker" | "attempt">, sha256: string, local: boolean): Vote {
  return { attempt, worker, sha256, ...(local ? { local } : {}) };
}

/** Notes a hash, once for each attempt; one that contradicts itself is noted as well. */
export function vote(unit: Unit, given: Vote): readonly Vote[] {
  const before = (unit.votes ?? []).filter(({ attempt, sha256 }) => {
    return attempt !== given.attempt || sha256 !== given.sha256;
  });
  unit.votes = [...before, given];
  return unit.votes;
}

/** The votes including that of the slice as it is done. */
export function votesWithDone(unit: Unit): readonly Vote[] {
  const { sha256, doneBy } = unit;
  if (sha256 === undefined) return unit.votes ?? [];
  const { attempt = 0, worker = "" as WorkerId, local = false } = doneBy ?? {};
  return vote(unit, voteOf({ worker, attempt }, sha256, local));
}

/** Two hashes: what was computed is given up, done or not, and whoever has not said anything yet decides. */
export function openDispute(state: JobState, unit: Unit, out: Effect[]): void {
  const votes = unit.votes ?? [];
  for (const attempt of unit.attempts) {
    const said = votes.some((given) => given.attempt === attempt.number);
    if (attempt.status === "granted" || said) cancel(state, unit, attempt, out);
  }
  out.push({ type: "count", counter: "dispute" });
  out.push({ type: "journal-disputed", unit: unit.id, attempt: unit.attempt, votes });
  if (unit.status === "done") reopen(state, unit, out);
  else giveBack(state, unit);
}

/**
 * Who was outvoted is set aside. What two said of a slice is kept until it is done: the one who decided may go before it has written,
 * and who comes next may be the one that was wrong.
 */
export function closeDispute(state: JobState, unit: Unit, sha256: string, out: Effect[]): void {
  const wrong = (unit.votes ?? []).filter((given) => given.sha256 !== sha256);
  unit.votes = unit.kind === "slice" ? unit.votes?.filter((given) => given.sha256 === sha256) : undefined;
  for (const given of wrong) {
    const worker = state.workers.get(given.worker);
    if (!mayBeSetAside(worker)) continue;
    delete worker.pardonMs; // not for a while only
    setAside(state, worker, computesWrongly(unit.id, given, sha256), out);
  }
}

export function failHopeless(state: JobState, unit: Unit, out: Effect[]): void {
  const hashes = (unit.votes ?? []).map(({ sha256 }) => sha256);
  fail(state, nondeterministic(unit.id, hashes), out);
}

/** A slice that was done is so no more. */
export function reopen(state: JobState, unit: Unit, out: Effect[]): void {
  state.slicesOpen++;
  unit.sha256 = undefined;
  if (state.phase === "sealing") state.phase = "merging";
  const unknown = unit.tasks.map((task) => state.cut.get(task)).filter((tensor) => tensor?.known === false);
  if (unknown.length > 0) {
    // It was done when this coordinator began, by a verdict that it does not have.
    unit.status = "blocked";
    for (const tensor of unknown) {
      if (tensor?.settled !== true) continue;
      tensor.settled = false;
      state.tensorsOpen++;
      out.push({ type: "begin-round", task: tensor.task });
    }
    return;
  }
  unit.status = "leased";
  giveBack(state, unit);
}

function nondeterministic(unit: UnitId, hashes: readonly string[]): Failure {
  return {
    code: "coordinator/nondeterministic",
    message: `${unit}: ${hashes.length} attempts gave ${new Set(hashes).size} different results`,
    hint: "Check the memory of this machine; the same slice must give the same bytes every time.",
    retryable: false,
  };
}

function computesWrongly(unit: UnitId, given: Vote, sha256: string): Failure {
  return {
    code: "coordinator/nondeterministic",
    message: `${given.worker} computed ${unit} as ${given.sha256.slice(0, 12)}, two others as ${sha256.slice(0, 12)}`,
    hint: "Check the memory of that machine; the same slice must give the same bytes every time.",
    retryable: false,
  };
}
