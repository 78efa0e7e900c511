/** What one worker says of a survey, or of what storage holds: when it does, and who is asked besides. */
import { describe, expect, test } from "vitest";
import type { UnitId, WorkerId } from "../../../merge/work/index.ts";
import { A, Core, LIMITS, only, SEAL, slice, W1, W2 } from "./harness.ts";

const W3 = "w3" as WorkerId;
const S0 = "survey-0-1-0" as UnitId;
const FILE = "seal-1-1" as UnitId;
const audit = { share: 1, seed: 0 };

function attach(core: Core, ...workers: WorkerId[]): void {
  for (const worker of workers) core.attach(worker, 1, { trust: "other" });
}

/** Who has the unit now. */
function holder(core: Core, unit: UnitId): { worker: WorkerId; attempt: number } {
  const [attempt] = core.state.units.get(unit)!.attempts;
  return { worker: attempt!.worker, attempt: attempt!.number };
}

/** A job of one slice that is done, with its seal before it. */
function sealing(units: readonly { unit: UnitId; slices: UnitId[]; isUnproven?: boolean }[], limits = LIMITS): Core {
  const core = new Core({ slices: [slice(A, { doneSha256: "a", attempt: 1, audited: true })], limits });
  core.start();
  core.on({ type: "seal-begun", units });
  return core;
}

function sealed(core: Core, unit: UnitId, answer: string, damaged: UnitId[] = []) {
  return core.all({ type: "sealed", unit, ...holder(core, unit), answer, damaged });
}

const taken = (effects: ReturnType<Core["all"]>) => only(effects, "take").map(({ worker }) => worker);

describe("a worker that says that storage damaged a slice", () => {
  const units = [{ unit: SEAL, slices: [A] }];

  test("is not believed before another has read it; where that one finds it sound, nothing is lost", () => {
    const core = sealing(units);
    attach(core, W1, W2);
    const first = holder(core, SEAL).worker;
    const effects = sealed(core, SEAL, "damaged", [A]);
    expect(only(effects, "accept")).toHaveLength(1);
    expect([taken(effects), only(effects, "journal-lost")]).toEqual([[], []]);
    expect(holder(core, SEAL).worker).not.toBe(first);
    attach(core, W3);
    expect(taken(sealed(core, SEAL, "sound"))).toEqual([]);
    expect(holder(core, SEAL).worker).toBe(W3);
    const last = sealed(core, SEAL, "sound");
    expect(taken(last)).toHaveLength(1);
    expect(taken(last)).not.toContain(first);
    expect(only(last, "journal-lost")).toEqual([]);
    expect(only(last, "publish")).toHaveLength(1);
  });

  test("is believed where another says the same: the slice is computed again", () => {
    const core = sealing(units);
    attach(core, W1, W2);
    sealed(core, SEAL, "damaged", [A]);
    expect(only(sealed(core, SEAL, "damaged", [A]), "journal-lost")).toHaveLength(1);
    expect(core.state.slicesOpen).toBe(1);
  });

  test("is believed at once where it is the only one", () => {
    const core = sealing(units);
    attach(core, W1);
    expect(only(sealed(core, SEAL, "damaged", [A]), "journal-lost")).toHaveLength(1);
  });

  test("is believed where another says otherwise and there is no third: rather computed twice than published damaged", () => {
    const core = sealing(units);
    attach(core, W1, W2);
    sealed(core, SEAL, "sound", []);
    expect(core.state.units.get(SEAL)!.status).toBe("done");
    const other = sealing(units);
    attach(other, W1, W2);
    sealed(other, SEAL, "damaged", [A]);
    expect(only(sealed(other, SEAL, "sound"), "journal-lost")).toHaveLength(1);
  });

  test("is believed once those who could be asked have gone", () => {
    const core = sealing(units);
    attach(core, W1, W2);
    sealed(core, SEAL, "damaged", [A]);
    const { worker } = holder(core, SEAL);
    core.on({ type: "worker-detached", worker });
    core.on({ type: "handed-back", worker, attempts: [{ unit: SEAL, attempt: 2 }] });
    expect(only(core.pass(10), "journal-lost")).toHaveLength(1);
  });

  test("time and again, falsely, loses nothing, and holds nobody up", () => {
    const names = [0, 1, 2].map((k) => `seal-1-${k}` as UnitId);
    const core = sealing(names.map((unit) => ({ unit, slices: [A] })));
    attach(core, W1);
    attach(core, W2, W3);
    for (let k = 0; k < 12 && core.state.sealsOpen > 0; k++) {
      for (const unit of names) {
        if (core.state.units.get(unit)!.attempts.length === 0) continue;
        const isLiar = holder(core, unit).worker === W1;
        const effects = isLiar ? sealed(core, unit, "damaged", [A]) : sealed(core, unit, "sound");
        expect(only(effects, "journal-lost")).toEqual([]);
      }
    }
    expect(core.state.sealsOpen).toBe(0);
  });
});

describe("the hash of a whole shard, which nothing is known of", () => {
  const units = [{ unit: FILE, slices: [A], isUnproven: true }];

  test("is taken from one worker where nothing is audited", () => {
    const core = sealing(units);
    attach(core, W1, W2);
    expect(taken(sealed(core, FILE, "x"))).toHaveLength(1);
  });

  test("is made by two where it is chosen for an audit; the third decides, and blames", () => {
    const core = sealing(units, { ...LIMITS, audit });
    attach(core, W1, W2, W3);
    const liar = holder(core, FILE).worker;
    expect(taken(sealed(core, FILE, "lie"))).toEqual([]);
    expect(taken(sealed(core, FILE, "true"))).toEqual([]);
    const honest = holder(core, FILE).worker;
    expect(taken(sealed(core, FILE, "true"))).not.toContain(liar);
    expect(core.state.workers.get(liar)!.faults.has(FILE)).toBe(true);
    expect(core.state.workers.get(honest)!.faults.size).toBe(0);
  });

  test("of two that differ, and nobody else, is asked anew of both; in the end the job fails and names them", () => {
    const core = sealing(units, { ...LIMITS, audit });
    attach(core, W1, W2);
    let cause: string | undefined;
    for (let k = 0; k < 2 * LIMITS.attemptsMax; k++) {
      const { worker } = holder(core, FILE);
      const failed = only(sealed(core, FILE, `of ${worker}`), "journal-quarantined");
      cause ??= failed[0]?.failure.message;
    }
    expect(cause).toBe("w1, w2 each answered seal-1-1 otherwise");
  });

  test("of the only worker is waited for as audits are, and then taken", () => {
    const core = sealing(units, { ...LIMITS, audit });
    attach(core, W1);
    expect(taken(sealed(core, FILE, "x"))).toEqual([]);
    expect(only(core.pass(7 * LIMITS.leaseMs), "publish")).toEqual([]);
    const effects = core.pass(8 * LIMITS.leaseMs);
    expect(only(effects, "publish")).toHaveLength(1);
    expect(effects).toContainEqual({ type: "count", counter: "audit-skipped" });
  });
});

describe("a survey", () => {
  function surveying(limits = LIMITS): Core {
    const core = new Core({ slices: [slice(A)], tensors: [{ task: 0, slices: [A], settled: false }], limits });
    core.start();
    core.on({ type: "round-begun", task: 0, surveys: [S0] });
    return core;
  }
  const surveyed = (core: Core, answer: string) =>
    core.all({ type: "surveyed", unit: S0, ...holder(core, S0), answer });

  test("is made by one worker where nothing is audited", () => {
    const core = surveying();
    attach(core, W1, W2);
    expect(only(surveyed(core, "x"), "settle")).toHaveLength(1);
  });

  test("that is audited is made by two; one that is outvoted is set aside for good, and what others found is taken", () => {
    const core = surveying({ ...LIMITS, audit });
    attach(core, W1, W2, W3);
    const liar = holder(core, S0).worker;
    expect(only(surveyed(core, "lie"), "settle")).toEqual([]);
    surveyed(core, "true");
    const effects = surveyed(core, "true");
    expect(only(effects, "settle")).toHaveLength(1);
    expect(taken(effects)).not.toContain(liar);
    expect(only(effects, "set-aside").map(({ worker }) => worker)).toEqual([liar]);
    expect(core.state.workers.get(liar)!.pardonMs).toBeUndefined();
    // What is to be kept is said before it is to be folded.
    const types = effects.map(({ type }) => type);
    expect(types.indexOf("take")).toBeLessThan(types.indexOf("settle"));
  });

  test("of threads is made once", () => {
    const core = surveying({ ...LIMITS, audit });
    core.attach(W1);
    core.attach(W2);
    expect(only(surveyed(core, "x"), "settle")).toHaveLength(1);
  });
});
