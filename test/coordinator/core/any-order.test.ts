/** Random legal and illegal events against a core: what must hold whatever happens, checked after every step. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Effect } from "../../../coordinator/core/index.ts";
import type { UnitId, WorkerId } from "../../../merge/work/index.ts";
import { Core, failure, LIMITS, type Loose, slice } from "./harness.ts";

const WORKERS = ["w1", "w2", "w3"] as readonly string[] as readonly WorkerId[];
const SLOTS = 2;

interface Held {
  readonly worker: WorkerId;
  readonly unit: UnitId;
  readonly attempt: number;
}

interface Tensor {
  readonly task: number;
  readonly slices: readonly UnitId[];
  readonly rounds: number;
}

/** What the world around a core knows and owes it; every effect is checked against that before it is carried out. */
class World {
  readonly core: Core;
  readonly tensors: readonly Tensor[];
  /** Leases that workers believe in; those that lapsed or were lost too. */
  readonly held: Held[] = [];
  readonly reported: Held[] = [];
  /** Answers that are on their way: journal, settling, seal, publishing. */
  readonly owed: Loose[] = [];
  readonly outcomes: string[] = [];
  readonly #attempts = new Map<UnitId, number>();
  readonly #durable = new Map<UnitId, string>();
  readonly #lost = new Set<UnitId>();
  readonly #rounds = new Map<number, number>();
  readonly #attached = new Set<WorkerId>();
  #sealPasses = 0;
  #sealOpen = new Set<UnitId>();
  #published = false;

  constructor(slices: number, tensors: readonly Tensor[]) {
    this.tensors = tensors;
    const ids = Array.from({ length: slices }, (_, k) => `s${k}` as UnitId);
    this.core = new Core({
      slices: ids.map((id) => slice(id)),
      tensors: tensors.map(({ task, slices }) => ({ task, slices, settled: false })),
    });
    for (const tensor of tensors) this.#rounds.set(tensor.task, tensor.rounds);
    this.post({ type: "started" });
  }

  get over(): boolean {
    return this.outcomes.length > 0;
  }

  post(event: Loose): void {
    if (event.type === "worker-attached") this.#attached.add(event.worker);
    if (event.type === "worker-lost") this.#attached.delete(event.worker);
    if (event.type === "slice-durable") this.#durable.set(event.unit, event.sha256);
    for (const effect of this.core.on(event)) this.#carryOut(effect);
    this.#check();
  }

  /** Names all that the worker believes in, lapsed leases too. */
  beat(worker: WorkerId): void {
    const held = this.held.filter((held) => held.worker === worker).map((held) => ({ ...held, alive: true }));
    this.post({ type: "heartbeat", worker, held });
  }

  attach(worker: WorkerId): void {
    const traits = { trust: "own", host: "here", incarnation: "first", memoryBytes: 1000, held: [] } as const;
    this.post({ type: "worker-attached", worker, slots: SLOTS, ...traits });
  }

  answer(pick: number): void {
    const [event] = this.owed.splice(pick % Math.max(1, this.owed.length), 1);
    if (event !== undefined) this.post(event);
  }

  /** A worker says what became of a lease that it believes in. */
  report(pick: number, sha256: (unit: UnitId) => string, damage: boolean): void {
    const [held] = this.held.splice(pick % Math.max(1, this.held.length), 1);
    if (held !== undefined) this.reportOf(held, sha256, damage);
  }

  reportOf(held: Held, sha256: (unit: UnitId) => string, damage: boolean): void {
    this.reported.push(held);
    const { unit, attempt, worker } = held;
    const { nowMs } = this.core;
    const kind = this.core.state.units.get(unit)?.kind;
    if (kind === "survey") return this.post({ type: "surveyed", worker, unit, attempt, nowMs });
    if (kind === "slice")
      return this.post({ type: "slice-computed", worker, unit, attempt, sha256: sha256(unit), nowMs });
    if (kind === "seal") this.#sealed(held, damage);
  }

  /** Storage may have damaged a slice that is durable. Nobody needs to believe a report that is stale. */
  #sealed({ worker, unit, attempt }: Held, damage: boolean): void {
    const seal = this.core.state.units.get(unit);
    const [victim] = damage ? [...this.#durable.keys()] : [];
    if (seal?.attempts.some((held) => held.number === attempt && held.worker === worker)) {
      this.#sealOpen.delete(unit);
      if (victim !== undefined) this.#lost.add(victim);
    }
    const damaged = victim === undefined ? [] : [victim];
    this.post({ type: "sealed", worker, unit, attempt, damaged, nowMs: this.core.nowMs });
  }

  #carryOut(effect: Effect): void {
    const saysNothing = ["count", "refuse", "dropped"].includes(effect.type);
    expect(this.over && !saysNothing, `${effect.type} after the end`).toBe(false);
    const { nowMs } = this.core;
    switch (effect.type) {
      case "begin-round":
      case "settle":
        return this.#round(effect.task);
      case "assign": {
        const { worker, unit, attempt } = effect;
        expect(this.#attached.has(worker), `${unit} assigned to ${worker}, which is not there`).toBe(true);
        expect(attempt).toBeGreaterThan(this.#attempts.get(unit) ?? 0);
        this.#attempts.set(unit, attempt);
        this.held.push({ worker, unit, attempt });
        for (const { task, slices } of this.tensors)
          if (slices.includes(unit)) expect(this.core.state.cut.get(task)?.settled).toBe(true);
        return;
      }
      case "grant":
        expect(effect.attempt).toBe(this.#attempts.get(effect.unit));
        return;
      case "journal-done": {
        const { unit, sha256, attempt } = effect;
        expect(attempt, `${unit} done by an old attempt`).toBe(this.#attempts.get(unit));
        expect(this.#durable.has(unit), `${unit} done twice`).toBe(false);
        this.owed.push({ type: "slice-durable", unit, sha256, nowMs });
        return;
      }
      case "journal-disputed":
      case "journal-lost":
        expect(this.#durable.delete(effect.unit)).toBe(true);
        this.#lost.delete(effect.unit);
        return;
      case "begin-seal": {
        this.#checkAllDurable();
        expect(this.#sealOpen.size, "a seal begun during a seal").toBe(0);
        this.#sealPasses++;
        const units = [0, 1].map((k) => `seal-${this.#sealPasses}-${k}` as UnitId);
        this.#sealOpen = new Set(units);
        return this.post({ type: "seal-begun", units: units.map((unit) => ({ unit, slices: [] })), nowMs });
      }
      case "publish":
        this.#checkAllDurable();
        expect(this.#sealPasses).toBeGreaterThan(0);
        expect(this.#sealOpen.size, "published with open seals").toBe(0);
        expect(this.#lost.size, "published with a slice that storage lost").toBe(0);
        expect(this.#published, "published twice").toBe(false);
        this.#published = true;
        this.owed.push({ type: "published" });
        return;
      case "finished":
        this.outcomes.push(effect.outcome);
        if (effect.outcome === "done") expect(this.#published).toBe(true);
        if (effect.outcome === "failed") expect(effect.cause).toBeDefined();
        return;
    }
  }

  #round(task: number): void {
    const left = this.#rounds.get(task) ?? 0;
    this.#rounds.set(task, left - 1);
    const nowMs = this.core.nowMs;
    if (left === 0) this.owed.push({ type: "verdict-durable", task, nowMs });
    else {
      const surveys = [0, 1].map((k) => `survey-${task}-${left}-${k}` as UnitId);
      this.owed.push({ type: "round-begun", task, surveys, nowMs });
    }
  }

  #checkAllDurable(): void {
    for (const unit of this.core.state.units.values()) {
      if (unit.kind !== "slice") continue;
      expect(this.#durable.get(unit.id), `${unit.id} is not durable`).toBe(unit.sha256);
      expect(unit.status).toBe("done");
    }
  }

  /** After every step; `assert`, for `expect` would take most of the test's time. */
  #check(): void {
    const { units, workers, slicesOpen, phase } = this.core.state;
    let open = 0;
    for (const unit of units.values()) {
      const held = ["leased", "granted", "computed"].includes(unit.status);
      for (const { id, units } of workers.values()) {
        const attempt = unit.attempts.find(({ worker }) => worker === id);
        // What was reported goes on without its worker, which may have been started anew.
        if (attempt?.status === "reported") continue;
        assert.equal(units.has(unit.id), attempt !== undefined && held, `${unit.id}, ${unit.status}, and ${id}`);
      }
      if (unit.kind === "slice" && unit.status !== "done") open++;
    }
    assert.equal(slicesOpen, open, "open slices are counted");
    for (const worker of workers.values()) assert(worker.units.size <= worker.slots, `${worker.id} holds too much`);
    if (phase === "publishing" || phase === "done") assert.equal(open, 0);
    assert(this.outcomes.length <= 1, "finished twice");
  }
}

const shaOf = (unit: UnitId) => `sha-${unit}`;

/** Each takes a number with which it chooses. */
const actions: Readonly<Record<string, (world: World, pick: number) => void>> = {
  attach: (world, pick) => {
    const worker = WORKERS[pick % WORKERS.length]!;
    if (!world.core.state.workers.has(worker)) world.core.nowMs++;
    if (!world.core.state.workers.has(worker)) world.attach(worker);
  },
  lose: (world, pick) =>
    world.post({ type: "worker-lost", worker: WORKERS[pick % 3]!, failure: failure(), nowMs: world.core.nowMs }),
  heartbeat: (world, pick) => world.beat(WORKERS[pick % 3]!),
  time: (world, pick) => {
    world.core.nowMs += pick % (2 * LIMITS.leaseMs);
    world.post({ type: "time-passed", nowMs: world.core.nowMs });
  },
  answer: (world, pick) => world.answer(pick),
  report: (world, pick) => world.report(pick, shaOf, false),
  reportDamage: (world, pick) => world.report(pick, shaOf, true),
  reportWrong: (world, pick) => world.report(pick, (unit) => `wrong-${unit}`, false),
  repeat: (world, pick) => {
    const held = world.reported[pick % Math.max(1, world.reported.length)];
    if (held !== undefined) world.reportOf(held, shaOf, false);
  },
  fail: (world, pick) => {
    const held = world.held[pick % Math.max(1, world.held.length)];
    if (held === undefined) return;
    world.held.splice(world.held.indexOf(held), 1);
    const { worker, unit, attempt } = held;
    const retryable = pick % 5 !== 0;
    world.post({
      type: "unit-failed",
      worker,
      unit,
      attempt,
      failure: failure({ retryable }),
      nowMs: world.core.nowMs,
    });
  },
  askGrant: (world, pick) => {
    const held = world.held[pick % Math.max(1, world.held.length)];
    if (held !== undefined) world.post({ type: "grant-requested", ...held });
  },
  askGrantOfAnother: (world, pick) =>
    world.post({ type: "grant-requested", unit: `s${pick % 5}` as UnitId, attempt: pick % 4, worker: WORKERS[0]! }),
  durableUnasked: (world, pick) => {
    const unit = `s${pick % 5}` as UnitId;
    // What is in the journal is there: an illegal event must name a hash that is not.
    for (const effect of world.core.on({ type: "slice-durable", unit, sha256: "never", nowMs: world.core.nowMs }))
      expect(effect).toBeUndefined();
  },
  publishedUnasked: (world) => {
    if (world.core.state.phase !== "publishing") expect(world.core.on({ type: "published" })).toEqual([]);
  },
  journalFails: (world, pick) => {
    const [event] = pick % 4 === 0 ? world.owed.filter(({ type }) => type === "slice-durable") : [];
    if (event?.type !== "slice-durable") return;
    world.owed.splice(world.owed.indexOf(event), 1);
    world.post({ type: "slice-not-durable", unit: event.unit, failure: failure() });
  },
  stop: (world, pick) => {
    if (pick % 4 === 0) world.post({ type: "stop-requested" });
  },
  failJob: (world, pick) => {
    if (pick % 8 === 0) world.post({ type: "job-failed", failure: failure() });
  },
};

/** Most of the time things go well, or no script would come as far as the seal. */
const names = [...Object.keys(actions), ...Array.from({ length: 12 }, (_, k) => (k % 2 === 0 ? "answer" : "report"))];
const script = fc.array(fc.tuple(fc.constantFrom(...names), fc.nat(10_000)), {
  minLength: 5,
  maxLength: 150,
  size: "max",
});
const tensorCount = fc.nat(2);

/** From here on nothing goes wrong: everyone answers, and the job must come to an end. */
function settle(world: World): void {
  for (let turn = 0; turn < 1000 && !world.over; turn++) {
    if (world.core.state.workers.size === 0 && turn > 0) actions.attach?.(world, turn);
    world.answer(0);
    world.report(0, shaOf, false);
    if (world.held.length === 0 && world.owed.length === 0) actions.time?.(world, 2 * LIMITS.leaseMs - 1);
  }
}

test("whatever happens, slices are done once, nothing is published unsealed, and the job ends exactly once", () => {
  const ends = new Map<string, number>();
  fc.assert(
    fc.property(script, tensorCount, (steps, count) => {
      const tensors = Array.from({ length: count }, (_, k) => ({
        task: k,
        // With an overlap: slices that wait for two verdicts.
        slices: [`s${2 * k}`, `s${2 * k + 1}`, `s${2 * k + 2}`] as readonly string[] as readonly UnitId[],
        rounds: k + 1,
      }));
      const world = new World(5, tensors);
      for (const [name, pick] of steps) actions[name]?.(world, pick);
      settle(world);
      expect(world.outcomes, `phase ${world.core.state.phase}`).toHaveLength(1);
      for (const outcome of world.outcomes) ends.set(outcome, (ends.get(outcome) ?? 0) + 1);
    }),
    { numRuns: 1000, seed: 20240607 },
  );
  // The property is empty if jobs never get anywhere.
  expect(Math.min(ends.get("done") ?? 0, ends.get("stopped") ?? 0, ends.get("failed") ?? 0)).toBeGreaterThan(50);
});
