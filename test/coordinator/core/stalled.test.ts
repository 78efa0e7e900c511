/** A job on which workers sit and nothing comes of it says so. */
import { expect, test } from "vitest";
import { stalled } from "../../../coordinator/core/index.ts";
import type { WorkerId } from "../../../merge/work/index.ts";
import { A, B, Core, failure, LIMITS, slice, W1, W2 } from "./harness.ts";

const PATIENCE = 60_000;

/** Two slices at two workers, which look alive for as long as it takes. */
function held(specification: ConstructorParameters<typeof Core>[0] = {}): Core {
  const core = new Core({ limits: LIMITS, slices: [slice(A), slice(B)], ...specification });
  core.start();
  for (const worker of [W1, W2]) core.attach(worker, 1, { trust: "other" });
  return core;
}

function beat(core: Core, nowMs: number): void {
  core.nowMs = nowMs;
  for (const unit of core.state.units.values()) {
    for (const { worker, number } of unit.attempts) {
      core.on({ type: "heartbeat", worker, held: [{ unit: unit.id, attempt: number, alive: true }] });
    }
  }
}

test("nothing is finished for a minute, though workers hold units: it says how many hold how much", () => {
  const core = held();
  beat(core, PATIENCE - 1);
  expect(stalled(core.state, PATIENCE - 1)).toBeUndefined();
  beat(core, PATIENCE);
  expect(stalled(core.state, PATIENCE)).toMatchObject({
    code: "coordinator/stalled",
    message: "nothing was finished for 60 s, though 2 workers hold 2 units",
    retryable: true,
  });
});

test("what is finished counts, questions and heartbeats do not", () => {
  const core = held();
  beat(core, PATIENCE - 1);
  core.grant(A, 1, core.owner(A, 1), "x");
  expect(stalled(core.state, PATIENCE)).toBeDefined();
  core.computed(A, 1, "x");
  core.durable(A, "x");
  expect(stalled(core.state, PATIENCE)).toBeUndefined();
  expect(stalled(core.state, 20 * PATIENCE)).toBeDefined();
});

test("a job that nobody works on, that is paused, or that is over does not stand still in this sense", () => {
  const idle = new Core({ slices: [slice(A)] });
  idle.start();
  expect(stalled(idle.state, 10 * PATIENCE)).toBeUndefined();
  const paused = held();
  paused.on({ type: "pause-requested", reason: failure() });
  expect(stalled(paused.state, 10 * PATIENCE)).toBeUndefined();
  const failed = held();
  failed.on({ type: "job-failed", failure: failure() });
  expect(stalled(failed.state, 10 * PATIENCE)).toBeUndefined();
});

test("free workers that may take nothing of what is left: two that differ are named, and who can decide", () => {
  const core = new Core({ limits: { ...LIMITS, audit: { share: 1, seed: 0 } }, slices: [slice(A)] });
  core.start();
  for (const worker of [W1, W2]) core.attach(worker, 1, { trust: "other" });
  core.grant(A, 1, core.owner(A, 1), "x");
  core.computed(A, 1, "x");
  core.durable(A, "x");
  core.on({ type: "audited", unit: A, attempt: 2, sha256: "y" });
  expect(core.state.held).toBe(0);
  core.pass(PATIENCE - 1);
  expect(stalled(core.state, PATIENCE - 1)).toBeUndefined();
  core.pass(PATIENCE);
  expect(stalled(core.state, PATIENCE)).toMatchObject({
    message: expect.stringMatching(
      /^nothing was finished for 60 s, though 2 workers are free: w\d and w\d computed a differently, and only another worker can decide$/,
    ),
    hint: expect.stringContaining("one more worker"),
  });
  core.attach("w3" as WorkerId, 1, { trust: "other" });
  expect(core.state.held).toBe(1);
  expect(stalled(core.state, PATIENCE)).toBeUndefined();
});

test("workers that come to a job that waited long have their time", () => {
  const core = new Core({ slices: [slice(A)] });
  core.start();
  core.pass(50 * PATIENCE);
  core.attach(W1, 1, { trust: "other" });
  expect(stalled(core.state, 50 * PATIENCE + 1)).toBeUndefined();
});

test("a lease that is long, and slices that usually take long, are given time", () => {
  const leased = held({ limits: { ...LIMITS, leaseMs: 10 * PATIENCE } });
  expect(stalled(leased.state, 40 * PATIENCE - 1)).toBeUndefined();
  expect(stalled(leased.state, 40 * PATIENCE)).toBeDefined();

  const slow = new Core({ slices: [slice(A), slice(B)] });
  slow.start();
  slow.attach(W1, 1, { trust: "other" });
  for (let ms = 900; ms <= 20_000; ms += 900) beat(slow, ms);
  slow.grant(A, 1, W1, "x");
  slow.computed(A, 1, "x");
  slow.durable(A, "x");
  expect(stalled(slow.state, slow.nowMs + 3 * PATIENCE)).toBeUndefined();
  expect(stalled(slow.state, slow.nowMs + 4 * PATIENCE)).toBeDefined();
});

test("it says whom it waits for after a take-over, and that nobody confirms its leadership", () => {
  const earlier = held({
    limits: { ...LIMITS, earlierGrantsMs: 5 * PATIENCE },
    earlierWriters: [{ worker: "gpu-3" as WorkerId, incarnation: "i" }],
  });
  expect(stalled(earlier.state, PATIENCE)?.message).toMatch(/gpu-3 may still be writing, for 240 s at most$/);
  const alone = held();
  alone.on({ type: "leadership-confirmed", untilMs: 5 });
  expect(stalled(alone.state, PATIENCE)?.message).toMatch(/does not confirm that this coordinator leads$/);
});
