/** Workers on other machines: leases, grants, second attempts, audits, disputes, quarantine, and what people ask of a job. */
import { describe, expect, test } from "vitest";
import { type Effect, mayBeginWrite } from "../../../coordinator/core/index.ts";
import type { UnitId, WorkerId } from "../../../merge/work/index.ts";
import { A, B, C, Core, failure, LIMITS, only, SEAL, slice, W1, W2 } from "./harness.ts";

const W3 = "w3" as WorkerId;
const LEASE = LIMITS.leaseMs;
const IO = LIMITS.ioTimeoutMs;

/** A core with remote workers of one slot each. */
function cluster(
  units: readonly UnitId[],
  workers: readonly WorkerId[],
  limits: Partial<typeof LIMITS> = {},
  slots = 1,
): Core {
  const core = new Core({ limits: { ...LIMITS, ...limits }, slices: units.map((id) => slice(id)) });
  core.start();
  for (const worker of workers) core.attach(worker, slots, { trust: "other" });
  return core;
}

function types(effects: readonly Effect[]): string[] {
  return effects.map(({ type }) => type);
}

/** From the question to the report that is taken. */
function finish(core: Core, unit: UnitId, attempt: number, sha256 = `sha-${unit}`): readonly Effect[] {
  const worker = core.owner(unit, attempt);
  expect(types(core.grant(unit, attempt, worker, sha256))).toContain("grant");
  expect(types(core.computed(unit, attempt, sha256))).toEqual(["journal-done"]);
  return core.durable(unit, sha256);
}

test("of slices that were lent within a lease, those that are held keep their deadlines, and the others' do not pile up", () => {
  const units = Array.from({ length: 600 }, (_, k) => `s${String(k).padStart(6, "0")}` as UnitId);
  const core = cluster(units, [W1, W2]);
  const held = () => [...core.state.units.values()].filter(({ status }) => status === "leased");
  // The second worker never finishes its slice.
  const slow = held().find(({ attempts }) => attempts[0]?.worker === W2);
  for (let done = 1; done < units.length; done++) {
    const unit = held().find((one) => one !== slow);
    finish(core, unit!.id, unit!.attempts[0]!.number);
  }
  expect(held()).toEqual([slow]);
  expect(core.state.deadlines.length).toBeLessThan(300);
  core.pass(LEASE);
  expect(slow?.attempts.map(({ worker }) => worker)).toEqual([W1]);
});

describe("grants", () => {
  test("one that has given its attempt up in the middle of a write says so when it is back: until then, and if so, nobody else is granted", () => {
    for (const writing of [true, false]) {
      const core = cluster([A], [W1]);
      core.grant(A, 1, W1, "x");
      core.on({ type: "worker-detached", worker: W1 });
      core.attach(W1, 0, { trust: "other", incarnation: core.state.workers.get(W1)!.incarnation });
      expect(only(core.attach(W2, 1, { trust: "other" }), "assign")).toMatchObject([{ worker: W2, attempt: 2 }]);
      expect(types(core.grant(A, 2, W2, "x"))).toEqual(["later"]);
      core.on({ type: "writing-told", worker: W1, attempts: writing ? [{ unit: A, attempt: 1 }] : [] });
      expect(types(core.grant(A, 2, W2, "x"))).toEqual([writing ? "later" : "grant"]);
    }
  });

  test("what it holds when it is back keeps its grant, though nothing of it is being written", () => {
    const core = cluster([A], [W1]);
    core.grant(A, 1, W1, "x");
    core.on({ type: "worker-detached", worker: W1 });
    const incarnation = core.state.workers.get(W1)!.incarnation;
    core.attach(W1, 1, { trust: "other", incarnation, held: [{ unit: A, attempt: 1, alive: true }] } as never);
    core.on({ type: "writing-told", worker: W1, attempts: [] });
    expect(core.state.grants.get(A)).toMatchObject({ attempt: 1, worker: W1 });
  });

  test("a second attempt waits while the first one's lease and an I/O timeout are open, and no longer", () => {
    const core = cluster([A], [W1]);
    core.grant(A, 1, W1, "x");
    core.attach(W2, 1, { trust: "other" });
    expect(only(core.pass(LEASE), "assign")).toMatchObject([{ worker: W2, attempt: 2 }]);
    expect(types(core.grant(A, 2, W2, "x"))).toEqual(["later"]);
    core.nowMs = LEASE + IO - 1;
    expect(types(core.grant(A, 2, W2, "x"))).toEqual(["later"]);
    core.nowMs = LEASE + IO;
    expect(types(core.grant(A, 2, W2, "x"))).toEqual(["grant"]);
  });

  test("what is written in the worker's stead begins only while the lease lasts", () => {
    const core = cluster([A], [W1]);
    const mayBegin = (attempt: number, nowMs: number) => mayBeginWrite(core.state, { unit: A, attempt }, nowMs);
    expect(mayBegin(1, 0)).toBe(false);
    core.grant(A, 1, W1, "x");
    expect([mayBegin(1, 0), mayBegin(1, LEASE - 1), mayBegin(1, LEASE), mayBegin(2, 0)]).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  test("a grant is a new lease", () => {
    const core = cluster([A], [W1]);
    core.nowMs = LEASE - 1;
    core.grant(A, 1, W1, "x");
    expect(only(core.pass(2 * LEASE - 2), "count")).toEqual([]);
    expect(only(core.pass(2 * LEASE - 1), "count")).toMatchObject([{ counter: "lapsed-lease" }]);
  });

  test("a heartbeat that renews a grant keeps others waiting", () => {
    const core = cluster([A], [W1]);
    core.grant(A, 1, W1, "x");
    core.nowMs = 900;
    core.on({ type: "heartbeat", worker: W1, held: [{ unit: A, attempt: 1, alive: true }] });
    core.attach(W2, 1, { trust: "other" });
    core.pass(900 + LEASE);
    core.nowMs = 900 + LEASE + IO - 1;
    expect(types(core.grant(A, 2, W2, "x"))).toEqual(["later"]);
  });

  test("nothing is granted before leases of earlier epochs have run out", () => {
    const core = cluster([A], [W1], { earlierGrantsMs: 500 });
    core.nowMs = 499;
    expect(types(core.grant(A, 1, W1, "x"))).toEqual(["later"]);
    core.nowMs = 500;
    expect(types(core.grant(A, 1, W1, "x"))).toEqual(["grant"]);
  });

  test("nothing is granted or renewed once another coordinator may lead", () => {
    const core = cluster([A], [W1]);
    core.on({ type: "leadership-confirmed", untilMs: 100 });
    core.nowMs = 100;
    expect(types(core.grant(A, 1, W1, "x"))).toEqual(["later"]);
    const beat = { type: "heartbeat", worker: W1, held: [{ unit: A, attempt: 1, alive: true }] } as const;
    expect(core.on(beat)).toEqual([]);
    expect(core.state.units.get(A)?.attempts[0]?.leaseEndsMs).toBe(LEASE);
    core.on({ type: "leadership-confirmed", untilMs: 400 });
    expect(core.on(beat)).toEqual([{ type: "renewed", worker: W1, attempts: [{ unit: A, attempt: 1 }] }]);
    expect(core.state.units.get(A)?.attempts[0]?.leaseEndsMs).toBe(100 + LEASE);
    expect(types(core.grant(A, 1, W1, "x"))).toEqual(["grant"]);
  });

  test("a worker that writes what it was not granted is not believed", () => {
    const core = cluster([A], [W1]);
    core.grant(A, 1, W1, "x");
    expect(core.answersTo({ type: "slice-computed", unit: A, attempt: 1, sha256: "y" })).toEqual(["stale"]);
    const asked = cluster([A], [W1]);
    expect(asked.answersTo({ type: "slice-computed", unit: A, attempt: 1, sha256: "x" })).toEqual(["stale"]);
    expect(asked.state.slicesOpen).toBe(1);
  });

  test("a report that is repeated after the job was cancelled is answered, though it is not durable and may never be", () => {
    const core = cluster([A], [W1]);
    core.grant(A, 1, W1, "x");
    const report = { type: "slice-computed", unit: A, attempt: 1, sha256: "x" } as const;
    expect(core.answersTo(report)).toEqual([]);
    expect(types(core.on({ type: "cancel-requested" }))).toEqual(["cancel", "journal-phase"]);
    expect(core.answersTo(report)).toEqual(["stale"]);
    // It was told to stop, and has its answer.
    expect(core.answersTo({ type: "slice-durable", unit: A, sha256: "x" })).toEqual([]);
  });

  test("a report is answered once it is durable, and whenever it is repeated after that", () => {
    const core = cluster([A], [W1]);
    core.grant(A, 1, W1, "x");
    const report = { type: "slice-computed", unit: A, attempt: 1, sha256: "x" } as const;
    expect(core.answersTo(report)).toEqual([]);
    expect(core.answersTo(report)).toEqual([]);
    expect(core.answersTo({ type: "slice-durable", unit: A, sha256: "x" })).toEqual(["accept"]);
    expect(core.answersTo(report)).toEqual(["accept"]);
  });
});

describe("workers that come and go", () => {
  test("being cut off is not death: leases run on, and the same process takes them up again", () => {
    const core = cluster([A, B], [W1]);
    core.on({ type: "worker-detached", worker: W1 });
    expect(core.state.units.get(A)?.status).toBe("leased");
    const held = [{ unit: A, attempt: 1 }];
    expect(core.attach(W1, 1, { trust: "other", held })).toEqual([]);
    expect(finish(core, A, 1)).toEqual([{ type: "assign", worker: W1, unit: B, attempt: 1 }]);
  });

  test("what it does not hold when it is back was never begun: it goes back at once", () => {
    const core = cluster([A], [W1]);
    core.on({ type: "worker-detached", worker: W1 });
    expect(core.attach(W1, 1, { trust: "other", held: [] })).toEqual([
      { type: "assign", worker: W1, unit: A, attempt: 2 },
    ]);
    expect(core.state.units.get(A)?.failures).toBe(0);
  });

  test("a new process under the old name has nothing; what the old one was granted it may still be writing", () => {
    const core = cluster([A], [W1, W2]);
    core.grant(A, 1, W1, "x");
    core.attach(W1, 1, { trust: "other", incarnation: "second", held: [] });
    const { attempt, worker } = core.state.units
      .get(A)!
      .attempts.map((a) => ({ attempt: a.number, worker: a.worker }))[0]!;
    expect(attempt).toBe(2);
    expect(types(core.grant(A, 2, worker, "x"))).toEqual(["later"]);
    core.nowMs = LEASE + IO;
    expect(types(core.grant(A, 2, worker, "x"))).toEqual(["grant"]);
  });

  test("attempts that a worker names and that are not its own are dropped", () => {
    const core = cluster([A], [W1]);
    const strange = { unit: B, attempt: 4 };
    expect(only(core.attach(W2, 1, { trust: "other", held: [strange] }), "dropped")).toEqual([
      { type: "dropped", worker: W2, attempts: [strange] },
    ]);
    const held = [
      { unit: A, attempt: 1, alive: true },
      { ...strange, alive: true },
    ];
    expect(only(core.on({ type: "heartbeat", worker: W1, held }), "dropped")).toEqual([
      { type: "dropped", worker: W1, attempts: [strange] },
    ]);
  });

  test("a thread that hangs inside a worker that lives is not renewed", () => {
    const core = cluster([A], [W1]);
    core.nowMs = 900;
    expect(core.on({ type: "heartbeat", worker: W1, held: [{ unit: A, attempt: 1, alive: false }] })).toEqual([]);
    expect(only(core.pass(LEASE), "count")).toMatchObject([{ counter: "lapsed-lease" }]);
  });

  test("what is handed back costs nothing, and nobody waits for it", () => {
    const core = cluster([A], [W1, W2]);
    core.grant(A, 1, W1, "x");
    core.on({ type: "worker-draining", worker: W1 });
    const effects = core.on({ type: "handed-back", worker: W1, attempts: [{ unit: A, attempt: 1 }] });
    expect(only(effects, "assign")).toMatchObject([{ worker: W2, unit: A, attempt: 2 }]);
    expect(types(core.grant(A, 2, W2, "x"))).toEqual(["grant"]);
    expect(core.state.units.get(A)?.failures).toBe(0);
  });

  test("a worker that is silent gets nothing more, until it is heard again", () => {
    const core = cluster([A], [W1]);
    expect(only(core.pass(LEASE), "assign")).toEqual([]);
    expect(only(core.on({ type: "heartbeat", worker: W1, held: [] }), "assign")).toMatchObject([{ attempt: 2 }]);
  });

  test("no workers is no failure: the job waits for some", () => {
    const core = cluster([A], [W1]);
    core.on({ type: "worker-detached", worker: W1 });
    expect(only(core.pass(10 * LEASE), "finished")).toEqual([]);
    expect(only(core.attach(W2, 1, { trust: "other" }), "assign")).toHaveLength(1);
  });

  test("more or fewer slots count from the next unit on", () => {
    const core = cluster([A, B, C], [W1]);
    expect(only(core.on({ type: "slots-changed", worker: W1, slots: 3 }), "assign")).toHaveLength(2);
    core.on({ type: "slots-changed", worker: W1, slots: 0 });
    expect(only(finish(core, A, 1), "assign")).toEqual([]);
  });
});

describe("second attempts", () => {
  const speculation = { doneShare: 0.5, slowness: 2 };

  /** A and B are done in 100 ms each; C is W1's, and W2 has nothing to do. */
  function straggling(): Core {
    const core = cluster([A, B, C], [W1], { speculation }, 3);
    core.nowMs = 100;
    finish(core, A, 1);
    finish(core, B, 1);
    core.attach(W2, 1, { trust: "other" });
    return core;
  }

  test("a straggler is tried elsewhere once most is done; the first one that reports is taken, the other told to stop", () => {
    const core = straggling();
    expect(only(core.pass(200), "assign")).toEqual([]);
    expect(only(core.pass(201), "assign")).toEqual([{ type: "assign", worker: W2, unit: C, attempt: 2 }]);
    core.grant(C, 2, W2, "x");
    expect(types(core.grant(C, 1, W1, "x"))).toEqual(["later"]);
    expect(core.computed(C, 2, "x")).toContainEqual({
      type: "cancel",
      worker: W1,
      attempts: [{ unit: C, attempt: 1 }],
    });
    expect(types(core.grant(C, 1, W1, "x"))).toEqual(["refuse"]);
  });

  test("a coordinator that stood still hears a question before it looks at the time: a lease that is over has ended all the same", () => {
    const core = straggling();
    core.pass(201);
    core.grant(C, 2, W2, "x");
    core.nowMs = 201 + LEASE + IO;
    expect(types(core.grant(C, 1, W1, "x"))).toEqual(["count", "grant"]);
    expect(core.state.units.get(C)!.attempts.map(({ number }) => number)).toEqual([1]);
  });

  test("what is being written is not tried elsewhere: nobody else would be granted", () => {
    const core = straggling();
    core.grant(C, 1, W1, "x");
    expect(only(core.pass(900), "assign")).toEqual([]);
  });
});

describe("audits and disputes", () => {
  const audit = { share: 1, seed: 0 };

  test("another worker computes the slice too, and writes nothing; the seal waits for it", () => {
    const core = cluster([A], [W1, W2], { audit });
    expect(finish(core, A, 1)).toEqual([{ type: "assign", worker: W2, unit: A, attempt: 2, audit: true }]);
    expect(types(core.grant(A, 2, W2, "sha-a"))).toEqual(["refuse"]);
    const effects = core.on({ type: "audited", unit: A, attempt: 2, sha256: "sha-a" });
    expect(types(effects)).toEqual(["count", "journal-audited", "begin-seal"]);
  });

  test("of two hashes neither is believed: a third worker decides, and who was wrong is set aside", () => {
    const core = cluster([A], [W1, W2, W3], { audit });
    finish(core, A, 1, "wrong");
    const effects = core.on({ type: "audited", unit: A, attempt: 2, sha256: "right" });
    expect(only(effects, "journal-disputed")).toHaveLength(1);
    expect(only(effects, "assign")).toMatchObject([{ worker: W3, attempt: 3 }]);
    const decided = core.grant(A, 3, W3, "right");
    expect(only(decided, "set-aside")).toMatchObject([{ worker: W1 }]);
    expect(types(decided)).toContain("grant");
    core.computed(A, 3, "right");
    expect(types(core.durable(A, "right"))).toEqual(["begin-seal"]);
  });

  test("whoever has voted does not decide", () => {
    const core = cluster([A], [W1, W2], { audit });
    finish(core, A, 1, "wrong");
    expect(only(core.on({ type: "audited", unit: A, attempt: 2, sha256: "right" }), "assign")).toEqual([]);
    expect(only(core.attach(W3, 1, { trust: "other" }), "assign")).toMatchObject([{ worker: W3 }]);
  });

  test("a machine that contradicts itself decides nothing: two others do, and it is set aside, though no write ever ended well", () => {
    const core = cluster([A], [W1]);
    const full = { code: "storage/full", retryable: false };
    core.grant(A, 1, W1, "wrong");
    core.failed(A, 1, full);
    core.on({ type: "resume-requested" });
    const contradicted = core.grant(A, 2, W1, "right");
    expect(types(contradicted)).toEqual(["cancel", "count", "journal-disputed", "refuse"]);
    expect(only(core.attach(W2, 1, { trust: "other" }), "assign")).toMatchObject([{ worker: W2, attempt: 3 }]);
    const decided = core.grant(A, 3, W2, "right");
    expect(only(decided, "set-aside")).toMatchObject([{ worker: W1 }]);
    expect(types(decided)).toContain("grant");
    // Nothing is disputed any more: whoever said so may write it.
    core.failed(A, 3, full);
    expect(only(core.on({ type: "resume-requested" }), "assign")).toMatchObject([{ worker: W2, attempt: 4 }]);
  });

  test("what two machines agreed on holds for whoever comes next: one that had gone, and says the same again, is refused and set aside", () => {
    const core = cluster([A], [W1, W2, W3], { audit });
    finish(core, A, 1, "wrong");
    core.on({ type: "audited", unit: A, attempt: 2, sha256: "right" });
    core.on({ type: "worker-detached", worker: W1 });
    core.on({ type: "slots-changed", worker: W1, slots: 0 });
    core.grant(A, 3, W3, "right");
    for (const worker of [W2, W3]) {
      core.on({ type: "worker-detached", worker });
      core.on({ type: "slots-changed", worker, slots: 0 });
    }
    core.pass(2 * LEASE);
    const back = core.attach(W1, 1, { trust: "other", incarnation: "second" });
    expect(only(back, "assign")).toMatchObject([{ worker: W1, attempt: 4 }]);
    expect(types(core.grant(A, 4, W1, "wrong"))).toContain("refuse");
    expect(core.state.workers.get(W1)?.setAside).toBeDefined();
    expect(only(core.attach(W2, 1, { trust: "other" }), "assign")).toMatchObject([{ worker: W2, attempt: 5 }]);
    expect(types(core.grant(A, 5, W2, "right"))).toContain("grant");
  });

  test("a slice that storage damaged after its audit is audited again once it is computed anew", () => {
    const core = cluster([A], [W1, W2], { audit });
    finish(core, A, 1);
    core.on({ type: "audited", unit: A, attempt: 2, sha256: "sha-a" });
    core.sealBegun([SEAL]);
    expect(only(core.sealed(SEAL, 1, [A]), "journal-lost")).toEqual([]);
    const lost = core.sealed(SEAL, 2, [A]);
    expect(only(lost, "journal-lost")).toHaveLength(1);
    const [assigned] = only(lost, "assign");
    expect(only(finish(core, A, assigned!.attempt), "assign")).toMatchObject([{ unit: A, audit: true }]);
  });

  test("three hashes fail the job", () => {
    const core = cluster([A], [W1, W2, W3], { audit });
    finish(core, A, 1, "x");
    core.on({ type: "audited", unit: A, attempt: 2, sha256: "y" });
    expect(only(core.grant(A, 3, W3, "z"), "finished")).toMatchObject([
      { outcome: "failed", cause: { code: "coordinator/nondeterministic" } },
    ]);
  });

  test("slices of an earlier epoch that were chosen and not audited are audited now, by another than who computed them", () => {
    const core = new Core({
      limits: { ...LIMITS, audit },
      slices: [slice(A, { doneSha256: "x", attempt: 1, worker: W1 })],
    });
    core.start();
    expect(core.attach(W1, 2, { trust: "other" })).toEqual([]);
    expect(core.attach(W2, 2, { trust: "other" })).toMatchObject([{ type: "assign", worker: W2, audit: true }]);
  });

  test.each([
    { retryable: true, tries: 10 },
    { retryable: false, tries: 3 },
  ])(
    "an audit that fails is made again, and given up after $tries failures ($retryable: may pass)",
    ({ retryable, tries }) => {
      const core = cluster([A], [W1, W2], { audit });
      finish(core, A, 1);
      const cause = { ...failure(), retryable };
      for (let attempt = 2; attempt <= tries; attempt++) {
        const effects = core.on({ type: "unit-failed", unit: A, attempt, failure: cause });
        expect(only(effects, "assign")).toMatchObject([{ worker: W2, attempt: attempt + 1, audit: true }]);
      }
      const effects = core.on({ type: "unit-failed", unit: A, attempt: tries + 1, failure: cause });
      expect(effects).toContainEqual({ type: "count", counter: "audit-skipped" });
      expect(only(effects, "begin-seal")).toHaveLength(1);
    },
  );

  test("an audit that takes its worker down each time is given up as one that fails", () => {
    const core = cluster([A], [W1, W2], { audit });
    finish(core, A, 1);
    for (let times = 1; times < 10; times++) {
      const effects = core.attach(W2, 2, { trust: "other", incarnation: `started ${times} times` });
      expect(only(effects, "assign")).toMatchObject([{ worker: W2, audit: true }]);
    }
    const effects = core.attach(W2, 2, { trust: "other", incarnation: "started 10 times" });
    expect(effects).toContainEqual({ type: "count", counter: "audit-skipped" });
    expect(only(effects, "begin-seal")).toHaveLength(1);
  });

  test("where there is nobody else the seal waits a while, not for ever", () => {
    const core = cluster([A], [W1], { audit });
    expect(finish(core, A, 1)).toEqual([]);
    expect(only(core.pass(8 * LEASE - 1), "begin-seal")).toEqual([]);
    expect(only(core.pass(8 * LEASE), "begin-seal")).toHaveLength(1);
  });
});

describe("failures", () => {
  test("a slice that fails on three workers is poison, and the job fails naming the cause", () => {
    const core = cluster([A], [W1, W2, W3], { attemptsMax: 9 });
    core.failed(A, 1);
    core.failed(A, 2);
    expect(new Set([1, 2, 3].map((attempt) => core.owner(A, attempt))).size).toBe(3);
    const effects = core.failed(A, 3);
    expect(only(effects, "journal-quarantined")).toHaveLength(1);
    expect(only(effects, "finished")).toMatchObject([{ outcome: "failed", cause: failure() }]);
  });

  const D = "d" as UnitId;

  /** A, B and C are W1's; W2 has D. */
  function failing(): Core {
    const core = cluster([A, B, C, D], [W1], { attemptsMax: 9 }, 3);
    core.attach(W2, 9, { trust: "other" });
    core.failed(A, 1);
    core.failed(B, 1);
    return core;
  }

  test("a worker on which three units fail while others finish theirs is set aside; its leases go to others", () => {
    const core = failing();
    finish(core, D, 1);
    const effects = core.failed(C, 1);
    expect(only(effects, "set-aside")).toMatchObject([{ worker: W1 }]);
    expect([A, B, C].map((unit) => core.state.units.get(unit)?.attempts[0]?.worker)).toEqual([W2, W2, W2]);
  });

  test("where nobody finishes anything something is wrong that they share: nobody is set aside", () => {
    expect(only(failing().failed(C, 1), "set-aside")).toEqual([]);
  });

  test("it gets work again after a while, or when it is started anew", () => {
    const core = failing();
    finish(core, D, 1);
    core.failed(C, 1);
    expect(only(core.pass(40 * LEASE), "pardon")).toEqual([{ type: "pardon", worker: W1 }]);
    expect(core.state.workers.get(W1)?.setAside).toBeUndefined();
    const anew = failing();
    finish(anew, D, 1);
    anew.failed(C, 1);
    anew.attach(W1, 3, { trust: "other", incarnation: "second" });
    expect(anew.state.workers.get(W1)?.setAside).toBeUndefined();
  });

  test("one that computed wrongly does not, however often it is started", () => {
    const core = cluster([A], [W1, W2, W3], { audit: { share: 1, seed: 0 } });
    finish(core, A, 1, "wrong");
    const audit = core.state.units.get(A)!.attempts.find((attempt) => attempt.audit)!;
    core.on({ type: "audited", unit: A, attempt: audit.number, worker: audit.worker, sha256: "right" });
    const third = core.state.units.get(A)!.attempts[0]!;
    core.grant(A, third.number, third.worker, "right");
    core.attach(W1, 1, { trust: "other", incarnation: "second" });
    core.pass(100 * LEASE);
    expect(core.state.workers.get(W1)?.setAside?.code).toBe("coordinator/nondeterministic");
  });

  test("the last worker is better than none", () => {
    const core = cluster([A, B, C], [W1], { attemptsMax: 9 }, 3);
    for (const unit of [A, B, C]) core.failed(unit, 1);
    expect(core.state.workers.get(W1)?.setAside).toBeUndefined();
  });

  test("bad data fails the job at once, whoever says so", () => {
    const core = cluster([A], [W1, W2]);
    const effects = core.failed(A, 1, { code: "merge/nonfinite", retryable: false });
    expect(only(effects, "finished")).toMatchObject([{ outcome: "failed" }]);
  });

  test("what is wrong with one machine only is tried on another", () => {
    const core = cluster([A], [W1, W2]);
    expect(only(core.failed(A, 1, { code: "storage/not-found", retryable: false }), "assign")).toMatchObject([
      { worker: W2 },
    ]);
  });

  test("a full disk pauses the job, and what failed costs nothing", () => {
    const core = cluster([A], [W1]);
    const effects = core.failed(A, 1, { code: "storage/full", retryable: false });
    expect(only(effects, "journal-phase")).toMatchObject([{ phase: "paused", reason: { code: "storage/full" } }]);
    expect(only(effects, "assign")).toEqual([]);
    expect(core.state.units.get(A)?.failures).toBe(0);
    expect(types(core.on({ type: "resume-requested" }))).toEqual(["journal-phase", "assign"]);
  });

  test("attempts of which nothing more is heard are bounded too", () => {
    const core = cluster([A], [W1], { vanishedMax: 3 });
    let effects: readonly Effect[] = [];
    for (let k = 1; k <= 3; k++) {
      effects = core.pass(k * LEASE);
      core.on({ type: "heartbeat", worker: W1, held: [] });
    }
    expect(only(effects, "finished")).toMatchObject([{ cause: { code: "coordinator/workers-vanish" } }]);
  });
});

describe("what people ask", () => {
  const reason = failure({ code: "coordinator/paused", message: "by request" });

  test("a paused job finishes what is in flight, begins nothing, and stays paused in the journal", () => {
    const core = cluster([A, B], [W1]);
    expect(core.on({ type: "pause-requested", reason })).toEqual([{ type: "journal-phase", phase: "paused", reason }]);
    expect(finish(core, A, 1)).toEqual([]);
    expect(types(core.on({ type: "resume-requested" }))).toEqual(["journal-phase", "assign"]);
    expect(types(core.on({ type: "resume-requested" }))).toEqual([]);
  });

  test("a job that the journal says is paused begins nothing", () => {
    const core = new Core({ slices: [slice(A)], paused: reason });
    core.start();
    expect(core.attach(W1, 1, { trust: "other" })).toEqual([]);
    expect(only(core.on({ type: "resume-requested" }), "assign")).toHaveLength(1);
  });

  test("what a pause kept from being settled is settled afterwards", () => {
    const core = new Core({ slices: [slice(A)], tensors: [{ task: 4, slices: [A], settled: false }] });
    core.start();
    core.attach(W1, 1, { trust: "other" });
    const survey = "survey-4-1-0" as UnitId;
    core.on({ type: "round-begun", task: 4, surveys: [survey] });
    core.on({ type: "pause-requested", reason });
    expect(only(core.on({ type: "surveyed", unit: survey, attempt: 1 }), "settle")).toEqual([]);
    expect(only(core.on({ type: "resume-requested" }), "settle")).toEqual([{ type: "settle", task: 4 }]);
  });

  /** Through the journal's answers to the end. */
  function cancelled(core: Core): string[] {
    return types([
      ...core.on({ type: "phase-durable", phase: "cancelling" }),
      ...core.on({ type: "stage-discarded" }),
      ...core.on({ type: "phase-durable", phase: "cancelled" }),
    ]);
  }

  test("a cancelled job drops what is in flight, and removes the stage when nobody can write any more", () => {
    const core = cluster([A, B], [W1, W2]);
    core.grant(A, 1, W1, "x");
    expect(types(core.on({ type: "cancel-requested" }))).toEqual(["cancel", "cancel", "journal-phase"]);
    expect(core.on({ type: "phase-durable", phase: "cancelling" })).toEqual([]);
    expect(types(core.grant(B, 1, W2, "y"))).toEqual(["refuse"]);
    expect(core.pass(LEASE + IO - 1)).toEqual([]);
    expect(types(core.pass(LEASE + IO))).toEqual(["discard-stage"]);
    expect(types(core.on({ type: "stage-discarded" }))).toEqual(["journal-phase"]);
    expect(core.on({ type: "phase-durable", phase: "cancelled" })).toEqual([
      { type: "finished", outcome: "cancelled" },
    ]);
  });

  test("that a worker says it writes nothing any more spares the waiting", () => {
    const core = cluster([A], [W1]);
    core.grant(A, 1, W1, "x");
    core.on({ type: "cancel-requested" });
    core.on({ type: "phase-durable", phase: "cancelling" });
    const effects = core.on({ type: "handed-back", worker: W1, attempts: [{ unit: A, attempt: 1 }] });
    expect(types(effects)).toEqual(["discard-stage"]);
  });

  test("a terminated job has ended as soon as the journal has it; the stage goes later", () => {
    const core = cluster([A], [W1]);
    core.grant(A, 1, W1, "x");
    expect(types(core.on({ type: "terminate-requested" }))).toEqual(["cancel", "journal-phase"]);
    expect(core.on({ type: "phase-durable", phase: "cancelling" })).toEqual([
      { type: "finished", outcome: "cancelled" },
    ]);
    expect(types(core.pass(LEASE + IO))).toEqual(["discard-stage"]);
    core.on({ type: "stage-discarded" });
    expect(types(core.on({ type: "phase-durable", phase: "cancelled" }))).toEqual(["discarded"]);
  });

  test("a job that was being cancelled when its coordinator died is cancelled by the next, after earlier leases", () => {
    const core = new Core({ limits: { ...LIMITS, earlierGrantsMs: 700 }, slices: [slice(A)], cancelling: true });
    expect(core.start()).toEqual([]);
    expect(core.attach(W1, 1, { trust: "other" })).toEqual([]);
    expect(types(core.pass(699))).toEqual([]);
    expect(types(core.pass(700))).toEqual(["discard-stage"]);
  });

  test("nothing is cancelled while files are being published", () => {
    const core = cluster([A], [W1]);
    finish(core, A, 1);
    core.sealBegun(["seal-1-0" as UnitId]);
    expect(only(core.sealed("seal-1-0" as UnitId, 1), "publish")).toHaveLength(1);
    expect(core.on({ type: "cancel-requested" })).toEqual([]);
    expect(core.on({ type: "published" })).toEqual([{ type: "finished", outcome: "done" }]);
  });

  test("a job in which nothing was begun is cancelled at once", () => {
    const core = cluster([A], []);
    core.on({ type: "cancel-requested" });
    expect(cancelled(core)).toEqual(["discard-stage", "journal-phase", "finished"]);
  });
});
