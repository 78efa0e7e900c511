/** What `Jobs` promises, whatever carries its words. */
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { type EpochJournal, openFileJournal, takeOver } from "../../coordinator/journal/index.ts";
import type { WorkerHub } from "../../coordinator/link/index.ts";
import { type JobQueue, openFileQueue } from "../../coordinator/queue/index.ts";
import type { Json } from "../../merge/work/index.ts";
import {
  type Caller,
  InlinePlanner,
  JobCoordinator,
  type JobEvent,
  type JobRequest,
  JobService,
  type Jobs,
  Roots,
} from "../../service/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

/** As somebody reaches the service. */
export interface Reached {
  readonly jobs: Jobs;
  close(): Promise<void>;
}

const ANNA: Caller = { role: "submitter", name: "anna" };
const RECIPE = "merge_method: linear\nmodels:\n  - {model: tiny-base, parameters: {weight: 1}}\n";
const WORKER = {
  ...{ id: "w1", attached: true, draining: false, setAside: undefined, links: new Map([["j", { unitsHeld: 3 }]]) },
  facts: { softwareVersion: "0", threads: 4, memoryBytes: 2 ** 33 },
};
const store = new FileStore();
let requests = 0;

class World {
  readonly folder = temporaryFolder();
  queue!: JobQueue;
  coordinator!: JobCoordinator;
  jobs!: Jobs;

  static async open(reach: (jobs: Jobs) => Promise<Reached>): Promise<World> {
    const world = new World();
    mkdirSync(join(world.folder, "out"));
    const roots = await Roots.open(store, [
      { name: "models", path: placeOf(resolve("examples/models")) },
      { name: "out", path: placeOf(join(world.folder, "out")) },
    ]);
    world.queue = await openFileQueue(store, placeOf(join(world.folder, "queue")));
    const hub = {
      workers: [WORKER, { ...WORKER, id: "w2", attached: false }],
      jobs: new Map(),
    } as unknown as WorkerHub;
    world.coordinator = new JobCoordinator({
      ...{ store, roots, queue: world.queue, hub, jobsMax: 0, slotsPerThread: 2, toolVersion: "0" },
      ...{ leaseMs: 1000, ioTimeoutMs: 1000, name: { state: "ab", start: 1 }, surveyElements: 2 ** 20 },
      ...{ clock: { nowMs: () => performance.now() }, log: () => {}, planner: new InlinePlanner(store, roots) },
    });
    world.coordinator.start();
    const defaults = { auditShare: 0.5 };
    const reached = await reach(new JobService({ coordinator: world.coordinator, hub, roots, store, defaults }));
    world.jobs = reached.jobs;
    onTestFinished(async () => {
      await world.coordinator.stop(100);
      await reached.close();
      await world.queue.close();
    });
    return world;
  }

  async submit(request: Partial<JobRequest> = {}) {
    const { name = "a" } = request;
    const output = { root: "out", path: name === "" ? "a" : name };
    return this.jobs.submit(ANNA, {
      ...{ requestId: `r${requests++}`, name, recipe: RECIPE, recipeName: "r.yml", output, options: {} },
      ...request,
    });
  }

  /** The journal of a job in its output, as its leader has it. */
  async journal(path: string): Promise<{ append(subject: string, body: Json): Promise<void>; close(): Promise<void> }> {
    mkdirSync(join(this.folder, "out", path, ".deltaworks"), { recursive: true });
    const file = await openFileJournal(store, placeOf(join(this.folder, "out", path, ".deltaworks/journal")));
    const leader: EpochJournal = await takeOver(file, {}, "feedbeef");
    return {
      append: async (subject, body) => {
        const last = await leader.last(subject);
        await leader.append({ subject, body }, last);
      },
      close: () => leader.close(),
    };
  }
}

/** Codes of what a call was refused with. */
async function codesOf(call: Promise<unknown>): Promise<readonly string[]> {
  try {
    await call;
    return [];
  } catch (error) {
    const { failures, code } = error as { failures?: readonly { code: string }[]; code?: string };
    return failures?.map((failure) => failure.code) ?? [code ?? String(error)];
  }
}

/** Events until the end; `seen` is called with each. */
async function watched(
  { jobs }: World,
  job: string,
  { after = 0, follow = false }: { after?: number | "none"; follow?: boolean } = {},
  seen: (event: JobEvent) => Promise<void> | void = () => {},
): Promise<JobEvent[]> {
  const events: JobEvent[] = [];
  for await (const event of jobs.events(ANNA, job, { after, follow })) {
    events.push(event);
    await seen(event);
  }
  return events;
}

const done = (worker: string) => ({ state: "done", attempt: 1, sha256: "ab".repeat(32), worker });
const FAILURE = { code: "storage/full", message: "m", hint: "h", retryable: true };

export function jobsContract(name: string, reach: (jobs: Jobs) => Promise<Reached>): void {
  const open = () => World.open(reach);

  describe(`jobs, ${name}: a submission`, () => {
    test("is a job that waits, planned, with what was said and else the defaults", async () => {
      const world = await open();
      const { job, warnings } = await world.submit({ options: { seed: "7" } });
      expect(job).toMatchObject({
        ...{ name: "a", submitter: "anna", priority: 2, state: "queued", output: { root: "out", path: "a" } },
        ...{ slices: 0, slicesDone: 0, phase: "", coordinator: "", warnings: [], counters: {} },
      });
      expect([job.cause, job.stalled, job.endedAtMs]).toEqual([undefined, undefined, undefined]);
      expect(job.planSha256).toMatch(/^[0-9a-f]{64}$/);
      expect(Math.abs(job.submittedAtMs - Date.now())).toBeLessThan(60_000);
      expect(warnings).toEqual([]);
      expect((await world.queue.find("a"))?.options).toMatchObject({ seed: "7", auditShare: 0.5, sliceBytes: 2 ** 25 });
    });

    test("that is repeated is the first one's job; another one of that name or output is refused", async () => {
      const world = await open();
      const { job } = await world.submit({ requestId: "once" });
      expect((await world.submit({ requestId: "once", name: "other" })).job.id).toBe(job.id);
      expect(await codesOf(world.submit({ output: { root: "out", path: "b" } }))).toEqual(["queue/name-taken"]);
      expect(await codesOf(world.submit({ name: "b", output: { root: "out", path: "a" } }))).toEqual([
        "service/output-taken",
      ]);
    });

    test("without a name has one of its output, without a root a place of the coordinator", async () => {
      const world = await open();
      const path = join(world.folder, "out/my merge");
      const { job } = await world.submit({ name: "", output: { root: "", path }, priority: 4 });
      expect(job).toMatchObject({ name: "my-merge", output: { root: "out", path: "my merge" }, priority: 4 });
    });

    test("is refused with every fault of its recipe", async () => {
      const world = await open();
      const recipe = "merge_method: linear\nmodels:\n  - {model: none-1}\n  - {model: none-2}\n";
      const codes = await codesOf(world.submit({ recipe }));
      expect(codes).toHaveLength(2);
      expect(await world.jobs.list(ANNA, { all: true })).toEqual([]);
    });

    test.each<[string, Partial<JobRequest>, string]>([
      ["has no request id", { requestId: "" }, "service/option"],
      ["is too long", { recipe: `# ${"x".repeat(600_000)}` }, "service/option"],
      ["has an option that cannot be", { options: { seed: "x" } }, "options/value"],
      ["has a root that is not there", { output: { root: "none", path: "x" } }, "service/root"],
    ])("is refused where it %s", async (_, request, code) => {
      const world = await open();
      expect(await codesOf(world.submit(request))).toEqual([code]);
    });
  });

  describe(`jobs, ${name}: what there is`, () => {
    test("is found by name and by id, and listed, newest last; ended ones where all are wanted", async () => {
      const world = await open();
      const [a, b] = [(await world.submit()).job, (await world.submit({ name: "b" })).job];
      await world.jobs.control(ANNA, "a", "cancel");
      const ids = async (all: boolean) => (await world.jobs.list(ANNA, { all })).map(({ id }) => id);
      expect([await ids(true), await ids(false)]).toEqual([[a.id, b.id], [b.id]]);
      for (const job of ["a", a.id])
        expect(await world.jobs.get(ANNA, job)).toMatchObject({ id: a.id, state: "cancelled" });
      expect(await codesOf(world.jobs.get(ANNA, "none"))).toEqual(["service/unknown-job"]);
    });

    test("does what is asked, which may be asked again", async () => {
      const world = await open();
      await world.submit();
      const state = async (wish: Parameters<Jobs["control"]>[2]) => (await world.jobs.control(ANNA, "a", wish)).state;
      for (const _ of [1, 2]) expect(await state("pause")).toBe("paused");
      expect(await state("none")).toBe("queued");
      expect(await state("cancel")).toBe("cancelled");
      expect(await codesOf(world.jobs.control(ANNA, "none", "pause"))).toEqual(["service/unknown-job"]);
    });

    test("are the workers that are attached", async () => {
      const world = await open();
      expect(await world.jobs.workers(ANNA)).toEqual([
        ...[{ name: "w1", softwareVersion: "0", threads: 4, memoryBytes: 2 ** 33, unitsHeld: 3, draining: false }].map(
          (worker) => ({ ...worker, setAside: undefined }),
        ),
      ]);
    });
  });

  describe(`jobs, ${name}: events`, () => {
    /** A job that was computed, paused and published, by its journal. */
    async function ran() {
      const world = await open();
      const { job } = await world.submit();
      const claim = await world.queue.claim("");
      const journal = await world.journal("a");
      await journal.append("job", { state: "begun", plan: "cd".repeat(32) });
      await journal.append("writer/w1", { incarnation: "1", from: 0, to: 9 });
      await journal.append("verdict/4", { data: null });
      for (const slice of [1, 2, 3]) await journal.append(`slice/s${slice}`, done(slice === 3 ? "w2" : "w1"));
      await journal.append("slice/s1", { state: "audited", attempt: 1 });
      await journal.append("slice/s2", {
        state: "disputed",
        attempt: 1,
        votes: ["w1", "w2"].map((worker) => ({ attempt: 1, worker, sha256: "" })),
      });
      await journal.append("slice/s2", done("w3"));
      await journal.append("job", { state: "paused", reason: FAILURE });
      await journal.append("job", { state: "running" });
      await journal.append("slice/s3", { state: "lost", attempt: 1 });
      await journal.append("job", {
        state: "publishing",
        files: [{ name: "f", sizeBytes: 5, sha256: "ef".repeat(32) }],
      });
      await journal.append("job", { state: "done" });
      return { world, job, claim: claim!, journal };
    }

    test("are all that happened, of the same kinds as ever, and then how the job is; also after its end", async () => {
      const { world, claim, journal } = await ran();
      const expected = [
        { type: "taken-over", by: "feedbeef" },
        { type: "begun", planSha256: "cd".repeat(32) },
        { type: "tensor-settled", task: 4 },
        {
          type: "slices-done",
          slices: [
            { slice: "s1", worker: "w1" },
            { slice: "s2", worker: "w1" },
            { slice: "s3", worker: "w2" },
          ],
        },
        { type: "slice-audited", slice: "s1" },
        { type: "slice-disputed", slice: "s2", workers: ["w1", "w2"] },
        { type: "slices-done", slices: [{ slice: "s2", worker: "w3" }] },
        { type: "paused", cause: FAILURE },
        { type: "resumed" },
        { type: "slice-lost", slice: "s3" },
        { type: "publishing", files: [{ name: "f", sizeBytes: 5, sha256: "ef".repeat(32) }] },
        { type: "published" },
      ];
      const facts = (events: readonly JobEvent[]) =>
        events.flatMap(({ cursor, ...event }) => (cursor === undefined ? [] : [event]));
      const before = await watched(world, "a");
      expect(facts(before)).toEqual(expected);
      expect(before.at(-1)).toMatchObject({ type: "progress", job: { name: "a", state: "running" } });
      await journal.close();
      await claim.end("done", { warnings: ["w"] });
      for (const follow of [false, true]) {
        const after = await watched(world, "a", { follow });
        expect(facts(after)).toEqual(expected);
        expect(after.slice(-2)).toMatchObject([
          { type: "warning", message: "w" },
          { type: "ended", job: { state: "done", warnings: ["w"] } },
        ]);
      }
    });

    test("go on after any cursor, each once; or are left out", async () => {
      const { world } = await ran();
      const all = (await watched(world, "a")).filter(({ cursor }) => cursor !== undefined);
      const cursors = all.map(({ cursor }) => cursor ?? 0);
      expect(cursors).toEqual(cursors.toSorted((a, b) => a - b));
      for (const [k, { cursor }] of all.entries()) {
        const rest = (await watched(world, "a", { after: cursor! })).filter(({ cursor }) => cursor !== undefined);
        expect(rest).toEqual(all.slice(k + 1));
      }
      expect((await watched(world, "a", { after: "none" })).map(({ type }) => type)).toEqual(["progress"]);
    });

    test("come as they happen, until the job has ended", async () => {
      const world = await open();
      await world.submit();
      const claim = await world.queue.claim("");
      const journal = await world.journal("a");
      let told = 0;
      const events = await watched(world, "a", { follow: true }, async ({ type }) => {
        if (type === "progress" && told++ === 0) {
          await journal.append("slice/s1", done("w1"));
          await claim?.update({ detail: { slicesDone: 1 } });
        }
        if (type === "slices-done") await claim?.end("failed", { cause: FAILURE });
      });
      const types = events.map(({ type }) => type);
      expect(types.filter((type) => type === "slices-done")).toHaveLength(1);
      expect(events.at(-1)).toMatchObject({ type: "ended", job: { state: "failed", cause: FAILURE } });
    });

    test("of a job that is not there are refused", async () => {
      const world = await open();
      expect(await codesOf(watched(world, "none"))).toEqual(["service/unknown-job"]);
    });

    test("end with the coordinator, and whoever watches may ask the next one", async () => {
      const world = await open();
      await world.submit();
      const ended = watched(world, "a", { follow: true }, () => void world.coordinator.stop(100));
      expect(await codesOf(ended)).toEqual(["link/stopping"]);
    });
  });

  test(`jobs, ${name}: nothing is for callers that look after no jobs`, async () => {
    const { jobs } = await open();
    const worker: Caller = { role: "worker", name: "w1" };
    const request = {
      requestId: "r",
      name: "",
      recipe: "",
      recipeName: "",
      output: { root: "", path: "" },
      options: {},
    };
    const calls: readonly (() => Promise<unknown>)[] = [
      () => jobs.submit(worker, request),
      () => jobs.list(worker, { all: true }),
      () => jobs.get(worker, "a"),
      () => jobs.control(worker, "a", "cancel"),
      async () => {
        for await (const _ of jobs.events(worker, "a", { after: 0, follow: false }));
      },
      () => jobs.workers(worker),
    ];
    for (const call of calls) expect(await codesOf(call())).toEqual(["trust/role"]);
    for (const role of ["submitter", "admin"] as const)
      expect(await jobs.list({ role, name: "x" }, { all: true })).toEqual([]);
  });
}
