/** Entry of a thread that runs seeds: those that are `offset` modulo `step`. */
import { parentPort, workerData } from "node:worker_threads";
import type { Bug } from "./bugs.ts";
import { simulate } from "./cluster.ts";
import { Coverage } from "./coverage.ts";

export interface SeedsToRun {
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
  | { readonly type: "ended"; readonly coverage: ReturnType<Coverage["toData"]> };

const { first, count, offset, step, bug, violationsMax } = workerData as SeedsToRun;
// Errors are made by the thousand here, and nobody reads where: a replay says.
Error.stackTraceLimit = 0;
const coverage = new Coverage();
let violations = 0;
let done = 0;
const say = (message: FromSeeds) => parentPort?.postMessage(message);
for (let seed = first + offset; seed < first + count && violations < violationsMax; seed += step) {
  const finding = await simulate(seed, { bug });
  coverage.add(finding);
  done++;
  const [violation] = finding.violations;
  if (violation !== undefined) {
    violations++;
    say({ type: "violation", seed, violation });
  }
  if (done % 100 === 0) say({ type: "progress", done });
}
say({ type: "ended", coverage: coverage.toData() });
