import type { Assignment, AttemptKey, UnitId } from "../merge/work/index.ts";

/** A unit waits so long for merges that have not come to it; one that was resumed further on never will. */
const GATHER_MS = 20;

interface Batch {
  readonly assignments: Map<string, Assignment>;
  readonly timer: NodeJS.Timeout;
}

/**
 * Keeps merges of the same models in step: a unit is given out when every merge has come to it, or has its hands full of others. Where
 * that does not come about bytes are read more often, and nothing else changes.
 */
export class GatheredUnits {
  /** How many units a merge has at once. */
  readonly #slots: number;
  readonly #give: (job: string, assignment: Assignment) => void;
  /** Units that each merge has. */
  readonly #held = new Map<string, number>();
  readonly #batches = new Map<UnitId, Batch>();
  /** Units that were given out: who comes late follows at once. */
  readonly #given = new Set<UnitId>();

  constructor(slots: number, give: (job: string, assignment: Assignment) => void) {
    this.#slots = slots;
    this.#give = give;
  }

  join(job: string): void {
    this.#held.set(job, 0);
  }

  leave(job: string): void {
    this.#held.delete(job);
    for (const [unit, { assignments }] of [...this.#batches]) {
      assignments.delete(job);
      this.#giveIfWhole(unit);
    }
  }

  add(job: string, assignment: Assignment): void {
    const { unit } = assignment;
    this.#held.set(job, (this.#held.get(job) ?? 0) + 1);
    if (this.#given.has(unit)) return this.#give(job, assignment);
    const batch = this.#batches.get(unit) ?? {
      assignments: new Map(),
      timer: setTimeout(() => this.#giveAll(unit), GATHER_MS),
    };
    batch.assignments.set(job, assignment);
    this.#batches.set(unit, batch);
    this.#giveIfWhole(unit);
  }

  /** False: it was given out. */
  takeOut({ job, unit, attempt }: AttemptKey): boolean {
    const assignments = this.#batches.get(unit)?.assignments;
    if (assignments?.get(job)?.attempt !== attempt) return false;
    assignments.delete(job);
    this.ended(job);
    return true;
  }

  /** The merge has one unit less. */
  ended(job: string): void {
    const held = this.#held.get(job);
    if (held !== undefined) this.#held.set(job, held - 1);
  }

  #giveIfWhole(unit: UnitId): void {
    const batch = this.#batches.get(unit);
    if (batch === undefined) return;
    const isWhole = [...this.#held].every(([job, held]) => batch.assignments.has(job) || held >= this.#slots);
    if (isWhole) this.#giveAll(unit);
  }

  #giveAll(unit: UnitId): void {
    const batch = this.#batches.get(unit);
    if (batch === undefined) return;
    clearTimeout(batch.timer);
    this.#batches.delete(unit);
    this.#given.add(unit);
    for (const [job, assignment] of batch.assignments) this.#give(job, assignment);
  }
}
