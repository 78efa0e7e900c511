/**
 * The auditor can fail: each planted fault is found, by the seed that is kept for it or one soon after, and by nothing but the fault: without
 * it the same seed passes. `npm run test:sim -- --find-bugs` looks for the seeds anew.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { bugs, provokedBy, SEEDS_MAX } from "./bugs.ts";
import { simulate } from "./cluster.ts";

const kept = JSON.parse(readFileSync(join(import.meta.dirname, "found-seeds.json"), "utf8")) as Record<
  string,
  { readonly seed: number; readonly violation: string }
>;

test("a seed is kept for each planted fault, and for no other", () => {
  expect(Object.keys(kept).sort()).toEqual([...bugs].sort());
});

test.each(bugs)("the auditor finds %s, and nothing where it is not", async (bug) => {
  // Every change of the program changes what a seed does: the kept one is where the search begins.
  const first = kept[bug]!.seed;
  const provoked = provokedBy[bug];
  expect(first).toBeLessThanOrEqual(SEEDS_MAX);
  let found: number | undefined;
  for (let seed = first; seed < first + SEEDS_MAX && found === undefined; seed++) {
    if ((await simulate(seed, { bug, provoked })).violations.length > 0) found = seed;
  }
  expect(found, `${bug} is not found in ${SEEDS_MAX} seeds from ${first} on`).toBeDefined();
  expect((await simulate(found!, { provoked })).violations).toEqual([]);
});
