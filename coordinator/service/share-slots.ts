/** What a job asks of the pool. */
export interface JobWants {
  readonly id: string;
  /** A higher one is served first. */
  readonly priority: number;
  /** Units that could be lent, or are. */
  readonly wanted: number;
}

export interface WorkerSlots {
  readonly id: string;
  readonly slots: number;
}

/**
 * How many of each worker's slots each job has. Jobs of higher priority take what they want first, equal ones share evenly; what
 * nobody wants goes to the first, who may find a use for it. A worker's slots are never given out twice.
 */
export function shareSlots(
  workers: readonly WorkerSlots[],
  jobs: readonly JobWants[],
): ReadonlyMap<string, ReadonlyMap<string, number>> {
  const total = workers.reduce((sum, { slots }) => sum + slots, 0);
  const shares = sharesOf(total, jobs);
  const given = new Map(jobs.map(({ id }) => [id, 0]));
  let before = 0;
  return new Map(
    workers.map(({ id, slots }) => {
      before += slots;
      return [id, slotsOf(slots, before / Math.max(1, total), jobs, shares, given)] as const;
    }),
  );
}

/** Slots of one worker: those jobs first that are furthest behind what they should have by here. */
function slotsOf(
  slots: number,
  reached: number,
  jobs: readonly JobWants[],
  shares: ReadonlyMap<string, number>,
  given: Map<string, number>,
): ReadonlyMap<string, number> {
  const mine = new Map(jobs.map(({ id }) => [id, 0]));
  for (let slot = 0; slot < slots; slot++) {
    let best: string | undefined;
    let most = 0;
    for (const { id } of jobs) {
      const behind = (shares.get(id) ?? 0) * reached - (given.get(id) ?? 0);
      if (behind > most + 1e-9) [best, most] = [id, behind];
    }
    if (best === undefined) break;
    mine.set(best, (mine.get(best) ?? 0) + 1);
    given.set(best, (given.get(best) ?? 0) + 1);
  }
  return mine;
}

function sharesOf(total: number, jobs: readonly JobWants[]): ReadonlyMap<string, number> {
  const shares = new Map(jobs.map(({ id }) => [id, 0]));
  let left = total;
  const byPriority = [...jobs].sort((a, b) => b.priority - a.priority);
  while (byPriority.length > 0 && left > 0) {
    const priority = byPriority[0]?.priority;
    const equals = byPriority.filter((job) => job.priority === priority).sort((a, b) => a.wanted - b.wanted);
    byPriority.splice(0, equals.length);
    for (const [k, { id, wanted }] of equals.entries()) {
      const share = Math.min(wanted, Math.ceil(left / (equals.length - k)));
      shares.set(id, share);
      left -= share;
    }
  }
  const first = jobs.reduce<JobWants | undefined>(
    (best, job) => (best === undefined || job.priority > best.priority ? job : best),
    undefined,
  );
  if (first !== undefined) shares.set(first.id, (shares.get(first.id) ?? 0) + left);
  return shares;
}
