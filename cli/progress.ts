import cliProgress from "cli-progress";
import type { Begun, JobObserver, Progress } from "../coordinator/job/index.ts";
import type { Io } from "./io.ts";

/** Where a line of progress is printed when nobody watches a terminal. */
const LINE_EVERY_MS = 10_000;
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
  readonly #bar: cliProgress.SingleBar | undefined;
  readonly counters = new Map<string, number>();
  readonly #timer: NodeJS.Timeout | undefined;
  #last: Progress | undefined;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#began = options.nowMs();
    if (options.json || options.quiet) return;
    if (!options.terminal) {
      this.#timer = setInterval(() => this.#line(), LINE_EVERY_MS).unref();
      return;
    }
    const format = "{phase}  {value}/{total} slices  {percentage} %  {speed}  {left}";
    this.#bar = new cliProgress.SingleBar({
      format,
      clearOnComplete: true,
      hideCursor: true,
      stopOnComplete: false,
      stream: process.stderr,
    });
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
    if (this.#bar === undefined) return;
    const payload = { phase, speed: this.#speed(progress), left: this.#left(progress) };
    if (before === undefined) this.#bar.start(slices, slicesDone, payload);
    else this.#bar.update(slicesDone, payload);
  }

  warning(text: string): void {
    this.#event("warning", { message: text });
    this.#say(`warning  ${text}`);
  }

  counted(counter: string): void {
    this.counters.set(counter, (this.counters.get(counter) ?? 0) + 1);
  }

  end(): Progress | undefined {
    this.#bar?.stop();
    clearInterval(this.#timer);
    return this.#last;
  }

  #line(): void {
    const progress = this.#last;
    if (progress === undefined) return;
    const { phase, slicesDone, slices } = progress;
    const percent = slices === 0 ? 100 : Math.floor((100 * slicesDone) / slices);
    this.#say(
      `${phase}  ${slicesDone}/${slices} slices  ${percent} %  ${this.#speed(progress)}  ${this.#left(progress)}`,
    );
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
    if (!this.#options.quiet && !this.#options.json) this.#options.io.stderr(`${text}\n`);
  }

  #event(event: string, fields: Record<string, unknown>): void {
    if (this.#options.json) this.#options.io.stdout(`${JSON.stringify({ event, ...fields })}\n`);
  }
}
