/** Entry of a thread that runs seeds: those that are `offset` modulo `step`. */
import { parentPort, workerData } from "node:worker_threads";
import { BucketCoverage } from "./bucket-coverage.ts";
import { simulateBucket } from "./bucket-story.ts";
import type { Bug } from "./bugs.ts";
import { simulate } from "./cluster.ts";
import { Coverage } from "./coverage.ts";

export interface SeedsToRun {
  readonly world: "clusters" | "buckets";
  readonly first: number;
  readonly count: number;
  readonly offset: number;
  readonly step: number;
  readonly bug?: Bug;
  /** After so many violations it ends. */
  readonly violationsMax: number;
}

export type FromSeeds =
  | { readonly type: "progress"; readonly done: number }
  | { readonly type: "violation"; readonly seed: number; readonly violation: string }
  | { readonly type: "ended"; readonly coverage: object };

const { world, first, count, offset, step, bug, violationsMax } = workerData as SeedsToRun;
// Errors are made by the thousand here, and nobody reads where: a replay says.
Error.stackTraceLimit = 0;
const runs = world === "clusters" ? ofClusters() : ofBuckets();
let violations = 0;
let done = 0;
const say = (message: FromSeeds) => parentPort?.postMessage(message);
for (let seed = first + offset; seed < first + count && violations < violationsMax; seed += step) {
  const [violation] = await runs.violationsOf(seed);
  done++;
  if (violation !== undefined) {
    violations++;
    say({ type: "violation", seed, violation });
  }
  if (done % 100 === 0) say({ type: "progress", done });
}
say({ type: "ended", coverage: runs.coverage.toData() });

function ofClusters() {
  const coverage = new Coverage();
  const violationsOf = async (seed: number) => {
    const finding = await simulate(seed, { bug });
    coverage.add(finding);
    return finding.violations;
  };
  return { coverage, violationsOf };
}

function ofBuckets() {
  const coverage = new BucketCoverage();
  const violationsOf = async (seed: number) => {
    const finding = await simulateBucket(seed);
    coverage.add(finding);
    return finding.violations;
  };
  return { coverage, violationsOf };
}
