import { GATHER_MS } from "./chunks.ts";
import { systemTimers, type Timers } from "./timers.ts";

export interface GathererOptions<Entry, Answer> {
  /** One call for all that was gathered; answers in the order of the entries. */
  send(entries: readonly Entry[]): Promise<readonly Answer[]>;
  readonly gatherMs?: number;
  /** A call is sent at once when so many are gathered. */
  readonly entriesMax?: number;
  /** About the bytes of an entry; a call is sent before it exceeds `bytesMax`. */
  bytesOf?(entry: Entry): number;
  readonly bytesMax?: number;
  readonly timers?: Timers;
}

const ENTRIES_MAX = 512;
const BYTES_MAX = 8 * 1024 * 1024;

interface Waiting<Entry, Answer> {
  readonly entry: Entry;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Gathers entries for a few milliseconds and sends them as one call. A call costs as much as a hundred entries, so that a thousand
 * workers that each called by themselves would keep the coordinator busy with calls.
 */
export class Gatherer<Entry, Answer> {
  readonly #options: GathererOptions<Entry, Answer>;
  #waiting: Waiting<Entry, Answer>[] = [];
  #bytes = 0;
  #stopTimer: (() => void) | undefined;

  constructor(options: GathererOptions<Entry, Answer>) {
    this.#options = options;
  }

  /** Rejects with the error of the call that carried the entry. */
  add(entry: Entry): Promise<Answer> {
    const { entriesMax = ENTRIES_MAX, bytesMax = BYTES_MAX, gatherMs = GATHER_MS } = this.#options;
    const { timers = systemTimers } = this.#options;
    const bytes = this.#options.bytesOf?.(entry) ?? 0;
    if (this.#bytes + bytes > bytesMax) this.flush();
    this.#bytes += bytes;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ entry, resolve, reject });
      if (this.#waiting.length >= entriesMax) this.flush();
      else this.#stopTimer ??= timers.after(gatherMs, () => this.flush());
    });
  }

  /** Sends what is gathered now. */
  flush(): void {
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#bytes = 0;
    if (waiting.length === 0) return;
    this.#send(waiting).catch((error: unknown) => {
      for (const { reject } of waiting) reject(error);
    });
  }

  async #send(waiting: readonly Waiting<Entry, Answer>[]): Promise<void> {
    const answers = await this.#options.send(waiting.map(({ entry }) => entry));
    if (answers.length !== waiting.length) {
      throw new Error(`${answers.length} answers to ${waiting.length} entries`);
    }
    for (const [k, { resolve }] of waiting.entries()) resolve(answers[k] as Answer);
  }
}
