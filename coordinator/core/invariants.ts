import type { UnitId } from "../../merge/work/index.ts";
import { isHeld } from "./attempts.ts";
import { isRunning } from "./phases.ts";
import type { Queue } from "./queues.ts";
import { isBlocked, type JobState, type Unit, type Worker } from "./state.ts";

/**
 * What must hold between two events, whatever they were: each counter that is kept by hand is what a recount gives, and what can be lent
 * stands where `dispatch` looks for it. Looks at everything, so it is not for every event of a large job; tests and simulations ask
 * after each. Empty: all is well. Else a sentence for each thing that is not.
 */
export function brokenInvariants(state: JobState): readonly string[] {
  const broken: string[] = [];
  const equal = (what: string, kept: unknown, counted: unknown) => {
    if (kept !== counted) broken.push(`${what} is ${kept}, and ${counted} when counted`);
  };
  countAttempts(state, equal);
  countOpen(state, equal);
  for (const unit of state.units.values()) broken.push(...ofUnit(state, unit));
  for (const worker of state.workers.values()) broken.push(...ofWorker(state, worker));
  broken.push(...ofQueues(state), ...ofPlaces(state));
  return broken;
}

type Equal = (what: string, kept: unknown, counted: unknown) => void;

function countAttempts(state: JobState, equal: Equal): void {
  let [held, journalling] = [0, 0];
  for (const { attempts, status } of state.units.values()) {
    held += attempts.filter(isHeld).length;
    if (status === "computed") journalling++;
  }
  equal("attempts held", state.held, held);
  equal("slices on their way into the journal", state.journalling, journalling);
}

function countOpen(state: JobState, equal: Equal): void {
  const units = [...state.units.values()];
  const open = (of: Unit["kind"]) => units.filter(({ kind, status }) => kind === of && status !== "done").length;
  equal("slices open", state.slicesOpen, open("slice"));
  equal("slices", state.slices, units.filter(({ kind }) => kind === "slice").length);
  if (!state.sealAsked) equal("seals open", state.sealsOpen, open("seal"));
  equal("tensors open", state.tensorsOpen, [...state.cut.values()].filter(({ settled }) => !settled).length);
  for (const { task, surveys, surveysOpen } of state.cut.values()) {
    const missing = surveys.filter((id) => state.units.get(id)?.status !== "done").length;
    equal(`surveys of task ${task} open`, surveysOpen, missing);
  }
  const audits = units.filter(({ attempts }) => attempts.some(({ audit }) => audit)).length;
  const queued = new Set([...openItems(state.readyAudits)].filter((id) => state.units.get(id)?.status === "done"));
  // An audit that is queued for a slice which is computed anew is passed over when its turn comes.
  if (isRunning(state) && state.auditsOpen < audits) equal("audits open", state.auditsOpen, `at least ${audits}`);
  if (isRunning(state) && state.auditsOpen < queued.size)
    equal("audits open", state.auditsOpen, `at least ${queued.size}`);
  const able = [...state.workers.values()].filter((worker) => worker.able).length;
  equal("workers that are able", state.able, able);
}

/** How many attempts that write each status has. */
function ofUnit(state: JobState, unit: Unit): string[] {
  const { id, kind, status, attempts } = unit;
  const broken: string[] = [];
  const plain = attempts.filter(({ audit }) => !audit);
  const holders = new Set(attempts.map(({ worker }) => worker));
  if (holders.size < attempts.length) broken.push(`${id} has two attempts by one worker`);
  if (new Set(attempts.map(({ number }) => number)).size < attempts.length) broken.push(`${id} has an attempt twice`);
  for (const attempt of attempts) {
    const { number, worker } = attempt;
    if (number > unit.attempt) broken.push(`${id} has attempt ${number}, and its newest is ${unit.attempt}`);
    // What is on its way into the journal may outlive its worker.
    const isKnown = state.workers.get(worker)?.units.has(id) === true;
    if (isHeld(attempt) && !isKnown) broken.push(`${worker} does not know that it holds ${id}`);
  }
  const reported = plain.filter((attempt) => attempt.status === "reported").length;
  // Of a job that is being cancelled nobody holds anything; its records come in all the same.
  const isDropped = reported === 0 && !isRunning(state);
  if (reported !== (status === "computed" ? 1 : 0) && !isDropped)
    broken.push(`${id} is ${status}, ${reported} attempts reported`);
  if (status === "leased" || status === "granted") {
    if (plain.length === 0) broken.push(`${id} is ${status}, and nobody has it`);
    if (status === "granted" && !plain.some((attempt) => attempt.status === "granted"))
      broken.push(`${id} is granted to nobody`);
  } else if (status !== "computed" && plain.length > 0)
    broken.push(`${id} is ${status}, and ${plain[0]?.worker} has it`);
  if (kind !== "slice") {
    if (attempts.some(({ audit, status }) => audit || status !== "leased"))
      broken.push(`${id}, a ${kind}, was granted`);
    if (unit.sha256 !== undefined) broken.push(`${id}, a ${kind}, has a hash`);
    const waits = unit.votes !== undefined && status !== "done" && status !== "quarantined";
    if (waits !== state.opinions.has(id))
      broken.push(`${id} is ${waits ? "not " : ""}said to wait for another opinion`);
  } else if ((status === "done" || status === "computed") !== (unit.sha256 !== undefined)) {
    broken.push(`${id} is ${status}, ${unit.sha256 === undefined ? "without" : "with"} a hash`);
  }
  if (kind === "slice" && status === "blocked" && !isBlocked(state, unit)) broken.push(`${id} is blocked by nothing`);
  const single = attempts.length === 1 && attempts[0]?.audit === false;
  if (state.single.has(id) !== single) broken.push(`${id} has ${attempts.length} attempts, single: ${!single}`);
  return broken;
}

function ofWorker(state: JobState, worker: Worker): string[] {
  const broken: string[] = [];
  const { id, units } = worker;
  for (const unit of units) {
    const has = state.units.get(unit)?.attempts.some((attempt) => attempt.worker === id) === true;
    if (!has) broken.push(`${id} holds ${unit}, which does not know of it`);
  }
  const isSetAside = worker.setAside !== undefined;
  if (isSetAside) {
    for (const unit of units) {
      const leased = state.units.get(unit)?.attempts.some((attempt) => attempt.worker === id && isHeld(attempt));
      if (leased === true) broken.push(`${id} is set aside, and holds ${unit}`);
    }
  }
  if (worker.pardonMs !== undefined && !state.aside.has(id)) broken.push(`${id} is set aside for ever by mistake`);
  const able = worker.attached && !worker.silent && !worker.draining && !worker.isBarred && !isSetAside;
  if (worker.able !== able) broken.push(`${id} is ${able ? "" : "not "}able, and taken for the contrary`);
  const at = able && units.size < worker.slots ? units.size : -1;
  if (worker.freeAt !== at) broken.push(`${id} stands among those with ${worker.freeAt} units, not ${at}`);
  for (const [count, bucket] of state.free.entries()) {
    if (bucket.has(id) !== (count === worker.freeAt)) broken.push(`${id} stands among those with ${count} units`);
  }
  return broken;
}

/** What can be lent stands in its queue. What stands in a queue and cannot be lent is passed over. */
function ofQueues(state: JobState): string[] {
  const { readySlices } = state;
  const slices = new Set<UnitId>(openItems(readySlices));
  for (const { next, end } of [...readySlices.runs.values(), ...readySlices.freeRuns]) {
    for (const id of readySlices.items.slice(next, end)) slices.add(id);
  }
  const ready = { slice: slices, survey: openItems(state.readySurveys), seal: openItems(state.readySeals) };
  return [...state.units.values()]
    .filter(({ id, kind, status }) => status === "pending" && !ready[kind].has(id))
    .map(({ id, kind }) => `${id} is pending, and stands in no queue of ${kind}s`);
}

function openItems(queue: Queue): Set<UnitId> {
  return new Set([...queue.returned, ...queue.items.slice(queue.next)]);
}

/** Leases have deadlines, grants have holders, free places have workers. */
function ofPlaces(state: JobState): string[] {
  const broken: string[] = [];
  const due = new Map<string, number>();
  for (const { unit, attempt, atMs } of state.deadlines) {
    const key = `${unit}/${attempt}`;
    due.set(key, Math.min(due.get(key) ?? Number.POSITIVE_INFINITY, atMs));
  }
  for (const { id, attempts } of state.units.values()) {
    for (const attempt of attempts) {
      const atMs = due.get(`${id}/${attempt.number}`) ?? Number.POSITIVE_INFINITY;
      if (isHeld(attempt) && atMs > attempt.leaseEndsMs) broken.push(`nobody looks when the lease of ${id} ends`);
      const grant = state.grants.get(id);
      const writes = attempt.status === "granted" && grant?.attempt === attempt.number;
      if (attempt.status === "granted" && !writes && grant !== undefined && grant.endsMs > state.nowMs)
        broken.push(`attempt ${attempt.number} of ${id} was granted, and attempt ${grant.attempt} may write`);
    }
  }
  for (const id of state.free.flatMap((bucket) => [...bucket])) {
    if (!state.workers.has(id)) broken.push(`${id} is gone, and free for work`);
  }
  for (const id of state.single) if (!state.units.has(id)) broken.push(`${id} is gone, and may be a straggler`);
  return broken;
}
