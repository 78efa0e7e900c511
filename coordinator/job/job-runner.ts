import type { Steps } from "../../merge/methods/index.ts";
import {
  type Assignment,
  type AttemptRef,
  type Failure,
  failureFrom,
  type PlainData,
  type Plan,
  preambleIn,
  type Report,
  type Slice,
  type UnitId,
  type WorkerId,
} from "../../merge/work/index.ts";
import type { Place } from "../../storage/index.ts";
import {
  type CoreEvent,
  type Counter,
  type Effect,
  type EventOf,
  type HeldBy,
  hasSaid,
  initialState,
  isRefused,
  type JobState,
  type Limits,
  mayBeginWrite,
  type Phase,
  reduce,
  stalled,
  type WriterRun,
  workersWanted,
} from "../core/index.ts";
import type { HeldAttempt, Renewal, WorkerLink, WorkerListener, WorkerSource } from "../link/index.ts";
import { digestInSteps, digestOfData } from "./digest-of-data.ts";
import { EarlyRanges } from "./early-ranges.ts";
import type { JobControls } from "./job-controls.ts";
import type { JobHistory, JobRecords } from "./records.ts";
import { type SealedShards, SealPass } from "./seal-pass.ts";
import { cutTensors, sliceSpecifications, unitOf } from "./specification.ts";
import { TensorRounds } from "./surveys.ts";

/** What a job runs on. */
export interface JobPorts {
  readonly records: JobRecords;
  /** Brings workers up. Absent: they attach by themselves, now or later. */
  readonly workers?: WorkerSource;
  readonly clock: { nowMs(): number };
  /** Between steps of what takes long: resolves when everybody else has had a turn. Absent: the next turn of Node's event loop. */
  readonly othersTurn?: () => Promise<void>;
  /** Calls `tick` several times in every lease until the returned function is called. Absent: no lease ever lapses. */
  readonly ticks?: (tick: () => void) => () => void;
  /** Where several coordinators may believe that they lead. Absent: a lock sees to it that there is one. */
  readonly leadership?: Leadership;
  /** Makes what was written readable, of all slices with their SHA-256s; safe to repeat. Absent: it is as soon as it is written. */
  closeSlots?(sliceSha256s: readonly string[]): Promise<void>;
  /** After that, in the place of reading back: what the store says of each shard, which is what was computed. Absent: it is read. */
  sealedByStore?(sliceSha256s: readonly string[]): Promise<readonly string[]>;
  /** Makes documents, manifest and the published checkpoint of the sealed shards; safe to repeat. */
  publish(sealed: SealedShards): Promise<void>;
  /** Removes what was staged, of a job that was cancelled; safe to repeat. */
  discardStage(): Promise<void>;
  readonly observer: JobObserver;
}

export interface Leadership {
  /** Resolves if nobody else had taken over when it was called: EpochJournal.confirm. */
  confirm(): Promise<void>;
  /** For how long after such a call grants are safe. Whoever takes over waits as long (`Limits.earlierGrantsMs`). */
  readonly limitMs: number;
}

export interface JobObserver {
  progress(progress: Progress): void;
  warning(text: string): void;
  counted(counter: Counter): void;
  /** The worker computes wrongly or fails at everything: other jobs should not use it either. */
  workerSetAside?(worker: WorkerId, failure: Failure): void;
  /** What was wrong with a worker that was set aside may have passed: it gets work again. */
  workerPardoned?(worker: WorkerId): void;
}

export interface Progress {
  readonly phase: Phase;
  /** Why no new work is given out. */
  readonly paused?: Failure;
  readonly slicesDone: number;
  readonly slices: number;
  /** Done in this run. */
  readonly slicesComputed: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly tensorsCut: number;
  /** Why it stands still although workers hold units of it. */
  readonly stalled?: Failure;
  /** Units that could be lent, or are: what the pool shares slots by. */
  readonly wanted: number;
  /** Workers of whom it has no slot and needs one: what is ready suits none of its own. */
  readonly workersWanted: readonly WorkerId[];
  /** Workers that are of no use to it for now: storage refuses them what others may do. */
  readonly workersRefused: readonly WorkerId[];
}

export interface JobRunnerOptions {
  readonly plan: Plan;
  readonly shardPaths: readonly Place[];
  /** Elements of a cut tensor that one worker surveys at once. */
  readonly surveyElements: number;
  readonly limits: Limits;
  /** Of large summaries that wait for their turn. Absent: EARLY_BYTES. */
  readonly earlyBytes?: number;
  /** Runs of workers that earlier epochs may have granted something; undefined: that is not known. */
  readonly earlierWriters?: readonly WriterRun[] | undefined;
  readonly seams?: JobSeams;
}

/** Where a simulation sets itself between the driver and what it decides and folds with. */
export interface JobSeams {
  readonly decide?: (state: JobState, event: CoreEvent) => readonly Effect[];
  /** Name of a take-over, which is random otherwise. */
  readonly holder?: string;
  /** Rounds of a method that no engine knows. */
  readonly rounds?: (plan: Plan, task: number, rangeElements: number) => TensorRounds;
}

export interface Outcome {
  readonly outcome: "done" | "stopped" | "failed" | "cancelled";
  readonly cause?: Failure;
}

/** What a worker found, until it is known whether it counts. */
type Answer =
  | { readonly kind: "survey"; readonly summary: PlainData }
  | { readonly kind: "seal"; readonly found: readonly string[] };

/** A summary that is what was asked for, and its digest where that is compared. */
interface ReadSummary {
  readonly summary: PlainData;
  readonly answer?: string;
}

/** Runs the pure core of a job against its ports: carries out effects, turns what happens into events. */
export class JobRunner implements WorkerListener, JobControls {
  readonly #options: JobRunnerOptions;
  readonly #ports: JobPorts;
  readonly #state: JobState;
  readonly #decide: (state: JobState, event: CoreEvent) => readonly Effect[];
  readonly #verdicts: Map<number, PlainData>;
  readonly #rounds = new Map<number, TensorRounds>();
  /** Whose summaries are being folded, and tasks that are settled once they are. */
  readonly #folding = new Set<TensorRounds>();
  readonly #settling = new Set<number>();
  /** What was found of surveys and parts of the seal that were reported, and neither taken nor refused yet; by unit, then by whom. */
  readonly #answers = new Map<UnitId, Map<string, Answer>>();
  readonly #early: EarlyRanges;
  /** What says that a summary that was given room needs it no more, by attempt. */
  readonly #rooms = new Map<string, () => void>();
  readonly #links = new Map<WorkerId, WorkerLink>();
  readonly #events: CoreEvent[] = [];
  readonly #slicesDoneBefore: number;
  #reducing = false;
  #isBroken = false;
  #dropped: readonly AttemptRef[] = [];
  #renewed: readonly AttemptRef[] = [];
  #seal: SealPass;
  #sealPasses = 0;
  #confirming = false;
  #stopTicks = () => {};
  #finish: (outcome: Outcome) => void = () => {};
  #fail: (error: unknown) => void = () => {};
  readonly #finished: Promise<Outcome>;
  #tellDiscarded: (failure?: Failure) => void = () => {};
  /** Resolves when the stage of a job that was cancelled or terminated is gone; to the reason where it is not. */
  readonly discarded: Promise<Failure | undefined>;
  #stalled: Failure | undefined;
  #workersWanted: readonly WorkerId[] = [];
  /** When these two were looked at. */
  #stalledMs = 0;
  #bytesRead = 0;
  #bytesWritten = 0;
  #tensorsCut = 0;

  constructor(options: JobRunnerOptions, history: JobHistory, ports: JobPorts) {
    this.#options = options;
    this.#ports = ports;
    const { plan, limits, seams } = options;
    this.#decide = seams?.decide ?? reduce;
    this.#verdicts = new Map(history.verdicts);
    this.#seal = new SealPass(plan, [], 0);
    this.#early = new EarlyRanges(options.earlyBytes);
    this.#state = initialState({
      limits,
      slices: sliceSpecifications(plan, history),
      tensors: [...cutTensors(plan)].map(([task, slices]) => ({ task, slices, settled: this.#verdicts.has(task) })),
      ...(history.paused === undefined ? {} : { paused: history.paused }),
      cancelling: history.phase === "cancelling",
      earlierWriters: options.earlierWriters,
    });
    this.#slicesDoneBefore = plan.slices.length - this.#state.slicesOpen;
    this.#finished = new Promise((resolve, reject) => {
      this.#finish = resolve;
      this.#fail = reject;
    });
    this.#finished.catch(() => undefined); // `run` waits for workers first
    this.discarded = new Promise((resolve) => {
      this.#tellDiscarded = resolve;
    });
  }

  /** Runs the job to its end. Rejects only where an invariant is broken. */
  async run(): Promise<Outcome> {
    const { leadership, workers, ticks } = this.#ports;
    if (leadership !== undefined)
      this.#post({ type: "leadership-confirmed", untilMs: this.#now(), nowMs: this.#now() });
    this.#post({ type: "started", nowMs: this.#now() });
    this.#confirm();
    this.#stopTicks = ticks?.(() => this.#tick()) ?? this.#stopTicks;
    try {
      await workers?.(this);
    } catch (error) {
      this.#post({ type: "job-failed", failure: failureFrom(error), nowMs: this.#now() });
    }
    try {
      const outcome = await this.#finished;
      if (this.#state.phase !== "terminating") this.#stopTicks();
      return outcome;
    } finally {
      await Promise.all([...this.#links.values()].map((link) => link.close()));
    }
  }

  // ---- JobControls

  stop(): void {
    this.#post({ type: "stop-requested", nowMs: this.#now() });
  }

  pause(reason: Failure): void {
    this.#post({ type: "pause-requested", reason, nowMs: this.#now() });
  }

  resume(): void {
    this.#post({ type: "resume-requested", nowMs: this.#now() });
  }

  cancel(): void {
    this.#post({ type: "cancel-requested", nowMs: this.#now() });
  }

  terminate(): void {
    this.#post({ type: "terminate-requested", nowMs: this.#now() });
  }

  // ---- WorkerListener

  attached(link: WorkerLink, held: readonly AttemptRef[]): readonly AttemptRef[] {
    this.#links.set(link.id, link);
    const { id: worker, trust, incarnation, host, memoryBytes, slots, isBarred = false } = link;
    const traits = { trust, incarnation, host, memoryBytes, slots, isBarred };
    return this.#ask({ type: "worker-attached", worker, ...traits, held, nowMs: this.#now() });
  }

  writing(worker: WorkerId, attempts: readonly AttemptRef[]): void {
    this.#post({ type: "writing-told", worker, attempts, nowMs: this.#now() });
  }

  detached(worker: WorkerId): void {
    this.#links.delete(worker);
    this.#post({ type: "worker-detached", worker, nowMs: this.#now() });
  }

  lost(worker: WorkerId, failure: Failure): void {
    this.#links.delete(worker);
    this.#post({ type: "worker-lost", worker, failure, nowMs: this.#now() });
  }

  heartbeat(worker: WorkerId, held: readonly HeldAttempt[]): Renewal {
    this.#renewed = [];
    const dropped = this.#ask({ type: "heartbeat", worker, held, nowMs: this.#now() });
    return { renewed: this.#renewed, dropped };
  }

  handedBack(worker: WorkerId, attempts: readonly AttemptRef[]): void {
    this.#post({ type: "handed-back", worker, attempts, nowMs: this.#now() });
  }

  draining(worker: WorkerId): void {
    this.#post({ type: "worker-draining", worker, nowMs: this.#now() });
  }

  mayWrite(attempt: AttemptRef): boolean {
    return mayBeginWrite(this.#state, attempt, this.#now());
  }

  slotsChanged(worker: WorkerId, slots: number): void {
    this.#post({ type: "slots-changed", worker, slots, nowMs: this.#now() });
  }

  barred(worker: WorkerId, isBarred: boolean): void {
    this.#post({ type: "worker-barred", worker, isBarred, nowMs: this.#now() });
  }

  grantRequested(worker: WorkerId, unit: UnitId, attempt: number, sha256?: string): void {
    const hash = sha256 === undefined ? {} : { sha256 };
    this.#post({ type: "grant-requested", worker, unit, attempt, ...hash, nowMs: this.#now() });
  }

  async roomForSummary(worker: WorkerId, ref: AttemptRef, bytes: number): Promise<() => void> {
    const key = keyOf({ ...ref, worker });
    const taken = await this.#early.take(bytes, () => this.#isDue({ ...ref, worker }));
    this.#rooms.get(key)?.();
    this.#rooms.set(key, taken);
    return () => {
      // Kept, it is the fold's to say when its turn has come.
      if (this.#rooms.get(key) !== taken) return;
      this.#rooms.delete(key);
      taken();
    };
  }

  /** The fold waits for it; or for one that nobody has, who may need the slots that are taken by those who wait; or it is of no use. */
  #isDue(ref: HeldBy): boolean {
    const isCurrent = this.#state.units.get(ref.unit)?.attempts.some(({ number, worker }) => {
      return number === ref.attempt && worker === ref.worker;
    });
    const due = this.#roundsOf(ref.unit)?.due;
    if (this.#isBroken || isCurrent !== true || due === undefined || due === ref.unit) return true;
    return !isSurveying(this.#state) || (this.#state.units.get(due)?.attempts.length ?? 0) === 0;
  }

  reported(worker: WorkerId, report: Report): void {
    const { unit, attempt } = report;
    const who = { worker, unit, attempt, nowMs: this.#now() };
    if ("counts" in report) {
      this.#bytesRead += report.counts.bytesRead;
      this.#bytesWritten += report.counts.bytesWritten;
      this.#tensorsCut += report.counts.tensorsCut;
    }
    switch (report.kind) {
      case "failed":
        return this.#post({ type: "unit-failed", ...who, failure: report.failure });
      case "slice":
        for (const warning of report.warnings) this.#ports.observer.warning(warning);
        return this.#post({ type: "slice-computed", ...who, sha256: report.sha256 });
      case "audit":
        return this.#post({ type: "audited", ...who, sha256: report.sha256 });
      case "survey":
        return this.#surveyed(who, report.summary);
      case "seal":
        if (!this.#seal.fits(unit, report.sha256)) {
          return this.#post({ type: "unit-failed", ...who, failure: incomplete(who, report.sha256.length) });
        }
        return this.#sealed(who, report.sha256);
    }
  }

  #surveyed(who: HeldBy, summary: PlainData): void {
    const reading = this.#roundsOf(who.unit)?.read(who.unit, summary);
    if (reading === undefined) return this.#post({ type: "surveyed", ...who, nowMs: this.#now() });
    this.#readSummary(who, this.#readAndDigested(reading));
  }

  *#readAndDigested(reading: Steps<PlainData>): Steps<ReadSummary> {
    const summary = yield* reading;
    // Only what is compared is worth the time.
    return this.#options.limits.audit === undefined ? { summary } : { summary, answer: yield* digestInSteps(summary) };
  }

  /** Of hundreds of models it takes long, and goes in steps. Kept only if the core takes it: a late report must not change what was folded. */
  #readSummary(who: HeldBy, reading: Steps<ReadSummary>): void {
    let step: IteratorResult<undefined, ReadSummary>;
    try {
      step = reading.next();
    } catch (error) {
      return this.#post({ type: "unit-failed", ...who, failure: unfit(who, failureFrom(error)), nowMs: this.#now() });
    }
    if (step.done !== true) return this.#later(() => this.#readSummary(who, reading));
    const { summary, ...answer } = step.value;
    this.#keepAnswer(who, { kind: "survey", summary });
    this.#post({ type: "surveyed", ...who, ...answer, nowMs: this.#now() });
  }

  #sealed(who: HeldBy & { readonly nowMs: number }, found: readonly string[]): void {
    const { slices, header } = this.#seal.damage(who.unit, found, (slice) => this.#sliceSha256(slice));
    const isDoubtful = slices.length > 0 || header !== undefined;
    this.#keepAnswer(who, { kind: "seal", found });
    this.#post({ type: "sealed", ...who, damaged: slices, answer: digestOfData(found), isDoubtful });
  }

  #keepAnswer(who: HeldBy, answer: Answer): void {
    const ofUnit = this.#answers.get(who.unit) ?? new Map<string, Answer>();
    // What was noted of an attempt is not replaced by what it says later.
    if (!ofUnit.has(keyOf(who))) this.#answers.set(who.unit, ofUnit.set(keyOf(who), answer));
  }

  // ---- events and effects

  /** Events are taken one after another, also those that effects cause at once. */
  #post(event: CoreEvent): void {
    if (this.#isBroken) return;
    this.#events.push(event);
    if (this.#reducing) return;
    this.#reducing = true;
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        for (const effect of this.#decide(this.#state, next)) this.#perform(effect);
      }
      this.#reducing = false;
      this.#early.look();
      this.#ports.observer.progress(this.progress());
    } catch (error) {
      this.#break(error);
    } finally {
      this.#reducing = false;
    }
  }

  /**
   * An invariant is broken, so nothing that this run knows can be relied on: it ends with the error, and takes no more events. Whoever
   * called hears nothing of it, for it is none of its fault. What the journal has is as it was; the next run starts from that.
   */
  #break(error: unknown): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#events.length = 0;
    this.#early.look();
    this.#stopTicks();
    this.#fail(error);
    this.#tellDiscarded(failureFrom(error));
  }

  /** What goes on by itself must end somewhere, too. */
  #guard(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#break(error);
    }
  }

  /** An event whose answer the caller waits for: attempts that are not the worker's any more. */
  #ask(event: EventOf<"worker-attached" | "heartbeat">): readonly AttemptRef[] {
    if (this.#reducing) throw new Error("a link called its job from within a call of the job");
    this.#dropped = [];
    this.#post(event);
    return this.#isBroken ? event.held : this.#dropped;
  }

  #tick(): void {
    this.#stalledMs = this.#now();
    // Looks at all that is held: not at each event.
    this.#stalled = stalled(this.#state, this.#stalledMs);
    this.#workersWanted = workersWanted(this.#state);
    this.#post({ type: "time-passed", nowMs: this.#now() });
    this.#confirm();
  }

  /** One at a time: a journal that does not answer must not gather questions. */
  #confirm(): void {
    const { leadership } = this.#ports;
    if (leadership === undefined || this.#confirming) return;
    this.#confirming = true;
    const askedMs = this.#now();
    leadership.confirm().then(
      () => {
        this.#confirming = false;
        this.#post({ type: "leadership-confirmed", untilMs: askedMs + leadership.limitMs, nowMs: this.#now() });
      },
      (error: unknown) => {
        this.#confirming = false;
        const failure = failureFrom(error);
        // A journal that cannot be reached is asked again; grants wait meanwhile. Whatever else it says does not pass.
        if (failure.code !== "journal/unavailable") this.#post({ type: "job-failed", failure, nowMs: this.#now() });
      },
    );
  }

  progress(): Progress {
    const { plan } = this.#options;
    const { phase, paused, slicesOpen, sealsOpen, auditsOpen } = this.#state;
    const slicesDone = plan.slices.length - slicesOpen;
    const stall = this.#state.movedMs > this.#stalledMs ? undefined : this.#stalled;
    return {
      phase,
      ...(stall === undefined ? {} : { stalled: stall }),
      ...(paused === undefined ? {} : { paused }),
      slices: plan.slices.length,
      slicesDone,
      slicesComputed: slicesDone - this.#slicesDoneBefore,
      bytesRead: this.#bytesRead,
      bytesWritten: this.#bytesWritten,
      tensorsCut: this.#tensorsCut,
      wanted: paused === undefined ? slicesOpen + sealsOpen + auditsOpen : this.#state.held,
      workersWanted: this.#workersWanted,
      workersRefused: this.#workersRefused(),
    };
  }

  #workersRefused(): readonly WorkerId[] {
    const { aside, workers } = this.#state;
    if (aside.size === 0) return NO_WORKERS;
    return [...workers.values()].flatMap((worker) => (isRefused(this.#state, worker) ? [worker.id] : []));
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
          ?.assign(this.#assignment(effect, effect.audit === true), this.#options.limits.leaseMs);
      case "grant":
      case "refuse":
      case "later":
        return this.#links.get(effect.worker)?.answerGrant(refOf(effect), grantAnswers[effect.type]);
      case "take":
        return this.#take(effect);
      case "accept":
        return this.#links.get(effect.worker)?.answerReport(refOf(effect), "accepted");
      case "stale":
        if (!hasSaid(this.#state, effect)) this.#forgetAnswer(effect);
        return this.#links.get(effect.worker)?.answerReport(refOf(effect), "stale");
      case "cancel":
        return this.#links.get(effect.worker)?.cancel(effect.attempts);
      case "renewed":
        this.#renewed = effect.attempts;
        return;
      case "dropped":
        this.#dropped = effect.attempts;
        return;
      case "set-aside":
        if (effect.isRefused === true) return observer.warning(refusedText(effect.worker, effect.failure));
        return observer.workerSetAside?.(effect.worker, effect.failure);
      case "pardon":
        return observer.workerPardoned?.(effect.worker);
      case "journal-done": {
        const { unit, attempt, sha256 } = effect;
        const worker = this.#state.units.get(unit)?.doneBy?.worker ?? ("" as WorkerId);
        return this.#durably(
          records.sliceDone(unit, attempt, sha256, worker),
          (nowMs) => ({ type: "slice-durable", unit, sha256, nowMs }),
          (failure, nowMs) => ({ type: "slice-not-durable", unit, failure, nowMs }),
        );
      }
      case "journal-disputed":
        return this.#durably(records.sliceDisputed(effect.unit, effect.attempt, effect.votes));
      case "journal-audited":
        return this.#durably(records.sliceAudited(effect.unit, effect.attempt));
      case "journal-lost":
        return this.#durably(records.sliceLost(effect.unit, effect.attempt));
      case "journal-quarantined":
        return this.#durably(
          records.quarantined(effect.unit, effect.attempt, `${effect.failure.code}: ${effect.failure.message}`),
        );
      case "journal-writer": {
        const { worker, incarnation, stretch } = effect;
        return this.#durably(records.writer(worker, incarnation, stretch), (nowMs) => {
          return { type: "writer-durable", worker, incarnation, stretch, nowMs };
        });
      }
      case "journal-writer-gone":
        return this.#durably(records.writerGone(effect.worker, effect.incarnation));
      case "journal-phase": {
        const { phase, reason } = effect;
        return this.#durably(records.phase(phase, reason), (nowMs) => ({ type: "phase-durable", phase, nowMs }));
      }
      case "begin-seal":
        return this.#beginSeal();
      case "publish":
        return this.#durably(
          this.#ports.publish(this.#seal.sealed((slice) => this.#sliceSha256(slice))),
          (nowMs) => ({ type: "published", nowMs }),
          (failure, nowMs) => ({ type: "publish-failed", failure, nowMs }),
        );
      case "discard-stage":
        return this.#durably(this.#ports.discardStage(), (nowMs) => ({ type: "stage-discarded", nowMs }));
      case "count":
        return observer.counted(effect.counter);
      case "discarded":
        this.#stopTicks();
        return this.#tellDiscarded(effect.failure);
      case "finished":
        if (this.#state.phase !== "terminating") this.#tellDiscarded();
        return this.#finish({
          outcome: effect.outcome,
          ...(effect.cause === undefined ? {} : { cause: effect.cause }),
        });
    }
  }

  /** Says what follows once something is durable; a journal or storage that fails ends the job. */
  #durably(
    done: Promise<void>,
    event?: (nowMs: number) => CoreEvent,
    failed: (failure: Failure, nowMs: number) => CoreEvent = (failure, nowMs) => ({
      type: "job-failed",
      failure,
      nowMs,
    }),
  ): void {
    done.then(
      () => {
        if (event !== undefined) this.#post(event(this.#now()));
      },
      (error: unknown) => this.#post(failed(failureFrom(error), this.#now())),
    );
  }

  // ---- rounds of cut tensors

  #beginRounds(task: number): void {
    const { plan, surveyElements, seams } = this.#options;
    const rounds = seams?.rounds?.(plan, task, surveyElements) ?? new TensorRounds(plan, task, surveyElements);
    this.#rounds.set(task, rounds);
    this.#nextRound(task, rounds);
  }

  #forgetAnswer(who: HeldBy): void {
    const ofUnit = this.#answers.get(who.unit);
    ofUnit?.delete(keyOf(who));
    if (ofUnit?.size === 0) this.#answers.delete(who.unit);
  }

  #take(effect: HeldBy): void {
    const { unit } = effect;
    const answer = this.#answers.get(unit)?.get(keyOf(effect));
    this.#answers.delete(unit);
    if (answer === undefined) return;
    if (answer.kind === "seal") return this.#takeSeal(unit, answer.found);
    const rounds = this.#roundsOf(unit);
    if (rounds === undefined) return;
    const key = keyOf(effect);
    rounds.keep(unit, answer.summary, this.#rooms.get(key));
    this.#rooms.delete(key);
    this.#fold(rounds);
  }

  /** Of hundreds of models it takes seconds: between its steps others have their turn. */
  #fold(rounds: TensorRounds): void {
    if (this.#folding.has(rounds)) return;
    try {
      if (rounds.foldStep()) return this.#foldLater(rounds);
      if (!this.#settling.has(rounds.index)) return;
      if (rounds.settleStep()) return this.#foldLater(rounds);
      this.#settling.delete(rounds.index);
    } catch (error) {
      // Summaries come from other machines; what cannot be folded must not take the other jobs along.
      return this.#post({ type: "job-failed", failure: failureFrom(error), nowMs: this.#now() });
    }
    this.#nextRound(rounds.index, rounds);
  }

  #foldLater(rounds: TensorRounds): void {
    this.#folding.add(rounds);
    this.#later(() => {
      this.#folding.delete(rounds);
      if (this.#rounds.get(rounds.index) === rounds && isSurveying(this.#state)) this.#fold(rounds);
    });
  }

  /** Once others have had their turn. */
  #later(act: () => void): void {
    const { othersTurn = nextTurn } = this.#ports;
    othersTurn().then(
      () => this.#guard(act),
      (error: unknown) => this.#break(error),
    );
  }

  #settle(task: number): void {
    const rounds = this.#rounds.get(task);
    if (rounds === undefined) throw new Error(`task ${task} was settled before it began`);
    this.#settling.add(task);
    this.#fold(rounds);
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
    this.#durably(this.#ports.records.verdict(task, step.verdict), (nowMs) => ({
      type: "verdict-durable",
      task,
      nowMs,
    }));
  }

  #roundsOf(unit: UnitId): TensorRounds | undefined {
    return this.#rounds.get(Number(unit.split("-")[1]));
  }

  // ---- assignments

  #assignment({ unit, attempt }: AttemptRef, audit: boolean): Assignment {
    const slice = this.#options.plan.slices[this.#state.units.get(unit)?.position ?? -1];
    if (slice !== undefined) return { unit, attempt, ...this.#sliceWork(slice, audit) };
    const seal = this.#seal.work(unit);
    if (seal !== undefined) return { unit, attempt, ...seal };
    const rounds = this.#roundsOf(unit);
    const range = rounds?.range(unit);
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

  #sliceWork(slice: Slice, audit: boolean) {
    const tasks = slice.parts.map(({ task }) => {
      const found = this.#options.plan.tasks[task];
      if (found === undefined) throw new Error(`slice ${slice.id} names task ${task}, which the plan does not have`);
      return found;
    });
    const verdicts = slice.parts.map(({ task }) => this.#verdicts.get(task));
    return { kind: "slice", slice, tasks, verdicts, preamble: preambleIn(this.#options.plan, slice), audit } as const;
  }

  // ---- seal

  #beginSeal(): void {
    const { closeSlots, sealedByStore } = this.#ports;
    const { plan, shardPaths } = this.#options;
    let told: readonly string[] | undefined;
    const begun = (nowMs: number): CoreEvent => {
      this.#sealPasses++;
      this.#seal = told === undefined ? new SealPass(plan, shardPaths, this.#sealPasses) : SealPass.told(plan, told);
      return { type: "seal-begun", units: this.#seal.units(), nowMs };
    };
    if (closeSlots === undefined) return this.#post(begun(this.#now()));
    const sha256s = plan.slices.map((slice) => this.#sliceSha256(slice));
    const closed = closeSlots(sha256s).then(async () => {
      told = await sealedByStore?.(sha256s);
    });
    this.#durably(closed, begun);
  }

  #takeSeal(unit: UnitId, found: readonly string[]): void {
    const { header } = this.#seal.damage(unit, found, (slice) => this.#sliceSha256(slice));
    this.#seal.take(unit, found);
    // Written anew whenever a run begins.
    if (header !== undefined) this.#post({ type: "job-failed", failure: damagedHeader(header), nowMs: this.#now() });
  }

  #sliceSha256(slice: Slice): string {
    return this.#state.units.get(unitOf(slice))?.sha256 ?? "";
  }

  #now(): number {
    return this.#ports.clock.nowMs();
  }
}

/** A tensor may lack its verdict, and nobody ends the job. */
function isSurveying({ phase }: JobState): boolean {
  return phase === "surveying" || phase === "merging";
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const grantAnswers = { grant: "granted", refuse: "refused", later: "later" } as const;

function refOf({ unit, attempt }: AttemptRef): AttemptRef {
  return { unit, attempt };
}

function keyOf({ worker, unit, attempt }: HeldBy): string {
  return `${worker}/${unit}/${attempt}`;
}

const NO_WORKERS: readonly WorkerId[] = [];

function refusedText(worker: WorkerId, { message, hint }: Failure): string {
  return `the job goes on without worker ${worker}, which is refused what others may do: ${message}. ${hint}`;
}

function unfit({ worker, unit }: HeldBy, { message, hint }: Failure): Failure {
  return { code: "coordinator/other-than-lent", message: `${worker} and ${unit}: ${message}`, hint, retryable: true };
}

function incomplete({ worker, unit }: HeldBy, hashes: number): Failure {
  return {
    code: "coordinator/other-than-lent",
    message: `${worker} read ${unit} back and gave ${hashes} ${hashes === 1 ? "hash" : "hashes"}, not one for each range`,
    hint: "Run the coordinator's release on that machine; if it is the same one, this is a defect: please report it.",
    retryable: true,
  };
}

function damagedHeader(path: string): Failure {
  return {
    code: "coordinator/storage-damages",
    message: `${path}: storage gave back another header than was written`,
    hint: "Check the disk, then run the same command again: finished slices are kept.",
    retryable: false,
  };
}
