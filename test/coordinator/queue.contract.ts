import { describe, expect, test } from "vitest";
import type { JobClaim, JobQueue, JobRecord, JobReservation, NewJob, Reserved } from "../../coordinator/queue/index.ts";

/** What every queue keeps to. `begin` makes a place for a queue; the function it returns opens the queue there. */
export function queueContract(name: string, begin: () => Promise<() => Promise<JobQueue>>): void {
  describe(`${name} keeps the contract of a queue`, () => {
    test("a job is there as it was submitted, also after reopening", async () => {
      const open = await begin();
      const queue = await open();
      const job = { ...jobNamed("a.b-c_1"), options: { seed: "7", list: [1, null] }, plan: "abc", submitter: "é" };
      const record = await queue.submit(job);
      const { nameTaken: _, ...facts } = job;
      expect(record).toMatchObject({ ...facts, state: "queued", wish: "none", claims: 0 });
      expect(Date.parse(record.submittedAt)).toBeGreaterThan(0);
      await queue.close();
      const reopened = await open();
      expect(await reopened.find("a.b-c_1")).toEqual(record);
      expect(await reopened.list()).toEqual([record]);
      expect(await reopened.find("other")).toBeUndefined();
      await reopened.close();
    });

    test("a name belongs to one job until that has ended", async () => {
      const queue = await (await begin())();
      const first = await queue.submit(jobNamed("a"));
      await expect(queue.submit(elsewhere("a", 1))).rejects.toMatchObject({ code: "queue/name-taken" });
      await (await claimOf(queue)).end("done");
      const second = await queue.submit(jobNamed("a"));
      expect(second.id).not.toBe(first.id);
      expect(await queue.find("a")).toEqual(second);
      await queue.close();
    });

    test("a job is found by its id for ever, whoever has its name by now, also after reopening", async () => {
      const open = await begin();
      const queue = await open();
      const jobs: JobRecord[] = [];
      for (const outcome of ["done", "failed", "cancelled"]) {
        const { id } = await queue.submit({ ...jobNamed("a"), requestId: outcome });
        const ended = await (await claimOf(queue)).end(outcome, { of: outcome });
        expect(ended.id).toBe(id);
        jobs.push(ended);
      }
      const last = await queue.submit(jobNamed("a"));
      const expectAll = async (queue: JobQueue) => {
        // Of one millisecond they come by their ids.
        const byId = (all: readonly JobRecord[]) => all.toSorted((a, b) => (a.id < b.id ? -1 : 1));
        expect(byId(await queue.list())).toEqual(byId([...jobs, last]));
        for (const job of [...jobs, last]) expect(await queue.find(job.id)).toEqual(job);
        expect(await queue.find("a")).toEqual(last);
        const repeated = await queue.reserve({ ...jobNamed("a"), requestId: "failed" }, "");
        expect(repeated).toMatchObject({ state: "repeated", job: { id: jobs[1]?.id } });
        await expect(queue.wish(jobs[0]!.id, "cancel")).rejects.toMatchObject({ code: "queue/unknown-job" });
      };
      await expectAll(queue);
      await queue.close();
      const reopened = await open();
      await expectAll(reopened);
      expect(await reopened.wish(last.id, "pause")).toMatchObject({ id: last.id, wish: "pause" });
      for (const { id } of jobs) await reopened.forget(id);
      expect((await reopened.list()).map(({ id }) => id)).toEqual([last.id]);
      expect(await reopened.find(jobs[0]!.id)).toBeUndefined();
      await expect(reopened.forget(jobs[0]!.id)).rejects.toMatchObject({ code: "queue/unknown-job" });
      await expect(reopened.forget(last.id)).rejects.toMatchObject({ code: "queue/unknown-job" });
      await reopened.close();
    });

    test("of many that want one name at once, one gets it; made-up names get a number", async () => {
      const queue = await (await begin())();
      const chosen = await Promise.allSettled([1, 2, 3].map((k) => queue.submit(elsewhere("a", k))));
      expect(chosen.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      await Promise.all([4, 5].map((k) => queue.submit({ ...elsewhere("a", k), nameTaken: "suffix" })));
      expect((await queue.list()).map((job) => job.name).sort()).toEqual(["a", "a-2", "a-3"]);
      await queue.close();
    });

    test.each([
      ["an empty name", { name: "" }],
      ["a name with a slash", { name: "a/b" }],
      ["a name that begins with a dot", { name: ".." }],
      ["a long name", { name: "x".repeat(65) }],
      ["a priority above the highest", { priority: 5 }],
      ["half a priority", { priority: 1.5 }],
      ["a recipe that is too long", { recipe: "x".repeat(600_000) }],
    ])("%s is refused", async (_, fault) => {
      const queue = await (await begin())();
      await expect(queue.submit({ ...jobNamed("a"), ...fault })).rejects.toMatchObject({ code: "queue/invalid" });
      expect(await queue.list()).toEqual([]);
      await queue.close();
    });

    test("the highest priority is claimed first, then the oldest; each job once", async () => {
      const queue = await (await begin())();
      await queue.submit({ ...jobNamed("low"), priority: 0 });
      await queue.submit(jobNamed("usual-1"));
      await queue.submit(jobNamed("usual-2"));
      await queue.submit({ ...jobNamed("high"), priority: 4 });
      const names = [];
      for (let claim = await queue.claim("c1"); claim !== undefined; claim = await queue.claim("c1")) {
        expect(claim.job).toMatchObject({ state: "claimed", holder: "c1", claims: 1 });
        names.push(claim.job.name);
      }
      expect(names).toEqual(["high", "usual-1", "usual-2", "low"]);
      await queue.close();
    });

    test("what is released, or held when the queue closes, is due again; claims are counted", async () => {
      const open = await begin();
      const queue = await open();
      await queue.submit(jobNamed("a"));
      await (await claimOf(queue)).release();
      expect(await queue.find("a")).toMatchObject({ state: "queued", claims: 1 });
      await claimOf(queue);
      await queue.close();
      const reopened = await open();
      expect((await claimOf(reopened)).job.claims).toBe(3);
      await reopened.close();
    });

    test("a job that has ended is not claimed again, and says how it ended", async () => {
      const open = await begin();
      const queue = await open();
      await queue.submit(jobNamed("a"));
      const claim = await claimOf(queue);
      await claim.update({ plan: "digest", detail: { slices: 3 } });
      await claim.end("failed", { cause: "x" });
      await claim.release();
      await expect(claim.end("done")).rejects.toMatchObject({ code: "queue/claim-lost" });
      await expect(claim.update({})).rejects.toMatchObject({ code: "queue/claim-lost" });
      await queue.close();
      const reopened = await open();
      expect(await reopened.claim("c1")).toBeUndefined();
      const expected = { state: "ended", outcome: "failed", plan: "digest", detail: { cause: "x" } };
      expect(await reopened.find("a")).toMatchObject(expected);
      await reopened.forget("a");
      expect(await reopened.list()).toEqual([]);
      await expect(reopened.forget("a")).rejects.toMatchObject({ code: "queue/unknown-job" });
      await reopened.close();
    });

    test("a job that nobody had and is cancelled ends; any other is for its coordinator", async () => {
      const queue = await (await begin())();
      await queue.submit(jobNamed("a"));
      expect(await queue.wish("a", "cancel")).toMatchObject({ state: "ended", outcome: "cancelled" });
      expect(await queue.claim("c1")).toBeUndefined();
      await expect(queue.wish("a", "pause")).rejects.toMatchObject({ code: "queue/unknown-job" });
      await expect(queue.wish("b", "pause")).rejects.toMatchObject({ code: "queue/unknown-job" });
      await queue.submit(jobNamed("c"));
      const claim = await claimOf(queue);
      expect(await queue.wish("c", "terminate")).toMatchObject({ state: "claimed", wish: "terminate" });
      await expect(queue.forget("c")).rejects.toMatchObject({ code: "queue/unknown-job" });
      await claim.release();
      const next = await claimOf(queue); // to clear away what the first one left
      expect(next.job).toMatchObject({ wish: "terminate", claims: 2 });
      await next.end("cancelled");
      expect(await queue.find("c")).toMatchObject({ state: "ended", outcome: "cancelled", wish: "none" });
      await queue.close();
    });

    test("a paused job waits until it may go on", async () => {
      const queue = await (await begin())();
      await queue.submit(jobNamed("a"));
      await queue.submit(jobNamed("b"));
      await queue.wish("a", "pause");
      const claim = await claimOf(queue);
      expect(claim.job.name).toBe("b");
      expect(await queue.claim("c1")).toBeUndefined();
      await queue.wish("a", "none");
      expect((await claimOf(queue)).job.name).toBe("a");
      await queue.close();
    });

    test("one request makes one job, however often and whenever it is repeated", async () => {
      const queue = await (await begin())();
      const job = { ...jobNamed("a"), nameTaken: "suffix", requestId: "r1" } as const;
      const submissions = Array.from({ length: 4 }, () => queue.submit(job));
      const [first, ...others] = await Promise.all(submissions);
      for (const other of others) expect(other).toEqual(first);
      expect(await queue.list()).toEqual([first]);
      await (await claimOf(queue)).end("done");
      expect(await queue.submit(job)).toMatchObject({ id: first?.id, state: "ended" });
      expect(await queue.submit({ ...job, requestId: "r2" })).toMatchObject({ name: "a", state: "queued" });
      await queue.close();
    });

    test("a repeated request waits for the one that is being planned, and gets its job", async () => {
      const queue = await (await begin())();
      const job = { ...jobNamed("a"), nameTaken: "suffix", requestId: "r1" } as const;
      const reservation = reservationIn(await queue.reserve(job, "c1"));
      const again = settled(queue.reserve(job, "c2"));
      await queue.submit(jobNamed("meanwhile"));
      expect(again.value).toBeUndefined();
      const record = await reservation.confirm({ plan: "digest" });
      expect(record).toMatchObject({ name: "a", requestId: "r1", plan: "digest", state: "queued" });
      expect(await again.promise).toEqual({ state: "repeated", job: record });
      await queue.close();
    });

    test("what is released is free for those that waited, and nothing of it stays", async () => {
      const queue = await (await begin())();
      const ended = await queue.submit(jobNamed("a"));
      await (await claimOf(queue)).end("done");
      const job = { ...jobNamed("a"), requestId: "r1" };
      const reservation = reservationIn(await queue.reserve(job, "c1"));
      const same = settled(queue.reserve(job, "c2"));
      const name = settled(queue.reserve(elsewhere("a", 1), "c3"));
      // What is being planned is no job yet; the one of that name that ended is.
      expect(await queue.list()).toMatchObject([{ id: ended.id }]);
      await reservation.release();
      await reservation.release();
      const [one, other] = [await Promise.race([same.promise, name.promise]), [same, name]];
      await reservationIn(one).release();
      for (const { promise } of other) await reservationIn(await promise).release();
      expect(await queue.list()).toMatchObject([{ id: ended.id, outcome: "done" }]);
      await queue.close();
    });

    test.each([
      ["the same", "merged/a", true],
      ["a folder in it", "merged/a/b/c", true],
      ["the folder that it is in", "merged", true],
      ["its neighbour", "merged/b", false],
      ["one whose name begins like its", "merged/ab", false],
    ])("of jobs for an output and %s, at once, those that do not overlap are taken", async (_, path, overlaps) => {
      const queue = await (await begin())();
      const outcomes = await Promise.allSettled([
        queue.submit(jobNamed("a")),
        queue.submit({ ...jobNamed("b"), out: { root: "out", path } }),
      ]);
      const refused = outcomes.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
      expect(refused).toHaveLength(overlaps ? 1 : 0);
      for (const error of refused) expect(error).toMatchObject({ code: "queue/output-taken" });
      expect(await queue.list()).toHaveLength(overlaps ? 1 : 2);
      await queue.submit({ ...jobNamed("c"), out: { root: "elsewhere", path } });
      await queue.close();
    });

    test("outputs are compared by the place that links lead to, and are free once their job has ended", async () => {
      const queue = await (await begin())();
      const place = { root: "out", path: "real" };
      const taken = await queue.submit({ ...jobNamed("a"), place });
      const other = { ...jobNamed("b"), place: { root: "out", path: "real/inner" } };
      expect(await queue.reserve(other, "c1")).toEqual({ state: "output-taken", job: taken });
      await (await claimOf(queue)).end("done");
      expect((await queue.submit(other)).name).toBe("b");
      await queue.close();
    });

    test("submissions that are being planned when the queue closes hold nothing", async () => {
      const open = await begin();
      const queue = await open();
      const job = { ...jobNamed("a"), requestId: "r1" };
      const reservation = reservationIn(await queue.reserve(job, "c1"));
      await queue.close();
      await expect(reservation.confirm({})).rejects.toMatchObject({ code: "queue/claim-lost" });
      const reopened = await open();
      expect(await reopened.list()).toEqual([]);
      await reservationIn(await reopened.reserve(job, "c2")).confirm({});
      expect(await reopened.list()).toHaveLength(1);
      await reopened.close();
    });

    test("changes tells what becomes of jobs, from the call on", async () => {
      const queue = await (await begin())();
      await queue.submit(jobNamed("before"));
      const stop = new AbortController();
      const changes = queue.changes(stop.signal)[Symbol.asyncIterator]();
      await queue.submit({ ...jobNamed("a"), priority: 4 });
      await next(changes, (job) => job.name === "a" && job.state === "queued");
      const claim = await claimOf(queue);
      await next(changes, (job) => job.name === "a" && job.state === "claimed");
      await queue.wish("a", "pause");
      await next(changes, (job) => job.wish === "pause");
      await claim.end("done");
      await next(changes, (job) => job.state === "ended");
      stop.abort();
      for (;;) if ((await changes.next()).done) break;
      await queue.close();
    });

    test("changes ends with the queue", async () => {
      const queue = await (await begin())();
      const changes = queue.changes(new AbortController().signal)[Symbol.asyncIterator]();
      const first = changes.next();
      await queue.close();
      await queue.close();
      expect((await first).done).toBe(true);
    });
  });
}

export function jobNamed(name: string): NewJob {
  const out = { root: "out", path: `merged/${name}` };
  return { name, nameTaken: "refuse", priority: 2, recipe: "merge_method: linear", options: {}, out, submitter: "me" };
}

/** Of a name, with an output of its own. */
function elsewhere(name: string, k: number): NewJob {
  return { ...jobNamed(name), out: { root: "out", path: `elsewhere/${k}` } };
}

/** The claim that is due; a queue of several processes may need a moment until it is. */
export async function claimOf(queue: JobQueue, holder = "c1"): Promise<JobClaim> {
  for (let tries = 0; tries < 200; tries++) {
    const claim = await queue.claim(holder);
    if (claim !== undefined) return claim;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("no job is due");
}

export function reservationIn(reserved: Reserved): JobReservation {
  if (reserved.state === "reserved") return reserved.reservation;
  throw new Error(`${reserved.state}: ${reserved.job.name}`);
}

/** A promise, and what it has come to. */
function settled<T>(promise: Promise<T>): { readonly promise: Promise<T>; value: T | undefined } {
  const found: { promise: Promise<T>; value: T | undefined } = { promise, value: undefined };
  void promise.then((value) => {
    found.value = value;
  });
  return found;
}

async function next(changes: AsyncIterator<JobRecord>, wanted: (job: JobRecord) => boolean): Promise<void> {
  for (;;) {
    const { value, done } = await changes.next();
    if (done) throw new Error("the changes ended");
    if (wanted(value)) return;
  }
}
