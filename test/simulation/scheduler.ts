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
  async run(untilMs: number, isOver: () => boolean): Promise<void> {
    for (;;) {
      const next = this.#take();
      if (next === undefined || next.atMs > untilMs || isOver()) return;
      this.nowMs = next.atMs;
      this.turns++;
      next.act();
      // Promises that this settled, and those that these settle, before anything else happens.
      await new Promise((resolve) => setImmediate(resolve));
    }
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
