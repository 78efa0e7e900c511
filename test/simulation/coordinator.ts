import { createHash } from "node:crypto";
import { brokenInvariants, type CoreEvent, type Effect, type JobState } from "../../coordinator/core/index.ts";
import {
  fileHome,
  type Outcome,
  type Progress,
  type RunningJob,
  remoteLimits,
  runMergeJob,
  sharedHome,
  TensorRounds,
} from "../../coordinator/job/index.ts";
import {
  coordinatorHandlers,
  LinkError,
  type RemoteJob,
  type ResultIntake,
  WorkerHub,
  type WorkerPeer,
} from "../../coordinator/link/index.ts";
import { type AttemptRef, type Failure, failureFrom, sealRanges } from "../../merge/work/index.ts";
import { FileOutput, hashRanges } from "../../output/index.ts";
import type { CoordinatorServer } from "../../proto/index.ts";
import { placeOf } from "../../storage/index.ts";
import { answeringOnce, decideWith } from "./bugs.ts";
import type { Cluster } from "./cluster.ts";
import { journalOf } from "./journal-server.ts";
import { madeUpMethod, RoundsByArrival } from "./made-up-merge.ts";
import { Process } from "./process.ts";
import { ProcessStore } from "./process-store.ts";
import { writerOfCall } from "./rpc.ts";
import { times } from "./world.ts";

/** A coordinator of a simulated cluster: the real driver, core, records, file journal, seal and publishing, behind the real link. */
export class SimulatedCoordinator {
  readonly name: string;
  readonly process: Process;
  readonly #cluster: Cluster;
  readonly #store: ProcessStore;
  #job: RunningJob | undefined;
  readonly #hub: WorkerHub;
  /** What workers call. */
  readonly handlers: CoordinatorServer;
  /** Of the newest decision. */
  state: JobState | undefined;
  #sharing = false;
  readonly #fetching = new Set<string>();
  #ended = false;

  constructor(cluster: Cluster, name: string) {
    const { world } = cluster;
    this.#cluster = cluster;
    this.name = name;
    const drift = world.faults.has("clock-drift") ? world.between(-0.02, 0.02) : 0;
    this.process = new Process(name, world.scheduler, { startMs: world.between(0, 1e6), rate: 1 + drift });
    this.#store = new ProcessStore(world, this.process);
    this.#hub = this.#openHub();
    const handlers = coordinatorHandlers(this.#hub, (_, claimed) => claimed);
    this.handlers = cluster.bug === "answered-once" ? answeringOnce(handlers, () => world.scheduler.turns) : handlers;
  }

  /** Whether workers find somebody here. */
  get isServing(): boolean {
    return this.process.alive && !this.#ended;
  }

  get job(): RunningJob | undefined {
    return this.process.alive && !this.process.isStopped && !this.#ended ? this.#job : undefined;
  }

  start(): void {
    this.#cluster.world.log(this.name, "starts");
    this.process.every(
      () => times.heartbeatMs,
      () => {
        this.#hub.tick();
        return true;
      },
    );
    this.#run().then(
      (outcome) => this.#over(outcome),
      (error: unknown) => this.#over({ outcome: "failed", cause: failureFrom(error) }),
    );
  }

  kill(): void {
    this.#cluster.world.log(this.name, "is killed");
    this.process.kill();
    this.#cluster.world.network.cutFrom(this, 100);
  }

  #over(outcome: Outcome): void {
    if (!this.process.alive) return;
    this.#ended = true;
    this.process.kill();
    this.#cluster.world.network.cutFrom(this, 100);
    const { cause } = outcome;
    this.#cluster.world.log(
      this.name,
      `ends: ${outcome.outcome} ${cause === undefined ? "" : `${cause.code} ${cause.message}`}`,
    );
    this.#cluster.coordinatorEnded(this, outcome);
  }

  async #run(): Promise<Outcome> {
    try {
      return await this.#merge();
    } finally {
      await this.#hub.closeJob(JOB);
    }
  }

  #merge(): Promise<Outcome> {
    const { cluster, world } = { cluster: this.#cluster, world: this.#cluster.world };
    const { merge, out, audits, bug, isShared } = cluster;
    const { leaseMs, ioTimeoutMs, leadershipMs } = times;
    const method = madeUpMethod(bug === "quota-given-twice" ? "twice" : "right");
    const decide = decideWith(bug);
    const output = new FileOutput(this.#store, out);
    return runMergeJob({
      store: this.#store,
      output,
      home: isShared
        ? sharedHome(async () => journalOf(world, this.process))
        : fileHome(this.#store, output.journalFolder),
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
      workers: () => this.#hub.source(this.#remoteJob()),
      clock: { nowMs: () => this.process.nowMs() },
      othersTurn: () => new Promise((resolve) => this.process.after(0, resolve)),
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
      ...(isShared
        ? {
            leadershipMs,
            leaderName: { coordinator: this.name, hasEnded: (other) => cluster.hasEnded(other) },
          }
        : {}),
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
        workerSetAside: (worker, failure) => {
          world.log(this.name, `sets ${worker} aside: ${failure.message}`);
          this.#hub.setAside(worker, failure);
        },
        workerPardoned: (worker) => this.#hub.pardon(worker),
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
    decide: (state: JobState, event: CoreEvent) => readonly Effect[],
    state: JobState,
    event: CoreEvent,
  ): readonly Effect[] {
    const effects = decide(state, event);
    this.state = state;
    const { world } = this.#cluster;
    for (const effect of effects) {
      if (effect.type === "assign") this.#cluster.lent.push(effect);
    }
    if (world.trace !== undefined) this.#note(event, effects);
    world.auditor.decided(this.name, event, effects);
    for (const broken of brokenInvariants(state)) {
      world.auditor.violated(`${this.name} after ${event.type}: ${broken}`);
    }
    return effects;
  }

  #note(event: CoreEvent, effects: readonly Effect[]): void {
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

  // ---- the link

  #openHub(): WorkerHub {
    const { world } = this.#cluster;
    return new WorkerHub({
      softwareVersion: "0.0.0-simulated",
      startNumber: 1,
      times: { leaseMs: times.leaseMs, heartbeatMs: times.heartbeatMs, ioTimeoutMs: times.ioTimeoutMs },
      store: this.#store,
      clock: { nowMs: () => this.process.nowMs() },
      soon: (act) => this.process.after(0, act),
      fetch: (worker, _job, intake, ref) => this.#fetch(worker, intake, ref),
      changed: () => this.#share(),
      defect: (error, where) => {
        world.auditor.violated(`a defect in ${where}: ${error instanceof Error ? error.stack : String(error)}`);
      },
      log: (event, facts) => {
        if (world.trace !== undefined) world.log(this.name, `${event} ${JSON.stringify(facts)}`);
      },
    });
  }

  #remoteJob(): RemoteJob {
    const { merge, out } = this.#cluster;
    const { plan, digest } = merge;
    return {
      id: JOB,
      plan,
      planDigest: digest,
      inputs: [{ label: "made up", files: [] }],
      shardPaths: plan.shards.map(({ name }) => placeOf(`${out}/.deltaworks/stage/${name}`)),
      inputPlaces: [[]],
      shardPlaces: plan.shards.map(({ name }) => ({ root: "out", path: `.deltaworks/stage/${name}` })),
      readBack: (work) => hashRanges(this.#store, work.path, sealRanges(work)),
    };
  }

  /** All slots of all workers that are there are the one job's. */
  #share(): void {
    if (this.#sharing) return;
    this.#sharing = true;
    this.process.after(0, () => {
      this.#sharing = false;
      const sound = [...this.#hub.workers].filter(({ setAside }) => setAside === undefined);
      for (const worker of this.#hub.workers) {
        const gets = worker.attached && !worker.draining && (sound.length === 0 || worker.setAside === undefined);
        this.#hub.setSlots(worker, JOB, gets ? 2 * worker.facts.threads : 0);
        this.#hub.setBarred(worker, JOB, sound.length > 0 && worker.setAside !== undefined);
      }
    });
  }

  /** Comes for a result: question and answer take their time, and get lost. */
  async #fetch(worker: WorkerPeer, intake: ResultIntake, ref: AttemptRef): Promise<void> {
    const name = attemptName(ref);
    this.#fetching.add(name);
    try {
      await this.#fetched(worker, intake, ref);
    } finally {
      this.#fetching.delete(name);
    }
  }

  /** Whether this result is being come for, whatever became of its attempt meanwhile. */
  isFetching(ref: { readonly unit: string; readonly attempt: number }): boolean {
    return this.#fetching.has(attemptName(ref));
  }

  async #fetched(worker: WorkerPeer, intake: ResultIntake, { unit, attempt }: AttemptRef): Promise<void> {
    const { world, workers } = this.#cluster;
    const holder = workers.find(({ name }) => name === worker.id);
    const lost = new LinkError("link/unreachable", `worker ${worker.id} cannot be reached (simulated)`, {
      hint: "Simulated.",
      retryable: true,
    });
    const bytes = await new Promise<Uint8Array>((resolve, reject) => {
      this.process.after(times.callMs, () => reject(lost));
      if (holder === undefined || world.network.isCutOff(holder.name)) return;
      world.scheduler.after(world.network.delayMs(), () =>
        holder.process.deliver(() => {
          const offered = holder.resultOf(unit, attempt);
          const answer = () => (offered === undefined ? reject(lost) : resolve(offered));
          if (!world.network.isCutOff(holder.name))
            world.scheduler.after(world.network.delayMs(), () => this.process.deliver(answer));
        }),
      );
    });
    await writerOfCall.run({ writer: { worker: worker.id, unit, attempt } }, async () => {
      const result = intake.begin({ unit, attempt }, intake.receivedBytes({ unit, attempt }), bytes.length);
      try {
        const rest = bytes.subarray(intake.receivedBytes({ unit, attempt }));
        const middle = Math.ceil(rest.length / 2);
        for (const piece of [rest.subarray(0, middle), rest.subarray(middle)]) {
          if (piece.length > 0) await result.write(piece);
        }
        await result.finish(createHash("sha256").update(bytes).digest("hex"));
      } finally {
        await result.close();
      }
    });
  }
}

const JOB = "job";

function attemptName({ unit, attempt }: { readonly unit: string; readonly attempt: number }): string {
  return `${unit}/${attempt}`;
}

/** Causes that pass, or that another start gets past. */
export function isPassing({ code }: Failure): boolean {
  return /^(journal\/|storage\/)/.test(code);
}
