import {
  type Assignment,
  type AttemptRef,
  type Failure,
  failureFrom,
  type Plan,
  type Report,
  type Slice,
  type UnitId,
  type WorkerId,
} from "../../merge/work/index.ts";
import {
  type Effect,
  initialState,
  type JobEvent,
  type JobState,
  type Limits,
  type Phase,
  reduce,
} from "../core/index.ts";
import type { HeldAttempt, WorkerLink, WorkerListener, WorkerSource } from "../link/index.ts";
import { damagedSlices, type SealUnit, sealWork } from "../seal/index.ts";
import type { JobHistory, JobRecords } from "./records.ts";
import { type SurveyRange, TensorRounds } from "./surveys.ts";

/** What a job runs on. */
export interface JobPorts {
  readonly records: JobRecords;
  readonly workers: WorkerSource;
  readonly clock: { nowMs(): number };
  /** Makes documents, manifest and the published checkpoint of the sealed shards; safe to repeat. */
  publish(sealed: SealedShards): Promise<void>;
  readonly observer: JobObserver;
}

export interface SealedShards {
  readonly sliceSha256s: readonly string[];
  readonly shardSha256s: readonly string[];
}

export interface JobObserver {
  progress(progress: Progress): void;
  warning(text: string): void;
  counted(counter: string): void;
}

export interface Progress {
  readonly phase: Phase;
  readonly slicesDone: number;
  readonly slices: number;
  /** Done in this run. */
  readonly slicesComputed: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly tensorsCut: number;
}

export interface JobOptions {
  readonly plan: Plan;
  readonly shardPaths: readonly string[];
  /** Elements of a cut tensor that one worker surveys at once. */
  readonly surveyElements: number;
  readonly limits: Limits;
}

export interface Outcome {
  readonly outcome: "done" | "stopped" | "failed";
  readonly cause?: Failure;
}

interface SealPass {
  readonly units: ReadonlyMap<UnitId, SealUnit>;
  readonly found: Map<UnitId, readonly string[]>;
}

/** Runs the pure core of a job against its ports: carries out effects, turns what happens into events. */
export class JobRunner implements WorkerListener {
  readonly #options: JobOptions;
  readonly #ports: JobPorts;
  readonly #state: JobState;
  readonly #slices: ReadonlyMap<UnitId, { readonly slice: Slice; readonly index: number }>;
  readonly #verdicts: Map<number, unknown>;
  readonly #rounds = new Map<number, TensorRounds>();
  readonly #links = new Map<WorkerId, WorkerLink>();
  readonly #events: JobEvent[] = [];
  readonly #slicesDoneBefore: number;
  #reducing = false;
  #seal: SealPass = { units: new Map(), found: new Map() };
  #sealPasses = 0;
  #finish: (outcome: Outcome) => void = () => {};
  #bytesRead = 0;
  #bytesWritten = 0;
  #tensorsCut = 0;

  constructor(options: JobOptions, history: JobHistory, ports: JobPorts) {
    this.#options = options;
    this.#ports = ports;
    const { plan, limits } = options;
    this.#slices = new Map(plan.slices.map((slice, index) => [unitOf(slice), { slice, index }]));
    this.#verdicts = new Map(history.verdicts);
    this.#state = initialState({
      limits,
      slices: plan.slices.map((slice) => ({
        id: unitOf(slice),
        slice: slice.id,
        attempt: 0,
        ...history.slices.get(slice.id),
      })),
      tensors: [...cutTensors(plan)].map(([task, slices]) => ({ task, slices, settled: this.#verdicts.has(task) })),
    });
    this.#slicesDoneBefore = plan.slices.length - this.#state.slicesOpen;
  }

  /** Runs the job to its end. Rejects only where an invariant is broken. */
  async run(): Promise<Outcome> {
    const finished = new Promise<Outcome>((resolve) => {
      this.#finish = resolve;
    });
    this.#post({ type: "started" });
    try {
      await this.#ports.workers(this);
    } catch (error) {
      this.#post({ type: "job-failed", failure: failureFrom(error) });
    }
    const outcome = await finished;
    await Promise.all([...this.#links.values()].map((link) => link.close()));
    return outcome;
  }

  /** Lets slices in flight become durable, then ends. */
  stop(): void {
    this.#post({ type: "stop-requested" });
  }

  attached(link: WorkerLink, _held: readonly AttemptRef[]): readonly AttemptRef[] {
    this.#links.set(link.id, link);
    this.#post({ type: "worker-attached", worker: link.id, slots: link.slots, nowMs: this.#now() });
    return [];
  }

  detached(_worker: WorkerId): void {}

  heartbeat(worker: WorkerId, _held: readonly HeldAttempt[]): readonly AttemptRef[] {
    this.#post({ type: "heartbeat", worker, nowMs: this.#now() });
    return [];
  }

  handedBack(_worker: WorkerId, _attempts: readonly AttemptRef[]): void {}

  draining(_worker: WorkerId): void {}

  slotsChanged(_worker: WorkerId, _slots: number): void {}

  grantRequested(worker: WorkerId, unit: UnitId, attempt: number): void {
    this.#post({ type: "grant-requested", worker, unit, attempt });
  }

  reported(_worker: WorkerId, report: Report): void {
    const { unit, attempt } = report;
    const nowMs = this.#now();
    if ("counts" in report) {
      this.#bytesRead += report.counts.bytesRead;
      this.#bytesWritten += report.counts.bytesWritten;
      this.#tensorsCut += report.counts.tensorsCut;
    }
    switch (report.kind) {
      case "failed":
        return this.#post({ type: "unit-failed", unit, attempt, failure: report.failure, nowMs });
      case "slice":
        for (const warning of report.warnings) this.#ports.observer.warning(warning);
        return this.#post({ type: "slice-computed", unit, attempt, sha256: report.sha256, nowMs });
      case "survey":
        this.#roundsOf(unit)?.keep(unit, report.summary);
        return this.#post({ type: "surveyed", unit, attempt, nowMs });
      case "audit":
        return;
      case "seal":
        return this.#post({ type: "sealed", unit, attempt, damaged: this.#damagedIn(unit, report.sha256), nowMs });
    }
  }

  lost(worker: WorkerId, failure: Failure): void {
    this.#links.delete(worker);
    this.#post({ type: "worker-lost", worker, failure, nowMs: this.#now() });
  }

  /** Events are taken one after another, also those that effects cause at once. */
  #post(event: JobEvent): void {
    this.#events.push(event);
    if (this.#reducing) return;
    this.#reducing = true;
    for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
      for (const effect of reduce(this.#state, next)) this.#perform(effect);
    }
    this.#reducing = false;
    this.#ports.observer.progress(this.progress());
  }

  progress(): Progress {
    const { plan } = this.#options;
    const slicesDone = plan.slices.length - this.#state.slicesOpen;
    return {
      phase: this.#state.phase,
      slices: plan.slices.length,
      slicesDone,
      slicesComputed: slicesDone - this.#slicesDoneBefore,
      bytesRead: this.#bytesRead,
      bytesWritten: this.#bytesWritten,
      tensorsCut: this.#tensorsCut,
    };
  }

  #perform(effect: Effect): void {
    const { records, observer } = this.#ports;
    switch (effect.type) {
      case "begin-round":
        return this.#beginRounds(effect.task);
      case "settle":
        return this.#settle(effect.task);
      case "assign":
        return this.#links
          .get(effect.worker)
          ?.assign(this.#assignment(effect.unit, effect.attempt), this.#options.limits.leaseMs);
      case "grant":
      case "refuse":
        return this.#links.get(effect.worker)?.answerGrant(effect, effect.type === "grant" ? "granted" : "refused");
      case "journal-done": {
        const { unit, attempt, sha256 } = effect;
        return this.#durably(
          records.sliceDone(unit, attempt, sha256),
          () => ({ type: "slice-durable", unit, sha256, nowMs: this.#now() }),
          (failure) => ({ type: "slice-not-durable", unit, failure }),
        );
      }
      case "journal-disputed":
        return this.#durably(records.sliceDisputed(effect.unit, effect.attempt, effect.hashes));
      case "journal-lost":
        return this.#durably(records.sliceLost(effect.unit, effect.attempt));
      case "journal-quarantined":
        return this.#durably(
          records.quarantined(effect.unit, effect.attempt, `${effect.failure.code}: ${effect.failure.message}`),
        );
      case "begin-seal":
        return this.#beginSeal();
      case "publish":
        return this.#durably(this.#ports.publish(this.#sealedShards()), () => ({ type: "published" }));
      case "count":
        return observer.counted(effect.counter);
      case "finished":
        return this.#finish({
          outcome: effect.outcome,
          ...(effect.cause === undefined ? {} : { cause: effect.cause }),
        });
    }
  }

  /** Says what follows once something is durable; a journal or storage that fails ends the job. */
  #durably(
    done: Promise<void>,
    event?: () => JobEvent,
    failed: (failure: Failure) => JobEvent = (failure) => ({ type: "job-failed", failure }),
  ): void {
    done.then(
      () => {
        if (event !== undefined) this.#post(event());
      },
      (error: unknown) => this.#post(failed(failureFrom(error))),
    );
  }

  // ---- rounds of cut tensors

  #beginRounds(task: number): void {
    const rounds = new TensorRounds(this.#options.plan, task, this.#options.surveyElements);
    this.#rounds.set(task, rounds);
    this.#nextRound(task, rounds);
  }

  #settle(task: number): void {
    const rounds = this.#rounds.get(task);
    if (rounds === undefined) throw new Error(`task ${task} was settled before it began`);
    rounds.settle();
    this.#nextRound(task, rounds);
  }

  #nextRound(task: number, rounds: TensorRounds): void {
    const { step } = rounds;
    if ("request" in step) {
      const surveys = rounds.beginRound().map(({ unit }) => unit);
      return this.#post({ type: "round-begun", task, surveys, nowMs: this.#now() });
    }
    for (const warning of step.warnings ?? []) this.#ports.observer.warning(warning);
    this.#rounds.delete(task);
    this.#verdicts.set(task, step.verdict);
    this.#durably(this.#ports.records.verdict(task, step.verdict), () => ({
      type: "verdict-durable",
      task,
      nowMs: this.#now(),
    }));
  }

  #roundsOf(unit: UnitId): TensorRounds | undefined {
    return this.#rounds.get(Number(unit.split("-")[1]));
  }

  // ---- assignments

  #assignment(unit: UnitId, attempt: number): Assignment {
    const known = this.#slices.get(unit);
    if (known !== undefined) return { unit, attempt, ...this.#sliceWork(known.slice) };
    const seal = this.#seal.units.get(unit);
    if (seal !== undefined) return { unit, attempt, ...seal.work };
    const rounds = this.#roundsOf(unit);
    const range: SurveyRange | undefined = rounds?.range(unit);
    if (rounds === undefined || range === undefined) throw new Error(`nothing is known of unit ${unit}`);
    return {
      unit,
      attempt,
      kind: "survey",
      taskIndex: rounds.index,
      task: rounds.task,
      parts: range.parts,
      request: rounds.request,
      firstRound: rounds.firstRound,
    };
  }

  #sliceWork(slice: Slice) {
    const tasks = slice.parts.map(({ task }) => {
      const found = this.#options.plan.tasks[task];
      if (found === undefined) throw new Error(`slice ${slice.id} names task ${task}, which the plan does not have`);
      return found;
    });
    const verdicts = slice.parts.map(({ task }) => this.#verdicts.get(task));
    return { kind: "slice", slice, tasks, verdicts, audit: false } as const;
  }

  // ---- seal

  #beginSeal(): void {
    this.#sealPasses++;
    const work = sealWork(this.#options.plan, this.#options.shardPaths);
    const units = new Map(work.map((seal, k) => [`seal-${this.#sealPasses}-${k}` as UnitId, seal]));
    this.#seal = { units, found: new Map() };
    this.#post({ type: "seal-begun", units: [...units.keys()], nowMs: this.#now() });
  }

  #damagedIn(unit: UnitId, found: readonly string[]): UnitId[] {
    const seal = this.#seal.units.get(unit);
    if (seal === undefined) return [];
    this.#seal.found.set(unit, found);
    if (seal.work.kind === "seal-file") return [];
    const { plan } = this.#options;
    const damage = damagedSlices(
      plan,
      seal,
      plan.slices.map((slice) => this.#sliceSha256(slice)),
      found,
    );
    // Written anew whenever a run begins.
    if (damage.header) this.#post({ type: "job-failed", failure: damagedHeader(seal.work.path) });
    return damage.slices.flatMap((index) => plan.slices[index] ?? []).map(unitOf);
  }

  #sliceSha256(slice: Slice): string {
    return this.#state.units.get(unitOf(slice))?.sha256 ?? "";
  }

  #sealedShards(): SealedShards {
    const hashes = new Map<string, string>();
    for (const [unit, { work }] of this.#seal.units) {
      if (work.kind === "seal-file") hashes.set(work.path, this.#seal.found.get(unit)?.[0] ?? "");
    }
    return {
      sliceSha256s: this.#options.plan.slices.map((slice) => this.#sliceSha256(slice)),
      shardSha256s: this.#options.shardPaths.map((path) => hashes.get(path) ?? ""),
    };
  }

  #now(): number {
    return this.#ports.clock.nowMs();
  }
}

function unitOf(slice: Slice): UnitId {
  return slice.id as string as UnitId;
}

/** Tensors that more than one slice shares, with those slices. */
function cutTensors(plan: Plan): Map<number, UnitId[]> {
  const cut = new Map<number, UnitId[]>();
  for (const slice of plan.slices) {
    for (const { task, partCount } of slice.parts) {
      if (partCount > 1 && plan.tasks[task]?.kind === "merge") cut.set(task, [...(cut.get(task) ?? []), unitOf(slice)]);
    }
  }
  return cut;
}

function damagedHeader(path: string): Failure {
  return {
    code: "coordinator/storage-damages",
    message: `${path}: storage gave back another header than was written`,
    hint: "Check the disk, then run the same command again: finished slices are kept.",
    retryable: false,
  };
}
