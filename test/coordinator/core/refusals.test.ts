/** What storage refuses to one worker, and others may do: a quota, a limit of its process, a right that it lacks. */
import { expect, test } from "vitest";
import type { UnitId, WorkerId } from "../../../merge/work/index.ts";
import { A, B, Core, LIMITS, only, slice, W1, W2 } from "./harness.ts";

const W3 = "w3" as WorkerId;
const DENIED = { code: "storage/denied", retryable: false };
const { leaseMs: LEASE } = LIMITS;

function cluster(
  units: readonly UnitId[],
  workers: readonly WorkerId[],
  audit?: { share: number; seed: number },
): Core {
  const limits = { ...LIMITS, ...(audit === undefined ? {} : { audit }) };
  const core = new Core({ limits, slices: units.map((id) => slice(id)) });
  core.start();
  for (const worker of workers) core.attach(worker, 2, { trust: "other" });
  return core;
}

function newest(core: Core, unit: UnitId): { readonly number: number; readonly worker: WorkerId } {
  return core.state.units.get(unit)!.attempts.at(-1)!;
}

/** Whoever has the slice is refused. */
function refuses(core: Core, unit: UnitId) {
  return core.failed(unit, newest(core, unit).number, DENIED);
}

test("the worker is set aside, for this job alone; others have its slices, which it costs nothing", () => {
  const core = cluster([A, B], [W1, W2]);
  const { worker } = newest(core, A);
  const effects = refuses(core, A);
  expect(only(effects, "set-aside")).toMatchObject([{ worker, isRefused: true, failure: DENIED }]);
  expect(core.state.paused).toBeUndefined();
  for (const unit of [A, B]) expect(newest(core, unit).worker).not.toBe(worker);
  expect(core.state.units.get(A)).toMatchObject({ failures: 0, failedOn: undefined });
  core.nowMs = 10;
  for (const unit of [A, B]) {
    core.grant(unit, newest(core, unit).number, newest(core, unit).worker, "x");
    core.computed(unit, newest(core, unit).number, "x");
    core.durable(unit, "x");
  }
  expect(core.state.slicesOpen).toBe(0);
});

test("where it is so for all the job pauses, and nobody is set aside any more", () => {
  const core = cluster([A], [W1, W2, W3]);
  expect(only(refuses(core, A), "set-aside")).toHaveLength(1);
  expect(only(refuses(core, A), "set-aside")).toHaveLength(1);
  const effects = refuses(core, A);
  expect(only(effects, "set-aside")).toEqual([]);
  expect(only(effects, "journal-phase")).toMatchObject([{ phase: "paused", reason: DENIED }]);
  expect([...core.state.workers.values()].filter(({ able }) => able)).toHaveLength(3);
  expect(only(core.on({ type: "resume-requested" }), "assign")).toHaveLength(1);
});

test("a full disk is full for all", () => {
  const core = cluster([A], [W1, W2]);
  const effects = core.failed(A, 1, { code: "storage/full", retryable: false });
  expect(only(effects, "set-aside")).toEqual([]);
  expect(core.state.paused).toMatchObject({ code: "storage/full" });
});

test("the only worker pauses the job; one that cannot decide what is open does not count as another", () => {
  const alone = cluster([A], [W1]);
  refuses(alone, A);
  expect(alone.state.paused).toMatchObject(DENIED);
  const core = cluster([A], [W1, W2], { share: 1, seed: 0 });
  const first = newest(core, A);
  core.grant(A, first.number, first.worker, "x");
  core.computed(A, first.number, "x");
  core.durable(A, "x");
  expect(newest(core, A)).toMatchObject({ audit: true });
  refuses(core, A); // nobody else may audit it
  expect(core.state.paused).toMatchObject(DENIED);
});

test("it tries again when somebody resumes the job, when it is started anew, and after a while", () => {
  const aside = () => {
    const core = cluster([A, B], [W1, W2]);
    const { worker } = newest(core, A);
    refuses(core, A);
    return { core, isAside: () => core.state.workers.get(worker)?.setAside !== undefined, worker };
  };
  const resumed = aside();
  resumed.core.on({ type: "pause-requested", reason: { ...DENIED, message: "", hint: "" } });
  resumed.core.on({ type: "resume-requested" });
  expect(resumed.isAside()).toBe(false);
  const anew = aside();
  anew.core.attach(anew.worker, 2, { trust: "other", incarnation: "second" });
  expect(anew.isAside()).toBe(false);
  const later = aside();
  later.core.pass(40 * LEASE - 1);
  expect(later.isAside()).toBe(true);
  expect(only(later.core.pass(40 * LEASE), "pardon")).toEqual([]); // nobody was told that it was set aside
  expect(later.isAside()).toBe(false);
});

test("where the others have gone, and not for a moment only, it is asked once more, and the job pauses", () => {
  const core = cluster([A], [W1, W2]);
  const { worker } = newest(core, A);
  refuses(core, A);
  core.on({ type: "worker-draining", worker: worker === W1 ? W2 : W1 });
  core.pass(10);
  expect(core.state.workers.get(worker)?.able).toBe(false);
  core.on({ type: "worker-detached", worker: worker === W1 ? W2 : W1 });
  core.pass(2 * LEASE + 10);
  expect(newest(core, A).worker).toBe(worker);
  refuses(core, A);
  expect(core.state.paused).toMatchObject(DENIED);
});
