import type { Counter } from "../coordinator/core/index.ts";
import {
  type Begun,
  type JobObserver,
  type MergeJobOptions,
  type OpenJournal,
  type Outcome,
  type Progress,
  type RunningJob,
  remoteLimits,
  runMergeJob,
} from "../coordinator/job/index.ts";
import type { JournalRecord, Sequence } from "../coordinator/journal/index.ts";
import type { JobSigning, RemoteJob, WorkerHub } from "../coordinator/link/index.ts";
import type { JobRecord, Wish } from "../coordinator/queue/index.ts";
import { parseSeed } from "../merge/math/index.ts";
import { type Failure, sealRanges, type WorkerId } from "../merge/work/index.ts";
import type { Output } from "../output/index.ts";
import type { Prepared } from "../prepare/index.ts";
import { type Files, linkless, namesBelow, type Place, schemeOf } from "../storage/index.ts";
import { type CoordinatorName, isPredecessor, nameText } from "./coordinator-name.ts";
import { type JobOptions, optionsOfJson } from "./job-options.ts";
import { type FarStores, type JobOutput, layoutFor, outputOf, signingFor } from "./job-output.ts";
import type { Planner } from "./planner.ts";
import type { Roots } from "./roots.ts";

/** Journals that lie in no output. */
export interface JobJournals {
  open(job: string): Promise<OpenJournal>;
  /** How long after a confirmation that nobody has taken over grants are safe. */
  readonly leadershipMs: number;
  /** What counts of a job's journal, after a sequence; for those who only look. */
  history(job: string, after: Sequence): AsyncIterable<JournalRecord>;
}

export interface ServedJobSurroundings {
  readonly store: Files;
  readonly roots: Roots;
  readonly hub: WorkerHub;
  readonly toolVersion: string;
  readonly leaseMs: number;
  readonly ioTimeoutMs: number;
  /** Elements of a cut tensor that one worker surveys at once. */
  readonly surveyElements: number;
  readonly planner: Planner;
  /** Stores behind addresses. Absent: there are none. */
  readonly far?: FarStores | undefined;
  /** Bytes that the file system of a directory has left. */
  readonly freeBytes?: MergeJobOptions["freeBytes"];
  readonly clock: { nowMs(): number };
  /** This coordinator's process. */
  readonly name: CoordinatorName;
  /** Where journals are that several coordinators share. Absent: in the outputs, with a lock. */
  readonly journals?: JobJournals | undefined;
  /** Whether the job of an id has ended, or is forgotten. */
  hasEnded(id: string): Promise<boolean>;
  log(event: string, facts: Readonly<Record<string, unknown>>, level?: "info" | "warn"): void;
}

/** Of the warnings that are kept for those who ask later. */
const WARNINGS_MAX = 100;
const UNAUDITED =
  "not all of what was to be computed by two workers was: no second worker was there, or it failed each time (status --json counts them as audits_skipped_total)";
/** How many times in a lease the core looks at its deadlines. */
const TICKS_PER_LEASE = 10;
const TICK_MS_MAX = 1000;
/** Between lines in the log that say that a job stands still. */
const STALLED_EVERY_MS = 60_000;
/** Code of a pause that somebody asked for. */
export const PAUSED = "service/paused";

/** One job that this coordinator has taken up: planned, run, and told of. */
export class ServedJob implements JobObserver {
  readonly record: JobRecord;
  readonly options: JobOptions;
  progressNow: Progress | undefined;
  #stalledSaidMs: number | undefined;
  /** How often it came to stand still. */
  stalls = 0;
  plan: { readonly digest: string; readonly slices: number } | undefined;
  readonly warnings: string[] = [];
  /** Why the queue does not know yet what became of it. */
  unnoted: Failure | undefined;
  /** What the core counted in this run. */
  readonly counters = new Map<Counter, number>();
  /** The last one that was carried out. */
  wish: Wish;
  /** How often it had been asked to go on by then. */
  resumes: number;
  /** What was asked before it ran. */
  #wish: (running: RunningJob) => void = () => {};
  #running: RunningJob | undefined;
  #stopped = false;
  /** Stops what runs. */
  #stop = () => {};
  readonly #listeners = new Set<() => void>();
  readonly #around: ServedJobSurroundings;

  constructor(record: JobRecord, around: ServedJobSurroundings) {
    this.record = record;
    this.options = optionsOfJson(record.options);
    this.wish = record.wish;
    this.resumes = record.resumes ?? 0;
    this.#around = around;
  }

  /** Units that could be lent, or are; more than can be told before it is known. */
  get wanted(): number {
    return this.progressNow?.wanted ?? Number.MAX_SAFE_INTEGER;
  }

  /** Calls back whenever something is to be told, until the returned function is called. */
  listen(changed: () => void): () => void {
    this.#listeners.add(changed);
    return () => this.#listeners.delete(changed);
  }

  /** From wherever an earlier run left it to its end. @throws the errors of planning and of the output directory */
  async run(prepared?: Prepared): Promise<Outcome> {
    const { store, roots, hub, toolVersion, leaseMs, ioTimeoutMs, surveyElements, clock, journals, name, planner } =
      this.#around;
    const { options, record } = this;
    const out = await roots.outputPath(record.out);
    const planned = prepared ?? (await planner.plan(record.recipe, options, layoutFor(out, options)));
    this.plan = { digest: planned.digest, slices: planned.plan.slices.length };
    const limits = remoteLimits({
      slices: planned.plan.slices.length,
      leaseMs,
      ioTimeoutMs,
      auditShare: options.auditShare,
      auditSeed: parseSeed(options.seed).low,
    });
    const { far } = this.#around;
    const hasEnded = (id: string) => this.#around.hasEnded(id);
    const where = await outputOf(linkless(store), out, { id: record.id, journals, far, hasEnded });
    const { output, home, owner } = where;
    const signing = await signingFor(far, planned, where, leaseMs);
    try {
      return await runMergeJob({
        store,
        output,
        home,
        ...(owner === undefined ? {} : { owner }),
        ...planned,
        seed: parseSeed(planned.plan.seed),
        overwrite: options.overwrite,
        restart: options.restart,
        // A coordinator that comes back to the job goes on with it.
        submission: { id: record.id, isRunAgain: record.claims > 1 },
        resumes: () => this.resumes,
        hashInputs: options.hashInputs,
        toolVersion,
        surveyElements,
        workers: () => hub.source(this.#remoteJob(planned, where, signing)),
        clock,
        ...(this.#around.freeBytes && schemeOf(out) === "file" ? { freeBytes: this.#around.freeBytes } : {}),
        ticks: (tick) => {
          const timer = setInterval(tick, Math.min(TICK_MS_MAX, leaseMs / TICKS_PER_LEASE));
          return () => clearInterval(timer);
        },
        limits,
        ...(journals === undefined
          ? {}
          : {
              leadershipMs: journals.leadershipMs,
              leaderName: { coordinator: nameText(name), hasEnded: (other) => isPredecessor(other, name) },
            }),
        observer: this,
        onStop: (stop) => {
          this.#stop = stop;
          if (this.#stopped) stop();
        },
        onRunning: (running) => {
          this.#running = running;
          this.#wish(running);
          // Paused by somebody before this coordinator began, and resumed meanwhile: or it would not have been claimed.
          const { paused } = running.progress();
          if (this.wish === "none" && paused?.code === PAUSED) running.resume();
        },
      });
    } finally {
      this.#running = undefined;
      await hub.closeJob(record.id);
    }
  }

  pause(reason: Failure): void {
    this.#ask((running) => running.pause(reason));
  }

  resume(): void {
    this.#ask((running) => running.resume());
  }

  cancel(): void {
    this.#ask((running) => running.cancel());
  }

  terminate(): void {
    this.#ask((running) => running.terminate());
  }

  /** Slices in flight become durable, then it ends as "stopped": whoever claims it next goes on. */
  stop(): void {
    this.#stopped = true;
    this.#stop();
  }

  #ask(wish: (running: RunningJob) => void): void {
    this.#wish = wish;
    if (this.#running !== undefined) wish(this.#running);
  }

  #remoteJob(
    { plan, digest, inputs }: Prepared,
    { output, objects }: JobOutput,
    signing: JobSigning | undefined,
  ): RemoteJob {
    const { roots } = this.#around;
    const { record } = this;
    const shardPaths = output.slots(plan);
    const { root, path } = record.out;
    return {
      id: record.id,
      plan,
      planDigest: digest,
      inputs,
      shardPaths,
      inputPlaces: inputs.map(({ files }) => files.map(({ path }) => roots.placeOf(path))),
      shardPlaces: shardPaths.map((slot) => ({ root, path: [path, ...inOutput(output, slot)].join("/") })),
      readBack: (work) => output.readBack(work.path, sealRanges(work)),
      ...{ signing, putPart: objects && ((...part) => objects.slots.put(...part)) },
    };
  }

  // ---- as observer

  began({ state, slicesDone, tornBytes, lostRecords }: Begun): void {
    this.#around.log("job began", { job: this.record.name, state, slicesDone, tornBytes, lostRecords });
    if (lostRecords > 0) this.warning(`the journal lost ${lostRecords} records that had been durable: check the disk`);
  }

  progress(progress: Progress): void {
    this.progressNow = progress;
    this.#sayStalled(progress.stalled);
    this.#tell();
  }

  warning(text: string): void {
    this.#around.log("warning", { job: this.record.name, message: text });
    if (this.warnings.length < WARNINGS_MAX) this.warnings.push(text);
    this.#tell();
  }

  counted(counter: Counter): void {
    const count = (this.counters.get(counter) ?? 0) + 1;
    this.counters.set(counter, count);
    // Whoever asked for audits is told that the output was not looked at as far as that; how far, the counters say.
    if (counter === "audit-skipped" && count === 1) this.warning(UNAUDITED);
  }

  workerSetAside(worker: WorkerId, failure: Failure): void {
    this.#around.hub.setAside(worker, failure);
    this.warning(`worker ${worker} was set aside: ${failure.message}`);
  }

  workerPardoned(worker: WorkerId): void {
    this.#around.hub.pardon(worker);
  }

  /** As it begins and each minute, at a level at which somebody may be woken up. */
  #sayStalled(failure: Failure | undefined): void {
    const nowMs = this.#around.clock.nowMs();
    if (failure === undefined) {
      if (this.#stalledSaidMs !== undefined) this.#around.log("job goes on", { job: this.record.name });
      this.#stalledSaidMs = undefined;
    } else if (this.#stalledSaidMs === undefined || nowMs - this.#stalledSaidMs >= STALLED_EVERY_MS) {
      if (this.#stalledSaidMs === undefined) this.stalls++;
      this.#stalledSaidMs = nowMs;
      this.#around.log("job stands still", { job: this.record.name, ...failure }, "warn");
    }
  }

  #tell(): void {
    for (const changed of this.#listeners) changed();
  }
}

/** How a slot is called from the output on, which workers find by the name of its root. */
function inOutput({ place }: Output, slot: Place): readonly string[] {
  const names = namesBelow(place, slot);
  if (names === undefined) throw new Error(`${slot} is not in the output ${place}`);
  return names;
}
