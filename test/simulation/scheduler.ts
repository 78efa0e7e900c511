/**
 * Node calls immediates one after another, and sees to all promises after each, without a look at the world in between: many at once cost
 * less than one a look. Nothing in a simulated process may ask for an immediate itself: it would have to wait for those that are left.
 */
const TURNS_AT_ONCE = 64;

/** Simulated time: things happen one after another, each with all that follows from it at once, in an order that the seed fixes. */
export class Scheduler {
  nowMs = 0;
  /** Things that happened. */
  turns = 0;
  readonly #heap: { readonly atMs: number; readonly order: number; readonly act: () => void }[] = [];
  #order = 0;

  /** `act` happens `delayMs` from now. */
  after(delayMs: number, act: () => void): void {
    const entry = { atMs: this.nowMs + Math.max(0, delayMs), order: this.#order++, act };
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above]!;
      if (!isBefore(entry, parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = entry;
  }

  /** Calls `act` again and again until it answers false. */
  every(intervalMs: () => number, act: () => boolean): void {
    this.after(intervalMs(), () => {
      if (act()) this.every(intervalMs, act);
    });
  }

  /** Until nothing is left to happen, `isOver`, or a time after which nothing more is of interest. */
  run(untilMs: number, isOver: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      let ended = false;
      const turn = (isLast: boolean) => {
        if (ended) return;
        const next = this.#take();
        ended = next === undefined || next.atMs > untilMs || isOver();
        if (next === undefined || ended) return resolve();
        this.nowMs = next.atMs;
        this.turns++;
        try {
          next.act();
        } catch (error) {
          ended = true;
          return reject(error);
        }
        if (isLast) begin();
      };
      const begin = () => {
        for (let left = TURNS_AT_ONCE; left > 0; left--) setImmediate(turn, left === 1);
      };
      begin();
    });
  }

  #take() {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && isBefore(heap[below + 1]!, heap[below]!)) below++;
      if (!isBefore(heap[below]!, last)) break;
      heap[at] = heap[below]!;
      at = below;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: { atMs: number; order: number }, b: { atMs: number; order: number }): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
