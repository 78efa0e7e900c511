/** Slots that a job needs at workers of whom it has none: else two jobs that have one worker each wait for one another's for ever. */
import { describe, expect, test } from "vitest";
import { workersWanted } from "../../../coordinator/core/index.ts";
import type { UnitId } from "../../../merge/work/index.ts";
import { A, B, Core, LIMITS, only, slice, W1, W2 } from "./harness.ts";

const S0 = "survey-0-1-0" as UnitId;
const audited = { ...LIMITS, audit: { share: 1, seed: 0 } };

/** W1 has a slot for the job, W2 has none: it is another job's. */
function attach(core: Core): void {
  core.attach(W1, 1, { trust: "other" });
  core.attach(W2, 0, { trust: "other" });
}

function surveying(): Core {
  const core = new Core({
    ...{ slices: [slice(A)], limits: audited },
    tensors: [{ task: 0, slices: [A], settled: false }],
  });
  core.start();
  core.on({ type: "round-begun", task: 0, surveys: [S0] });
  attach(core);
  return core;
}

function surveyed(core: Core, answer: string) {
  const { worker, number } = core.state.units.get(S0)!.attempts[0]!;
  return core.all({ type: "surveyed", unit: S0, worker, attempt: number, answer });
}

describe("a worker is wanted", () => {
  test("by a survey that another one has answered, until it has a slot", () => {
    const core = surveying();
    expect(workersWanted(core.state)).toEqual([]);
    surveyed(core, "x");
    expect(workersWanted(core.state)).toEqual([W2]);
    core.on({ type: "slots-changed", worker: W2, slots: 1 });
    expect(workersWanted(core.state)).toEqual([]);
    expect(only(surveyed(core, "x"), "settle")).toHaveLength(1);
  });

  test("by slices that another one has computed and that are to be audited: one worker, however many slices", () => {
    const core = new Core({ slices: [slice(A), slice(B)], limits: audited });
    core.start();
    attach(core);
    for (const unit of [A, B]) {
      const { attempt } = core.state.units.get(unit)!;
      core.on({ type: "grant-requested", unit, attempt, worker: W1, sha256: "x" });
      core.on({ type: "slice-computed", unit, attempt, worker: W1, sha256: "x" });
      core.durable(unit, "x");
    }
    expect(core.state.auditsOpen).toBe(2);
    expect(workersWanted(core.state)).toEqual([W2]);
  });

  test("by a slice that failed on the others", () => {
    const core = new Core({ slices: [slice(A)], limits: LIMITS });
    core.start();
    attach(core);
    core.on({
      ...{ type: "unit-failed", unit: A, attempt: core.state.units.get(A)!.attempt, worker: W1 },
      failure: { code: "storage/io", message: "", hint: "", retryable: true },
    });
    expect(workersWanted(core.state)).toEqual([W2]);
  });

  test("by nobody who has a worker that will do, or is paused", () => {
    const core = surveying();
    surveyed(core, "x");
    core.on({ type: "pause-requested", reason: { code: "a/b", message: "", hint: "", retryable: true } });
    expect(workersWanted(core.state)).toEqual([]);
  });
});

test("a worker that no job gets is not waited for: where there is no other, what was said must do", () => {
  const core = surveying();
  surveyed(core, "x");
  core.on({ type: "worker-barred", worker: W2, isBarred: true });
  expect([workersWanted(core.state), core.state.able]).toEqual([[], 1]);
  expect(only(core.pass(8 * LIMITS.leaseMs), "settle")).toHaveLength(1);
});

test("it is waited for again once jobs get it; and it is known to be barred when it comes back", () => {
  const core = surveying();
  core.on({ type: "worker-barred", worker: W2, isBarred: true });
  core.on({ type: "worker-barred", worker: W2, isBarred: false });
  expect(core.state.able).toBe(2);
  core.attach(W2, 0, { trust: "other", isBarred: true });
  expect(core.state.able).toBe(1);
});
