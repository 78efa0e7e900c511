/** What can go wrong between processes and a bucket. */
export const bucketFaultKinds = [
  // on the way
  "lost-question",
  "lost-answer",
  "slow-answer",
  "asked-twice",
  "damaged-on-its-way",
  "cut-answer",
  // the store
  "slow-down",
  "server-fault",
  "error-within",
  "conflict",
  "rot",
  "uploads-ended",
  // processes
  "crash",
  "stop",
  "lying-writer",
  // people
  "sigterm",
  "stranger",
] as const;

export type BucketFaultKind = (typeof bucketFaultKinds)[number];

/** What happens to a prefix; of each seed one. */
export const scenarios = ["alone", "published", "rivals", "replaced", "gone", "cancelled", "cleaned"] as const;

export type Scenario = (typeof scenarios)[number];

export function chooseBucketFaults(
  random: () => number,
  provoked: readonly BucketFaultKind[] = [],
): ReadonlySet<BucketFaultKind> {
  const chosen = new Set<BucketFaultKind>(provoked);
  for (const kind of bucketFaultKinds) if (random() < 0.35) chosen.add(kind);
  return chosen;
}
