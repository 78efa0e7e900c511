import type { Failure, SliceId, UnitId, WorkerId } from "../../merge/work/index.ts";

/** The life of a job (docs/architecture.md). "stopping" ends as "stopped", to be resumed; "failing" as "failed". */
export type Phase =
  | "surveying"
  | "merging"
  | "sealing"
  | "publishing"
  | "done"
  | "stopping"
  | "stopped"
  | "failing"
  | "failed";

/**
 * blocked: waits for verdicts. pending → leased → granted → computed → done: see "The life of a slice".
 * Surveys and seal units need no grant and nothing durable: leased → done.
 */
export type UnitStatus = "blocked" | "pending" | "leased" | "granted" | "computed" | "done" | "quarantined";
export type UnitKind = "survey" | "slice" | "seal";

export interface Unit {
  readonly id: UnitId;
  readonly kind: UnitKind;
  status: UnitStatus;
  /** Of the newest lease; 0 before the first. Identity of work is (job, unit, attempt). */
  attempt: number;
  worker?: WorkerId;
  leaseEndsMs?: number;
  /** Slices: the hash that was computed, journalled once done. */
  sha256?: string;
  /** Hashes that contradicted each other; the next attempt decides. */
  disputed?: readonly string[];
  /** Of attempts that failed. */
  failures: number;
  /** How often storage gave back other bytes than were written. */
  lost: number;
}

/** A tensor that is cut: its slices wait until its rounds are over. */
export interface CutTensor {
  readonly task: number;
  readonly slices: readonly UnitId[];
  /** Surveys of the round under way; empty between rounds and after the verdict. */
  surveys: UnitId[];
  surveysOpen: number;
  settled: boolean;
}

export interface Worker {
  readonly id: WorkerId;
  /** How many units it takes at once. */
  readonly slots: number;
  readonly units: Set<UnitId>;
}

/** Everything the core knows. Plain data, no clock, no I/O. */
export interface JobState {
  phase: Phase;
  readonly limits: Limits;
  readonly units: Map<UnitId, Unit>;
  readonly cut: Map<number, CutTensor>;
  readonly workers: Map<WorkerId, Worker>;
  /** Units that can be leased, in the order in which they will be. */
  readonly readySurveys: Queue;
  readonly readySlices: Queue;
  readonly readySeals: Queue;
  slicesOpen: number;
  tensorsOpen: number;
  sealsOpen: number;
  cause?: Failure;
}

export interface Limits {
  /** A lease that is not renewed for this long lapses. */
  readonly leaseMs: number;
  /** Failed attempts after which a unit is quarantined and the job fails. */
  readonly attemptsMax: number;
  /** Attempts of this epoch are numbered above this; a take-over raises it. */
  readonly attemptBase: number;
}

/** First in, first out, with returned units at the front. */
export interface Queue {
  readonly returned: UnitId[];
  items: UnitId[];
  next: number;
}

export function emptyQueue(): Queue {
  return { returned: [], items: [], next: 0 };
}

export function takeFrom(queue: Queue): UnitId | undefined {
  const returned = queue.returned.pop();
  if (returned !== undefined) return returned;
  const item = queue.items[queue.next];
  if (item === undefined) return undefined;
  queue.next++;
  return item;
}

/** What a job starts from: its units, and what the journal already knows. */
export interface JobSpecification {
  readonly limits: Limits;
  readonly slices: readonly SliceSpecification[];
  readonly tensors: readonly { readonly task: number; readonly slices: readonly UnitId[]; readonly settled: boolean }[];
}

export interface SliceSpecification {
  readonly id: UnitId;
  readonly slice: SliceId;
  /** The hash in the journal, if the slice is done. */
  readonly doneSha256?: string;
  /** The highest attempt in the journal. */
  readonly attempt: number;
  readonly disputed?: readonly string[];
}

export function initialState(specification: JobSpecification): JobState {
  const blocked = new Set(specification.tensors.filter((tensor) => !tensor.settled).flatMap((tensor) => tensor.slices));
  const units = new Map<UnitId, Unit>();
  const readySlices = emptyQueue();
  for (const slice of specification.slices) {
    const status = slice.doneSha256 !== undefined ? "done" : blocked.has(slice.id) ? "blocked" : "pending";
    units.set(slice.id, {
      id: slice.id,
      kind: "slice",
      status,
      attempt: slice.attempt,
      failures: 0,
      lost: 0,
      ...(slice.doneSha256 === undefined ? {} : { sha256: slice.doneSha256 }),
      ...(slice.disputed === undefined ? {} : { disputed: slice.disputed }),
    });
    if (status === "pending") readySlices.items.push(slice.id);
  }
  const open = specification.slices.filter((slice) => slice.doneSha256 === undefined).length;
  // A tensor whose slices are all done needs no verdict any more.
  const tensors = specification.tensors.map((tensor) => ({
    ...tensor,
    settled: tensor.settled || tensor.slices.every((slice) => units.get(slice)?.status === "done"),
  }));
  return {
    phase: "surveying",
    limits: specification.limits,
    units,
    cut: new Map(tensors.map((tensor) => [tensor.task, { ...tensor, surveys: [], surveysOpen: 0 }])),
    workers: new Map(),
    readySurveys: emptyQueue(),
    readySlices,
    readySeals: emptyQueue(),
    slicesOpen: open,
    tensorsOpen: tensors.filter((tensor) => !tensor.settled).length,
    sealsOpen: 0,
  };
}
