import { createHash } from "node:crypto";
import type { Outcome } from "../../coordinator/job/index.ts";
import type { Failure, UnitId } from "../../merge/work/index.ts";
import { placeOf } from "../../storage/index.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { Auditor } from "./auditor.ts";
import type { Bug } from "./bugs.ts";
import { Network } from "./connection.ts";
import { isPassing, SimulatedCoordinator } from "./coordinator.ts";
import { chooseFaults, type FaultKind, lieKinds, liesOfBytes, momentKinds } from "./faults.ts";
import { factsThatCount, type RecordBody } from "./journal-server.ts";
import type { LentAttempt } from "./liar.ts";
import { type MadeUpMerge, makeUpMerge } from "./made-up-merge.ts";
import { OpenQuestions } from "./open-questions.ts";
import type { QuestionWatch } from "./rpc.ts";
import { SimulatedWorker } from "./worker.ts";
import { times, World } from "./world.ts";

export interface Finding {
  readonly seed: number;
  /** What must not be, in the order in which it was seen; empty: all is well. */
  readonly violations: readonly string[];
  readonly outcome: string;
  readonly turns: number;
  readonly endedMs: number;
  /** Faults that happened, as "kind/phase", and what the core counted. */
  readonly happened: ReadonlyMap<string, number>;
  readonly counters: ReadonlyMap<string, number>;
  readonly phases: ReadonlySet<string>;
  readonly trace: readonly string[];
}

/** After so many ends of coordinators something goes round in circles. */
const STARTS_MAX = 60;

/** A merge by coordinators and workers in one simulated world. All of it follows from the seed. */
export class Cluster {
  readonly world: World;
  readonly merge: MadeUpMerge;
  readonly out = placeOf("/out");
  readonly bug: Bug | undefined;
  /** Whether coordinators share a journal server, or one has a file beside the output. */
  readonly isShared: boolean;
  readonly audits: number;
  readonly surveyElements: number;
  readonly workers: SimulatedWorker[] = [];
  readonly phases = new Set<string>();
  readonly counters = new Map<string, number>();
  coordinators: SimulatedCoordinator[] = [];
  readonly #everStarted = new Map<string, SimulatedCoordinator>();
  /** Every attempt that was lent, in order. */
  readonly lent: LentAttempt[] = [];
  /** What waits for its answer. */
  readonly questions: QuestionWatch;
  /** What somebody asked of the job, until it has happened. */
  wanted: "cancel" | "terminate" | undefined;
  outcome: "done" | "cancelled" | "failed" | undefined;
  readonly #poison: { readonly unit: string; readonly failure: Failure } | undefined;
  #starts = 0;
  #pausedUntilMs = 0;
  #resuming = false;
  #journalLost = false;
  #lastFailure: Failure | undefined;

  /** `provoked`: faults that are on whatever the seed says. */
  constructor(seed: number, bug: Bug | undefined, trace: string[] | undefined, provoked: readonly FaultKind[] = []) {
    const random = seededRandom(seed);
    for (let k = 0; k < 5; k++) random(); // neighbouring seeds begin alike
    this.bug = bug;
    this.isShared = random() < 0.5;
    const faults = chooseFaults(random, this.isShared, provoked);
    this.world = new World(random, faults, trace);
    this.world.network = new Network(this.world);
    this.merge = makeUpMerge(random);
    const auditor = new Auditor(this.world, this.merge, this.out, this.isShared);
    this.world.auditor = auditor;
    this.world.journal.recorded = (subject, facts) => auditor.recorded(subject, facts);
    this.questions = new OpenQuestions(this.world);
    const lies = lieKinds.some((kind) => faults.has(kind));
    const misreports = liesOfBytes.every((kind) => !faults.has(kind));
    this.audits = lies && !misreports ? 1 : ([0, 0.4, 1][Math.floor(random() * 3)] ?? 0);
    this.surveyElements = random() < 0.5 ? 1 : 40;
    const count = 3 + Math.floor(random() * 2) + (lies ? 1 : 0);
    for (let k = 0; k < count; k++) {
      const reach = (["roots", "roots", "roots", "send", "fetch"] as const)[Math.floor(random() * 5)] ?? "roots";
      this.workers.push(new SimulatedWorker(this, `w${k + 1}`, reach));
    }
    if (lies) this.workers[0]!.isLiar = true;
    this.#poison = this.#choosePoison();
    this.world.log("seed", `${seed}: ${[...faults].join(" ")}; ${this.isShared ? "shared journal" : "file journal"}`);
  }

  #choosePoison() {
    const { random, faults } = this.world;
    const { slices } = this.merge.plan;
    const unit = slices[Math.floor(random() * slices.length)]!.id as string;
    const failure = { code: "merge/nonfinite", message: "NaN", hint: "Simulated.", retryable: false };
    if (faults.has("bad-data")) return { unit, failure };
    if (faults.has("poison-slice")) return { unit, failure: { ...failure, code: "storage/io", retryable: true } };
    return undefined;
  }

  async run(): Promise<void> {
    const { world } = this;
    const { scheduler } = world;
    this.#startCoordinator();
    for (const worker of this.workers) {
      const late = world.strikes("worker-joins-late", 0.5) ? world.between(200, 900) : world.between(0, 30);
      scheduler.after(late, () => worker.start());
    }
    this.#scheduleFaults();
    scheduler.after(times.faultsEndMs, () => this.#heal());
    await scheduler.run(times.boundMs, () => this.outcome !== undefined || world.auditor.violations.length > 0);
    if (this.outcome === undefined && world.auditor.violations.length === 0) {
      world.auditor.violated(`the job has not ended at ${times.boundMs} ms, and faults ended at ${times.faultsEndMs}`);
    }
    const until = scheduler.nowMs + times.afterwardsMs;
    await scheduler.run(until, () => world.auditor.violations.length > 0);
    this.#conclude();
  }

  #conclude(): void {
    const { auditor } = this.world;
    if (auditor.violations.length > 0) return;
    if (this.outcome === "done" || this.outcome === "cancelled") auditor.conclude(this.outcome);
    if (this.outcome === "done" && this.#poison !== undefined)
      auditor.violated("done, in spite of a slice that cannot be computed");
    if (!this.#journalLost) auditor.checkJournal(this.#journalRecords());
    if (this.outcome === "done") this.#checkSums();
  }

  /** Nobody but the seal knows the hash of a whole file. */
  #checkSums(): void {
    const store = this.world.look();
    const sums = Buffer.from(store.contentOf(`${this.out}/SHA256SUMS`) ?? "").toString();
    for (const [name, bytes] of this.merge.shards) {
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      if (!sums.includes(`${sha256}  ${name}\n`)) this.world.auditor.violated(`SHA256SUMS has another hash of ${name}`);
    }
  }

  /** Of the journal as it lies there, without a line of the program's reading of it. */
  #journalRecords(): { subject: string; state: string }[] {
    const file = this.world.look().contentOf(`${this.out}/.deltaworks/journal`);
    const lines = file === undefined ? [] : Buffer.from(file).toString("utf8").split("\n").slice(1, -1);
    const ofFile = lines.map((line) => JSON.parse(line.slice(line.indexOf(" ") + 1)));
    const ofServer = this.world.journal.records.map(({ subject, body }) => ({ subject, body: JSON.parse(body) }));
    const records: { subject: string; state: string }[] = [];
    let holder = "";
    const all: { subject: string; body: RecordBody }[] = this.isShared ? ofServer : ofFile;
    for (const { subject, body } of all) {
      if (body.state === "take-over") holder = body.holder ?? "";
      const facts = factsThatCount(body, holder);
      if (facts !== undefined) records.push({ subject, state: facts.state ?? "" });
    }
    return records;
  }

  #holders = 0;

  nextHolder(): number {
    return ++this.#holders;
  }

  // ---- coordinators

  /** One that answers, or seems to. */
  someCoordinator(): SimulatedCoordinator | undefined {
    const serving = this.coordinators.filter(({ isServing }) => isServing);
    return serving[Math.floor(this.world.random() * serving.length)];
  }

  #startCoordinator(): void {
    if (this.outcome !== undefined) return;
    if (++this.#starts > STARTS_MAX) {
      const why = `${this.#lastFailure?.code} ${this.#lastFailure?.message}`;
      return this.world.auditor.violated(`coordinators were started ${STARTS_MAX} times: ${why}`);
    }
    this.coordinators = this.coordinators.filter(({ process }) => process.alive);
    const coordinator = new SimulatedCoordinator(this, `c${this.#starts}`);
    this.coordinators.push(coordinator);
    this.#everStarted.set(coordinator.name, coordinator);
    coordinator.start();
  }

  /** As a lock would tell. */
  hasEnded(coordinator: string): boolean {
    return this.#everStarted.get(coordinator)?.process.alive === false;
  }

  coordinatorEnded(coordinator: SimulatedCoordinator, { outcome, cause }: Outcome): void {
    const { world } = this;
    this.coordinators = this.coordinators.filter((other) => other !== coordinator);
    if (outcome === "done" || outcome === "cancelled") {
      this.outcome = outcome;
      return;
    }
    this.#lastFailure = cause;
    if (cause !== undefined && !/^[a-z]+\/[a-z-]+$/.test(cause.code))
      world.auditor.violated(`a failure without a code: ${cause.message}`);
    if (cause?.code === "merge/internal") world.auditor.violated(`a defect: ${cause.message}`);
    const isPoisoned =
      this.#poison !== undefined &&
      cause?.code === this.#poison.failure.code &&
      cause.message === this.#poison.failure.message;
    // Half published, and the journal has forgotten why: somebody must say that it may be replaced.
    const isForgotten = this.#journalLost && cause?.code.startsWith("publish/") === true;
    if (isPoisoned || isForgotten) {
      this.outcome = "failed";
      return;
    }
    if (cause !== undefined && !isPassing(cause) && !world.faulty) {
      // What failed for good while faults lasted is submitted again; after that there is no reason to fail.
      const early = world.scheduler.nowMs < times.faultsEndMs + 3000;
      if (!early) world.auditor.violated(`failed without a fault: ${cause.code} ${cause.message}`);
    }
    // Others may lead; one that was superseded is not started again while another lives.
    const others = this.coordinators.some(({ process }) => process.alive);
    if (cause?.code === "journal/superseded" && others) return;
    world.scheduler.after(world.between(20, 120), () => this.#startIfNone());
  }

  phaseChanged(phase: string): void {
    this.phases.add(phase);
    const { world } = this;
    if (!world.faulty || world.random() < 0.6) return;
    // Short phases would be hit by chance only now and then.
    const kinds = momentKinds.filter((kind) => world.faults.has(kind));
    const kind = kinds[Math.floor(world.random() * kinds.length)];
    if (kind !== undefined) world.scheduler.after(world.between(0, 40), () => this.#strike(kind));
  }

  counted(counter: string): void {
    this.counters.set(counter, (this.counters.get(counter) ?? 0) + 1);
  }

  /** Somebody makes room, or remembers, and resumes. */
  paused(coordinator: SimulatedCoordinator): void {
    if (this.#resuming) return;
    this.#resuming = true;
    const { world } = this;
    world.scheduler.after(Math.max(30, this.#pausedUntilMs - world.scheduler.nowMs), () => {
      this.#resuming = false;
      for (const { job } of [coordinator, ...this.coordinators]) job?.resume();
    });
  }

  // ---- faults

  #scheduleFaults(): void {
    const { world } = this;
    for (const kind of momentKinds) {
      if (!world.faults.has(kind)) continue;
      const times_ = 1 + Math.floor(world.random() * 3);
      // Most is over soon if nothing goes wrong: most faults come early.
      for (let k = 0; k < times_; k++) {
        world.scheduler.after(world.between(10, world.random() < 0.7 ? 700 : times.faultsEndMs), () =>
          this.#strike(kind),
        );
      }
    }
  }

  #strike(kind: FaultKind): void {
    const { world } = this;
    if (!world.faulty || this.outcome !== undefined) return;
    const worker = this.workers[Math.floor(world.random() * this.workers.length)]!;
    const coordinator = this.coordinators[Math.floor(world.random() * this.coordinators.length)];
    const job = coordinator?.job;
    const lastsMs = world.between(50, 1000);
    const later = (act: () => void) =>
      world.scheduler.after(Math.min(lastsMs, times.faultsEndMs - world.scheduler.nowMs), act);
    const strike = (what: string) => {
      world.struck(kind);
      world.log("FAULT", `${kind} ${what}`);
    };
    switch (kind) {
      case "partition":
        strike(worker.name);
        return world.network.partition(worker.name, lastsMs);
      case "reset":
        strike(worker.name);
        return world.network.reset(worker.name);
      case "disk-full":
        strike("");
        world.diskIsFull = true;
        return later(() => {
          world.diskIsFull = false;
        });
      case "power-loss":
        // Of the machine that has the disk: the coordinator's. Others see their handles go stale.
        strike("");
        for (const other of this.coordinators.splice(0)) other.kill();
        world.powerLoss();
        return world.scheduler.after(world.between(20, 200), () => this.#startIfNone());
      case "worker-crash":
        if (worker.process?.alive !== true) return;
        strike(worker.name);
        return worker.end("killed");
      case "worker-stop": {
        const { process } = worker;
        if (process?.alive !== true) return;
        strike(worker.name);
        process.stop();
        return later(() => process.continue());
      }
      case "slow-worker": {
        const { process } = worker;
        if (process?.alive !== true) return;
        strike(worker.name);
        world.slow.add(process);
        return later(() => world.slow.delete(process));
      }
      case "worker-drains":
        if (worker.process?.alive !== true) return;
        strike(worker.name);
        return worker.process.deliver(() => worker.drain());
      case "coordinator-crash":
        if (coordinator === undefined) return;
        // Half of them in the middle of a slice.
        if (world.random() < 0.5 && coordinator.isServing) return this.#crashInAWrite(coordinator);
        strike(coordinator.name);
        coordinator.kill();
        this.coordinators = this.coordinators.filter((other) => other !== coordinator);
        world.scheduler.after(world.between(20, 300), () => this.#startIfNone());
        return;
      case "coordinator-stop": {
        if (coordinator === undefined) return;
        strike(coordinator.name);
        const { process } = coordinator;
        process.stop();
        later(() => process.continue());
        // Others take it for dead.
        if (this.isShared && world.random() < 0.7)
          world.scheduler.after(world.between(50, 300), () => this.#startCoordinator());
        return;
      }
      case "take-over":
        strike("");
        return this.#startCoordinator();
      case "journal-down":
        strike("");
        world.journal.isDown = true;
        return later(() => {
          world.journal.isDown = false;
        });
      case "journal-tail-lost":
        strike("");
        return this.#loseTail();
      case "pause":
        if (job === undefined) return;
        strike("");
        this.#pausedUntilMs = world.scheduler.nowMs + lastsMs;
        return job.pause({ code: "coordinator/paused", message: "by request", hint: "Resume it.", retryable: true });
      case "stop":
        if (job === undefined) return;
        strike("");
        return job.stop();
      case "cancel":
      case "terminate":
        if (this.wanted !== undefined) return;
        strike("");
        this.wanted = kind;
        world.wantsEnd = true;
        if (kind === "cancel") job?.cancel();
        else job?.terminate();
    }
  }

  /**
   * As soon as some worker writes: the coordinator dies, and whoever writes stands still, or its disk does, for less than its leases last. So what was granted
   * before is being written when the next one begins.
   */
  #crashInAWrite(coordinator: SimulatedCoordinator): void {
    const { world } = this;
    if (!world.faulty || this.outcome !== undefined || !coordinator.process.alive) return;
    const writing = this.workers.filter((worker) => worker.process?.alive === true && worker.isWriting);
    if (writing.length === 0) return world.scheduler.after(2, () => this.#crashInAWrite(coordinator));
    world.struck("coordinator-crash");
    world.log(
      "FAULT",
      `coordinator-crash ${coordinator.name} while ${writing.map(({ name }) => name).join(" ")} write`,
    );
    coordinator.kill();
    this.coordinators = this.coordinators.filter((other) => other !== coordinator);
    for (const { process } of writing) {
      const isStopped = world.random() < 0.5;
      world.struck(isStopped ? "worker-stop" : "slow-io");
      if (isStopped) process.stop();
      else world.slowDisks.add(process);
      world.scheduler.after(world.between(150, 300), () => {
        if (isStopped) process.continue();
        else world.slowDisks.delete(process);
      });
    }
    world.scheduler.after(world.between(1, 30), () => this.#startIfNone());
  }

  /**
   * A server that goes back behind a record of the job itself gives its number out again, and whoever leads cannot tell that the number
   * has become another's: such records it loses only while coordinators are down.
   */
  #loseTail(): void {
    const { world } = this;
    const takesAll = world.random() < 0.5;
    if (takesAll) for (const coordinator of this.coordinators.splice(0)) coordinator.kill();
    if (takesAll) world.auditor.journalWentBack();
    this.#journalLost = true;
    world.journal.loseTail(1 + Math.floor(world.random() * 5), takesAll);
    if (takesAll) world.scheduler.after(world.between(20, 200), () => this.#startIfNone());
  }

  #startIfNone(): void {
    if (!this.coordinators.some(({ process }) => process.alive)) this.#startCoordinator();
  }

  #heal(): void {
    this.world.log("FAULT", "no more from here on");
    this.world.diskIsFull = false;
    this.world.journal.isDown = false;
    this.world.slow.clear();
    for (const { process } of this.workers) process?.continue();
    this.#startIfNone();
  }

  /** Why a worker cannot compute something now. */
  computeFault(unit: UnitId): Failure | undefined {
    const { world } = this;
    if (this.#poison?.unit === unit) {
      world.struck(this.#poison.failure.retryable ? "poison-slice" : "bad-data");
      return this.#poison.failure;
    }
    if (world.strikes("failing-attempt", 0.12)) {
      return { code: "storage/io", message: "the input could not be read", hint: "Simulated.", retryable: true };
    }
    return undefined;
  }
}

/** Runs one seed, with a planted fault perhaps. */
export async function simulate(
  seed: number,
  options: { bug?: Bug | undefined; trace?: boolean; provoked?: readonly FaultKind[] | undefined } = {},
): Promise<Finding> {
  const trace: string[] = [];
  const cluster = new Cluster(seed, options.bug, options.trace === true ? trace : undefined, options.provoked);
  await cluster.run();
  const { world, outcome, counters, phases } = cluster;
  return {
    seed,
    violations: world.auditor.violations,
    outcome: outcome ?? "none",
    turns: world.scheduler.turns,
    endedMs: world.scheduler.nowMs,
    happened: world.happened,
    counters,
    phases,
    trace,
  };
}
