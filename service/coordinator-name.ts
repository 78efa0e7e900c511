/**
 * A coordinator's process by name: the state directory that it has locked, and how often one has begun with that. Whoever has the lock knows
 * that those before have ended.
 */
export interface CoordinatorName {
  /** Of the state directory; letters and digits. */
  readonly state: string;
  readonly start: number;
}

export function nameText({ state, start }: CoordinatorName): string {
  return `${state}-${start}`;
}

/** Whether it is the name of a process that ended before this one began. */
export function isPredecessor(name: string, { state, start }: CoordinatorName): boolean {
  const [, theirs, theirStart] = /^([A-Za-z0-9]+)-(\d+)$/.exec(name) ?? [];
  return theirs === state && Number(theirStart) < start;
}
