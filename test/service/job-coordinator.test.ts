import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { messageOfJob } from "../../api/grpc/job-messages.ts";
import { progressText } from "../../cli/job-table.ts";
import { openFileJournal } from "../../coordinator/journal/index.ts";
import type { WorkerHub, WorkerLink, WorkerListener } from "../../coordinator/link/index.ts";
import {
  type JobClaim,
  type JobQueue,
  type JobRecord,
  openFileQueue,
  QueueError,
} from "../../coordinator/queue/index.ts";
import type { AttemptRef, WorkerId } from "../../merge/work/index.ts";
import { InlinePlanner, JobCoordinator, type JobJournals, Roots, type Submission } from "../../service/index.ts";
import { forgettable } from "../../service/job-coordinator.ts";
import { viewOf } from "../../service/job-view.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

const MODELS = placeOf(resolve("examples/models"));
const RECIPE = `merge_method: linear
models:
  - {model: "models:tiny-base", parameters: {weight: 1}}
  - {model: "models:tiny-c", parameters: {weight: 1}}
`;

let folder: string;
let queue: JobQueue;
let roots: Roots;
let logged: { readonly event: string; readonly facts: Readonly<Record<string, unknown>> }[];

beforeEach(async () => {
  folder = temporaryFolder();
  mkdirSync(join(folder, "out/inner"), { recursive: true });
  roots = await Roots.open(new FileStore(), [
    { name: "models", path: MODELS },
    { name: "inner", path: placeOf(join(folder, "out/inner")) },
    { name: "out", path: placeOf(join(folder, "out")) },
  ]);
  queue = await openFileQueue(new FileStore(), placeOf(join(folder, "queue")));
  onTestFinished(() => queue.close());
  logged = [];
});

/** One without workers; `jobsMax` 0: it takes submissions and runs nothing. */
function coordinator(
  jobsMax = 0,
  of: JobQueue = queue,
  more: {
    readonly freeBytes?: () => Promise<number>;
    readonly hub?: WorkerHub;
    readonly journals?: JobJournals;
    readonly endedKeptMs?: number;
  } = {},
): JobCoordinator {
  const hub = { workers: [], jobs: new Map(), source: () => ({ attach() {} }), closeJob: async () => {} };
  const made = new JobCoordinator({
    ...{ store: new FileStore(), roots, queue: of, hub: hub as unknown as WorkerHub, jobsMax, slotsPerThread: 2 },
    ...{ name: { state: "ab", start: 1 }, toolVersion: "0", leaseMs: 1000, ioTimeoutMs: 1000, surveyElements: 2 ** 20 },
    planner: new InlinePlanner(new FileStore(), roots),
    clock: { nowMs: () => performance.now() },
    log: (event, facts) => logged.push({ event, facts }),
    ...more,
  });
  onTestFinished(() => made.stop(1000));
  return made;
}

let requests = 0;

function submission(changes: Partial<Submission> = {}, requestId = `r${requests++}`): Submission {
  const flags = { allowNonfinite: false, allowUnknownKeys: false, allowVocabularyMismatch: true, hashInputs: false };
  const options = {
    ...{ requestId, seed: "0", sliceBytes: 2 ** 25, shardBytes: 2 ** 32, auditShare: 0, recipeName: "r.yml" },
    ...{ ...flags, cutEmbeddings: true, overwrite: false, restart: false },
  };
  const out = { root: "out", path: "x" };
  return { name: "", priority: 2, recipe: RECIPE, out, submitter: "anna", options, ...changes };
}

describe("submissions", () => {
  test("one request through two coordinators at once, and again later, is one job", async () => {
    const [one, two] = [coordinator(), coordinator()];
    const asked = submission();
    const results = await Promise.all([one.submit(asked), two.submit(asked), one.submit(asked)]);
    expect(new Set(results.map(({ record }) => record.id)).size).toBe(1);
    expect((await two.submit(asked)).record.id).toBe(results[0]?.record.id);
    expect(await queue.list()).toHaveLength(1);
  });

  test("that is repeated is answered with the warnings of the first", async () => {
    const asked = submission({ recipe: `${RECIPE}nonsense: 1\n` });
    const options = { ...asked.options, allowUnknownKeys: true };
    const { warnings } = await coordinator().submit({ ...asked, options });
    expect(warnings.join()).toContain("nonsense");
    expect((await coordinator().submit({ ...asked, options })).warnings).toEqual(warnings);
  });

  test("of two recipes for one output one is taken, the other is told whose it is", async () => {
    const [one, two] = [coordinator(), coordinator()];
    const outcomes = await Promise.allSettled([
      one.submit(submission()),
      two.submit(submission({ recipe: RECIPE.replace("weight: 1", "weight: 2") })),
    ]);
    const refused = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    expect(refused).toHaveLength(1);
    expect(refused[0]).toMatchObject({ code: "service/output-taken", message: "job x writes to out:x" });
    expect(await queue.list()).toHaveLength(1);
  });

  test.each([
    ["a folder in it", { root: "out", path: "inner/x/y" }],
    ["the folder that it is in", { root: "out", path: "inner" }],
    ["a root within the root", { root: "inner", path: "x" }],
    ["a link", { root: "out", path: "link/x" }],
  ])("an output is taken by whichever name: %s", async (_, out) => {
    symlinkSync(join(folder, "out/inner"), join(folder, "out/link"));
    const one = coordinator();
    await one.submit(submission({ out: { root: "out", path: "inner/x" } }));
    await expect(one.submit(submission({ out }))).rejects.toMatchObject({ code: "service/output-taken" });
    await one.submit(submission({ out: { root: "inner", path: "other" } }));
  });

  test("one that is refused holds neither its name nor its output, for those that waited either", async () => {
    const [one, two] = [coordinator(), coordinator()];
    const outcomes = await Promise.allSettled([
      one.submit(submission({ name: "a", recipe: "merge_method: linera" })),
      two.submit(submission({ name: "a" })),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
    expect(await queue.list()).toMatchObject([{ name: "a", state: "queued" }]);
  });

  test("planned for longer than others believe in its coordinator it is reserved anew, and is one job", async () => {
    let lost = 0;
    const forgetful: JobQueue = Object.assign(Object.create(queue), {
      reserve: async (...args: Parameters<JobQueue["reserve"]>) => {
        const reserved = await queue.reserve(...args);
        if (reserved.state === "reserved" && lost++ === 0) await reserved.reservation.release();
        return reserved;
      },
      ...{ claim: () => queue.claim(""), list: () => queue.list() },
    });
    const { record } = await coordinator(0, forgetful).submit(submission());
    expect(lost).toBe(2);
    expect(await queue.list()).toEqual([record]);
  });

  test("whose output leads out of its root through a link is refused", async () => {
    mkdirSync(join(folder, "secret"));
    symlinkSync(join(folder, "secret"), join(folder, "out/away"));
    const asked = submission({ out: { root: "out", path: "away/x" } });
    await expect(coordinator().submit(asked)).rejects.toMatchObject({ code: "service/outside-roots" });
  });
});

describe("an output that holds a model of the merge", () => {
  test.each([
    ["by its name", "a"],
    ["above it", "."],
    ["through a link", "link"],
  ])("is refused as it is submitted, to be written over or not: %s", async (_, path) => {
    cpSync(join(MODELS, "tiny-base"), join(folder, "out/set/a"), { recursive: true });
    symlinkSync(join(folder, "out/set/a"), join(folder, "out/set/link"));
    const recipe = RECIPE.replace("models:tiny-base", "out:set/a");
    for (const overwrite of [false, true]) {
      const asked = submission({ recipe, out: { root: "out", path: join("set", path) } });
      const submitted = coordinator().submit({ ...asked, options: { ...asked.options, overwrite } });
      await expect(submitted).rejects.toMatchObject({ code: "publish/output-is-input" });
    }
    expect(await queue.list()).toEqual([]);
  });
});

test("embeddings of different sizes are cut for who asks for it, and refused otherwise", async () => {
  for (const [name, rows] of [
    ["short", 3],
    ["long", 5],
  ] as const) {
    const bytes = new Uint8Array(rows * 8);
    const embedding = { name: "model.embed_tokens.weight", dtype: "F32", shape: [rows, 2], bytes };
    writeSafetensors(join(folder, "out", name, "model.safetensors"), [embedding]);
    writeFileSync(join(folder, "out", name, "config.json"), JSON.stringify({ model_type: "llama", vocab_size: rows }));
  }
  const asked = submission({
    recipe: RECIPE.replace("models:tiny-base", "out:short").replace("models:tiny-c", "out:long"),
  });
  const whole = { ...asked, options: { ...asked.options, cutEmbeddings: false } };
  await expect(coordinator().submit(whole)).rejects.toMatchObject({
    failures: [{ code: "recipe/vocabulary-size", hint: expect.stringContaining("--cut-embeddings") }],
  });
  expect((await coordinator().submit(asked)).warnings.join()).toContain("is cut from [5, 2] to [3, 2]");
});

describe("a disk with too little space left", () => {
  test("ends a job before work, with what is needed and what is there", async () => {
    const one = coordinator(1, queue, { freeBytes: async () => 1000 });
    const { record } = await one.submit(submission());
    await expect
      .poll(async () => (await queue.list()).find(({ id }) => id === record.id), { timeout: 10_000 })
      .toMatchObject({ state: "ended", outcome: "failed", detail: { cause: { code: "coordinator/no-space" } } });
  });
});

describe("what waits", () => {
  test("does not keep its plans: a few of them, and none of jobs that others run or that were cancelled", async () => {
    const one = coordinator();
    one.start();
    const names = Array.from({ length: 10 }, (_, k) => `job-${k}`);
    for (const name of names) await one.submit(submission({ name, out: { root: "out", path: name } }));
    expect(one.plansKept).toBe(4);
    await one.wish("job-0", "cancel");
    await expect.poll(() => one.plansKept).toBe(3);
    await queue.claim("somebody else");
    await expect.poll(() => one.plansKept).toBe(2);
    for (const name of names.slice(2)) await one.wish(name, "terminate");
    await expect.poll(() => one.plansKept).toBe(0);
  });

  test("for an output that another process has locked says so, whoever is asked, and is tried again", async () => {
    const store = new FileStore();
    await store.makeDirectory(placeOf(join(folder, "out/x/.deltaworks")));
    const lock = await store.lock(placeOf(join(folder, "out/x/.deltaworks/lock")));
    onTestFinished(() => lock.release());
    const [one, two] = [coordinator(1), coordinator()];
    await one.submit(submission());
    one.start();
    await expect
      .poll(async () => viewOf(await two.find("x"), undefined).stalled)
      .toMatchObject({ code: "storage/locked", message: expect.stringContaining(`process ${process.pid}`) });
    expect(await queue.find("x")).toMatchObject({ state: "claimed" });
  });

  test("a record that no job can be made of ends, with what is wrong, and the next one is taken up", async () => {
    const { options, ...asked } = submission();
    const { seed: _, ...incomplete } = options;
    await queue.submit({ ...asked, name: "old", nameTaken: "refuse", options: { ...incomplete } });
    const one = coordinator(1);
    one.start();
    await expect.poll(async () => (await queue.find("old"))?.state).toBe("ended");
    const cause = { code: "service/option", message: expect.stringContaining("seed") };
    expect(await queue.find("old")).toMatchObject({ outcome: "failed", detail: { cause } });
    await one.submit(submission({ name: "new", out: { root: "out", path: "new" } }));
    await expect.poll(async () => (await queue.find("new"))?.state).toBe("claimed");
  });
});

describe("what became of a job", () => {
  /** A queue whose claims refuse to be changed as often as `failures` says. */
  function unwilling(failures: Record<string, number>): JobQueue {
    const changing = <T>(what: string, change: () => Promise<T>): Promise<T> => {
      const left = failures[what] ?? 0;
      if (left === 0) return change();
      failures[what] = left - 1;
      return Promise.reject(
        new QueueError("queue/unavailable", "cannot change the queue: ENOSPC", { hint: "Free it." }),
      );
    };
    return Object.assign(Object.create(queue), {
      claim: async (holder: string): Promise<JobClaim | undefined> => {
        const claim = await queue.claim(holder);
        if (claim === undefined) return undefined;
        return {
          ...{ lost: claim.lost, job: claim.job },
          update: (facts) => changing("update", () => claim.update(facts)),
          end: (outcome, detail) => changing("end", () => claim.end(outcome, detail)),
          release: () => changing("release", () => claim.release()),
        };
      },
      ...{ list: () => queue.list(), find: (name: string) => queue.find(name), changes: () => queue.changes(never) },
      reserve: (...args: Parameters<JobQueue["reserve"]>) => queue.reserve(...args),
    });
  }
  const never = new AbortController().signal;

  test("is told the queue until it takes it; meanwhile people are told why, and then its output is free", async () => {
    const one = coordinator(1, unwilling({ end: 3 }), { freeBytes: async () => 1000 });
    const { record } = await one.submit(submission());
    await expect
      .poll(() => viewOf(record, one.served(record.id)).stalled, { interval: 10 })
      .toMatchObject({ code: "queue/unavailable", message: expect.stringContaining("ENOSPC") });
    await expect.poll(() => queue.find("x"), { timeout: 10_000 }).toMatchObject({ state: "ended", outcome: "failed" });
    expect(logged.filter(({ event }) => event === "queue failed")).toHaveLength(3);
    await one.submit(submission());
  });

  test("of a record that no job can be made of, too", async () => {
    const { options, ...asked } = submission();
    await queue.submit({ ...asked, name: "old", nameTaken: "refuse", options: { requestId: options.requestId } });
    coordinator(1, unwilling({ end: 3 })).start();
    await expect
      .poll(() => queue.find("old"), { timeout: 10_000 })
      .toMatchObject({ state: "ended", outcome: "failed" });
  });

  test("that was only stopped is never that it failed, however the queue answers", async () => {
    const hub = { workers: [], jobs: new Map(), source: () => async () => {}, closeJob: async () => {} };
    const one = coordinator(1, unwilling({ update: 1 }), { hub: hub as unknown as WorkerHub });
    const { record } = await one.submit(submission());
    await expect.poll(() => one.served(record.id)?.progressNow?.phase).toBeDefined();
    await one.stop(10_000);
    expect((await queue.find("x"))?.state).toBe("claimed");
    await queue.close();
    queue = await openFileQueue(new FileStore(), placeOf(join(folder, "queue")));
    expect((await queue.find("x"))?.state).toBe("queued");
  });
});

test("what an earlier run with the same state had claimed is given back before anything is claimed, once", async () => {
  const asked: string[] = [];
  const watched: JobQueue = Object.assign(Object.create(queue), {
    giveBackOf: async (hasEnded: (holder: string) => boolean) => {
      asked.push(["ab-0", "ab-1", "cd-0"].filter(hasEnded).join());
    },
    claim: async () => {
      asked.push("claim");
    },
    changes: (signal: AbortSignal) => queue.changes(signal),
  });
  const one = coordinator(1, watched);
  one.start();
  await expect.poll(() => asked).toEqual(["ab-0", "claim"]);
  one.share();
  await expect.poll(() => asked.length, { timeout: 5000 }).toBe(3);
  expect(asked).toEqual(["ab-0", "claim", "claim"]);
});

test("a queue that does not answer does not keep a coordinator from ending", async () => {
  let asked = false;
  const silent: JobQueue = Object.assign(Object.create(queue), {
    claim: () => {
      asked = true;
      return new Promise(() => {});
    },
    ...{ giveBackOf: async () => {}, changes: (signal: AbortSignal) => queue.changes(signal) },
  });
  const one = coordinator(1, silent);
  one.start();
  await expect.poll(() => asked).toBe(true);
  await one.stop(50);
});

test("a worker that a job set aside is barred from the others, which need not wait for it; not where there is no other", async () => {
  const told: unknown[] = [];
  const worker = (id: string, setAside?: string) => ({
    ...{ id, attached: true, draining: false, facts: { threads: 1 }, links: new Map() },
    setAside: setAside === undefined ? undefined : { code: setAside },
  });
  const hub = {
    workers: [worker("sound"), worker("outvoted", "coordinator/nondeterministic"), worker("failing", "storage/io")],
    jobs: new Map(),
    source: () => async () => {},
    closeJob: async () => {},
    setSlots: () => {},
    setBarred: ({ id }: { id: string }, _job: string, isBarred: boolean) => told.push([id, isBarred]),
  };
  const one = coordinator(1, queue, { hub: hub as unknown as WorkerHub });
  const { record } = await one.submit(submission());
  hub.jobs.set(record.id, {});
  await expect.poll(() => one.served(record.id)).toBeDefined();
  const shared = async () => {
    told.length = 0;
    one.share();
    await expect.poll(() => told.length).toBeGreaterThanOrEqual(hub.workers.length);
    return told.slice(0, hub.workers.length);
  };
  const outvoted = ["outvoted", true];
  expect(await shared()).toEqual([["sound", false], outvoted, ["failing", true]]);
  hub.workers.shift();
  expect(await shared()).toEqual([outvoted, ["failing", false]]);
});

test("a job that paused by itself goes on when somebody says so to another coordinator, and not for another change", async () => {
  const hub = { workers: [], jobs: new Map(), source: () => async () => {}, closeJob: async () => {} };
  const [one, two] = [coordinator(1, queue, { hub: hub as unknown as WorkerHub }), coordinator()];
  const { record } = await one.submit(submission());
  one.start();
  await expect.poll(() => one.served(record.id)?.progressNow?.phase).toBeDefined();
  const job = one.served(record.id)!;
  let resumed = 0;
  job.resume = () => resumed++;
  for (let times = 1; times <= 2; times++) {
    await two.wish("x", "none");
    await expect.poll(() => resumed).toBe(times);
  }
  await two.wish("x", "pause");
  await expect.poll(() => job.wish).toBe("pause");
  expect(resumed).toBe(2);
  await one.wish("x", "none");
  await expect.poll(() => resumed).toBe(3);
});

describe("what is said while no coordinator runs the job, or to another one", () => {
  const FULL = { code: "storage/full", message: "no space left", hint: "Make room.", retryable: true };

  /** A hub whose one worker finds the disk full. */
  function fullDisk(): WorkerHub {
    const source = () => async (listener: WorkerListener) => {
      const id = "w" as WorkerId;
      const link = {
        ...{ id, trust: "other", incarnation: "i", host: "h", memoryBytes: 1e9, slots: 1 },
        ...{ answerGrant() {}, answerReport() {}, cancel() {}, async close() {} },
        assign: ({ unit, attempt }: AttemptRef) =>
          setImmediate(() => listener.reported(id, { unit, attempt, kind: "failed", failure: FULL })),
      };
      listener.attached(link as unknown as WorkerLink, []);
    };
    return { workers: [], jobs: new Map(), source, closeJob: async () => {} } as unknown as WorkerHub;
  }
  /** As in NATS: outside the output, for whoever is asked. */
  const journals: JobJournals = {
    open: (id) => openFileJournal(new FileStore(), placeOf(join(folder, `${id}.journal`))),
    leadershipMs: 1000,
    history: async function* () {},
  };
  const idle = () => {
    const hub = { workers: [], jobs: new Map(), source: () => async () => {}, closeJob: async () => {} };
    return { hub: hub as unknown as WorkerHub };
  };

  /** Paused by a full disk, then given back: as after a coordinator's end. */
  async function pausedByDisk(before: (one: JobCoordinator) => Promise<unknown> = async () => {}): Promise<string> {
    const one = coordinator(1, queue, { hub: fullDisk() });
    await queue.submit({ ...submission(), name: "x", nameTaken: "refuse", options: { ...submission().options } });
    await before(one);
    one.start();
    const { id } = (await queue.find("x"))!;
    await expect.poll(() => one.served(id)?.progressNow?.paused, { timeout: 10_000 }).toMatchObject(FULL);
    await one.stop(10_000);
    expect(await queue.find("x")).toMatchObject({ state: "queued", wish: "none" });
    return id;
  }

  test("to go on, of a job that a full disk paused, is done by whoever takes it up", async () => {
    const id = await pausedByDisk();
    await queue.wish("x", "none");
    const two = coordinator(1, queue, idle());
    two.start();
    await expect.poll(() => two.served(id)?.progressNow?.phase, { timeout: 10_000 }).toBe("merging");
    expect(two.served(id)?.progressNow?.paused).toBeUndefined();
  });

  test.each([
    ["not at all", async () => {}],
    ["before it was paused", async () => queue.wish("x", "none")],
    [
      "to pause, and to go on, before it was paused",
      async () => queue.wish("x", "pause").then(() => queue.wish("x", "none")),
    ],
  ])("it stays paused where that was said %s", async (_, before) => {
    const id = await pausedByDisk(before);
    const two = coordinator(1, queue, idle());
    two.start();
    await expect.poll(() => two.served(id)?.progressNow?.paused, { timeout: 10_000 }).toMatchObject(FULL);
  });

  test("a coordinator that is asked for a job of another one says what that one knows of it", async () => {
    const two = coordinator();
    const told = async () => viewOf(await two.find("x"), undefined);
    await queue.submit({ ...submission(), name: "x", nameTaken: "refuse", options: { ...submission().options } });
    expect(await told()).toMatchObject({ state: "queued", phase: "", coordinator: "" });
    const one = coordinator(1, queue, { ...idle(), journals });
    one.start();
    const merging = {
      state: "running",
      phase: "merging",
      slices: 1,
      slicesDone: 0,
      coordinator: "ab-1",
    };
    await expect.poll(told, { timeout: 10_000 }).toMatchObject(merging);
    expect(progressText(messageOfJob(await told()))).toBe("merging  0/1 slices  0 %");
    await one.stop(10_000);
    expect(await told()).toMatchObject({ state: "queued", phase: "", slices: 1, coordinator: "" });
    // Of whoever has it now nothing is known yet.
    await queue.claim("another");
    const unknown = { state: "running", phase: "", slices: 1, coordinator: "another" };
    expect(await told()).toMatchObject(unknown);
    expect(progressText(messageOfJob(await told()))).toBe("running  0/1 slices  0 %");
  });

  test("it says that a job is paused, and why, too", async () => {
    await queue.submit({ ...submission(), name: "x", nameTaken: "refuse", options: { ...submission().options } });
    coordinator(1, queue, { hub: fullDisk(), journals }).start();
    const told = async () => viewOf(await coordinator().find("x"), undefined);
    const paused = { state: "paused", cause: FULL, phase: "merging" };
    await expect.poll(told, { timeout: 20_000 }).toMatchObject(paused);
  });

  test.each(["cancel", "terminate", "pause"] as const)(
    "to %s, and heard of before the claim was answered, is carried out",
    async (wish) => {
      let first = true;
      const slow: JobQueue = Object.assign(Object.create(queue), {
        claim: async (holder: string) => {
          const claim = await queue.claim(holder);
          if (claim === undefined || !first) return claim;
          first = false;
          const heard = queue.changes(AbortSignal.timeout(10_000));
          const next = heard[Symbol.asyncIterator]().next();
          await queue.wish("x", wish);
          await next;
          await delay(0); // the coordinator has heard of it, too
          return claim;
        },
        ...{ giveBackOf: async () => {}, changes: (signal: AbortSignal) => queue.changes(signal) },
        ...{ list: () => queue.list(), find: (name: string) => queue.find(name) },
      });
      await queue.submit({ ...submission(), name: "x", nameTaken: "refuse", options: { ...submission().options } });
      const { id } = (await queue.find("x"))!;
      const one = coordinator(1, slow, idle());
      one.start();
      if (wish === "pause") {
        const paused = () => one.served(id)?.progressNow?.paused?.code;
        await expect.poll(paused, { timeout: 10_000 }).toBe("service/paused");
      } else {
        const ended = { state: "ended", outcome: "cancelled" };
        await expect.poll(() => queue.find("x"), { timeout: 10_000 }).toMatchObject(ended);
      }
    },
  );
});

test("a watch of the queue that fails is begun again, as often as it takes, and what it missed is seen", async () => {
  let tries = 0;
  const failing: JobQueue = Object.assign(Object.create(queue), {
    async *changes(signal: AbortSignal) {
      if (++tries <= 3) throw new Error("cannot listen for changes");
      yield* queue.changes(signal);
    },
    ...{ claim: () => queue.claim(""), list: () => queue.list(), find: (name: string) => queue.find(name) },
  });
  const one = coordinator(0, failing);
  await queue.submit({ ...submission(), name: "a", nameTaken: "refuse", options: {} });
  const { id } = await queue.wish("a", "cancel");
  one.start();
  await expect.poll(() => tries).toBe(4);
  expect(logged.filter(({ event }) => event === "queue failed")).toHaveLength(3);
  // It ended while nobody listened; its name is another's by now.
  await queue.submit({ ...submission(), name: "a", nameTaken: "refuse", options: {} });
  expect(await one.find(id)).toMatchObject({ id, state: "ended", outcome: "cancelled" });
  await delay(0);
});

test("a job whose name was used again is never taken for the other one", async () => {
  const one = coordinator();
  const { record: first } = await one.submit(submission({ name: "a" }));
  one.start();
  await one.wish("a", "cancel");
  const { record: second } = await one.submit(submission({ name: "a" }));
  expect(await one.find(first.id)).toMatchObject({ id: first.id, outcome: "cancelled" });
  for (const job of [second.id, "a"]) expect((await one.find(job)).id).toBe(second.id);
  expect(await one.isLastAt(first)).toBe(false);
  expect(await one.isLastAt(second)).toBe(true);
  // So does one that was started later.
  expect(await coordinator().find(first.id)).toMatchObject({ id: first.id, outcome: "cancelled" });
});

test("a job that ended longer ago than is kept is forgotten, and so are the oldest of too many", async () => {
  const HOUR = 3_600_000;
  const job = (k: number, endedAtMs: number | undefined): JobRecord =>
    ({
      ...{ id: `${k}`, name: `${k}`, submittedAt: new Date(k * HOUR).toISOString() },
      state: endedAtMs === undefined ? "queued" : "ended",
      ...(endedAtMs === undefined ? {} : { detail: { endedAtMs } }),
    }) as unknown as JobRecord;
  // Submitted first, and ended last.
  const jobs = [job(0, 90 * HOUR), job(1, 2 * HOUR), job(2, undefined), job(3, 5 * HOUR)];
  const ids = (...[beforeMs, most]: [number, number]) => forgettable(jobs, beforeMs, most).map(({ id }) => id);
  expect(ids(0, 10)).toEqual([]);
  expect(ids(5 * HOUR, 10)).toEqual(["1"]);
  expect(ids(Number.POSITIVE_INFINITY, 10)).toEqual(["0", "1", "3"]);
  expect(ids(0, 2)).toEqual(["0"]);
  const one = coordinator(0, queue, { endedKeptMs: 0 });
  const { record } = await one.submit(submission({ name: "a" }));
  await queue.wish("a", "cancel");
  one.start();
  await expect.poll(() => queue.list()).toEqual([]);
  await expect(one.find(record.id)).rejects.toMatchObject({ code: "service/unknown-job" });
});
