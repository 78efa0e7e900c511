/** Workers that are wrong about what they were lent, or speak of what others were: nothing is believed, nothing throws, the job goes on. */
import { describe, expect, test } from "vitest";
import type { CoreEvent, Effect } from "../../../coordinator/core/index.ts";
import type { UnitId, WorkerId } from "../../../merge/work/index.ts";
import { A, B, Core, LIMITS, only, SEAL, slice, W1, W2 } from "./harness.ts";

const SURVEY = "survey-0-1-0" as UnitId;
const W3 = "w3" as WorkerId;

type Kind = "slice" | "audit" | "survey" | "seal";

/** A unit of a kind that W1 was lent as attempt 1, or 2 for audits; W2 is there as well. */
function lent(kind: Kind): { readonly core: Core; readonly unit: UnitId; readonly attempt: number } {
  const isCut = kind === "survey";
  const core = new Core({
    limits: { ...LIMITS, attemptsMax: 5, ...(kind === "audit" ? { audit: { share: 1, seed: 1 } } : {}) },
    slices: [slice(A)],
    tensors: isCut ? [{ task: 0, slices: [A], settled: false }] : [],
  });
  core.start();
  if (kind === "audit") {
    core.attach(W2, 1, { trust: "other" });
    finish(core, W2, 1);
    core.attach(W1, 1, { trust: "other" });
    return { core, unit: A, attempt: 2 };
  }
  core.attach(W1, 1, { trust: "other" });
  if (kind === "survey") core.on({ type: "round-begun", task: 0, surveys: [SURVEY] });
  if (kind === "seal") {
    finish(core, W1, 1);
    core.sealBegun([SEAL]);
  }
  core.attach(W2, 1, { trust: "other" });
  return { core, unit: isCut ? SURVEY : kind === "seal" ? SEAL : A, attempt: 1 };
}

function finish(core: Core, worker: WorkerId, attempt: number): readonly Effect[] {
  core.grant(A, attempt, worker, "right");
  core.on({ type: "slice-computed", worker, unit: A, attempt, sha256: "right" });
  return core.durable(A, "right");
}

function say(type: string, { unit, attempt }: { unit: UnitId; attempt: number }, worker: WorkerId): CoreEvent {
  const more = type === "sealed" ? { damaged: [] } : type === "surveyed" ? {} : { sha256: "nonsense" };
  return { type, worker, unit, attempt, ...more } as CoreEvent;
}

const fitting: Readonly<Record<Kind, readonly string[]>> = {
  slice: ["slice-computed", "grant-requested"],
  audit: ["audited", "grant-requested"],
  survey: ["surveyed"],
  seal: ["sealed"],
};
const all = ["grant-requested", "slice-computed", "audited", "surveyed", "sealed"];
const misfits = (Object.keys(fitting) as Kind[]).flatMap((kind) =>
  all.filter((type) => !fitting[kind].includes(type)).map((type) => ({ kind, type })),
);

describe("a report of another kind than what was lent", () => {
  test.each(misfits)("$type of a $kind: refused, counted, and the worker gets no more work", ({ kind, type }) => {
    const { core, unit, attempt } = lent(kind);
    const before = core.state.units.get(unit)?.status;
    const effects = core.all(say(type, { unit, attempt }, W1));
    expect(effects.slice(0, 2)).toEqual([
      { type: "count", counter: "refused-report" },
      { type: type === "grant-requested" ? "refuse" : "stale", worker: W1, unit, attempt },
    ]);
    expect(only(effects, "set-aside")).toMatchObject([
      { worker: W1, failure: { code: "coordinator/other-than-lent", message: expect.stringContaining(unit) } },
    ]);
    // W2 has it now, but for an audit of what it wrote itself.
    expect(only(effects, "assign").map(({ worker }) => worker)).toEqual(kind === "audit" ? [] : [W2]);
    expect(core.state.units.get(unit)?.status).toBe(before);
  });

  test.each(misfits)("$type of a $kind by somebody who does not have it changes nothing", ({ kind, type }) => {
    const { core, unit, attempt } = lent(kind);
    const before = structuredClone(core.state);
    const effects = core.all(say(type, { unit, attempt }, W2));
    expect(effects.map((effect) => effect.type)).toEqual(["count", type === "grant-requested" ? "refuse" : "stale"]);
    expect(core.state).toEqual(before);
  });

  test("of a slice that is on its way into the journal changes nothing", () => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1, 1, { trust: "other" });
    core.attach(W2, 1, { trust: "other" });
    core.grant(A, 1, W1, "right");
    core.computed(A, 1, "right");
    expect(core.on({ type: "surveyed", unit: A, attempt: 1 })).toEqual([{ type: "count", counter: "refused-report" }]);
    expect(only(core.durable(A, "right"), "begin-seal")).toHaveLength(1);
  });

  test("whoever wrote may still be writing: nobody else is granted before its lease is over", () => {
    const { core } = lent("slice");
    core.grant(A, 1, W1, "right");
    core.on({ type: "surveyed", unit: A, attempt: 1 });
    expect(only(core.grant(A, 2, W2, "right"), "later")).toHaveLength(1);
    core.nowMs = LIMITS.leaseMs + LIMITS.ioTimeoutMs;
    expect(only(core.grant(A, 2, W2, "right"), "grant")).toHaveLength(1);
  });

  test("the only worker goes on, and a unit of which it never says anything else fails the job with the reason", () => {
    const core = new Core({ slices: [slice(A), slice(B)] });
    core.start();
    core.attach(W1, 1, { trust: "other" });
    let effects: readonly Effect[] = [];
    for (let k = 0; k < 10 && only(effects, "finished").length === 0; k++) {
      const { unit, attempt } = [...core.state.units.values()]
        .map(({ id, attempt, attempts }) => ({ unit: id, attempt, isHeld: attempts.length > 0 }))
        .find(({ isHeld }) => isHeld)!;
      effects = core.on({ type: "surveyed", unit, attempt });
    }
    expect(only(effects, "finished")).toMatchObject([
      { outcome: "failed", cause: { code: "coordinator/other-than-lent" } },
    ]);
  });

  test("a worker that was set aside for it gets work again after a while", () => {
    const { core } = lent("slice");
    core.on({ type: "surveyed", unit: A, attempt: 1 });
    expect(only(core.pass(39 * LIMITS.leaseMs), "pardon")).toEqual([]);
    expect(only(core.pass(40 * LIMITS.leaseMs), "pardon")).toEqual([{ type: "pardon", worker: W1 }]);
  });
});

describe("a late report", () => {
  /** A was lent to W1, which lost it, and is done by W2; W3 was never lent anything. */
  function doneByAnother(): Core {
    const core = new Core({ limits: LIMITS, slices: [slice(A)] });
    core.start();
    core.attach(W1, 1, { trust: "other" });
    core.grant(A, 1, W1, "right");
    core.attach(W2, 1, { trust: "other" });
    core.attach(W3, 0, { trust: "other" });
    core.pass(LIMITS.leaseMs + LIMITS.ioTimeoutMs);
    core.grant(A, 2, W2, "right");
    core.on({ type: "slice-computed", worker: W2, unit: A, attempt: 2, sha256: "right" });
    core.durable(A, "right");
    expect(core.state.units.get(A)).toMatchObject({ status: "done" });
    return core;
  }
  const late = (core: Core, worker: WorkerId, attempt: number) =>
    core.all({ type: "slice-computed", worker, unit: A, attempt, sha256: "other" });

  test("of whoever was lent that attempt tells that one of two was wrong", () => {
    const core = doneByAnother();
    expect(only(late(core, W1, 1), "journal-disputed")).toMatchObject([{ unit: A }]);
    expect(core.state.units.get(A)?.status).not.toBe("done");
  });

  test.each([
    ["another's attempt", W3, 1],
    ["the attempt that is done", W3, 2],
    ["another's attempt, by one that has its own", W1, 2],
    ["an attempt that nobody was lent", W1, 7],
    ["an attempt of an earlier epoch", W1, 0],
  ])("of %s overturns nothing", (_, worker, attempt) => {
    const core = doneByAnother();
    const before = structuredClone(core.state);
    expect(late(core, worker, attempt).map(({ type }) => type)).toEqual(["count", "stale"]);
    expect(core.state).toEqual(before);
  });

  test("of a worker that was set aside overturns nothing", () => {
    const core = doneByAnother();
    core.on({ type: "slots-changed", worker: W2, slots: 0 });
    core.attach(W1, 1, { trust: "other" });
    core.sealBegun([SEAL]);
    core.on({ type: "surveyed", worker: W1, unit: SEAL, attempt: 1 });
    expect(core.state.workers.get(W1)?.setAside).toBeDefined();
    expect(late(core, W1, 1).map(({ type }) => type)).toEqual(["count", "stale"]);
    expect(core.state.units.get(A)?.status).toBe("done");
  });

  test("that is repeated by whoever is done is answered as the first one was; by others it is stale", () => {
    const core = doneByAnother();
    const again = (worker: WorkerId) =>
      core.answersTo({ type: "slice-computed", worker, unit: A, attempt: 2, sha256: "right" });
    expect([again(W2), again(W3), again(W2)]).toEqual([["accept"], ["stale"], ["accept"]]);
  });
});

test.each(["unit-failed", "slice-computed"] as const)(
  "%s of another's attempt does not say that nothing of it is being written",
  (type) => {
    const core = new Core({ slices: [slice(A)] });
    core.start();
    core.attach(W1, 1, { trust: "other" });
    core.attach(W2, 1, { trust: "other" });
    core.grant(A, 1, W1, "right");
    const failure = { code: "storage/io", message: "", hint: "", retryable: true };
    core.all({ type, worker: W2, unit: A, attempt: 1, sha256: "x", failure } as never);
    expect(core.state.grants.get(A)).toMatchObject({ attempt: 1, worker: W1 });
  },
);
