import type { WorkerId } from "../../merge/work/index.ts";
import { giveBack } from "./attempts.ts";
import { closeDispute, judge, vote } from "./disputes.ts";
import type { Effect, HeldBy, Vote } from "./events.ts";
import { blame, quarantine } from "./failures.ts";
import { PATIENCE } from "./phases.ts";
import type { JobState, Unit } from "./state.ts";

/**
 * Surveys and parts of the seal have no bytes that could be compared with anything: who says that storage damaged a slice, or gives the
 * hash of a whole shard, may be wrong, and so may a survey be. Where that matters a second worker is asked, and a third where the two
 * differ; where there is no other, what was said must do.
 */

/**
 * Takes an answer down. What counts now, and whose it is; undefined: somebody else is asked first. The attempt it came from is over.
 * `isDoubtful`: it is not to be believed of one worker, whatever was chosen for an audit.
 */
export function weigh(state: JobState, unit: Unit, given: Vote, isDoubtful: boolean, out: Effect[]): Vote | undefined {
  // Threads of one machine share its memory and its disk.
  if (given.local === true) return given;
  const said = vote(unit, given);
  const judgement = judge(said);
  if (judgement.kind === "hopeless") {
    failedTwice(state, unit, said, out);
    return undefined;
  }
  if (judgement.kind === "agreed" && (said.length > 1 || (!unit.audit && !isDoubtful))) return given;
  if (judgement.kind === "won") {
    outvoted(state, unit, said, judgement.sha256, out);
    return said.find(({ sha256 }) => sha256 === judgement.sha256);
  }
  state.opinions.add(unit.id);
  return mustDo(state, unit, out);
}

/** Whether what this attempt found is noted, and may count yet. */
export function hasSaid(state: JobState, { unit, worker, attempt }: HeldBy): boolean {
  const isSame = (said: Vote) => said.worker === worker && said.attempt === attempt;
  return state.opinions.has(unit) && state.units.get(unit)?.votes?.some(isSame) === true;
}

/** What was said so far, if nobody else can say anything: those who could have gone. Undefined: somebody can, or nobody has. */
export function mustDo(state: JobState, unit: Unit, out: Effect[]): Vote | undefined {
  const said = unit.votes ?? [];
  const sayers = new Set(said.map(({ worker }) => worker));
  const able = [...sayers].filter((worker) => state.workers.get(worker)?.able === true).length;
  if (said.length === 0 || state.able === 0 || state.able > able) return undefined;
  if (judge(said).kind === "agreed") {
    // As slices that nobody else can audit: for a while one may come.
    const isEarly = state.nowMs - state.aloneSinceMs < PATIENCE * state.limits.leaseMs;
    if (unit.audit && isEarly) return undefined;
    if (unit.audit) out.push({ type: "count", counter: "audit-skipped" });
    return said[0];
  }
  // Two that differ. A slice that may be damaged is computed again; what is neither read nor computed right is asked anew.
  const damage = said.find(({ damaged }) => damaged !== undefined && damaged.length > 0);
  if (damage === undefined) failedTwice(state, unit, said, out);
  return damage;
}

/** Whoever was outvoted may have been shown other bytes by its storage, once: it is blamed. Of a survey it computed them. */
function outvoted(state: JobState, unit: Unit, said: readonly Vote[], sha256: string, out: Effect[]): void {
  out.push({ type: "count", counter: "dispute" });
  if (unit.kind === "survey") return closeDispute(state, unit, sha256, out);
  for (const { worker: id } of said.filter((opinion) => opinion.sha256 !== sha256)) {
    const worker = state.workers.get(id);
    if (worker !== undefined) blame(state, worker, unit.id, contradicted(unit, [id]), out);
  }
}

/** All that was said is void, and whoever said it may be asked again; not for ever. */
function failedTwice(state: JobState, unit: Unit, said: readonly Vote[], out: Effect[]): void {
  out.push({ type: "count", counter: "dispute" });
  unit.votes = undefined;
  state.opinions.delete(unit.id);
  unit.failures++;
  state.failures++;
  const { attemptsMax } = state.limits;
  const workers = said.map(({ worker }) => worker);
  if (unit.failures >= attemptsMax) quarantine(state, unit, contradicted(unit, workers), out);
  else giveBack(state, unit);
}

function contradicted({ id }: Unit, workers: readonly WorkerId[]) {
  const message =
    workers.length === 1
      ? `${workers[0]} answered ${id} otherwise than two others`
      : `${workers.join(", ")} each answered ${id} otherwise`;
  return {
    code: "coordinator/nondeterministic",
    message,
    hint: "Check the memory of these machines and what their storage shows them: the same bytes must be read and computed everywhere.",
    retryable: true,
  };
}
