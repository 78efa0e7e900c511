import type { Failure, SliceId, UnitId, WorkerId } from "../../merge/work/index.ts";
import type { Deadlines } from "./deadlines.ts";
import { type Earlier, earlierOf, type NamedRun, type WriterRun } from "./earlier.ts";
import type { Vote } from "./events.ts";
import { newPace, type Pace } from "./pace.ts";
import { emptyQueue, emptySliceQueue, type Queue, type SliceQueue } from "./queues.ts";

/**
 * The life of a job (docs/architecture.md). "stopping" ends as "stopped", to be resumed; "failing" as "failed"; "cancelling" and
 * "terminating" (whose job has ended for those who wait) as "cancelled".
 */
export type Phase =
  | "surveying"
  | "merging"
  | "sealing"
  | "publishing"
  | "done"
  | "stopping"
  | "stopped"
  | "failing"
  | "failed"
  | "cancelling"
  | "terminating"
  | "cancelled";

/**
 * blocked: waits for verdicts. pending → leased → granted → computed → done: see "The life of a slice".
 * Surveys and seal units need no grant and nothing durable: leased → done.
 */
export type UnitStatus = "blocked" | "pending" | "leased" | "granted" | "computed" | "done" | "quarantined";
export type UnitKind = "survey" | "slice" | "seal";

/** Every field is there from the beginning: one that comes or goes makes V8 turn the object into a table, six times as large. */
export interface Unit {
  readonly id: UnitId;
  readonly kind: UnitKind;
  status: UnitStatus;
  /** Number of the newest lease; 0 before the first. Identity of work is (job, unit, attempt). */
  attempt: number;
  /** Leases that are current: mostly one; a straggler's and the one meant to overtake it; an audit's. */
  attempts: readonly Attempt[];
  /** Output of slices, for comparing durations; 1 for others. */
  readonly sizeBytes: number;
  /** What a worker needs to compute it without cutting it. */
  readonly memoryBytes: number;
  /** Surveys: index of their tensor's task. Slices: of the cut tensors that they share with others; one array for all slices that share the same. */
  readonly tasks: readonly number[];
  /** Position among the slices; neighbours share input files. */
  readonly position: number;
  /** Slices: the hash that was computed, journalled once done; and by whom. */
  sha256: string | undefined;
  doneBy: Holder | undefined;
  /** Slices: who was lent which attempt in this epoch, current or not, newest first: nobody else may speak of it. */
  holders: Holder | undefined;
  /** Hashes of attempts, where there is more than one to compare; of surveys and seals the answers. */
  votes: readonly Vote[] | undefined;
  /** Of attempts that failed. */
  failures: number;
  failedOn: readonly WorkerId[] | undefined;
  vanishedOn: WorkerId | undefined;
  /** Attempts of which nothing more was heard. */
  vanished: number;
  /** How often storage gave back other bytes than were written. */
  lost: number;
  /** Chosen for an audit that is yet to be made; surveys and seals: to be answered by two. */
  audit: boolean;
  auditsFailed: number;
  /** Seals: hosts that wrote what it reads. */
  readonly writtenOn: ReadonlySet<string> | undefined;
}

/** Who has, or had, an attempt. Kept for every slice as long as the job runs: linked, since a list of one takes as much again. */
export interface Holder {
  readonly attempt: number;
  readonly worker: WorkerId;
  readonly host: string;
  readonly local: boolean;
  readonly before: Holder | undefined;
}

/** Of all units that nobody has. */
export const NO_ATTEMPTS: readonly Attempt[] = [];

/** One lease of a unit. */
export interface Attempt {
  readonly number: number;
  readonly worker: WorkerId;
  readonly audit: boolean;
  /** reported: written and synced; its record is on the way into the journal. */
  status: "leased" | "granted" | "reported";
  leaseEndsMs: number;
  readonly startedMs: number;
  /** With which it asked for its grant. */
  sha256: string | undefined;
}

/** Somebody may write, or may still be writing, though the attempt may be current no more. */
export interface Grant {
  readonly attempt: number;
  readonly worker: WorkerId;
  /** End of the lease and one I/O timeout. */
  endsMs: number;
}

/** A tensor that is cut: its slices wait until its rounds are over. */
export interface CutTensor {
  readonly task: number;
  readonly slices: readonly UnitId[];
  /** Surveys of the round under way; empty between rounds and after the verdict. */
  surveys: UnitId[];
  surveysOpen: number;
  settled: boolean;
  /** Whether the verdict is at hand; where all slices were done without it, nothing needs it unless one of them is not done any more. */
  known: boolean;
}

export interface Worker {
  readonly id: WorkerId;
  /** "own": threads of this process. See WorkerTraits of the link. */
  readonly trust: "own" | "other";
  readonly incarnation: string;
  readonly host: string;
  readonly memoryBytes: number;
  /** How many units it takes at once. */
  slots: number;
  attached: boolean;
  /** A lease of it lapsed, and nothing was heard since. */
  silent: boolean;
  heardMs: number;
  draining: boolean;
  /** The pool gives it to nobody: another job set it aside. */
  isBarred: boolean;
  /** Of the above, and not set aside: takes work, or would if it had a slot. */
  able: boolean;
  /** Why it gets no more work; until when, if that may pass. */
  setAside?: Failure;
  pardonMs?: number;
  /** Of which it holds an attempt; one at most of each. */
  readonly units: Set<UnitId>;
  /** Units that failed on it since it last finished one, and how many all workers had finished when the first of them did. */
  readonly faults: Set<UnitId>;
  finishedBefore: number;
  /** Milliseconds per byte of output, lately. */
  pace?: number;
  /** Index into `free`; -1: not among the free ones. */
  freeAt: number;
}

/** Everything the core knows. Plain data, no clock, no I/O. */
export interface JobState {
  phase: Phase;
  /** Why no new work is given out. */
  paused?: Failure;
  readonly limits: Limits;
  /** Of the newest event. */
  nowMs: number;
  /** Leases of an earlier epoch may write until then, whatever is known of them. */
  grantsFromMs: number;
  readonly earlier: Earlier;
  /** Runs of workers that the journal names as having had grants in this epoch, or is about to; of these, those that have gone. */
  readonly named: Map<string, NamedRun>;
  readonly gone: Set<string>;
  /** Another coordinator may lead after that: nothing is granted or renewed. */
  leadsUntilMs: number;
  readonly units: Map<UnitId, Unit>;
  readonly cut: Map<number, CutTensor>;
  readonly workers: Map<WorkerId, Worker>;
  /** Workers with a free slot, by the number of units they hold. */
  readonly free: Set<WorkerId>[];
  /** Workers that take work, and the memory of the largest; undefined: to be looked up. */
  able: number;
  /** Since when there is no more than one of them. */
  aloneSinceMs: number;
  largestMemoryBytes: number | undefined;
  /** Attempts that are current and not yet reported. */
  held: number;
  /** Slices on their way into the journal. */
  journalling: number;
  readonly grants: Map<UnitId, Grant>;
  readonly deadlines: Deadlines;
  /** Units that can be leased, in the order in which they will be. */
  readonly readySurveys: Queue;
  readonly readySlices: SliceQueue;
  readonly readyAudits: Queue;
  readonly readySeals: Queue;
  /** Surveys and parts of the seal that somebody has answered, and another is to answer. */
  readonly opinions: Set<UnitId>;
  /** Rounds whose surveys are all in while the job is paused. */
  readonly settleLater: number[];
  /** Units with a single attempt, oldest first: where stragglers are looked for. */
  readonly single: Set<UnitId>;
  readonly paces: Readonly<Record<UnitKind, Pace>>;
  readonly slices: number;
  slicesOpen: number;
  tensorsOpen: number;
  sealsOpen: number;
  /** A seal was asked for, and its units are not known yet. */
  sealAsked: boolean;
  /** Files may be in the output that readers see. */
  publishBegun: boolean;
  auditsOpen: number;
  failures: number;
  /** Units that anybody finished. */
  finished: number;
  /** When somebody finished a unit last, or the job was at rest: nobody held any, and nobody was free. */
  movedMs: number;
  /** Workers that are set aside for a while. */
  readonly aside: Set<WorkerId>;
  cause?: Failure;
  /** Stopping or failing: the journal is being told that nothing writes any more, or has been, or cannot be. */
  closing?: "asked" | "over";
  /** Cancelling: whether the journal has it, and the stage's removal is under way. */
  cancelDurable: boolean;
  discarding: boolean;
}

export interface Limits {
  /** A lease that is not renewed for this long lapses. Infinity: it ends with its worker. */
  readonly leaseMs: number;
  /** Longest I/O call of a worker that has not ended itself: a grant is open until its lease and this are over. */
  readonly ioTimeoutMs: number;
  /** How long leases of earlier epochs may still write after the start, where it is not known better: their lease, I/O timeout and leadership. */
  readonly earlierGrantsMs: number;
  /** Failed attempts after which a unit is quarantined and the job fails. */
  readonly attemptsMax: number;
  /** Distinct workers on which a unit failed, after which it is quarantined. */
  readonly workersFailedMax: number;
  /** Attempts of a unit of which nothing more was heard, after which it is quarantined. */
  readonly vanishedMax: number;
  /** Failed attempts of all units together after which the job fails. */
  readonly failuresMax: number;
  /** Distinct units that fail one after another on a worker, after which it is set aside. */
  readonly workerFaultsMax: number;
  /** Attempts of this epoch are numbered above this; a take-over raises it. */
  readonly attemptBase: number;
  /** Codes of failures that pause the job instead of failing it: somebody must make room, or renew a secret. */
  readonly pausingCodes: readonly string[];
  /** Of these, what may be so for one worker only: others go on, and the job pauses where it is so for all. */
  readonly refusingCodes: readonly string[];
  /** Second attempts of stragglers: once this share of slices is done, after so many times the median duration. Absent: none. */
  readonly speculation?: { readonly doneShare: number; readonly slowness: number };
  /** Share of slices that a second worker computes too, and the seed that chooses them. Absent: none. */
  readonly audit?: { readonly share: number; readonly seed: number };
  /** Neighbouring slices that a worker is meant to have in a row. */
  readonly runLength: number;
}

/** What a job starts from: its units, and what the journal already knows. */
export interface JobSpecification {
  readonly limits: Limits;
  readonly slices: readonly SliceSpecification[];
  readonly tensors: readonly { readonly task: number; readonly slices: readonly UnitId[]; readonly settled: boolean }[];
  /** From the journal. */
  readonly paused?: Failure;
  readonly cancelling?: boolean;
  /** Who may have had grants in earlier epochs; undefined: that is not known. */
  readonly earlierWriters?: readonly WriterRun[] | undefined;
}

export interface SliceSpecification {
  readonly id: UnitId;
  readonly slice: SliceId;
  readonly sizeBytes: number;
  readonly memoryBytes: number;
  /** The hash in the journal, if the slice is done. */
  readonly doneSha256?: string;
  /** The highest attempt in the journal, and who made it done. */
  readonly attempt: number;
  readonly worker?: WorkerId;
  /** Another worker computed the same. */
  readonly audited?: true;
  /** Hashes that contradicted each other. */
  readonly disputed?: readonly Vote[];
}

export function initialState(specification: JobSpecification): JobState {
  const { limits } = specification;
  const blocked = new Set(specification.tensors.filter((tensor) => !tensor.settled).flatMap((tensor) => tensor.slices));
  const tasksOf = tasksOfSlices(specification.tensors);
  const units = new Map<UnitId, Unit>();
  const readySlices = emptySliceQueue(limits.runLength);
  const readyAudits = emptyQueue();
  for (const [position, slice] of specification.slices.entries()) {
    const status = slice.doneSha256 !== undefined ? "done" : blocked.has(slice.id) ? "blocked" : "pending";
    const { id, sizeBytes, memoryBytes } = slice;
    const tasks = tasksOf.get(id) ?? NO_TASKS;
    const unit = newUnit(id, "slice", { status, sizeBytes, memoryBytes, tasks, position, attempt: slice.attempt });
    if (slice.doneSha256 !== undefined) {
      unit.sha256 = slice.doneSha256;
      const worker = slice.worker ?? ("" as WorkerId);
      unit.doneBy = { attempt: slice.attempt, worker, host: "", local: false, before: undefined };
    }
    if (slice.disputed !== undefined) unit.votes = slice.disputed;
    unit.audit = limits.audit !== undefined && slice.audited !== true && isChosen(id, limits.audit);
    if (status === "done" && unit.audit) readyAudits.items.push(id);
    units.set(id, unit);
    if (status === "pending") readySlices.items.push(id);
  }
  const open = specification.slices.filter((slice) => slice.doneSha256 === undefined).length;
  // A tensor whose slices are all done, and will not be audited, needs no verdict any more.
  const needsNone = (id: UnitId) => units.get(id)?.status === "done" && units.get(id)?.audit === false;
  const tensors = specification.tensors.map((tensor) => {
    return { ...tensor, known: tensor.settled, settled: tensor.settled || tensor.slices.every(needsNone) };
  });
  return {
    phase: specification.cancelling === true ? "cancelling" : "surveying",
    ...(specification.paused === undefined ? {} : { paused: specification.paused }),
    limits,
    nowMs: Number.NEGATIVE_INFINITY,
    grantsFromMs: Number.POSITIVE_INFINITY,
    leadsUntilMs: Number.POSITIVE_INFINITY,
    earlier: earlierOf(specification.earlierWriters, specification.slices.length),
    named: new Map(),
    gone: new Set(),
    units,
    cut: new Map(tensors.map((tensor) => [tensor.task, { ...tensor, surveys: [], surveysOpen: 0 }])),
    workers: new Map(),
    free: [],
    able: 0,
    aloneSinceMs: Number.NEGATIVE_INFINITY,
    largestMemoryBytes: 0,
    held: 0,
    journalling: 0,
    grants: new Map(),
    deadlines: [],
    readySurveys: emptyQueue(),
    readySlices,
    readyAudits,
    readySeals: emptyQueue(),
    opinions: new Set(),
    settleLater: [],
    single: new Set(),
    paces: { survey: newPace(), slice: newPace(), seal: newPace() },
    slices: specification.slices.length,
    slicesOpen: open,
    tensorsOpen: tensors.filter((tensor) => !tensor.settled).length,
    sealsOpen: 0,
    sealAsked: false,
    publishBegun: false,
    auditsOpen: readyAudits.items.length,
    failures: 0,
    finished: 0,
    movedMs: Number.NEGATIVE_INFINITY,
    aside: new Set(),
    cancelDurable: specification.cancelling === true,
    discarding: false,
  };
}

const NO_TASKS: readonly number[] = [];

function tasksOfSlices(tensors: JobSpecification["tensors"]): Map<UnitId, readonly number[]> {
  const tasksOf = new Map<UnitId, readonly number[]>();
  for (const { task, slices } of tensors) {
    const alone = [task];
    for (const slice of slices) {
      const others = tasksOf.get(slice);
      tasksOf.set(slice, others === undefined ? alone : [...others, task]);
    }
  }
  return tasksOf;
}

/** Whether a slice waits for a verdict. */
export function isBlocked(state: JobState, { tasks }: Unit): boolean {
  return tasks.some((task) => state.cut.get(task)?.settled === false);
}

type UnitFacts = Partial<
  Pick<Unit, "status" | "sizeBytes" | "memoryBytes" | "tasks" | "position" | "attempt" | "writtenOn">
>;

export function newUnit(id: UnitId, kind: UnitKind, facts: UnitFacts): Unit {
  const { status = "pending", attempt = 0, sizeBytes = 1, memoryBytes = 0, tasks = NO_TASKS, position = -1 } = facts;
  return {
    id,
    kind,
    status,
    attempt,
    attempts: NO_ATTEMPTS,
    sizeBytes,
    memoryBytes,
    tasks,
    position,
    sha256: undefined,
    doneBy: undefined,
    holders: undefined,
    votes: undefined,
    failures: 0,
    failedOn: undefined,
    vanishedOn: undefined,
    vanished: 0,
    lost: 0,
    audit: false,
    auditsFailed: 0,
    writtenOn: facts.writtenOn,
  };
}

/** Whether a slice is among those that are audited: the same ones whatever happens. FNV-1a over id and seed. */
export function isChosen(id: string, audit: { readonly share: number; readonly seed: number }): boolean {
  let hash = 0x811c9dc5 ^ audit.seed;
  for (let k = 0; k < id.length; k++) hash = Math.imul(hash ^ id.charCodeAt(k), 0x01000193);
  hash ^= hash >>> 15; // neighbouring ids differ in their last digit only, which must reach the upper bits
  hash = Math.imul(hash, 0x2c1b3c6d);
  hash ^= hash >>> 12;
  return (hash >>> 0) / 2 ** 32 < audit.share;
}
