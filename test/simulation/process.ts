import type { Scheduler } from "./scheduler.ts";

/**
 * A process that can be killed, and stopped and continued (SIGSTOP, SIGCONT). What is meant for one that is stopped waits; what is meant
 * for one that is dead never comes. Its clock is its own: it began at another time and goes a little faster or slower.
 */
export class Process {
  readonly name: string;
  readonly #scheduler: Scheduler;
  readonly #clockStartMs: number;
  readonly #clockRate: number;
  readonly #waiting: (() => void)[] = [];
  #stops = 0;
  alive = true;
  diedMs = 0;
  /** Told when it is killed. */
  onEnd: () => void = () => {};
  /** When it was stopped last. */
  stoppedMs = Number.NEGATIVE_INFINITY;

  constructor(name: string, scheduler: Scheduler, clock: { readonly startMs: number; readonly rate: number }) {
    this.name = name;
    this.#scheduler = scheduler;
    this.#clockStartMs = clock.startMs;
    this.#clockRate = clock.rate;
  }

  get isStopped(): boolean {
    return this.#stops > 0;
  }

  /** Monotonic: goes on while the process is stopped. */
  nowMs(): number {
    return this.#clockStartMs + this.#scheduler.nowMs * this.#clockRate;
  }

  deliver(act: () => void): void {
    if (!this.alive) return;
    if (this.isStopped) this.#waiting.push(act);
    else act();
  }

  /** A timer of the process; the returned function takes it back. */
  after(delayMs: number, act: () => void): () => void {
    let on = true;
    this.#scheduler.after(delayMs, () => {
      this.deliver(() => {
        if (on) act();
      });
    });
    return () => {
      on = false;
    };
  }

  every(intervalMs: () => number, act: () => boolean): void {
    this.after(intervalMs(), () => {
      if (act()) this.every(intervalMs, act);
    });
  }

  stop(): void {
    this.stoppedMs = this.#scheduler.nowMs;
    this.#stops++;
  }

  continue(): void {
    this.#stops = Math.max(0, this.#stops - 1);
    if (this.isStopped) return;
    for (const act of this.#waiting.splice(0)) this.#scheduler.after(0, () => this.deliver(act));
  }

  kill(): void {
    if (this.alive) this.diedMs = this.#scheduler.nowMs;
    const wasAlive = this.alive;
    this.alive = false;
    this.#waiting.length = 0;
    if (wasAlive) this.onEnd();
  }
}
