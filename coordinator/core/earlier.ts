import type { AttemptRef, UnitId, WorkerId } from "../../merge/work/index.ts";
import type { Effect, EventOf } from "./events.ts";
import type { JobState, Worker } from "./state.ts";

/**
 * What workers of earlier epochs may still be writing. A worker's run stands in the journal before it is granted anything; so whoever
 * takes over knows all that may write, and waits for no others. Each of them says what it may be writing when it attaches: from then on
 * its other slices are free, and these are once it has handed them back. Who does not come is waited for until its leases are over.
 */
export interface Earlier {
  /** Runs of workers that were granted something and have not been heard of since; undefined: nobody knows who they are. */
  unheard: Set<string> | undefined;
  /** What those who were heard of may be writing. */
  readonly attempts: Map<UnitId, Map<number, WorkerId>>;
  /** The journal has been told that nothing of earlier epochs writes any more, or need not be. */
  isOver: boolean;
}

/** One run of a worker's process. */
export interface WorkerRun {
  readonly worker: WorkerId;
  readonly incarnation: string;
}

export function earlierOf(writers: readonly WorkerRun[] | undefined): Earlier {
  const unheard = writers === undefined ? undefined : new Set(writers.map(keyOfRun));
  return { unheard, attempts: new Map(), isOver: unheard?.size === 0 };
}

/** Whether leases of earlier epochs may still write the unit, or anything. */
export function earlierMayWrite(state: JobState, unit?: UnitId): boolean {
  if (state.nowMs >= state.grantsFromMs) return false;
  const { unheard, attempts } = state.earlier;
  if (unheard === undefined || unheard.size > 0) return true;
  return unit === undefined ? attempts.size > 0 : attempts.has(unit);
}

/** That, and nothing else that was granted to it before. */
export function onWritingTold(state: JobState, { worker: id, attempts: writing }: EventOf<"writing-told">): void {
  const worker = state.workers.get(id);
  if (worker?.attached !== true) return;
  const { unheard, attempts } = state.earlier;
  unheard?.delete(keyOfRun({ worker: id, incarnation: worker.incarnation }));
  for (const [unit, byAttempt] of attempts) {
    for (const [attempt, other] of byAttempt) if (other === id) closeEarlier(state, { unit, attempt });
  }
  for (const { unit, attempt } of writing) {
    if (attempt > state.limits.attemptBase) continue; // of this epoch: its grant says as much
    const known = attempts.get(unit);
    if (known === undefined) attempts.set(unit, new Map([[attempt, id]]));
    else known.set(attempt, id);
  }
}

/** Nothing of this attempt is being written any more. */
export function closeEarlier({ earlier }: JobState, { unit, attempt }: AttemptRef, worker?: WorkerId): void {
  const known = earlier.attempts.get(unit);
  if (worker !== undefined && known?.get(attempt) !== worker) return;
  known?.delete(attempt);
  if (known?.size === 0) earlier.attempts.delete(unit);
}

/** The journal is told once, so that the next take-over need not wait for what this one has waited for. */
export function noteEarlierOver(state: JobState, out: Effect[]): void {
  if (state.earlier.isOver || hasEnded(state) || earlierMayWrite(state)) return;
  state.earlier.isOver = true;
  out.push({ type: "journal-phase", phase: "alone" });
}

// ---- what the next epoch must know of this one

/** A run that the journal names as one that may have grants. */
export interface NamedRun extends WorkerRun {
  isDurable: boolean;
  /** Questions for grants that wait until it is, by attempt. */
  readonly asked: Map<string, EventOf<"grant-requested">>;
  /** It is gone: when its last grant ends. */
  goneMs: number | undefined;
}

/** Before a run of a worker is granted anything it must stand in the journal; asked for as soon as it may come to that. */
export function nameWriter(state: JobState, { id: worker, kind, incarnation }: Worker, out: Effect[]): void {
  const key = keyOfRun({ worker, incarnation });
  if (kind !== "remote" || state.named.has(key)) return;
  state.named.set(key, { worker, incarnation, isDurable: false, asked: new Map(), goneMs: undefined });
  out.push({ type: "journal-writer", worker, incarnation });
}

export function isNamed(state: JobState, { id: worker, kind, incarnation }: Worker): boolean {
  return kind !== "remote" || state.named.get(keyOfRun({ worker, incarnation }))?.isDurable === true;
}

/** Answered as soon as the journal has its worker's run: a worker that is told "later" asks again only after a while. */
export function askOnceNamed(state: JobState, { incarnation }: Worker, event: EventOf<"grant-requested">): boolean {
  const run = state.named.get(keyOfRun({ worker: event.worker, incarnation }));
  run?.asked.set(`${event.unit}/${event.attempt}`, event);
  return run !== undefined;
}

/** The questions that waited for it. */
export function writerIsDurable(state: JobState, event: WorkerRun): readonly EventOf<"grant-requested">[] {
  const run = state.named.get(keyOfRun(event));
  if (run === undefined) return [];
  run.isDurable = true;
  const asked = [...run.asked.values()];
  run.asked.clear();
  return asked;
}

/** The run is back: what it may write is no more known than before. It asks anew what it asked over another connection. */
export function writerIsHere(state: JobState, event: WorkerRun): void {
  const key = keyOfRun(event);
  const run = state.named.get(key);
  if (run !== undefined) run.goneMs = undefined;
  run?.asked.clear();
  state.gone.delete(key);
}

/** A run holds nothing and is not attached, or another has its name. It may write on until its last grant ends. */
export function writerIsGone(state: JobState, { id: worker, incarnation }: Worker): void {
  const key = keyOfRun({ worker, incarnation });
  const run = state.named.get(key);
  if (run === undefined) return;
  run.goneMs = Number.NEGATIVE_INFINITY;
  for (const grant of state.grants.values()) {
    if (grant.worker === worker) run.goneMs = Math.max(run.goneMs, grant.endsMs);
  }
  for (const byAttempt of state.earlier.attempts.values()) {
    for (const other of byAttempt.values()) if (other === worker) run.goneMs = Math.max(run.goneMs, state.grantsFromMs);
  }
  state.gone.add(key);
}

/** Nobody need wait any more for those that have gone and whose grants have ended: the journal is told. */
export function forgetGone(state: JobState, out: Effect[]): void {
  if (hasEnded(state)) return;
  for (const key of state.gone) {
    const run = state.named.get(key);
    if (run?.goneMs !== undefined && state.nowMs < run.goneMs) continue;
    state.gone.delete(key);
    if (run === undefined) continue;
    state.named.delete(key);
    out.push({ type: "journal-writer", worker: run.worker, incarnation: run.incarnation, isGone: true });
  }
}

/** The journal is closed. */
function hasEnded({ phase }: JobState): boolean {
  return phase === "done" || phase === "stopped" || phase === "failed" || phase === "cancelled";
}

function keyOfRun({ worker, incarnation }: WorkerRun): string {
  return `${worker}/${incarnation}`;
}
