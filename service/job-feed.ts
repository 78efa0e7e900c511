import { factIn } from "../coordinator/job/index.ts";
import type { JournalRecord } from "../coordinator/journal/index.ts";
import { eventsOf, type JobEvent, type RecordedFact } from "./job-event.ts";
import { hasEnded, type JobView } from "./job-view.ts";

/** What a feed is made of. */
export interface FeedSource {
  /** The job as it is now. @throws what ends the watching of it */
  now(): Promise<JobView>;
  /** Records that count and came since the last call, of the job's journal, from its beginning on. */
  openHistory(): { next(): AsyncIterable<JournalRecord> };
  /** Between two reads of the history while the job goes on: a shared journal is read from its beginning each time. */
  readonly historyMs: number;
  /** Calls back whenever the job may have changed, until the returned function is called. */
  listen(changed: () => void): () => void;
}

export interface FeedOptions {
  /** Between two looks at a job that changes all the time. */
  readonly lookMs?: number;
  /** Without a word of it a job is looked at after so long: another coordinator's journal says nothing by itself. */
  readonly quietMs?: number;
  /** Facts that wait for somebody who is slow; of more, all are read for him from the journal once he takes them. */
  readonly waitingMax?: number;
}

export interface WatchOptions {
  /** Events after this cursor; 0: from the beginning. "none": of what is recorded nothing. */
  readonly after: number | "none";
  /** Until the job has ended, or the signal is aborted; else what there is. */
  readonly follow: boolean;
  readonly signal?: AbortSignal | undefined;
}

const LOOK_MS = 200;
const QUIET_MS = 2000;
const WAITING_MAX = 10_000;
/** Facts that are made into events at once, of a long history. */
const FACTS_AT_ONCE = 1024;

interface Viewer {
  /** Up to which he was told everything. */
  cursor: number;
  readonly wantsHistory: boolean;
  readonly waiting: RecordedFact[];
  /** It was too slow, and some of what came is not in `waiting`. */
  isBehind: boolean;
  /** The newest state, where it was not taken yet. */
  job: JobView | undefined;
  warnings: number;
  failure: { readonly error: unknown } | undefined;
  wake: () => void;
}

/** One job, told to all who watch it: the journal is read once for all of them, and the job is looked at once. */
export class JobFeed {
  readonly #source: FeedSource;
  readonly #lookMs: number;
  readonly #quietMs: number;
  readonly #waitingMax: number;
  readonly #over: () => void;
  readonly #viewers = new Set<Viewer>();
  #unlisten: (() => void) | undefined;
  #history: { next(): AsyncIterable<JournalRecord> } | undefined;
  /** Everything up to it was given to those who were there. */
  #cursor = 0;
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #readMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  /** `over`: called when the last one who watched has gone. */
  constructor(source: FeedSource, over: () => void, options: FeedOptions = {}) {
    this.#source = source;
    this.#over = over;
    this.#lookMs = options.lookMs ?? LOOK_MS;
    this.#quietMs = options.quietMs ?? QUIET_MS;
    this.#waitingMax = options.waitingMax ?? WAITING_MAX;
  }

  /** @throws what `now` throws, and the errors of the journal */
  async *watch({ after, follow, signal }: WatchOptions): AsyncGenerator<JobEvent> {
    const wantsHistory = after !== "none";
    const viewer: Viewer = {
      ...{ cursor: wantsHistory ? after : 0, wantsHistory, waiting: [], isBehind: wantsHistory, job: undefined },
      ...{ warnings: 0, failure: undefined, wake: () => {} },
    };
    const aborted = () => viewer.wake();
    signal?.addEventListener("abort", aborted);
    this.#enter(viewer);
    try {
      for (;;) {
        if (signal?.aborted) return;
        if (viewer.isBehind) yield* this.#catchUp(viewer);
        if (viewer.waiting.length > 0) {
          yield* told(viewer, viewer.waiting.splice(0));
          continue;
        }
        if (viewer.failure !== undefined) throw viewer.failure.error;
        const { job } = viewer;
        viewer.job = undefined;
        if (job !== undefined) {
          for (; viewer.warnings < job.warnings.length; viewer.warnings++)
            yield { type: "warning", message: job.warnings[viewer.warnings] ?? "" };
          if (hasEnded(job)) return void (yield { type: "ended", job });
          yield { type: "progress", job };
          if (!follow) return;
          continue;
        }
        await new Promise<void>((resolve) => {
          viewer.wake = resolve;
          if (viewer.waiting.length > 0 || viewer.job !== undefined || viewer.failure !== undefined || signal?.aborted)
            resolve();
        });
      }
    } finally {
      signal?.removeEventListener("abort", aborted);
      this.#leave(viewer);
    }
  }

  /** Those who watch are told this, once they have taken what came before. */
  fail(error: unknown): void {
    for (const viewer of this.#viewers) {
      viewer.failure ??= { error };
      viewer.wake();
    }
  }

  /** What the journal has after the viewer's cursor, for him alone. What comes meanwhile waits for him, and is not told twice. */
  async *#catchUp(viewer: Viewer): AsyncGenerator<JobEvent> {
    viewer.isBehind = false;
    viewer.waiting.length = 0;
    for await (const facts of factsIn(this.#source.openHistory().next(), viewer.cursor)) yield* told(viewer, facts);
    const newer = viewer.waiting.filter(({ cursor }) => cursor > viewer.cursor);
    viewer.waiting.splice(0, viewer.waiting.length, ...newer);
  }

  #enter(viewer: Viewer): void {
    this.#viewers.add(viewer);
    this.#unlisten ??= this.#source.listen(() => this.#soon());
    // Somebody new wants to know how things are.
    this.#lookedMs = Number.NEGATIVE_INFINITY;
    this.#soon();
  }

  #leave(viewer: Viewer): void {
    if (!this.#viewers.delete(viewer) || this.#viewers.size > 0) return;
    clearTimeout(this.#timer);
    this.#unlisten?.();
    this.#unlisten = undefined;
    this.#over();
  }

  #soon(): void {
    if (this.#looking !== undefined) {
      this.#lookAgain = true;
      return;
    }
    clearTimeout(this.#timer);
    const waitMs = this.#lookedMs + this.#lookMs - performance.now();
    if (waitMs <= 0) this.#look();
    else this.#timer = setTimeout(() => this.#look(), waitMs);
  }

  #look(): void {
    this.#lookedMs = performance.now();
    this.#lookAgain = false;
    this.#looking = this.#tell()
      .catch((error: unknown) => this.fail(error))
      .finally(() => {
        this.#looking = undefined;
        if (this.#viewers.size === 0) return;
        if (this.#lookAgain) this.#soon();
        else this.#timer = setTimeout(() => this.#look(), this.#quietMs);
      });
  }

  async #tell(): Promise<void> {
    // Before the journal is read: what ends the job is in there by then.
    const job = await this.#source.now();
    const isDue = hasEnded(job) || performance.now() - this.#readMs >= this.#source.historyMs;
    if (isDue && [...this.#viewers].some(({ wantsHistory }) => wantsHistory)) await this.#tellHistory();
    for (const viewer of this.#viewers) {
      viewer.job = job;
      viewer.wake();
    }
  }

  async #tellHistory(): Promise<void> {
    this.#readMs = performance.now();
    this.#history ??= this.#source.openHistory();
    for await (const facts of factsIn(this.#history.next(), this.#cursor)) {
      this.#cursor = facts.at(-1)?.cursor ?? this.#cursor;
      for (const viewer of this.#viewers) if (viewer.wantsHistory && !viewer.isBehind) this.#give(viewer, facts);
    }
  }

  #give(viewer: Viewer, facts: readonly RecordedFact[]): void {
    const newer = facts.filter(({ cursor }) => cursor > viewer.cursor);
    if (viewer.waiting.length + newer.length > this.#waitingMax) viewer.isBehind = true;
    else viewer.waiting.push(...newer);
    viewer.wake();
  }
}

function* told(viewer: Viewer, facts: readonly RecordedFact[]): Generator<JobEvent> {
  viewer.cursor = facts.at(-1)?.cursor ?? viewer.cursor;
  yield* eventsOf(facts);
}

/** Of records, what those who watch are told, a thousand at a time. */
async function* factsIn(records: AsyncIterable<JournalRecord>, after: number): AsyncGenerator<readonly RecordedFact[]> {
  let facts: RecordedFact[] = [];
  for await (const record of records) {
    const cursor = Number(record.sequence);
    const fact = cursor > after ? factIn(record) : undefined;
    if (fact !== undefined) facts.push({ cursor, fact });
    if (facts.length < FACTS_AT_ONCE) continue;
    yield facts;
    facts = [];
  }
  if (facts.length > 0) yield facts;
}
