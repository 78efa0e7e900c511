/** One job, told to many: what is read for them, and what they are told. */
import { expect, test } from "vitest";
import type { JournalRecord, Sequence } from "../../coordinator/journal/index.ts";
import type { JobEvent, JobView } from "../../service/index.ts";
import { type FeedSource, JobFeed } from "../../service/job-feed.ts";

/** A job whose journal and state a test moves. */
class MadeUpJob implements FeedSource {
  readonly historyMs = 0;
  view = { state: "running", slicesDone: 0, warnings: [] } as unknown as JobView;
  readonly records: JournalRecord[] = [];
  /** How often the journal was opened, each record was read, and the job was looked at. */
  opened = 0;
  read = 0;
  looked = 0;
  listeners = new Set<() => void>();

  async now(): Promise<JobView> {
    this.looked++;
    return this.view;
  }

  openHistory() {
    this.opened++;
    let at = 0;
    const next = async function* (this: MadeUpJob) {
      while (at < this.records.length) {
        this.read++;
        yield this.records[at++]!;
      }
    }.bind(this);
    return { next };
  }

  listen(changed: () => void): () => void {
    this.listeners.add(changed);
    return () => this.listeners.delete(changed);
  }

  /** Slices are done; whoever watches hears of a change. */
  done(count: number): void {
    for (let k = 0; k < count; k++) {
      const number = this.records.length + 1;
      const entry = { subject: `slice/s${number}`, body: { state: "done", attempt: 1, sha256: "", worker: "w" } };
      this.records.push({ sequence: BigInt(number) as Sequence, entry });
    }
    this.view = { ...this.view, slicesDone: this.records.length };
    for (const changed of this.listeners) changed();
  }

  end(): void {
    this.view = { ...this.view, state: "done" };
    for (const changed of this.listeners) changed();
  }
}

const slicesIn = (event: JobEvent) => (event.type === "slices-done" ? event.slices.map(({ slice }) => slice) : []);
const names = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, k) => `s${from + k}`);

/** Until the end, or as many slices as are wanted. */
async function slicesOf(events: AsyncIterable<JobEvent>, wanted = Number.POSITIVE_INFINITY): Promise<string[]> {
  const slices: string[] = [];
  for await (const event of events) {
    slices.push(...slicesIn(event));
    if (slices.length >= wanted) break;
  }
  return slices;
}

test("however many watch, the journal is read once for all of them, beside what each missed, and the job looked at once", async () => {
  const job = new MadeUpJob();
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  const feed = new JobFeed(job, over, { lookMs: 0, quietMs: 60_000 });
  job.done(3);
  const watching = Array.from({ length: 20 }, () => feed.watch({ after: 0, follow: true }));
  const seen: string[][] = watching.map(() => []);
  // Everybody has what was there, and a first look at the job.
  for (const [k, events] of watching.entries()) {
    for (let event = await events.next(); ; event = await events.next()) {
      seen[k]!.push(...slicesIn(event.value as JobEvent));
      if ((event.value as JobEvent).type === "progress") break;
    }
  }
  expect(new Set(seen.map(String))).toEqual(new Set([String(names(1, 3))]));
  const [opened, read, looked] = [job.opened, job.read, job.looked];
  const rest = watching.map((events) => slicesOf(events, 1000));
  job.done(1000);
  for (const slices of await Promise.all(rest)) expect(slices).toEqual(names(4, 1003));
  expect(job.opened - opened).toBeLessThanOrEqual(1);
  expect(job.read - read).toBeLessThanOrEqual(1003);
  expect(job.looked - looked).toBeLessThanOrEqual(3);
  expect([isOver, job.listeners.size]).toEqual([true, 0]);
});

test("who is slow is told everything, once, in order, and memory does not grow with what he has not taken", async () => {
  const job = new MadeUpJob();
  const feed = new JobFeed(job, () => {}, { lookMs: 0, quietMs: 5, waitingMax: 10 });
  const events = feed.watch({ after: 0, follow: true });
  const slices: string[] = [];
  for await (const event of events) {
    slices.push(...slicesIn(event));
    if (event.type === "progress" && job.records.length < 5000) {
      // All of these before the next is taken.
      for (let k = 0; k < 10; k++) {
        job.done(100);
        const before = job.looked;
        await expect.poll(() => job.looked, { interval: 1 }).toBeGreaterThan(before);
      }
    } else if (job.records.length >= 5000) job.end();
  }
  expect(slices).toEqual(names(1, 5000));
});

test("how far the job is comes as it is when it is taken, not each time that it changed", async () => {
  const job = new MadeUpJob();
  const feed = new JobFeed(job, () => {}, { lookMs: 0, quietMs: 5 });
  const events = feed.watch({ after: "none", follow: true });
  const first = (await events.next()).value as JobEvent;
  expect(first).toMatchObject({ type: "progress", job: { slicesDone: 0 } });
  for (let k = 0; k < 50; k++) {
    job.done(1);
    const before = job.looked;
    await expect.poll(() => job.looked, { interval: 1 }).toBeGreaterThan(before);
  }
  expect((await events.next()).value).toMatchObject({ type: "progress", job: { slicesDone: 50 } });
  job.end();
  const rest: JobEvent[] = [];
  for await (const event of events) rest.push(event);
  expect(rest.at(-1)).toMatchObject({ type: "ended" });
  expect(job.opened).toBe(0);
});

test("whoever goes away is forgotten, at once where he waits", async () => {
  const job = new MadeUpJob();
  let over = 0;
  const feed = new JobFeed(job, () => over++, { lookMs: 0, quietMs: 60_000 });
  const gone = new AbortController();
  const waiting = slicesOf(feed.watch({ after: 0, follow: true, signal: gone.signal }));
  await expect.poll(() => job.looked).toBeGreaterThan(0);
  gone.abort();
  expect(await waiting).toEqual([]);
  expect([over, job.listeners.size]).toEqual([1, 0]);
});
