/** A coordinator that takes over grants what earlier epochs cannot be writing, at once; and tells the next one what it must know. */
import { describe, expect, test } from "vitest";
import type { Effect, Stretch, WriterRun } from "../../../coordinator/core/index.ts";
import type { UnitId, WorkerId } from "../../../merge/work/index.ts";
import { A, B, C, Core, failure, LIMITS, only, slice, W1, W2 } from "./harness.ts";

const W3 = "w3" as WorkerId;
const FENCE = 5000;
/** Attempts of earlier epochs are numbered below. */
const BASE = 100;

const run = (worker: WorkerId, incarnation = "first"): WriterRun => ({ worker, incarnation });
/** A and B, of which workers have runs of two. */
const BOTH: Stretch = { from: 0, to: 2 };
const types = (effects: readonly Effect[]) => effects.map(({ type }) => type);

/** An epoch after one in which these runs may have had grants. */
function takenOver(writers: readonly WriterRun[] | undefined, units: readonly UnitId[] = [A, B]): Core {
  const limits = { ...LIMITS, earlierGrantsMs: FENCE, attemptBase: BASE, leaseMs: 1000, runLength: 2 };
  const core = new Core({ limits, slices: units.map((id) => slice(id)), earlierWriters: writers });
  core.start();
  return core;
}

function attach(core: Core, worker: WorkerId, facts: { incarnation?: string; slots?: number } = {}): void {
  const { slots = 2, ...more } = facts;
  core.attach(worker, slots, { trust: "other", ...more });
}

function tell(core: Core, worker: WorkerId, attempts: readonly { unit: UnitId; attempt: number }[] = []): void {
  core.on({ type: "writing-told", worker, attempts });
}

const asks = (core: Core, unit: UnitId, worker: WorkerId) =>
  types(core.grant(unit, core.state.units.get(unit)!.attempt, worker, "x")).filter((type) => type !== "count");

describe("what is granted after a take-over", () => {
  test("everything at once, where nobody had a grant", () => {
    const core = takenOver([]);
    attach(core, W1);
    expect(asks(core, A, W1)).toEqual(["grant"]);
  });

  test("nothing before the leases of earlier epochs are over, where it is not known who had grants", () => {
    const core = takenOver(undefined);
    attach(core, W1);
    tell(core, W1);
    core.nowMs = FENCE - 1;
    expect(asks(core, A, W1)).toEqual(["later"]);
  });

  test("everything, once all that had grants have said that they write nothing", () => {
    const core = takenOver([run(W1), run(W2)]);
    attach(core, W1);
    tell(core, W1);
    expect(asks(core, A, W1)).toEqual(["later"]);
    attach(core, W2);
    tell(core, W2);
    expect(asks(core, A, W1)).toEqual(["grant"]);
  });

  test("attaching alone says nothing, nor does another process under the same name", () => {
    const core = takenOver([run(W1)]);
    attach(core, W1, { incarnation: "second" });
    tell(core, W1);
    expect(asks(core, A, W1)).toEqual(["later"]);
    attach(core, W2);
    expect(asks(core, B, W1)).toEqual(["later"]);
  });

  test("not the slice that somebody may still be writing, until it is handed back by that worker", () => {
    const core = takenOver([run(W1)]);
    attach(core, W1);
    tell(core, W1, [{ unit: A, attempt: 7 }]);
    expect(asks(core, B, W1)).toEqual(["grant"]);
    expect(asks(core, A, W1)).toEqual(["later"]);
    core.on({ type: "handed-back", worker: W2, attempts: [{ unit: A, attempt: 7 }] });
    core.on({ type: "handed-back", worker: W1, attempts: [{ unit: A, attempt: 8 }] });
    expect(asks(core, A, W1)).toEqual(["later"]);
    core.on({ type: "handed-back", worker: W1, attempts: [{ unit: A, attempt: 7 }] });
    expect(asks(core, A, W1)).toEqual(["grant"]);
  });

  test("what was said last counts: a hand-back that got lost is made good by the next hello", () => {
    const core = takenOver([run(W1)]);
    attach(core, W1);
    tell(core, W1, [{ unit: A, attempt: 7 }]);
    tell(core, W1);
    expect(asks(core, A, W1)).toEqual(["grant"]);
  });

  test("whoever does not come is waited for, and no longer than leases last", () => {
    const core = takenOver([run(W1), run(W3)]);
    attach(core, W1);
    tell(core, W1);
    core.nowMs = FENCE - 1;
    expect(asks(core, A, W1)).toEqual(["later"]);
    core.nowMs = FENCE;
    expect(asks(core, A, W1)).toEqual(["grant"]);
  });

  test("what whoever does not come may be writing waits and is not lent meanwhile, and nothing else", () => {
    const gone = { ...run(W3), stretches: [{ from: 0, to: 1 }] };
    const core = takenOver([{ ...run(W1), stretches: [{ from: 1, to: 3 }] }, gone], [A, B, C]);
    attach(core, W1, { slots: 3 });
    tell(core, W1);
    expect([...core.state.workers.get(W1)!.units]).toEqual([B, C]);
    expect(asks(core, B, W1)).toEqual(["grant"]);
    expect(asks(core, C, W1)).toEqual(["grant"]);
    core.nowMs = FENCE - 1;
    attach(core, W2, { slots: 3 });
    expect([...core.state.workers.get(W2)!.units]).not.toContain(A);
    core.pass(FENCE);
    expect([...core.state.workers.get(W2)!.units]).toContain(A);
    expect(asks(core, A, W2)).toEqual(["grant"]);
  });

  test("what it was named for twice waits for it once, as what two were named for waits for both", () => {
    const twice = { ...run(W1), stretches: [BOTH, { from: 1, to: 2 }, BOTH] };
    const core = takenOver([twice, { ...run(W2), stretches: [{ from: 1, to: 2 }] }]);
    attach(core, W1);
    tell(core, W1);
    expect([...core.state.workers.get(W1)!.units]).toEqual([A]);
    expect(asks(core, A, W1)).toEqual(["grant"]);
    attach(core, W2, { slots: 0 });
    tell(core, W2);
    expect([...core.state.workers.get(W1)!.units]).toEqual([A, B]);
    expect(asks(core, B, W1)).toEqual(["grant"]);
  });

  test("one of whom it is not known what it was granted holds up everything", () => {
    const core = takenOver([{ ...run(W1), stretches: [BOTH] }, run(W3)]);
    attach(core, W1);
    tell(core, W1);
    expect(asks(core, A, W1)).toEqual(["later"]);
  });

  test("an attempt that was not lent here is of an earlier epoch, whatever its number: one that the journal lost had as large ones", () => {
    const core = takenOver([run(W1)]);
    attach(core, W1, { slots: 0 });
    tell(core, W1, [{ unit: A, attempt: BASE + 900 }]);
    attach(core, W2);
    expect(asks(core, A, W2)).toEqual(["later"]);
    expect(asks(core, B, W2)).toEqual(["grant"]);
    core.on({ type: "handed-back", worker: W1, attempts: [{ unit: A, attempt: BASE + 900 }] });
    expect(asks(core, A, W2)).toEqual(["grant"]);
  });

  test("the stage of a job that was being cancelled goes as soon as nothing of earlier epochs writes", () => {
    const limits = { ...LIMITS, earlierGrantsMs: FENCE, attemptBase: BASE };
    const core = new Core({ limits, slices: [slice(A)], cancelling: true, earlierWriters: [run(W1)] });
    core.start();
    attach(core, W1);
    expect(types(core.on({ type: "writing-told", worker: W1, attempts: [{ unit: A, attempt: 7 }] }))).toEqual([]);
    expect(types(core.on({ type: "handed-back", worker: W1, attempts: [{ unit: A, attempt: 7 }] }))).toEqual([
      "discard-stage",
    ]);
  });
});

describe("what the next epoch is told", () => {
  /** Told to the letter. */
  function telling(writers: readonly WriterRun[] | undefined = []): Core {
    const core = takenOver(writers);
    core.namesAtOnce = false;
    return core;
  }
  const durable = (core: Core, worker: WorkerId) =>
    core.on({ type: "writer-durable", worker, incarnation: "first", stretch: BOTH });

  test("a worker stands in the journal before its first grant, and is asked for once", () => {
    const core = telling();
    const effects = core.attach(W1, 2, { trust: "other" });
    const asked = { type: "journal-writer", worker: W1, incarnation: "first", stretch: BOTH };
    expect(only(effects, "journal-writer")).toEqual([asked]);
    expect(asks(core, A, W1)).toEqual([]);
    expect(only(durable(core, W1), "grant")).toMatchObject([{ worker: W1, unit: A }]);
    expect(asks(core, B, W1)).toEqual(["grant"]);
    expect(durable(core, W1)).toEqual([]);
  });

  test("it is named for each stretch of slices that it has some of; a grant waits for its own", () => {
    const core = takenOver([], [A, B, C]);
    core.namesAtOnce = false;
    const asked = only(core.attach(W1, 3, { trust: "other" }), "journal-writer").map(({ stretch }) => stretch);
    expect(asked).toEqual([BOTH, { from: 2, to: 3 }]);
    for (const unit of [A, C]) expect(asks(core, unit, W1)).toEqual([]);
    const told = core.on({ type: "writer-durable", worker: W1, incarnation: "first", stretch: { from: 2, to: 3 } });
    expect(only(told, "grant")).toMatchObject([{ unit: C }]);
    expect(only(durable(core, W1), "grant")).toMatchObject([{ unit: A }]);
  });

  test("another process under the same name is another", () => {
    const core = telling();
    core.attach(W1, 1, { trust: "other" });
    durable(core, W1);
    core.attach(W1, 1, { trust: "other", incarnation: "second" });
    expect(asks(core, A, W1)).toEqual([]);
    expect(durable(core, W1)).toEqual([]);
    const named = core.on({ type: "writer-durable", worker: W1, incarnation: "second", stretch: BOTH });
    expect(only(named, "grant")).toMatchObject([{ worker: W1, unit: A }]);
  });

  test("each question that waited is answered once, as if it was asked then", () => {
    const core = telling();
    core.attach(W1, 2, { trust: "other" });
    asks(core, A, W1);
    asks(core, A, W1);
    asks(core, B, W1);
    const { number } = core.state.units.get(B)!.attempts[0]!;
    core.on({ type: "worker-draining", worker: W1 });
    core.on({ type: "handed-back", worker: W1, attempts: [{ unit: B, attempt: number }] });
    core.nowMs = 10;
    expect(types(durable(core, W1)).filter((type) => type !== "count")).toEqual(["grant", "refuse"]);
    expect(core.state.grants.get(A)?.endsMs).toBe(10 + LIMITS.leaseMs + LIMITS.ioTimeoutMs);
  });

  test("what was asked over a connection that is gone is asked anew over the next", () => {
    const core = telling();
    core.attach(W1, 1, { trust: "other" });
    asks(core, A, W1);
    const held = core.state.units.get(A)!.attempts.map(({ number: attempt }) => ({ unit: A, attempt }));
    core.on({ type: "worker-detached", worker: W1 });
    core.attach(W1, 1, { trust: "other", held });
    expect(durable(core, W1)).toEqual([]);
    expect(asks(core, A, W1)).toEqual(["grant"]);
  });

  test("threads of this process are not named: they end with it", () => {
    const core = telling();
    expect(only(core.attach(W1, 2), "journal-writer")).toEqual([]);
    expect(asks(core, A, W1)).toEqual(["grant"]);
  });

  test("one that drained is taken back as it goes; one that vanished once its last grant is over", () => {
    const core = telling();
    for (const worker of [W1, W2]) {
      core.attach(worker, 1, { trust: "other" });
      durable(core, worker);
    }
    core.on({ type: "worker-draining", worker: W1 });
    const [a] = core.state.units.get(A)!.attempts;
    core.on({ type: "handed-back", worker: W1, attempts: [{ unit: A, attempt: a!.number }] });
    expect(only(core.on({ type: "worker-detached", worker: W1 }), "journal-writer-gone")).toMatchObject([
      { worker: W1 },
    ]);
    expect(asks(core, B, W2)).toEqual(["grant"]);
    core.on({ type: "worker-detached", worker: W2 });
    const over = LIMITS.leaseMs + LIMITS.ioTimeoutMs;
    expect(only(core.pass(over - 1), "journal-writer-gone")).toEqual([]);
    expect(only(core.pass(over), "journal-writer-gone")).toMatchObject([{ worker: W2 }]);
  });

  test("once that nothing of earlier epochs writes any more", () => {
    const core = telling([run(W1)]);
    core.attach(W1, 1, { trust: "other" });
    const told = core.on({ type: "writing-told", worker: W1, attempts: [] });
    expect(only(told, "journal-phase")).toEqual([{ type: "journal-phase", phase: "alone" }]);
    expect(only(core.pass(FENCE), "journal-phase")).toEqual([]);
  });

  test("a clean end is told before it is one; a journal that fails is not waited for", () => {
    const core = telling();
    core.attach(W1, 1, { trust: "other" });
    durable(core, W1);
    const { number } = core.state.units.get(A)!.attempts[0]!;
    core.on({ type: "stop-requested" });
    const idle = core.on({ type: "handed-back", worker: W1, attempts: [{ unit: A, attempt: number }] });
    expect(only(idle, "journal-phase")).toEqual([{ type: "journal-phase", phase: "stopped" }]);
    expect(only(idle, "finished")).toEqual([]);
    expect(types(core.on({ type: "phase-durable", phase: "stopped" }))).toEqual(["finished"]);
  });

  test("not where the journal cannot be told, or somebody may be writing", () => {
    const failing = telling();
    failing.attach(W1, 1, { trust: "other" });
    const unavailable = failure({ code: "journal/unavailable" });
    expect(types(failing.on({ type: "job-failed", failure: unavailable }))).toEqual(["cancel", "finished"]);

    const writing = telling();
    writing.attach(W1, 1, { trust: "other" });
    durable(writing, W1);
    expect(asks(writing, A, W1)).toEqual(["grant"]);
    writing.on({ type: "stop-requested" });
    writing.on({ type: "worker-detached", worker: W1 });
    expect(types(writing.pass(LIMITS.leaseMs))).toEqual(["count", "finished"]);
  });

  test("a job ends although its last word cannot be made durable", () => {
    const core = telling();
    core.attach(W1, 1, { trust: "other" });
    core.on({ type: "stop-requested" });
    const { number } = core.state.units.get(A)!.attempts[0]!;
    core.on({ type: "handed-back", worker: W1, attempts: [{ unit: A, attempt: number }] });
    const ended = core.on({ type: "job-failed", failure: failure({ code: "journal/unavailable" }) });
    expect(only(ended, "finished")).toHaveLength(1);
  });
});
