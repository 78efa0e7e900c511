import type { Effect, JobEvent, JobState } from "../../coordinator/core/index.ts";
import {
  type Outcome,
  type Progress,
  type RunningJob,
  remoteLimits,
  runMergeJob,
  TensorRounds,
} from "../../coordinator/job/index.ts";
import type { GrantAnswer, HeldAttempt, ReportAnswer, WorkerLink } from "../../coordinator/link/index.ts";
import { type AttemptRef, type Failure, failureFrom, type Report, type WorkerId } from "../../merge/work/index.ts";
import { decideWith } from "./bugs.ts";
import type { Cluster } from "./cluster.ts";
import type { Connection } from "./connection.ts";
import { journalOf } from "./journal-server.ts";
import { madeUpMethod, RoundsByArrival } from "./made-up-merge.ts";
import { Process } from "./process.ts";
import { ProcessStore } from "./process-store.ts";
import { times } from "./world.ts";

export interface Hello {
  readonly incarnation: string;
  readonly host: string;
  readonly slots: number;
  readonly held: readonly AttemptRef[];
  readonly writing: readonly AttemptRef[];
}

/** A coordinator of a simulated cluster: the real driver, core, records, file journal, seal and publishing, behind a made-up link. */
export class SimulatedCoordinator {
  readonly name: string;
  readonly process: Process;
  readonly #cluster: Cluster;
  readonly #store: ProcessStore;
  #job: RunningJob | undefined;
  readonly #connections = new Map<WorkerId, Connection>();
  readonly #grants = new Map<string, ((answer: GrantAnswer) => void)[]>();
  readonly #reports = new Map<string, ((answer: ReportAnswer) => void)[]>();
  #ended = false;

  constructor(cluster: Cluster, name: string) {
    const { world } = cluster;
    this.#cluster = cluster;
    this.name = name;
    const drift = world.faults.has("clock-drift") ? world.between(-0.02, 0.02) : 0;
    this.process = new Process(name, world.scheduler, { startMs: world.between(0, 1e6), rate: 1 + drift });
    this.#store = new ProcessStore(world, this.process);
  }

  /** Whether workers find a job here. */
  get isServing(): boolean {
    return this.#job !== undefined && this.process.alive && !this.#ended;
  }

  get job(): RunningJob | undefined {
    return this.process.alive && !this.process.isStopped && !this.#ended ? this.#job : undefined;
  }

  start(): void {
    this.#cluster.world.log(this.name, "starts");
    this.#run().then(
      (outcome) => this.#over(outcome),
      (error: unknown) => this.#over({ outcome: "failed", cause: failureFrom(error) }),
    );
  }

  kill(): void {
    this.#cluster.world.log(this.name, "is killed");
    this.process.kill();
    for (const connection of [...this.#connections.values()]) connection.cut(100);
  }

  #over(outcome: Outcome): void {
    if (!this.process.alive) return;
    this.#ended = true;
    this.process.kill();
    for (const connection of [...this.#connections.values()]) connection.cut(100);
    const { cause } = outcome;
    this.#cluster.world.log(
      this.name,
      `ends: ${outcome.outcome} ${cause === undefined ? "" : `${cause.code} ${cause.message}`}`,
    );
    this.#cluster.coordinatorEnded(this, outcome);
  }

  #run(): Promise<Outcome> {
    const { cluster, world } = { cluster: this.#cluster, world: this.#cluster.world };
    const { merge, out, audits, bug, isShared } = cluster;
    const { leaseMs, ioTimeoutMs, leadershipMs } = times;
    const method = madeUpMethod(bug === "quota-given-twice" ? "twice" : "right");
    const decide = decideWith(bug);
    return runMergeJob({
      store: this.#store,
      out,
      plan: merge.plan,
      digest: merge.digest,
      recipeText: "made up\n",
      definingCheckpoint: { root: "/models/made-up", config: undefined, companions: [] } as never,
      inputs: [{ label: "made up", files: [] }],
      seed: { low: 1, high: 0 },
      overwrite: false,
      restart: false,
      hashInputs: false,
      toolVersion: "0.0.0-simulated",
      surveyElements: cluster.surveyElements,
      clock: { nowMs: () => this.process.nowMs() },
      ticks: (tick) => {
        let on = true;
        this.process.every(
          () => times.tickMs,
          () => {
            if (on) tick();
            return on;
          },
        );
        return () => {
          on = false;
        };
      },
      ...(isShared ? { leadershipMs, openJournal: async () => journalOf(world, this.process) } : {}),
      limits: {
        ...remoteLimits({ leaseMs, ioTimeoutMs, slices: 100, auditShare: audits, auditSeed: 1 }),
        runLength: 2,
        vanishedMax: 40,
      },
      observer: {
        began: () => {},
        progress: (progress) => this.#progressed(progress),
        warning: () => {},
        counted: (counter) => cluster.counted(counter),
        workerSetAside: (worker, failure) => world.log(this.name, `sets ${worker} aside: ${failure.message}`),
      },
      onStop: () => {},
      onRunning: (job) => {
        this.#job = job;
        // What was asked of a coordinator that died before it noted it is asked again.
        process.nextTick(() => this.#remind());
      },
      seams: {
        // Unlike any other, in the digits that attempts are numbered by.
        holder: `${cluster.nextHolder().toString(16).padStart(4, "0")}`,
        decide: (state, event) => this.#decide(decide, state, event),
        rounds: (plan, task, elements) =>
          bug === "folded-by-arrival"
            ? new RoundsByArrival(plan, task, elements, method)
            : new TensorRounds(plan, task, elements, method),
      },
    });
  }

  #decide(
    decide: (state: JobState, event: JobEvent) => readonly Effect[],
    state: JobState,
    event: JobEvent,
  ): readonly Effect[] {
    const effects = decide(state, event);
    const { world } = this.#cluster;
    if (world.trace !== undefined) this.#note(event, effects);
    world.auditor.decided(this.name, event, effects);
    return effects;
  }

  #note(event: JobEvent, effects: readonly Effect[]): void {
    const { world } = this.#cluster;
    if (event.type === "time-passed" && effects.length === 0) return;
    if (event.type === "leadership-confirmed" || event.type === "heartbeat") return;
    const text = (value: object) =>
      JSON.stringify(value, (name, inner) => (name === "nowMs" || name === "type" ? undefined : inner)).slice(0, 160);
    world.log(this.name, `${event.type} ${text(event)}`);
    for (const effect of effects) world.log(this.name, `   → ${effect.type} ${text(effect)}`);
  }

  #progressed({ phase, paused }: Progress): void {
    const { world } = this.#cluster;
    const shown = paused === undefined ? phase : "paused";
    if (world.phase !== shown) {
      world.phase = shown;
      this.#cluster.phaseChanged(shown);
    }
    if (paused !== undefined) this.#cluster.paused(this);
  }

  #remind(): void {
    const { wanted } = this.#cluster;
    if (wanted === "cancel") this.#job?.cancel();
    else if (wanted === "terminate") this.#job?.terminate();
  }

  // ---- what workers call

  attach(connection: Connection, hello: Hello): void {
    const { worker } = connection;
    const job = this.#job;
    if (job === undefined || this.#ended) return connection.cut(10);
    const before = this.#connections.get(worker.name);
    this.#connections.set(worker.name, connection);
    if (before !== undefined && before !== connection) before.cut(50);
    const dropped = job.attached(this.#link(connection, hello), hello.held);
    job.writing(worker.name, hello.writing);
    connection.down(() => worker.welcomed(connection, dropped));
  }

  connectionLost(connection: Connection): void {
    const { name } = connection.worker;
    if (this.#connections.get(name) !== connection) return;
    this.#connections.delete(name);
    if (!this.#ended) this.#job?.detached(name);
  }

  heartbeat(connection: Connection, sequence: number, held: readonly HeldAttempt[]): void {
    const { worker } = connection;
    if (this.#connections.get(worker.name) !== connection || this.#ended) return;
    const dropped = this.#job?.heartbeat(worker.name, held) ?? [];
    connection.down(() => worker.heartbeatAnswered(sequence, dropped));
  }

  handedBack(worker: WorkerId, attempts: readonly AttemptRef[]): void {
    if (!this.#ended) this.#job?.handedBack(worker, attempts);
  }

  draining(worker: WorkerId): void {
    if (!this.#ended) this.#job?.draining(worker);
  }

  grantRequested(worker: WorkerId, attempt: AttemptRef, sha256: string, answer: (answer: GrantAnswer) => void): void {
    if (this.#job === undefined || this.#ended) return;
    const key = `${worker}/${attempt.unit}/${attempt.attempt}`;
    this.#grants.set(key, [...(this.#grants.get(key) ?? []), answer]);
    this.#job.grantRequested(worker, attempt.unit, attempt.attempt, sha256);
  }

  reported(worker: WorkerId, report: Report, answer: (answer: ReportAnswer) => void): void {
    if (this.#job === undefined || this.#ended) return;
    const key = `${worker}/${report.unit}/${report.attempt}`;
    this.#reports.set(key, [...(this.#reports.get(key) ?? []), answer]);
    this.#job.reported(worker, report);
  }

  #link(connection: Connection, { incarnation, host, slots }: Hello): WorkerLink {
    const { worker } = connection;
    const keyOf = ({ unit, attempt }: AttemptRef) => `${worker.name}/${unit}/${attempt}`;
    return {
      id: worker.name,
      kind: "remote",
      incarnation,
      host,
      memoryBytes: 1e9,
      slots,
      assign: (assignment) => connection.down(() => worker.assigned(assignment)),
      answerGrant: (attempt, answer) => this.#grants.get(keyOf(attempt))?.shift()?.(answer),
      answerReport: (attempt, answer) => {
        for (const respond of this.#reports.get(keyOf(attempt))?.splice(0) ?? []) respond(answer);
      },
      cancel: (attempts) => connection.down(() => worker.cancelled(attempts)),
      close: async () => connection.down(() => worker.jobEnded()),
    };
  }
}

/** Causes that pass, or that another start gets past. */
export function isPassing({ code }: Failure): boolean {
  return /^(journal\/|storage\/)/.test(code);
}
