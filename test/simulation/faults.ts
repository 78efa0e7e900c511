/** What can go wrong, and what a seed makes go wrong. */
export const faultKinds = [
  // network
  "slow-link",
  "lost-message",
  "duplicate-message",
  "reordered-message",
  "partition",
  "reset",
  "cut-before-answer",
  // storage
  "write-error",
  "sync-error",
  "read-error",
  "disk-full",
  "power-loss",
  "slow-io",
  // coordinators and their journal
  "coordinator-crash",
  "coordinator-stop",
  "take-over",
  "journal-down",
  "journal-tail-lost",
  "journal-message-lost",
  // workers
  "worker-crash",
  "worker-stop",
  "slow-worker",
  "worker-drains",
  "worker-joins-late",
  "lie-bytes",
  "lie-hash",
  "lie-write",
  "lie-seal",
  "lie-kind",
  "lie-attempt",
  "lie-owner",
  "failing-attempt",
  "poison-slice",
  "bad-data",
  "clock-drift",
  // people
  "pause",
  "cancel",
  "terminate",
  "stop",
] as const;

export type FaultKind = (typeof faultKinds)[number];

/** Kinds that happen again and again while they are on, kinds that happen at moments, kinds that are so from the beginning. */
export const momentKinds: readonly FaultKind[] = [
  "partition",
  "reset",
  "disk-full",
  "power-loss",
  "coordinator-crash",
  "coordinator-stop",
  "take-over",
  "journal-down",
  "journal-tail-lost",
  "worker-crash",
  "worker-stop",
  "slow-worker",
  "worker-drains",
  "pause",
  "cancel",
  "terminate",
  "stop",
];

/** How likely a seed has each; those that end a job, or that cannot go with others, are rarer. */
const rare: Partial<Record<FaultKind, number>> = {
  cancel: 0.08,
  terminate: 0.06,
  "poison-slice": 0.02,
  "bad-data": 0.02,
  "lie-bytes": 0.1,
  "lie-hash": 0.08,
  "lie-write": 0.05,
  "lie-seal": 0.03,
  "lie-kind": 0.08,
  "lie-attempt": 0.08,
  "lie-owner": 0.08,
  "power-loss": 0.12,
  stop: 0.1,
};
const USUAL = 0.2;

/** Of bytes and their hashes, and of what is read; the others are lies about what was lent. */
export const liesOfBytes = ["lie-bytes", "lie-hash", "lie-write", "lie-seal"] as const satisfies readonly FaultKind[];
export const lieKinds: readonly FaultKind[] = [...liesOfBytes, "lie-kind", "lie-attempt", "lie-owner"];

/** Kinds that need a journal that coordinators share. */
const ofSharedJournals: readonly FaultKind[] = [
  "take-over",
  "journal-down",
  "journal-tail-lost",
  "journal-message-lost",
];

export function chooseFaults(
  random: () => number,
  sharedJournal: boolean,
  provoked: readonly FaultKind[] = [],
): Set<FaultKind> {
  const chosen = new Set<FaultKind>(provoked);
  for (const kind of faultKinds) {
    const wanted = random() < (rare[kind] ?? USUAL);
    if (wanted && (sharedJournal || !ofSharedJournals.includes(kind))) chosen.add(kind);
  }
  // One liar at most; whoever writes what it does not hash is found by the seal, others by votes.
  const liars = lieKinds.filter((kind) => chosen.has(kind));
  const kept = liars.find((kind) => provoked.includes(kind)) ?? liars[0];
  for (const kind of liars) if (kind !== kept) chosen.delete(kind);
  return chosen;
}
