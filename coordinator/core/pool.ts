import type { WorkerId } from "../../merge/work/index.ts";

/** A worker that several jobs share. */
export interface PoolWorker {
  readonly id: WorkerId;
  /** Units that it takes at once, of all jobs together. */
  readonly slots: number;
}

/** A running job that wants workers. */
export interface PoolJob {
  readonly id: string;
  /** Higher goes first. */
  readonly priority: number;
  /** Units that it could have under way: JobRunner's progress says so. */
  readonly wanted: number;
  /** Few units are left, and each may suit one worker only: a slot at as many workers as can be comes before slots at the same. */
  readonly spread?: boolean;
  /** Workers that it needs a slot at before all others: what it has ready suits none of those where it has some. */
  readonly needs?: readonly WorkerId[];
  /** Workers that are of no use to it. */
  readonly without?: readonly WorkerId[];
}

/** Slots of each worker for each job; a job or worker that is not there has none. */
export type Shares = ReadonlyMap<string, ReadonlyMap<WorkerId, number>>;

export interface SlotChange {
  readonly job: string;
  readonly worker: WorkerId;
  readonly slots: number;
}

/**
 * Shares the workers' slots among jobs: jobs of higher priority take what they want, those of equal priority share evenly, and what one
 * does not want is the others'. Slots stay where they were as far as that goes: a worker that has a job's files open goes on with it.
 * Units that are under way are not taken back: they end, and their slots go to whom they belong then.
 */
export function shareSlots(workers: readonly PoolWorker[], jobs: readonly PoolJob[], before: Shares): Shares {
  const totals = totalsOf(
    workers.reduce((sum, { slots }) => sum + slots, 0),
    jobs,
  );
  const left = new Map(workers.map(({ id, slots }) => [id, slots]));
  const shares = new Map(jobs.map(({ id }) => [id, new Map<WorkerId, number>()]));
  const isShunned = new Set(jobs.flatMap(({ id, without = [] }) => without.map((worker) => `${worker}/${id}`)));
  const give = (job: string, worker: WorkerId, slots: number) => {
    if (isShunned.size > 0 && isShunned.has(`${worker}/${job}`)) return;
    const free = Math.min(slots, left.get(worker) ?? 0, totals.get(job) ?? 0);
    const share = shares.get(job);
    if (free <= 0 || share === undefined) return;
    left.set(worker, (left.get(worker) ?? 0) - free);
    totals.set(job, (totals.get(job) ?? 0) - free);
    share.set(worker, (share.get(worker) ?? 0) + free);
  };
  for (const { id, needs = [] } of jobs) for (const worker of needs) give(id, worker, 1);
  for (const { id, spread = false } of jobs)
    if (spread) for (const worker of workers) give(id, worker.id, 1 - (shares.get(id)?.get(worker.id) ?? 0));
  for (const { id } of jobs) {
    for (const [worker, slots] of before.get(id) ?? []) give(id, worker, slots - (shares.get(id)?.get(worker) ?? 0));
  }
  const giveRest = (id: string) => {
    for (const worker of workers) {
      if ((totals.get(id) ?? 0) === 0) break;
      give(id, worker.id, worker.slots);
    }
  };
  for (const { id } of jobs) giveRest(id);
  // What one could not take, for a worker is of no use to it, is the others'.
  if (isShunned.size > 0) {
    for (const { id, wanted } of [...jobs].sort((a, b) => b.priority - a.priority)) {
      const given = [...(shares.get(id)?.values() ?? [])].reduce((sum, slots) => sum + slots, 0);
      totals.set(id, Math.max(0, wanted - given));
      giveRest(id);
    }
  }
  return shares;
}

/** Slots of each job, of all workers together. */
function totalsOf(slots: number, jobs: readonly PoolJob[]): Map<string, number> {
  const totals = new Map<string, number>();
  const priorities = [...new Set(jobs.map(({ priority }) => priority))].sort((a, b) => b - a);
  let left = slots;
  for (const priority of priorities) {
    // Those that want least first: what they leave is shared by the others.
    const peers = jobs.filter((job) => job.priority === priority).sort((a, b) => a.wanted - b.wanted);
    for (const [k, { id, wanted }] of peers.entries()) {
      const fair = Math.ceil(left / (peers.length - k));
      const total = Math.min(wanted, fair);
      totals.set(id, total);
      left -= total;
    }
  }
  return totals;
}

/** What jobs must be told, those first that lose slots. */
export function slotChanges(before: Shares, after: Shares): readonly SlotChange[] {
  const less: SlotChange[] = [];
  const more: SlotChange[] = [];
  for (const job of new Set([...before.keys(), ...after.keys()])) {
    const [was, is] = [before.get(job), after.get(job)];
    for (const worker of new Set([...(was?.keys() ?? []), ...(is?.keys() ?? [])])) {
      const [old, slots] = [was?.get(worker) ?? 0, is?.get(worker) ?? 0];
      if (slots !== old) (slots < old ? less : more).push({ job, worker, slots });
    }
  }
  return [...less, ...more];
}
