import type { Io } from "./io.ts";

/** Between two looks of the line on a terminal: nobody reads faster. */
const TERMINAL_MS = 100;
/** Between lines where nobody watches a terminal. */
export const LINE_EVERY_MS = 10_000;

/** One line that says how far something is: rewritten in its place on a terminal, elsewhere a line now and then. */
export class ProgressLine {
  readonly #io: Io;
  readonly #terminal: boolean;
  readonly #nowMs: () => number;
  #shown = "";
  #shownMs = Number.NEGATIVE_INFINITY;

  constructor(io: Io, terminal: boolean, nowMs: () => number) {
    this.#io = io;
    this.#terminal = terminal;
    this.#nowMs = nowMs;
  }

  /** Where it has changed, and not too often. */
  show(text: string): void {
    const nowMs = this.#nowMs();
    if (text === this.#shown || nowMs - this.#shownMs < (this.#terminal ? TERMINAL_MS : LINE_EVERY_MS)) return;
    // A line that wraps could not be taken back.
    const width = process.stderr.columns ?? Number.MAX_SAFE_INTEGER;
    this.#io.stderr(this.#terminal ? `\r\x1b[K${text.slice(0, width - 1)}` : `${text}\n`);
    this.#shown = text;
    this.#shownMs = nowMs;
  }

  /** Something else, above it. */
  say(text: string): void {
    this.clear();
    this.#io.stderr(`${text}\n`);
  }

  /** Takes it off a terminal; it comes back as soon as it is shown. */
  clear(): void {
    if (!this.#terminal || this.#shown === "") return;
    this.#io.stderr("\r\x1b[K");
    this.#shown = "";
    this.#shownMs = Number.NEGATIVE_INFINITY;
  }
}
