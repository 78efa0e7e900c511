import { cancel, closeGrant, currentAttempt, drop, giveBack, openGrant } from "./attempts.ts";
import { closeDispute, failHopeless, judge, openDispute, vote, voteOf, votesWithDone } from "./disputes.ts";
import { askOnceNamed, earlierMayWrite, isNamed, writerIsDurable } from "./earlier.ts";
import type { Effect, EventOf, HeldBy } from "./events.ts";
import { attemptFailed, attemptVanished, praise } from "./failures.ts";
import { holderOf } from "./holders.ts";
import { addDuration } from "./pace.ts";
import { fail, isRunning } from "./phases.ts";
import type { Attempt, JobState, Unit } from "./state.ts";

const repeated: Effect = { type: "count", counter: "stale-report" };

/**
 * May this attempt write? The attempt decides, not the time: a worker may ask long after its lease went to another. One grant is open
 * at most, and it stays so until it is known that nothing of it is being written.
 */
export function onGrantRequested(state: JobState, event: EventOf<"grant-requested">, out: Effect[]): void {
  const who = { worker: event.worker, unit: event.unit, attempt: event.attempt };
  const found = currentAttempt(state, event);
  if (found === undefined || found.attempt.audit || found.attempt.status === "reported") {
    out.push({ type: "refuse", ...who });
    return;
  }
  const { unit, attempt } = found;
  if (event.sha256 !== undefined && !agrees(state, unit, attempt, event.sha256, out)) {
    out.push({ type: "refuse", ...who });
    return;
  }
  endLapsed(state, unit, attempt, out);
  if (!unit.attempts.includes(attempt)) {
    out.push({ type: "refuse", ...who });
    return;
  }
  const open = state.grants.get(unit.id);
  const another = open !== undefined && open.attempt !== attempt.number && state.nowMs < open.endsMs;
  const worker = state.workers.get(event.worker);
  const mayNot = earlierMayWrite(state, unit) || state.nowMs >= state.leadsUntilMs;
  if (another || mayNot || worker === undefined) {
    out.push({ type: "later", ...who });
    return;
  }
  if (!isNamed(state, worker, unit)) {
    if (!askOnceNamed(state, worker, event)) out.push({ type: "later", ...who });
    return;
  }
  attempt.status = "granted";
  unit.status = "granted";
  // A new lease: the worker counts it from the moment it asked, which was before now.
  attempt.leaseEndsMs = Math.max(attempt.leaseEndsMs, state.nowMs + state.limits.leaseMs);
  openGrant(state, unit, attempt);
  if (state.nowMs < state.grantsFromMs) out.push({ type: "count", counter: "granted-early" });
  out.push({ type: "grant", ...who });
}

/** Others' leases that are over are so whether time has been looked at since or not: a coordinator that stood still may hear this first. */
function endLapsed(state: JobState, unit: Unit, asking: Attempt, out: Effect[]): void {
  for (const other of unit.attempts) {
    if (other === asking || other.status !== "granted" || other.leaseEndsMs > state.nowMs) continue;
    out.push({ type: "count", counter: "lapsed-lease" });
    attemptVanished(state, unit, other, out);
  }
}

/** What may have changed meanwhile is looked at as if it was asked now. */
export function onWriterDurable(state: JobState, event: EventOf<"writer-durable">, out: Effect[]): void {
  for (const asked of writerIsDurable(state, event)) onGrantRequested(state, asked, out);
}

/** Compares a hash with what others computed. False: the attempt is dropped, for its hash is wrong or may be. */
function agrees(state: JobState, unit: Unit, attempt: Attempt, sha256: string, out: Effect[]): boolean {
  attempt.sha256 = sha256;
  const before = unit.votes?.length ?? 0;
  const local = state.workers.get(attempt.worker)?.trust === "own";
  const votes = vote(unit, voteOf({ worker: attempt.worker, attempt: attempt.number }, sha256, local));
  const judgement = judge(votes);
  switch (judgement.kind) {
    case "agreed":
      return true;
    case "won":
      closeDispute(state, unit, judgement.sha256, out);
      if (sha256 === judgement.sha256) return true;
      break;
    case "hopeless":
      failHopeless(state, unit, out);
      break;
    case "undecided":
      if (votes.length > before) openDispute(state, unit, out);
  }
  if (unit.attempts.includes(attempt)) {
    drop(state, unit, attempt);
    giveBack(state, unit);
  }
  return false;
}

/** Its bytes are in storage, synced. */
export function onSliceComputed(state: JobState, event: EventOf<"slice-computed">, out: Effect[]): void {
  const who = { worker: event.worker, unit: event.unit, attempt: event.attempt };
  const found = currentAttempt(state, event);
  if (found === undefined) return lateReport(state, event, out);
  const { unit, attempt } = found;
  if (attempt.status === "reported") {
    out.push(repeated); // answered once it is durable
    return;
  }
  closeGrant(state, who);
  const worker = state.workers.get(event.worker);
  if (worker?.trust === "other") {
    if (attempt.status !== "granted" || attempt.sha256 !== event.sha256) {
      out.push({ type: "stale", ...who });
      return attemptFailed(state, unit, attempt, notAsGranted(who, attempt, event.sha256), out);
    }
  } else if (!agrees(state, unit, attempt, event.sha256, out)) {
    out.push({ type: "stale", ...who });
    return;
  }
  for (const other of unit.attempts) if (other !== attempt && !other.audit) cancel(state, unit, other, out);
  unit.status = "computed";
  unit.sha256 = event.sha256;
  unit.doneBy = holderOf(unit, who);
  // The worker's slot stays taken until the journal has the slice: a crash costs no more slices than there are slots.
  attempt.status = "reported";
  state.held--;
  state.journalling++;
  const msPerByte = (state.nowMs - attempt.startedMs) / unit.sizeBytes;
  addDuration(state.paces.slice, msPerByte);
  if (worker !== undefined) worker.pace = ((worker.pace ?? msPerByte) * 3 + msPerByte) / 4;
  out.push({ type: "journal-done", unit: unit.id, attempt: event.attempt, sha256: event.sha256 });
}

/** A late report of an old attempt changes nothing, unless its hash tells that one of two attempts was wrong: a third decides. */
function lateReport(state: JobState, event: EventOf<"slice-computed">, out: Effect[]): void {
  const who = { worker: event.worker, unit: event.unit, attempt: event.attempt };
  closeGrant(state, who);
  const unit = state.units.get(event.unit);
  const isDoers = unit?.doneBy?.attempt === event.attempt && unit.doneBy.worker === event.worker;
  if (unit !== undefined && isDoers && unit.sha256 === event.sha256) {
    // That it becomes durable nobody is told who was told to stop.
    out.push(repeated, { type: unit.status === "done" ? "accept" : "stale", ...who });
    return;
  }
  out.push({ type: "count", counter: "stale-report" }, { type: "stale", ...who });
  // What is being published has been sealed, and cannot be taken back.
  if (unit?.status !== "done" || !isRunning(state) || state.phase === "publishing") return;
  if (unit.sha256 === event.sha256 || !mayContradict(state, unit, who)) return;
  contradict(state, unit, who, event.sha256, out);
}

/** Whoever was lent that very attempt, and is still relied on. Of earlier epochs nobody knows who was lent what. */
function mayContradict(state: JobState, unit: Unit, who: HeldBy): boolean {
  return holderOf(unit, who) !== undefined && state.workers.get(who.worker)?.setAside === undefined;
}

/** A slice that is done, and another hash of it. */
function contradict(state: JobState, unit: Unit, who: HeldBy, sha256: string, out: Effect[]): void {
  votesWithDone(unit);
  vote(unit, voteOf(who, sha256, unit.doneBy?.local === true));
  unit.audit = false; // three will have computed it
  openDispute(state, unit, out);
}

export function onAudited(state: JobState, event: EventOf<"audited">, out: Effect[]): void {
  const who = { worker: event.worker, unit: event.unit, attempt: event.attempt };
  const found = currentAttempt(state, event);
  if (found === undefined) {
    out.push({ type: "count", counter: "stale-report" }, { type: "stale", ...who });
    return;
  }
  const { unit, attempt } = found;
  drop(state, unit, attempt);
  state.auditsOpen--;
  out.push({ type: "accept", ...who }, { type: "count", counter: "audit" });
  if (unit.status !== "done") return; // computed anew meanwhile, and audited after that
  if (unit.sha256 !== event.sha256) return contradict(state, unit, who, event.sha256, out);
  unit.audit = false;
  praise(state, state.workers.get(event.worker));
  out.push({ type: "journal-audited", unit: unit.id, attempt: unit.doneBy?.attempt ?? 0 });
}

export function onSliceDurable(state: JobState, event: EventOf<"slice-durable">, out: Effect[]): void {
  const unit = state.units.get(event.unit);
  if (unit?.status !== "computed" || unit.sha256 !== event.sha256) return;
  const worker = endJournalling(state, unit, out, "accept");
  unit.status = "done";
  unit.votes = undefined;
  state.slicesOpen--;
  praise(state, worker);
  if (!unit.audit) return;
  state.auditsOpen++;
  state.readyAudits.items.push(unit.id);
}

/** A journal that takes nothing more ends the job; nobody waits for the slice to become durable. */
export function onSliceNotDurable(state: JobState, event: EventOf<"slice-not-durable">, out: Effect[]): void {
  const unit = state.units.get(event.unit);
  if (unit?.status === "computed") {
    endJournalling(state, unit, out, "stale");
    unit.sha256 = undefined;
    unit.doneBy = undefined;
    unit.status = "leased";
    giveBack(state, unit);
  }
  fail(state, event.failure, out);
}

function endJournalling(state: JobState, unit: Unit, out: Effect[], answer: "accept" | "stale") {
  state.journalling--;
  const attempt = unit.attempts.find(({ status }) => status === "reported");
  if (attempt === undefined) return undefined;
  drop(state, unit, attempt);
  const { worker, number } = attempt;
  out.push({ type: answer, worker, unit: unit.id, attempt: number });
  return state.workers.get(worker);
}

function notAsGranted({ worker, unit }: HeldBy, attempt: Attempt, sha256: string) {
  const granted = attempt.status === "granted" ? `granted ${attempt.sha256?.slice(0, 12)}` : "granted nothing";
  return {
    code: "coordinator/not-as-granted",
    message: `${worker} wrote ${unit} as ${sha256.slice(0, 12)}, and was ${granted}`,
    hint: "Check the memory of that machine, and that it runs the same version.",
    retryable: true,
  };
}
