import { Worker } from "node:worker_threads";
import type { Prepared } from "../prepare/index.ts";
import { ServiceError } from "./errors.ts";
import type { JobOptions } from "./job-options.ts";
import { type Planned, type Planner, preparedIn, type SliceLayout } from "./planner.ts";
import type { Root } from "./roots.ts";

/** What a planning thread is told as it starts. */
export interface PlanningSurroundings {
  readonly roots: readonly Root[];
}

/** What it is told to plan. */
export interface PlanningWork {
  readonly recipe: string;
  readonly options: JobOptions;
  readonly layout: SliceLayout | undefined;
}

export interface PlanningLimits {
  /** Of one recipe. */
  readonly timeMs: number;
  /** Of one thread, for what JavaScript keeps: recipes, headers, plans. */
  readonly memoryBytes: number;
  /** Recipes at once; others wait. */
  readonly threads: number;
}

const MIB = 2 ** 20;

/** Where the entry of a thread lies once built; under a test runner that reads the sources, the built one is taken. */
const built = import.meta.url.endsWith(".ts") ? "../dist/service/" : "./";
const threadEntry = new URL(`${built}planning-thread.js`, import.meta.url);

/**
 * Plans in threads: heartbeats are answered meanwhile, and a recipe that takes too much time or memory takes nobody else's. Threads are
 * started when they are needed, and kept for the next recipe unless a limit ended them.
 */
export class PlanningThreads implements Planner {
  readonly #surroundings: PlanningSurroundings;
  readonly #limits: PlanningLimits;
  readonly #entry: URL;
  readonly #idle: Worker[] = [];
  readonly #busy = new Set<Worker>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** `entry`: of the threads, for tests. */
  constructor(surroundings: PlanningSurroundings, limits: PlanningLimits, entry: URL = threadEntry) {
    this.#surroundings = surroundings;
    this.#limits = limits;
    this.#entry = entry;
  }

  async plan(recipe: string, options: JobOptions, layout?: SliceLayout): Promise<Prepared> {
    while (this.#running >= this.#limits.threads) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running++;
    try {
      return preparedIn(await this.#planned({ recipe, options, layout }));
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  /** What is being planned fails. */
  async end(): Promise<void> {
    await Promise.all([...this.#idle, ...this.#busy].map((thread) => thread.terminate()));
  }

  #planned(work: PlanningWork): Promise<Planned> {
    const thread = this.#idle.pop() ?? this.#start();
    this.#busy.add(thread);
    return new Promise((resolve, reject) => {
      const over = (isUsable: boolean) => {
        clearTimeout(timer);
        for (const [event, listener] of Object.entries(listeners)) thread.off(event, listener);
        this.#busy.delete(thread);
        if (isUsable) this.#idle.push(thread);
        else void thread.terminate();
      };
      const failed = (error: Error) => {
        over(false);
        reject(error);
      };
      const listeners = {
        message: (planned: Planned) => {
          over(true);
          resolve(planned);
        },
        error: (error: Error) => failed(isOutOfMemory(error) ? this.#tookTooMuch() : error),
        exit: () => failed(ended()),
      };
      for (const [event, listener] of Object.entries(listeners)) thread.on(event, listener);
      const timer = setTimeout(() => failed(this.#tookTooLong()), this.#limits.timeMs);
      thread.postMessage(work);
    });
  }

  #start(): Worker {
    const thread = new Worker(this.#entry, {
      name: "planning",
      workerData: this.#surroundings,
      resourceLimits: { maxOldGenerationSizeMb: Math.ceil(this.#limits.memoryBytes / MIB) },
    });
    // What a thread that was given up says later is heard by nobody; one that ends while it has nothing to do is not taken any more.
    thread.on("error", () => {});
    thread.once("exit", () => {
      const at = this.#idle.indexOf(thread);
      if (at >= 0) this.#idle.splice(at, 1);
    });
    thread.unref();
    return thread;
  }

  #tookTooLong(): ServiceError {
    const { timeMs } = this.#limits;
    return limited(`it was not planned after ${Math.round(timeMs / 1000)} s`, "--planning-time");
  }

  #tookTooMuch(): ServiceError {
    const { memoryBytes } = this.#limits;
    return limited(`planning it took more than ${Math.round(memoryBytes / MIB)} MiB of memory`, "--planning-memory");
  }
}

function limited(what: string, option: string): ServiceError {
  return new ServiceError("service/planning-limit", `the recipe was given up: ${what}`, {
    hint: `Merge fewer models at once, or have the coordinator started with a larger ${option}.`,
  });
}

function ended(): ServiceError {
  return new ServiceError("service/planning-limit", "the thread that planned the recipe was ended", {
    hint: "The coordinator is ending, or was short of memory: submit the recipe again.",
    retryable: true,
  });
}

function isOutOfMemory(error: Error & { readonly code?: string }): boolean {
  return error.code === "ERR_WORKER_OUT_OF_MEMORY";
}
