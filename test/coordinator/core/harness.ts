/** A job's core with the hands of a test on it: events in, effects out, no driver. */
import { expect } from "vitest";
import {
  type AttachedWorker,
  brokenInvariants,
  type CoreEvent,
  type Effect,
  initialState,
  type JobSpecification,
  type JobState,
  type Limits,
  reduce,
  type SliceSpecification,
} from "../../../coordinator/core/index.ts";
import type { Failure, SliceId, UnitId, WorkerId } from "../../../merge/work/index.ts";

export const W1 = "w1" as WorkerId;
export const W2 = "w2" as WorkerId;
export const A = "a" as UnitId;
export const B = "b" as UnitId;
export const C = "c" as UnitId;
export const SEAL = "seal-1-0" as UnitId;

export const LIMITS: Limits = {
  leaseMs: 1000,
  ioTimeoutMs: 100,
  earlierGrantsMs: 0,
  attemptsMax: 3,
  workersFailedMax: 3,
  vanishedMax: 20,
  failuresMax: 100,
  workerFaultsMax: 3,
  attemptBase: 0,
  pausingCodes: ["storage/full", "storage/denied"],
  refusingCodes: ["storage/denied"],
  runLength: 1,
};

export function slice(id: UnitId, facts: Partial<SliceSpecification> = {}): SliceSpecification {
  return { id, slice: id as string as SliceId, sizeBytes: 100, memoryBytes: 0, attempt: 0, ...facts };
}

export function failure(facts: Partial<Failure> = {}): Failure {
  return { code: "storage/io", message: "the disk coughed", hint: "wait", retryable: true, ...facts };
}

/** Effects of one kind, in order. */
export function only<T extends Effect["type"]>(effects: readonly Effect[], type: T): Extract<Effect, { type: T }>[] {
  return effects.filter((effect): effect is Extract<Effect, { type: T }> => effect.type === type);
}

/** An event of which the harness fills in the time, and whose attempt it is. */
export type Loose<T extends CoreEvent = CoreEvent> = T extends { readonly worker: WorkerId; readonly attempt: number }
  ? Omit<T, "nowMs" | "worker"> & { readonly worker?: WorkerId; readonly nowMs?: number }
  : Omit<T, "nowMs"> & { readonly nowMs?: number };

/** A core and what it has asked for so far. */
export class Core {
  readonly state: JobState;
  nowMs = 0;
  /** Whether what only the next epoch asks of the journal is in it at once, without a word: earlier.test.ts alone looks at it. */
  namesAtOnce = true;
  readonly #owners = new Map<string, WorkerId>();

  constructor(specification: Partial<JobSpecification> = {}) {
    this.state = initialState({ limits: LIMITS, slices: [], tensors: [], ...specification });
  }

  /** What the driver must do, but for answers to reports, which `answersTo` has, and for which of them count. */
  on(event: Loose): readonly Effect[] {
    return this.all(event).filter(({ type }) => type !== "accept" && type !== "stale" && type !== "take");
  }

  answersTo(event: Loose): readonly string[] {
    return this.all(event)
      .map(({ type }) => type)
      .filter((type) => type === "accept" || type === "stale");
  }

  all(event: Loose): readonly Effect[] {
    const owner = "attempt" in event ? { worker: this.owner(event.unit, event.attempt) } : {};
    const effects = reduce(this.state, { nowMs: this.nowMs, ...owner, ...event } as CoreEvent);
    expect(brokenInvariants(this.state), `after ${event.type}`).toEqual([]);
    for (const { worker, unit, attempt } of only(effects, "assign")) this.#owners.set(`${unit}/${attempt}`, worker);
    return this.namesAtOnce ? effects.flatMap((effect) => this.#named(effect)) : effects;
  }

  #named(effect: Effect): readonly Effect[] {
    if (effect.type === "journal-writer-gone") return [];
    if (effect.type === "journal-writer") {
      const { worker, incarnation, stretch } = effect;
      return reduce(this.state, { type: "writer-durable", worker, incarnation, stretch, nowMs: this.nowMs });
    }
    const isOfEpoch = effect.type === "journal-phase" && (effect.phase === "alone" || effect.phase === "stopped");
    if (!isOfEpoch) return [effect];
    return reduce(this.state, { type: "phase-durable", phase: effect.phase, nowMs: this.nowMs });
  }

  owner(unit: UnitId, attempt: number): WorkerId {
    return this.#owners.get(`${unit}/${attempt}`) ?? W1;
  }

  start(): readonly Effect[] {
    return this.on({ type: "started" });
  }

  /** Own threads; the machine of another has its name as its host. */
  attach(worker: WorkerId, slots = 1, facts: Partial<AttachedWorker> = {}): readonly Effect[] {
    const { trust = "own" } = facts;
    const host = trust === "own" ? "here" : `host-of-${worker}`;
    const traits = { trust, host, incarnation: "first", memoryBytes: 1000, held: [] };
    return this.on({ type: "worker-attached", worker, slots, ...traits, ...facts });
  }

  grant(unit: UnitId, attempt: number, worker: WorkerId, sha256?: string): readonly Effect[] {
    return this.on({ type: "grant-requested", unit, attempt, worker, ...(sha256 === undefined ? {} : { sha256 }) });
  }

  computed(unit: UnitId, attempt: number, sha256: string): readonly Effect[] {
    return this.on({ type: "slice-computed", unit, attempt, sha256 });
  }

  durable(unit: UnitId, sha256: string): readonly Effect[] {
    return this.on({ type: "slice-durable", unit, sha256 });
  }

  failed(unit: UnitId, attempt: number, facts: Partial<Failure> = {}): readonly Effect[] {
    return this.on({ type: "unit-failed", unit, attempt, failure: failure(facts) });
  }

  sealBegun(units: readonly UnitId[]): readonly Effect[] {
    return this.on({ type: "seal-begun", units: units.map((unit) => ({ unit, slices: [A] })) });
  }

  sealed(unit: UnitId, attempt: number, damaged: readonly UnitId[] = []): readonly Effect[] {
    return this.on({ type: "sealed", unit, attempt, damaged });
  }

  lost(worker: WorkerId): readonly Effect[] {
    return this.on({ type: "worker-lost", worker, failure: failure({ message: "it died" }) });
  }

  pass(nowMs: number): readonly Effect[] {
    this.nowMs = nowMs;
    return this.on({ type: "time-passed" });
  }

  /** Takes a slice that is leased from grant to durable. */
  finish(unit: UnitId, sha256 = `sha-${unit}`): readonly Effect[] {
    const { attempt } = this.state.units.get(unit)!;
    return [...this.computed(unit, attempt, sha256), ...this.durable(unit, sha256)];
  }
}

/** One slice that is done, in the seal, which one unit makes up. */
export function sealingCore(): Core {
  const core = new Core({ slices: [slice(A)] });
  core.start();
  core.attach(W1);
  core.finish(A);
  core.sealBegun([SEAL]);
  return core;
}

/** As far as a job gets before somebody says that it is published. */
export function publishingCore(): Core {
  const core = sealingCore();
  core.sealed(SEAL, 1);
  return core;
}
