import { JournalTail, type Sequence } from "../coordinator/journal/index.ts";
import type { WorkerHub, WorkerPeer } from "../coordinator/link/index.ts";
import { DEFAULT_PRIORITY, type JobRecord, type Wish } from "../coordinator/queue/index.ts";
import type { Failure, RootedPath } from "../merge/work/index.ts";
import { checkOption, optionValues, type SubmittedOptions } from "../options/index.ts";
import { JOURNAL_PATH } from "../output/index.ts";
import { join, type Source, schemeOf } from "../storage/index.ts";
import { type Caller, checkMayLookAfterJobs } from "./caller.ts";
import { ServiceError } from "./errors.ts";
import type { JobCoordinator } from "./job-coordinator.ts";
import type { JobEvent } from "./job-event.ts";
import { type FeedOptions, JobFeed, type WatchOptions } from "./job-feed.ts";
import { type FarStores, journalOf } from "./job-output.ts";
import { type JobView, viewOf } from "./job-view.ts";
import type { Roots } from "./roots.ts";
import type { JobJournals } from "./served-job.ts";

/** What somebody wants merged. */
export interface JobRequest {
  /** Chosen by the caller, random: repeating the request with it makes no second job. */
  readonly requestId: string;
  /** Of one job that has not ended. Empty: made from the last part of the output's path. */
  readonly name: string;
  /** 0 to 4; a higher one goes first. Absent: 2. */
  readonly priority?: number | undefined;
  /** YAML. */
  readonly recipe: string;
  /** For messages. */
  readonly recipeName: string;
  /** `root` "": the path is the coordinator's own, below one of its roots. */
  readonly output: RootedPath;
  /** Of what is left out the service's defaults. */
  readonly options: Partial<SubmittedOptions>;
}

/** A worker as the coordinator sees it. */
export interface WorkerView {
  readonly name: string;
  readonly softwareVersion: string;
  readonly threads: number;
  readonly memoryBytes: number;
  readonly unitsHeld: number;
  readonly draining: boolean;
  /** Why it gets no more work. */
  readonly setAside: Failure | undefined;
}

/**
 * What people and programs ask to have models merged, whatever carries their words: plain data, and whoever asks said with each call.
 * A job is named by its id, or by its name, which is the last one's that had it.
 * All throw TrustError `trust/role` for callers that may not; ServiceError `service/unknown-job`; QueueError.
 */
export interface Jobs {
  /**
   * Safe to repeat with the same request id: the job of the first call is given back. `warnings`: of the recipe.
   * @throws RefusedError with every fault of the recipe and its models; OptionError; ServiceError
   */
  submit(caller: Caller, request: JobRequest): Promise<{ readonly job: JobView; readonly warnings: readonly string[] }>;
  /** Newest last. `all`: those that have ended too. */
  list(caller: Caller, options: { readonly all: boolean }): Promise<readonly JobView[]>;
  get(caller: Caller, job: string): Promise<JobView>;
  /** Has it paused, resumed ("none"), cancelled, or terminated: ended without waiting for workers. Safe to repeat. */
  control(caller: Caller, job: string, wish: Wish): Promise<JobView>;
  /** What happened to the job and, with `follow`, what happens until it ends. */
  events(caller: Caller, job: string, options: WatchOptions): AsyncIterable<JobEvent>;
  /** Those that are attached. */
  workers(caller: Caller): Promise<readonly WorkerView[]>;
}

export interface JobServiceOptions {
  readonly coordinator: JobCoordinator;
  readonly hub: Pick<WorkerHub, "workers">;
  readonly roots: Roots;
  readonly store: Source;
  readonly journals?: JobJournals | undefined;
  /** As of the coordinator. */
  readonly far?: FarStores | undefined;
  /** Where a request says nothing; of what is left out, the table's. */
  readonly defaults: Partial<SubmittedOptions>;
  readonly feeds?: FeedOptions | undefined;
}

/** A recipe is text that people write; what the queue keeps of a job has room for so much. */
const RECIPE_LENGTH_MAX = 512 * 1024;
const SHARED_MS = 2000;

export class JobService implements Jobs {
  readonly #options: JobServiceOptions;
  /** By id: of jobs that somebody watches. */
  readonly #feeds = new Map<string, JobFeed>();

  constructor(options: JobServiceOptions) {
    this.#options = options;
    options.coordinator.onStop((error) => {
      for (const feed of this.#feeds.values()) feed.fail(error);
    });
  }

  async submit(caller: Caller, request: JobRequest) {
    checkMayLookAfterJobs(caller, "submit a job");
    const { requestId, name, priority, recipe, recipeName } = request;
    if (requestId === "") {
      throw new ServiceError("service/option", "the job has no request id", {
        hint: "Choose a random one, and repeat it with the request: then it makes no second job.",
      });
    }
    if (recipe.length > RECIPE_LENGTH_MAX) {
      throw new ServiceError("service/option", `the recipe has ${recipe.length} characters`, {
        hint: `A recipe may have ${RECIPE_LENGTH_MAX}.`,
      });
    }
    const { record, warnings } = await this.#options.coordinator.submit({
      ...{ name, recipe, out: this.#outputOf(request), submitter: caller.name },
      priority: priority ?? DEFAULT_PRIORITY,
      options: {
        requestId,
        recipeName: recipeName === "" ? "recipe" : recipeName,
        ...this.#optionsOf(request),
      },
    });
    return { job: this.#view(record), warnings };
  }

  async list(caller: Caller, { all }: { readonly all: boolean }): Promise<readonly JobView[]> {
    checkMayLookAfterJobs(caller, "list jobs");
    const records = await this.#options.coordinator.list();
    return records.filter(({ state }) => all || state !== "ended").map((record) => this.#view(record));
  }

  async get(caller: Caller, job: string): Promise<JobView> {
    checkMayLookAfterJobs(caller, "look at a job");
    return this.#view(await this.#options.coordinator.find(job));
  }

  async control(caller: Caller, job: string, wish: Wish): Promise<JobView> {
    checkMayLookAfterJobs(caller, `${wish === "none" ? "resume" : wish} a job`);
    return this.#view(await this.#options.coordinator.wish(job, wish));
  }

  async *events(caller: Caller, job: string, options: WatchOptions): AsyncIterable<JobEvent> {
    checkMayLookAfterJobs(caller, "watch a job");
    const { coordinator } = this.#options;
    coordinator.checkServing();
    yield* this.#feedOf(await coordinator.find(job)).watch(options);
  }

  async workers(caller: Caller): Promise<readonly WorkerView[]> {
    checkMayLookAfterJobs(caller, "list workers");
    return [...this.#options.hub.workers].filter(({ attached }) => attached).map(viewOfWorker);
  }

  #view(record: JobRecord): JobView {
    return viewOf(record, this.#options.coordinator.served(record.id));
  }

  /** @throws ServiceError `service/root` */
  #outputOf({ output: { root, path } }: JobRequest): RootedPath {
    const { roots } = this.#options;
    const out = root === "" ? roots.placeOfText(path) : { root, path };
    roots.checkWritable(out);
    return out;
  }

  /** @throws OptionError `options/value` */
  #optionsOf({ options }: JobRequest): SubmittedOptions {
    const { defaults } = this.#options;
    return optionValues("submit", (name, declaration) => {
      const said = options[name];
      if (said === undefined) return defaults[name] ?? declaration.default;
      checkOption(declaration, said);
      return said;
    });
  }

  #feedOf(first: JobRecord): JobFeed {
    const known = this.#feeds.get(first.id);
    if (known !== undefined) return known;
    const { coordinator } = this.#options;
    const source = {
      now: async () => {
        coordinator.checkServing();
        return this.#view(await coordinator.find(first.id));
      },
      openHistory: () => this.#historyOf(first),
      historyMs: this.#options.journals === undefined ? 0 : SHARED_MS,
      listen: (changed: () => void) => coordinator.listen(first.id, changed),
    };
    const feed = new JobFeed(source, () => this.#feeds.delete(first.id), this.#options.feeds);
    this.#feeds.set(first.id, feed);
    return feed;
  }

  #historyOf(first: JobRecord) {
    const { coordinator, journals, roots, store, far } = this.#options;
    if (journals !== undefined) {
      let after = 0n;
      return {
        next: async function* () {
          for await (const record of journals.history(first.id, after as Sequence)) {
            after = record.sequence;
            yield record;
          }
        },
      };
    }
    let tail: JournalTail | undefined;
    return {
      next: async function* () {
        const out = await roots.outputPath(first.out);
        const isFar = schemeOf(out) !== "file";
        // A journal in the output belongs to the last job that wrote there.
        if (!isFar && !(await coordinator.isLastAt(first))) return;
        if (isFar && far === undefined) return;
        tail ??= new JournalTail(store, isFar && far ? journalOf(far, first.id) : join(out, JOURNAL_PATH));
        yield* tail.next();
      },
    };
  }
}

function viewOfWorker({ facts, id, links, draining, setAside }: WorkerPeer): WorkerView {
  let unitsHeld = 0;
  for (const link of links.values()) unitsHeld += link.unitsHeld;
  const { softwareVersion, threads, memoryBytes } = facts;
  return { name: id, softwareVersion, threads, memoryBytes, unitsHeld, draining, setAside };
}
