/** A job's core with the hands of a test on it: events in, effects out, no driver. */
import {
  type Effect,
  initialState,
  type JobEvent,
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

export const LIMITS: Limits = { leaseMs: 1000, attemptsMax: 3, attemptBase: 0 };

export function slice(id: UnitId, facts: Partial<SliceSpecification> = {}): SliceSpecification {
  return { id, slice: id as string as SliceId, attempt: 0, ...facts };
}

export function failure(facts: Partial<Failure> = {}): Failure {
  return { code: "storage/io", message: "the disk coughed", hint: "wait", retryable: true, ...facts };
}

/** Effects of one kind, in order. */
export function only<T extends Effect["type"]>(effects: readonly Effect[], type: T): Extract<Effect, { type: T }>[] {
  return effects.filter((effect): effect is Extract<Effect, { type: T }> => effect.type === type);
}

/** A core and what it has asked for so far. */
export class Core {
  readonly state: JobState;
  nowMs = 0;

  constructor(specification: Partial<JobSpecification> = {}) {
    this.state = initialState({ limits: LIMITS, slices: [], tensors: [], ...specification });
  }

  on(event: JobEvent): readonly Effect[] {
    return reduce(this.state, event);
  }

  start(): readonly Effect[] {
    return this.on({ type: "started" });
  }

  attach(worker: WorkerId, slots = 1): readonly Effect[] {
    return this.on({ type: "worker-attached", worker, slots, nowMs: this.nowMs });
  }

  grant(unit: UnitId, attempt: number, worker: WorkerId): readonly Effect[] {
    return this.on({ type: "grant-requested", unit, attempt, worker });
  }

  computed(unit: UnitId, attempt: number, sha256: string): readonly Effect[] {
    return this.on({ type: "slice-computed", unit, attempt, sha256, nowMs: this.nowMs });
  }

  durable(unit: UnitId, sha256: string): readonly Effect[] {
    return this.on({ type: "slice-durable", unit, sha256, nowMs: this.nowMs });
  }

  failed(unit: UnitId, attempt: number, facts: Partial<Failure> = {}): readonly Effect[] {
    return this.on({ type: "unit-failed", unit, attempt, failure: failure(facts), nowMs: this.nowMs });
  }

  sealBegun(units: readonly UnitId[]): readonly Effect[] {
    return this.on({ type: "seal-begun", units, nowMs: this.nowMs });
  }

  sealed(unit: UnitId, attempt: number, damaged: readonly UnitId[] = []): readonly Effect[] {
    return this.on({ type: "sealed", unit, attempt, damaged, nowMs: this.nowMs });
  }

  lost(worker: WorkerId): readonly Effect[] {
    return this.on({ type: "worker-lost", worker, failure: failure({ message: "it died" }), nowMs: this.nowMs });
  }

  pass(nowMs: number): readonly Effect[] {
    this.nowMs = nowMs;
    return this.on({ type: "time-passed", nowMs });
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
