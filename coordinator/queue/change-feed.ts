import type { JobRecord } from "./job-queue.ts";

/** Hands changes to those who listen. A slow listener gets the last state of each job, so what waits is bounded. */
export class ChangeFeed {
  readonly #listeners = new Set<Listener>();
  #ended = false;

  tell(job: JobRecord): void {
    for (const listener of this.#listeners) {
      listener.waiting.delete(job.name); // in the order of the changes
      listener.waiting.set(job.name, job);
      listener.wake();
    }
  }

  /** Listens from the call on, not only from the first `next`. */
  listen(signal: AbortSignal): AsyncGenerator<JobRecord> {
    const listener: Listener = { waiting: new Map(), wake: () => {} };
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => listener.wake(), { once: true });
    return this.#run(listener, signal);
  }

  end(): void {
    this.#ended = true;
    for (const listener of this.#listeners) listener.wake();
  }

  async *#run(listener: Listener, signal: AbortSignal): AsyncGenerator<JobRecord> {
    try {
      for (;;) {
        for (const [name, job] of listener.waiting) {
          listener.waiting.delete(name);
          yield job;
        }
        if (signal.aborted || this.#ended) return;
        if (listener.waiting.size > 0) continue;
        await new Promise<void>((resolve) => {
          listener.wake = resolve;
        });
      }
    } finally {
      this.#listeners.delete(listener);
    }
  }
}

interface Listener {
  readonly waiting: Map<string, JobRecord>;
  wake(): void;
}
