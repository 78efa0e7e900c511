import type { Begun, JobObserver, Progress } from "../coordinator/job/index.ts";
import type { Io } from "./io.ts";
import { LINE_EVERY_MS, ProgressLine } from "./progress-line.ts";

const GIB = 1024 ** 3;

export interface ProgressOptions {
  readonly io: Io;
  readonly terminal: boolean;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly nowMs: () => number;
}

/** Tells a person, or a program with --json, how a job goes on. */
export class ProgressReport implements JobObserver {
  readonly #options: ProgressOptions;
  readonly #began: number;
  readonly #shown: ProgressLine;
  readonly #timer: NodeJS.Timeout | undefined;
  #last: Progress | undefined;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#began = options.nowMs();
    this.#shown = new ProgressLine(options.io, options.terminal, options.nowMs);
    if (options.json || options.quiet || options.terminal) return;
    this.#timer = setInterval(() => this.#line(), LINE_EVERY_MS).unref();
  }

  began({ state, slicesDone, tornBytes, lostRecords }: Begun): void {
    this.#event("began", { state, slicesDone, tornBytes, lostRecords });
    if (state === "resumed") this.#say(`resume  ${slicesDone} slices are done already`);
    if (state === "publishing") this.#say("resume  all slices are sealed; publishing");
    if (lostRecords > 0)
      this.warning(
        `the journal lost ${lostRecords} records that had been durable: check the disk; their slices are computed again`,
      );
    if (tornBytes > 0)
      this.#say(`resume  the journal ended in ${tornBytes} bytes that were never acknowledged; they were cut off`);
  }

  progress(progress: Progress): void {
    const before = this.#last;
    this.#last = progress;
    if (before?.phase === progress.phase && before.slicesDone === progress.slicesDone) return;
    const { phase, slicesDone, slices, bytesRead, bytesWritten } = progress;
    this.#event("progress", { phase, slicesDone, slices, bytesRead, bytesWritten });
    if (this.#options.terminal) this.#line();
  }

  warning(text: string): void {
    this.#event("warning", { message: text });
    this.#say(`warning  ${text}`);
  }

  counted(): void {}

  end(): void {
    this.#shown.clear();
    clearInterval(this.#timer);
  }

  #line(): void {
    const progress = this.#last;
    if (progress === undefined) return;
    const { phase, slicesDone, slices } = progress;
    const percent = slices === 0 ? 100 : Math.floor((100 * slicesDone) / slices);
    const text = `${phase}  ${slicesDone}/${slices} slices  ${percent} %  ${this.#speed(progress)}  ${this.#left(progress)}`;
    if (this.#isTold) this.#shown.show(text.trimEnd());
  }

  get #isTold(): boolean {
    return !this.#options.quiet && !this.#options.json;
  }

  #speed({ bytesRead }: Progress): string {
    const seconds = (this.#options.nowMs() - this.#began) / 1000;
    return `${(seconds === 0 ? 0 : bytesRead / GIB / seconds).toFixed(1)} GiB/s`;
  }

  #left({ slices, slicesDone, slicesComputed, phase }: Progress): string {
    if (slicesComputed === 0 || phase !== "merging") return "";
    const seconds = (this.#options.nowMs() - this.#began) / 1000;
    const left = Math.ceil((seconds / slicesComputed) * (slices - slicesDone));
    return left >= 60 ? `${Math.floor(left / 60)} min ${left % 60} s left` : `${left} s left`;
  }

  #say(text: string): void {
    if (this.#isTold) this.#shown.say(text);
  }

  #event(event: string, fields: Record<string, unknown>): void {
    if (this.#options.json) this.#options.io.stdout(`${JSON.stringify({ event, ...fields })}\n`);
  }
}
