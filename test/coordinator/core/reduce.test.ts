import { describe, expect, test } from "vitest";
import type { Vote } from "../../../coordinator/core/index.ts";
import type { UnitId, WorkerId } from "../../../merge/work/index.ts";
import { A, B, C, Core, failure, LIMITS, only, publishingCore, SEAL, sealingCore, slice, W1, W2 } from "./harness.ts";

/** Of W1, by attempt 2 and then attempt 1. */
const VOTES: readonly Vote[] = [
  { attempt: 2, worker: W1, sha256: "x", local: true },
  { attempt: 1, worker: W1, sha256: "y", local: true },
];
const STALE = { type: "count", counter: "stale-report" } as const;

describe("started", () => {
  test("begins a round for every tensor that is cut and not settled", () => {
    const core = new Core({
      slices: [slice(A), slice(B)],
      tensors: [
        { task: 4, slices: [A], settled: false },
        { task: 7, slices: [B], settled: true },
      ],
    });
    expect(core.start()).toEqual([{ type: "begin-round", task: 4 }]);
    expect(core.state.phase).toBe("surveying");
  });

  test("asks nothing of a tensor whose slices are all done", () => {
    const core = new Core({
      slices: [slice(A, { doneSha256: "x", attempt: 1 })],
      tensors: [{ task: 0, slices: [A], settled: false }],
    });
    expect(core.start()).toEqual([{ type: "begin-seal" }]);
  });

  test("goes to the seal at once where the journal has every slice", () => {
    const core = new Core({ slices: [slice(A, { doneSha256: "x", attempt: 2 })] });
    expect(core.start()).toEqual([{ type: "begin-seal" }]);
    expect(core.state.phase).toBe("sealing");
  });

  test("leases slices that are not done, and only those", () => {
    const core = new Core({ slices: [slice(A, { doneSha256: "x", attempt: 1 }), slice(B)] });
    core.start();
    expect(core.attach(W1, 5)).toEqual([{ type: "assign", worker: W1, unit: B, attempt: 1 }]);
  });
});

describe("worker-attached", () => {
  test("leases as many slices as it has slots, in the plan's order", () => {
    const core = new Core({ slices: [slice(A), slice(B), slice(C)] });
    core.start();
    expect(core.attach(W1, 2)).toEqual([
      { type: "assign", worker: W1, unit: A, attempt: 1 },
      { type: "assign", worker: W1, unit: B, attempt: 1 },
    ]);
  });

  test("leases slices that wait for a verdict to nobody", () => {
    const core = new Core({ slices: [slice(A)], tensors: [{ task: 0, slices: [A], settled: false }] });
    core.start();
    expect(core.attach(W1)).toEqual([]);
  });

  test("numbers attempts above those in the journal and above the epoch's base", () => {
    const core = new Core({
      limits: { ...LIMITS, attemptBase: 10 },
      slices: [slice(A, { attempt: 2 }), slice(B, { attempt: 40 })],
    });
    core.start();
    expect(only(core.attach(W1, 2), "assign").map(({ attempt }) => attempt)).toEqual([11, 41]);
  });

  test("takes no work once the job stops", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.on({ type: "stop-requested" });
    expect(core.attach(W1)).toEqual([]);
  });
});

describe("worker-lost", () => {
  test("gives its slices to others, with higher attempts, as failures of theirs", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    core.attach(W2);
    expect(core.lost(W1)).toEqual([
      { type: "count", counter: "failed-attempt" },
      { type: "assign", worker: W2, unit: A, attempt: 2 },
    ]);
  });

  test("fails the job when it was the last one", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    expect(only(core.lost(W1), "finished")).toEqual([
      { type: "finished", outcome: "failed", cause: failure({ message: "it died" }) },
    ]);
  });

  test("does not take a slice with it that is on its way into the journal, and the job waits for that", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    core.computed(A, 1, "x");
    expect(only(core.lost(W1), "finished")).toEqual([]);
    expect(only(core.durable(A, "x"), "finished")).toHaveLength(1);
  });

  test("hurts nobody while files are being published: workers have nothing to do any more", () => {
    const core = publishingCore();
    expect(core.lost(W1)).toEqual([]);
    expect(core.on({ type: "published" })).toEqual([{ type: "finished", outcome: "done" }]);
  });

  test("of a worker nobody knows is nothing", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    expect(core.lost(W2)).toEqual([]);
  });

  test("kills a slice that killed too many workers", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    for (const name of ["1", "2", "3"]) core.attach(name as WorkerId);
    core.lost("1" as WorkerId);
    core.lost("2" as WorkerId);
    const effects = core.lost("3" as WorkerId);
    expect(only(effects, "journal-quarantined")).toMatchObject([{ unit: A, attempt: 3 }]);
    expect(only(effects, "finished")).toMatchObject([{ outcome: "failed" }]);
  });
});

describe("heartbeat and time-passed", () => {
  test("a lease that lapsed returns the unit, and the next attempt is another's", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    expect(core.pass(999)).toEqual([]);
    core.attach(W2);
    expect(core.pass(1000)).toEqual([
      { type: "count", counter: "lapsed-lease" },
      expect.objectContaining({ type: "assign", unit: A, attempt: 2 }),
    ]);
  });

  test("a heartbeat renews the leases of its worker, of no other", () => {
    const core = new Core({ slices: [slice(A), slice(B)] });
    core.start();
    core.attach(W1);
    core.attach(W2);
    core.on({ type: "heartbeat", worker: W1, held: [{ unit: A, attempt: 1, alive: true }], nowMs: 800 });
    core.attach("w3" as WorkerId);
    const effects = core.pass(1500);
    expect(only(effects, "count")).toHaveLength(1);
    expect(only(effects, "assign")).toMatchObject([{ unit: B, attempt: 2 }]);
    expect(core.state.units.get(A)).toMatchObject({ status: "leased", attempts: [{ number: 1, worker: W1 }] });
  });

  test("a lease that lapses is no failure: it does not lead into quarantine", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    for (let k = 1; k <= 10; k++) core.pass(k * 1000);
    expect(core.state.units.get(A)).toMatchObject({ status: "leased", attempt: 11, failures: 0 });
  });

  test("a job that stops ends when its last lease lapses", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    expect(core.on({ type: "stop-requested" })).toEqual([]);
    expect(only(core.pass(1000), "finished")).toEqual([{ type: "finished", outcome: "stopped" }]);
  });
});

describe("grant-requested", () => {
  test("is granted to the newest lease", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    expect(core.grant(A, 1, W1)).toEqual([{ type: "grant", worker: W1, unit: A, attempt: 1 }]);
  });

  test.each([
    ["an attempt before the newest", A, 1, W1],
    ["an attempt that was never given", A, 3, W1],
    ["a worker that does not hold the lease", A, 2, W2],
    ["a unit nobody knows", "nothing" as UnitId, 1, W1],
  ] as const)("is refused to %s", (_, unit, attempt, worker) => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    core.pass(1000); // attempt 2 of W1
    core.attach(W2);
    expect(core.grant(unit, attempt, worker)).toEqual([{ type: "refuse", worker, unit, attempt }]);
    expect(core.state.units.get(A)?.status).toBe("leased");
  });

  test("is refused for a slice that is done", () => {
    const core = new Core({ slices: [slice(A), slice(B)] });
    core.start();
    core.attach(W1);
    core.finish(A);
    expect(core.grant(A, 1, W1)).toEqual([{ type: "refuse", worker: W1, unit: A, attempt: 1 }]);
  });

  test("is granted also while the job stops: slices in flight are finished", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    core.on({ type: "stop-requested" });
    expect(only(core.grant(A, 1, W1), "grant")).toHaveLength(1);
  });
});

describe("round-begun, surveyed and verdict-durable", () => {
  const S0 = "survey-4-1-0" as UnitId;
  const S1 = "survey-4-1-1" as UnitId;
  const cut = { slices: [slice(A), slice(B)], tensors: [{ task: 4, slices: [A], settled: false }] };

  test("surveys come before slices that could be leased as well", () => {
    const core = new Core(cut);
    core.start();
    core.on({ type: "round-begun", task: 4, surveys: [S0, S1], nowMs: 0 });
    expect(only(core.attach(W1, 3), "assign").map(({ unit }) => unit)).toEqual([S0, S1, B]);
  });

  test("a tensor is settled once, when all its ranges are in", () => {
    const core = new Core(cut);
    core.start();
    core.on({ type: "round-begun", task: 4, surveys: [S0, S1], nowMs: 0 });
    core.attach(W1, 2);
    expect(only(core.on({ type: "surveyed", unit: S1, attempt: 1, nowMs: 0 }), "settle")).toEqual([]);
    expect(only(core.on({ type: "surveyed", unit: S0, attempt: 1, nowMs: 0 }), "settle")).toEqual([
      { type: "settle", task: 4 },
    ]);
  });

  test("a survey that is reported twice, or late, counts once", () => {
    const core = new Core(cut);
    core.start();
    core.on({ type: "round-begun", task: 4, surveys: [S0, S1], nowMs: 0 });
    core.attach(W1, 2);
    core.on({ type: "surveyed", unit: S0, attempt: 1, nowMs: 0 });
    expect(core.on({ type: "surveyed", unit: S0, attempt: 1, nowMs: 0 })).toEqual([STALE]);
    core.pass(1000); // S1 is leased again
    expect(core.on({ type: "surveyed", unit: S1, attempt: 1, nowMs: 0 })).toEqual([STALE]);
  });

  test("a second round surveys anew before anything is merged", () => {
    const core = new Core(cut);
    core.start();
    core.on({ type: "round-begun", task: 4, surveys: [S0], nowMs: 0 });
    core.attach(W1);
    core.on({ type: "surveyed", unit: S0, attempt: 1, nowMs: 0 }); // W1 takes B meanwhile
    const again = "survey-4-2-0" as UnitId;
    core.on({ type: "round-begun", task: 4, surveys: [again], nowMs: 0 });
    expect(only(core.finish(B), "assign")).toMatchObject([{ unit: again }]);
    expect(only(core.on({ type: "surveyed", unit: again, attempt: 1, nowMs: 0 }), "settle")).toHaveLength(1);
    expect(core.state.units.get(A)?.status).toBe("blocked");
  });

  test("slices are let go by the durable verdict, not before", () => {
    const core = new Core(cut);
    core.start();
    core.on({ type: "round-begun", task: 4, surveys: [S0], nowMs: 0 });
    core.attach(W1);
    core.on({ type: "surveyed", unit: S0, attempt: 1, nowMs: 0 });
    core.finish(B);
    expect(core.state.units.get(A)?.status).toBe("blocked");
    expect(core.on({ type: "verdict-durable", task: 4, nowMs: 0 })).toEqual([
      { type: "assign", worker: W1, unit: A, attempt: 1 },
    ]);
    expect(core.state.phase).toBe("merging");
    expect(core.on({ type: "verdict-durable", task: 4, nowMs: 0 })).toEqual([]);
  });

  test("a slice with parts of two cut tensors is let go by the later verdict", () => {
    const tensors = [4, 7].map((task) => ({ task, slices: [A], settled: false }));
    const core = new Core({ slices: [slice(A)], tensors });
    core.start();
    core.attach(W1);
    expect(core.on({ type: "verdict-durable", task: 7, nowMs: 0 })).toEqual([]);
    expect(core.state.units.get(A)?.status).toBe("blocked");
    expect(core.on({ type: "verdict-durable", task: 4, nowMs: 0 })).toEqual([
      { type: "assign", worker: W1, unit: A, attempt: 1 },
    ]);
  });

  test("a slice that is lost waits for those of its verdicts that this coordinator does not have", () => {
    const tensors = [4, 7, 9].map((task) => ({ task, slices: [A], settled: task === 7 }));
    const core = new Core({ slices: [slice(A, { doneSha256: "a", attempt: 1 }), slice(B)], tensors });
    core.start();
    core.attach(W1);
    core.finish(B);
    const [seal] = only(
      core.on({ type: "seal-begun", units: [{ unit: "seal-1-0" as UnitId, slices: [A] }], nowMs: 0 }),
      "assign",
    );
    const lost = core.on({ ...seal!, type: "sealed", damaged: [A], nowMs: 0 });
    expect(only(lost, "begin-round").map(({ task }) => task)).toEqual([4, 9]);
    expect(core.state.units.get(A)?.status).toBe("blocked");
    expect(only(core.on({ type: "verdict-durable", task: 4, nowMs: 0 }), "assign")).toEqual([]);
    expect(only(core.on({ type: "verdict-durable", task: 9, nowMs: 0 }), "assign")).toMatchObject([{ unit: A }]);
  });

  test("nothing is settled in a job that stops", () => {
    const core = new Core(cut);
    core.start();
    core.on({ type: "round-begun", task: 4, surveys: [S0], nowMs: 0 });
    core.attach(W1);
    core.on({ type: "stop-requested" });
    expect(core.on({ type: "surveyed", unit: S0, attempt: 1, nowMs: 0 })).toEqual([
      { type: "finished", outcome: "stopped" },
    ]);
  });
});

describe("slice-computed", () => {
  test("goes into the journal; its slot is free once it is there, so that a crash costs no more slices than slots", () => {
    const core = new Core({ slices: [slice(A), slice(B)] });
    core.start();
    core.attach(W1);
    expect(core.computed(A, 1, "x")).toEqual([{ type: "journal-done", unit: A, attempt: 1, sha256: "x" }]);
    expect(core.state.slicesOpen).toBe(2);
    expect(core.durable(A, "x")).toEqual([{ type: "assign", worker: W1, unit: B, attempt: 1 }]);
  });

  test("said twice is journalled once", () => {
    const core = new Core({ slices: [slice(A), slice(B)] });
    core.start();
    core.attach(W1);
    core.computed(A, 1, "x");
    expect(core.computed(A, 1, "x")).toEqual([STALE]);
    core.durable(A, "x");
    expect(core.computed(A, 1, "x")).toEqual([STALE]);
  });

  test("a late report of an old attempt changes nothing", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    core.pass(1000);
    const before = structuredClone(core.state);
    expect(core.computed(A, 1, "x")).toEqual([STALE]);
    expect(core.state).toEqual(before);
  });

  test("a late report that agrees with what is done changes nothing", () => {
    const core = new Core({ slices: [slice(A), slice(B)] });
    core.start();
    core.attach(W1);
    core.pass(1000);
    core.computed(A, 2, "x");
    core.durable(A, "x");
    const before = structuredClone(core.state);
    expect(core.computed(A, 1, "x")).toEqual([STALE]);
    expect(core.state).toEqual(before);
  });

  /** A is done as `x` by attempt 2, and the late attempt 1 says `y`; B keeps the job open. */
  function disputed(): Core {
    const core = new Core({ slices: [slice(A), slice(B)] });
    core.start();
    core.attach(W1);
    core.pass(1000);
    core.computed(A, 2, "x");
    core.durable(A, "x");
    core.attach(W2);
    return core;
  }

  test("two hashes are a dispute: it is journalled, and a third attempt is made", () => {
    const core = disputed();
    expect(core.computed(A, 1, "y")).toEqual([
      STALE,
      { type: "count", counter: "dispute" },
      { type: "journal-disputed", unit: A, attempt: 2, votes: VOTES },
      { type: "assign", worker: W2, unit: A, attempt: 3 },
    ]);
    expect(core.state.slicesOpen).toBe(2);
  });

  test.each(["x", "y"])("the third attempt decides for %s", (sha256) => {
    const core = disputed();
    core.computed(A, 1, "y");
    expect(only(core.computed(A, 3, sha256), "journal-done")).toEqual([
      { type: "journal-done", unit: A, attempt: 3, sha256 },
    ]);
    core.durable(A, sha256);
    expect(core.state.units.get(A)).toMatchObject({ status: "done", sha256 });
  });

  test("a third hash fails the job: this slice gives other bytes every time", () => {
    const core = disputed();
    core.computed(A, 1, "y");
    const effects = core.computed(A, 3, "z");
    expect(only(effects, "journal-done")).toEqual([]);
    expect(core.state.phase).toBe("failing"); // W1 still holds B
    expect(core.finish(B)).toContainEqual(
      expect.objectContaining({
        type: "finished",
        outcome: "failed",
        cause: expect.objectContaining({ code: "coordinator/nondeterministic" }),
      }),
    );
  });

  test("a dispute that the journal tells of is decided by the next attempt", () => {
    const core = new Core({ slices: [slice(A, { attempt: 2, disputed: VOTES })] });
    core.start();
    core.attach(W1);
    expect(only(core.computed(A, 3, "z"), "finished")).toMatchObject([
      { outcome: "failed", cause: { code: "coordinator/nondeterministic" } },
    ]);
  });

  test("a dispute while the seal is under way takes the job back to merging, and seals anew", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1, 2);
    core.pass(1000);
    core.computed(A, 2, "x");
    core.durable(A, "x");
    core.sealBegun([SEAL]);
    core.computed(A, 1, "y");
    expect(core.state.phase).toBe("merging");
    expect(only(core.sealed(SEAL, 1), "publish")).toEqual([]);
    core.computed(A, 3, "y");
    expect(only(core.durable(A, "y"), "begin-seal")).toHaveLength(1);
  });

  test("a contradiction that comes when the files are being published changes nothing any more", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    core.pass(1000);
    core.computed(A, 2, "x");
    core.durable(A, "x");
    core.sealBegun([SEAL]);
    core.sealed(SEAL, 1);
    expect(core.state.phase).toBe("publishing");
    expect(core.computed(A, 1, "y")).toEqual([STALE]);
    expect(core.state.slicesOpen).toBe(0);
  });
});

describe("slice-durable", () => {
  test("makes the slice done; the last one begins the seal", () => {
    const core = new Core({ slices: [slice(A), slice(B)] });
    core.start();
    core.attach(W1, 2);
    core.computed(A, 1, "x");
    core.computed(B, 1, "y");
    expect(core.durable(B, "y")).toEqual([]);
    expect(core.durable(A, "x")).toEqual([{ type: "begin-seal" }]);
  });

  test("of another hash, or said twice, changes nothing", () => {
    const core = new Core({ slices: [slice(A), slice(B)] });
    core.start();
    core.attach(W1, 2);
    core.computed(A, 1, "x");
    core.durable(A, "y");
    expect(core.state.slicesOpen).toBe(2);
    core.durable(A, "x");
    core.durable(A, "x");
    expect(core.state.slicesOpen).toBe(1);
  });
});

describe("slice-not-durable", () => {
  test("fails the job, which waits for other slices but not for this one", () => {
    const core = new Core({ slices: [slice(A), slice(B)] });
    core.start();
    core.attach(W1, 2);
    core.computed(A, 1, "x");
    const cause = failure({ code: "journal/unavailable" });
    expect(core.on({ type: "slice-not-durable", unit: A, failure: cause })).toEqual([]);
    core.computed(B, 1, "y");
    expect(core.on({ type: "slice-not-durable", unit: B, failure: failure() })).toEqual([
      { type: "finished", outcome: "failed", cause },
    ]);
    expect(core.state.slicesOpen).toBe(2);
  });

  test("of a lost worker's slice ends the job as well", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    core.computed(A, 1, "x");
    core.lost(W1);
    const effects = core.on({ type: "slice-not-durable", unit: A, failure: failure() });
    expect(only(effects, "finished")).toHaveLength(1);
  });
});

describe("unit-failed", () => {
  test("is tried again as long as that may help", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    expect(core.failed(A, 1)).toEqual([
      { type: "count", counter: "failed-attempt" },
      { type: "assign", worker: W1, unit: A, attempt: 2 },
    ]);
  });

  test("of an old attempt changes nothing", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    core.pass(1000);
    const before = structuredClone(core.state);
    expect(core.failed(A, 1)).toEqual([STALE]);
    expect(core.state).toEqual(before);
  });

  test("is quarantined after as many attempts as are allowed, and the job fails with its cause", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    core.failed(A, 1);
    core.failed(A, 2);
    expect(core.failed(A, 3)).toEqual([
      { type: "count", counter: "failed-attempt" },
      { type: "journal-quarantined", unit: A, attempt: 3, failure: failure() },
      { type: "finished", outcome: "failed", cause: failure() },
    ]);
  });

  test("is quarantined at once where trying again cannot help", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    const effects = core.failed(A, 1, { code: "merge/nonfinite", retryable: false });
    expect(only(effects, "journal-quarantined")).toHaveLength(1);
    expect(only(effects, "finished")).toMatchObject([{ outcome: "failed", cause: { code: "merge/nonfinite" } }]);
  });

  test("lets slices in flight become durable before the job ends", () => {
    const core = new Core({ slices: [slice(A), slice(B), slice(C)] });
    core.start();
    core.attach(W1, 2);
    expect(only(core.failed(A, 1, { retryable: false }), "finished")).toEqual([]);
    expect(core.computed(B, 1, "y")).toEqual([{ type: "journal-done", unit: B, attempt: 1, sha256: "y" }]);
    expect(only(core.durable(B, "y"), "finished")).toMatchObject([{ outcome: "failed" }]);
    expect(core.state.units.get(C)?.status).toBe("pending");
  });

  test("a seal unit that could not be read is read again", () => {
    const core = sealingCore();
    expect(only(core.failed(SEAL, 1), "assign")).toEqual([{ type: "assign", worker: W1, unit: SEAL, attempt: 2 }]);
    expect(only(core.sealed(SEAL, 2), "publish")).toHaveLength(1);
  });
});

describe("seal-begun and sealed", () => {
  const OTHER = "seal-1-1" as UnitId;

  test("publishes only after all units of the seal", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1, 2);
    core.finish(A);
    expect(only(core.sealBegun([SEAL, OTHER]), "assign")).toHaveLength(2);
    expect(core.sealed(OTHER, 1)).toEqual([]);
    expect(core.sealed(OTHER, 1)).toEqual([STALE]);
    expect(core.sealed(SEAL, 1)).toEqual([{ type: "publish" }]);
    expect(core.state.phase).toBe("publishing");
  });

  test("nothing is published between the asking for a seal and its beginning, whatever comes then", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    expect(core.finish(A)).toContainEqual({ type: "begin-seal" });
    expect(core.pass(10)).toEqual([]);
    expect(core.attach(W2)).toEqual([]);
    expect(core.state.phase).toBe("sealing");
  });

  test("slices that storage lost are computed again and sealed again", () => {
    const core = sealingCore();
    expect(core.sealed(SEAL, 1, [A])).toEqual([
      { type: "count", counter: "lost-slice" },
      { type: "journal-lost", unit: A, attempt: 1 },
      { type: "assign", worker: W1, unit: A, attempt: 2 },
    ]);
    expect(core.state.phase).toBe("merging");
    expect(only(core.finish(A), "begin-seal")).toHaveLength(1);
    const again = "seal-2-0" as UnitId;
    core.sealBegun([again]);
    expect(core.sealed(again, 1)).toEqual([{ type: "publish" }]);
  });

  test("waits for the rest of a seal before it seals anew", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1, 3);
    core.finish(A);
    core.sealBegun([SEAL, OTHER]);
    core.sealed(SEAL, 1, [A]);
    expect(core.finish(A)).not.toContainEqual({ type: "begin-seal" });
    expect(core.sealed(OTHER, 1)).toEqual([{ type: "begin-seal" }]);
  });

  test("a slice found lost by two units is computed again once", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1, 3);
    core.finish(A);
    core.sealBegun([SEAL, OTHER]);
    core.sealed(SEAL, 1, [A]);
    expect(only(core.sealed(OTHER, 1, [A]), "journal-lost")).toEqual([]);
    expect(core.state.slicesOpen).toBe(1);
  });

  test("storage that damages the same slice again and again fails the job", () => {
    const core = sealingCore();
    for (let pass = 1; pass < LIMITS.attemptsMax; pass++) {
      core.sealed(`seal-${pass}-0` as UnitId, 1, [A]);
      core.finish(A);
      core.sealBegun([`seal-${pass + 1}-0` as UnitId]);
    }
    const effects = core.sealed(`seal-${LIMITS.attemptsMax}-0` as UnitId, 1, [A]);
    expect(only(effects, "finished")).toMatchObject([
      { outcome: "failed", cause: { code: "coordinator/storage-damages" } },
    ]);
  });
});

describe("published", () => {
  test("ends the job", () => {
    expect(publishingCore().on({ type: "published" })).toEqual([{ type: "finished", outcome: "done" }]);
  });

  test("said twice, or of a job that is not publishing, is nothing", () => {
    const core = publishingCore();
    core.on({ type: "published" });
    expect(core.on({ type: "published" })).toEqual([]);
    expect(sealingCore().on({ type: "published" })).toEqual([]);
  });
});

describe("stop-requested", () => {
  test("ends at once where nothing is in flight", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    expect(core.on({ type: "stop-requested" })).toEqual([{ type: "finished", outcome: "stopped" }]);
    expect(core.on({ type: "stop-requested" })).toEqual([]);
  });

  test("lets what is in flight become durable and begins nothing new", () => {
    const core = new Core({ slices: [slice(A), slice(B)] });
    core.start();
    core.attach(W1);
    expect(core.on({ type: "stop-requested" })).toEqual([]);
    expect(core.computed(A, 1, "x")).toEqual([{ type: "journal-done", unit: A, attempt: 1, sha256: "x" }]);
    expect(core.durable(A, "x")).toEqual([{ type: "finished", outcome: "stopped" }]);
  });

  test("ends when a slice in flight fails instead", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    core.on({ type: "stop-requested" });
    expect(only(core.failed(A, 1), "finished")).toEqual([{ type: "finished", outcome: "stopped" }]);
  });

  test("does not interrupt publishing, which is short and must not stop half-way", () => {
    const core = publishingCore();
    expect(core.on({ type: "stop-requested" })).toEqual([]);
    expect(core.on({ type: "published" })).toEqual([{ type: "finished", outcome: "done" }]);
  });
});

test("a job whose publishing has failed is not cancelled any more: files of it may be where readers see them", () => {
  const core = new Core({ slices: [slice(A)] });
  core.start();
  core.attach(W1);
  core.finish(A);
  core.on({ type: "seal-begun", units: [] });
  expect(core.state.phase).toBe("publishing");
  core.state.phase = "failing";
  for (const type of ["cancel-requested", "terminate-requested"] as const) {
    expect(only(core.on({ type }), "journal-phase")).toEqual([]);
  }
});

describe("job-failed", () => {
  test("waits for what is in flight, then ends with the cause", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    const cause = failure({ code: "journal/unavailable" });
    expect(core.on({ type: "job-failed", failure: cause })).toEqual([]);
    expect(core.failed(A, 1)).toContainEqual({ type: "finished", outcome: "failed", cause });
  });

  test("a job that was stopping and fails has failed", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1);
    core.on({ type: "stop-requested" });
    core.on({ type: "job-failed", failure: failure() });
    expect(only(core.finish(A), "finished")).toMatchObject([{ outcome: "failed" }]);
  });

  test("of a job that is done is nothing", () => {
    const core = publishingCore();
    core.on({ type: "published" });
    expect(core.on({ type: "job-failed", failure: failure() })).toEqual([]);
  });

  test("ends a job that could not publish", () => {
    const core = publishingCore();
    expect(core.on({ type: "job-failed", failure: failure() })).toMatchObject([
      { type: "finished", outcome: "failed" },
    ]);
  });
});
