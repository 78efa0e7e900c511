import { setImmediate as turn } from "node:timers/promises";
import type { Timers } from "../../wire/index.ts";

/** Time that passes when it is told to. */
export class ToldClock implements Timers {
  #nowMs = 0;
  #due: { readonly atMs: number; readonly act: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }
  chance(): number {
    return 1;
  }
  readonly after = (delayMs: number, act: () => void): (() => void) => {
    const entry = { atMs: this.#nowMs + delayMs, act };
    this.#due.push(entry);
    return () => {
      this.#due = this.#due.filter((other) => other !== entry);
    };
  };
  get waiting(): number {
    return this.#due.length;
  }
  async pass(untilMs: number): Promise<void> {
    for (;;) {
      const [next] = this.#due.filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs);
      this.#nowMs = next?.atMs ?? untilMs;
      if (next === undefined) return;
      this.#due = this.#due.filter((other) => other !== next);
      next.act();
      await turn();
    }
  }
}
