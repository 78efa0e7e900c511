import type { AttemptRef, UnitId, WorkerId } from "../../merge/work/index.ts";
import type { Effect, EventOf } from "./events.ts";
import { holderOf } from "./holders.ts";
import type { JobState, Unit, Worker } from "./state.ts";

/**
 * What workers of earlier epochs may still be writing. Before a worker's run is granted anything the journal names it, and the stretch of
 * slices that it may be granted some of; so whoever takes over knows all that may write, and what. Each of them says what it may be writing
 * when it attaches: from then on its other slices are free, and these are once it has handed them back. Who does not come blocks what it was
 * named for, until its leases are over.
 */
export interface Earlier {
  /** Runs of workers that were granted something and have not been heard of since; undefined: nobody knows who they are. */
  unheard: Map<string, WriterRun> | undefined;
  /** How many of them may be writing the slice at each position of the plan; of those who may write any slice `everywhere`. */
  readonly at: Uint32Array;
  everywhere: number;
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

/** Neighbouring slices, by their positions in the plan; `to` is not one of them. */
export interface Stretch {
  readonly from: number;
  readonly to: number;
}

/** A run and what it may be writing; without stretches that may be any slice. */
export interface WriterRun extends WorkerRun {
  readonly stretches?: readonly Stretch[];
}

export function earlierOf(writers: readonly WriterRun[] | undefined, slices: number): Earlier {
  const unheard = writers === undefined ? undefined : new Map(writers.map((run) => [keyOfRun(run), run]));
  const earlier: Earlier = {
    unheard,
    at: new Uint32Array(slices),
    everywhere: 0,
    attempts: new Map(),
    isOver: unheard?.size === 0,
  };
  for (const run of unheard?.values() ?? []) count(earlier, run, 1);
  return earlier;
}

function count(earlier: Earlier, { stretches }: WriterRun, by: 1 | -1): void {
  if (stretches === undefined) earlier.everywhere += by;
  for (const { from, to } of disjoint(stretches ?? [])) {
    for (let position = from; position < Math.min(to, earlier.at.length); position++)
      earlier.at[position] = (earlier.at[position] ?? 0) + by;
  }
}

/** A stretch that was named again by a later epoch counts once. */
function disjoint(stretches: readonly Stretch[]): Stretch[] {
  const found: Stretch[] = [];
  let end = 0;
  for (const { from, to } of [...stretches].sort((a, b) => a.from - b.from)) {
    if (to > end) found.push({ from: Math.max(from, end), to });
    end = Math.max(end, to);
  }
  return found;
}

/** Whether leases of earlier epochs may still write the unit, or anything. */
export function earlierMayWrite(state: JobState, unit?: Pick<Unit, "id" | "position">): boolean {
  if (state.nowMs >= state.grantsFromMs) return false;
  const { unheard, at, everywhere, attempts } = state.earlier;
  if (unheard === undefined || everywhere > 0) return true;
  if (unit === undefined) return unheard.size > 0 || attempts.size > 0;
  return (at[unit.position] ?? 0) > 0 || attempts.has(unit.id);
}

/** Whoever had it would hold it until somebody comes, or does not: what can be granted sooner is lent. */
export function isHeldUp(state: JobState, { position }: Unit): boolean {
  return state.nowMs < state.grantsFromMs && (state.earlier.at[position] ?? 0) > 0;
}

/** That, and nothing else that was granted to it before. */
export function onWritingTold(state: JobState, { worker: id, attempts: writing }: EventOf<"writing-told">): void {
  const worker = state.workers.get(id);
  if (worker?.attached !== true) return;
  const { unheard, attempts } = state.earlier;
  const key = keyOfRun({ worker: id, incarnation: worker.incarnation });
  const run = unheard?.get(key);
  if (run !== undefined) count(state.earlier, run, -1);
  unheard?.delete(key);
  for (const [unit, byAttempt] of attempts) {
    for (const [attempt, other] of byAttempt) if (other === id) closeEarlier(state, { unit, attempt });
  }
  const isNamed = (unit: UnitId, attempt: number) =>
    writing.some((ref) => ref.unit === unit && ref.attempt === attempt);
  for (const [unit, grant] of state.grants) {
    if (grant.worker !== id || isNamed(unit, grant.attempt)) continue;
    // What it holds it may begin to write.
    if (!state.units.get(unit)?.attempts.some(({ number }) => number === grant.attempt)) state.grants.delete(unit);
  }
  for (const { unit, attempt } of writing) {
    // Of this epoch, whatever the numbers of others are: its grant says as much.
    const slice = state.units.get(unit);
    if (slice !== undefined && holderOf(slice, { worker: id, attempt }) !== undefined) continue;
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
  /** First positions of the stretches that it is named for, and whether that is durable. */
  readonly stretches: Map<number, boolean>;
  /** Questions for grants that wait until it is, by attempt. */
  readonly asked: Map<string, EventOf<"grant-requested">>;
  /** It is gone: when its last grant ends. */
  goneMs: number | undefined;
}

/**
 * Before a run of a worker is granted a slice it must stand in the journal with the stretch around it; asked for as soon as it may come to
 * that. Stretches are as long as the runs of neighbours that workers have: of so many slices one costs a record.
 */
export function nameWriter(
  state: JobState,
  { id: worker, trust, incarnation }: Worker,
  unit: Unit,
  out: Effect[],
): void {
  if (trust === "own") return;
  const key = keyOfRun({ worker, incarnation });
  const run = state.named.get(key) ?? {
    worker,
    incarnation,
    stretches: new Map(),
    asked: new Map(),
    goneMs: undefined,
  };
  state.named.set(key, run);
  const stretch = stretchOf(state, unit);
  if (run.stretches.has(stretch.from)) return;
  run.stretches.set(stretch.from, false);
  out.push({ type: "journal-writer", worker, incarnation, stretch });
}

export function isNamed(state: JobState, { id: worker, trust, incarnation }: Worker, unit: Unit): boolean {
  if (trust === "own") return true;
  const run = state.named.get(keyOfRun({ worker, incarnation }));
  return run?.stretches.get(stretchOf(state, unit).from) === true;
}

function stretchOf({ limits, slices }: JobState, { position }: Unit): Stretch {
  const from = position - (position % limits.runLength);
  return { from, to: Math.min(slices, from + limits.runLength) };
}

/** Answered as soon as the journal has its worker's run: a worker that is told "later" asks again only after a while. */
export function askOnceNamed(state: JobState, { incarnation }: Worker, event: EventOf<"grant-requested">): boolean {
  const run = state.named.get(keyOfRun({ worker: event.worker, incarnation }));
  run?.asked.set(`${event.unit}/${event.attempt}`, event);
  return run !== undefined;
}

/** The questions that waited for it. */
export function writerIsDurable(
  state: JobState,
  event: EventOf<"writer-durable">,
): readonly EventOf<"grant-requested">[] {
  const run = state.named.get(keyOfRun(event));
  if (run?.stretches.has(event.stretch.from) !== true) return [];
  run.stretches.set(event.stretch.from, true);
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
    out.push({ type: "journal-writer-gone", worker: run.worker, incarnation: run.incarnation });
  }
}

/** The journal is closed. */
function hasEnded({ phase }: JobState): boolean {
  return phase === "done" || phase === "stopped" || phase === "failed" || phase === "cancelled";
}

export function keyOfRun({ worker, incarnation }: WorkerRun): string {
  return `${worker}/${incarnation}`;
}
