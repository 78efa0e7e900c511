import type { JobId } from "../coordinator/queue/index.ts";
import type { Prepared } from "../prepare/index.ts";

/** Plans of jobs that were submitted here and have not begun. A plan may be large and a queue long: what is not kept is planned again. */
export class PlanCache {
  readonly #most: number;
  readonly #plans = new Map<JobId, Prepared>();

  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#plans.size;
  }

  /** The oldest ones stay: they are the next. */
  keep(id: JobId, plan: Prepared): void {
    if (this.#plans.size < this.#most) this.#plans.set(id, plan);
  }

  take(id: JobId): Prepared | undefined {
    const plan = this.#plans.get(id);
    this.#plans.delete(id);
    return plan;
  }

  drop(id: JobId): void {
    this.#plans.delete(id);
  }
}
