/** What people see who watch a job whose name, or output, another job has by now. */
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { credentials, Server, ServerCredentials } from "@grpc/grpc-js";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { jobsHandlers } from "../../api/grpc/index.ts";
import { statusCommand } from "../../cli/commands/jobs.ts";
import { openFileJournal, takeOver } from "../../coordinator/journal/index.ts";
import type { WorkerHub } from "../../coordinator/link/index.ts";
import { type JobQueue, openFileQueue } from "../../coordinator/queue/index.ts";
import { type Job, JobState, JobsClient, JobsService, MergeOptions, type WatchResponse } from "../../proto/index.ts";
import { InlinePlanner, JobCoordinator, JobService, Roots } from "../../service/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { CapturedIo } from "../cli/captured-io.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const store = new FileStore();
const RECIPE = "merge_method: linear\nmodels:\n  - {model: tiny-base, parameters: {weight: 1}}\n";
let folder: string;
let client: JobsClient;
let address: string;
let coordinator: JobCoordinator;
let queue: JobQueue;

beforeEach(async () => {
  folder = temporaryFolder();
  mkdirSync(join(folder, "out"));
  const roots = await Roots.open(store, [
    { name: "models", path: placeOf(resolve("examples/models")) },
    { name: "out", path: placeOf(join(folder, "out")) },
  ]);
  queue = await openFileQueue(store, placeOf(join(folder, "queue")));
  const hub = { workers: [], jobs: new Map() } as unknown as WorkerHub;
  coordinator = new JobCoordinator({
    ...{ store, roots, queue, hub, jobsMax: 0, slotsPerThread: 2, toolVersion: "0", leaseMs: 1000, ioTimeoutMs: 1000 },
    ...{
      name: { state: "ab", start: 1 },
      planner: new InlinePlanner(store, roots),
      surveyElements: 2 ** 20,
      clock: { nowMs: () => performance.now() },
      log: () => {},
    },
  });
  coordinator.start();
  const server = new Server();
  const defaults = { sliceBytes: 2 ** 25, shardBytes: 2 ** 32, auditShare: 0.5 };
  server.addService(
    JobsService,
    jobsHandlers(new JobService({ coordinator, hub, roots, store, defaults }), () => ({
      role: "submitter",
      name: "anna",
    })) as never,
  );
  const port = await new Promise<number>((done, failed) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? done(bound) : failed(error),
    ),
  );
  address = `127.0.0.1:${port}`;
  client = new JobsClient(address, credentials.createInsecure());
  onTestFinished(async () => {
    client.close();
    await coordinator.stop(100);
    server.forceShutdown();
    await queue.close();
  });
});

let requests = 0;

function submit(name: string, path = name, options?: Partial<MergeOptions>): Promise<Job> {
  const output = { root: "out", path };
  const request = {
    requestId: `r${requests++}`,
    name,
    recipe: RECIPE,
    recipeName: "r.yml",
    output,
    options: options && MergeOptions.fromPartial(options),
  };
  return new Promise((done, failed) =>
    client.submit(request as Parameters<JobsClient["submit"]>[0], (error, response) =>
      error === null ? done(response.job as Job) : failed(error),
    ),
  );
}

/** Every message until the end; `seen` is called with each. */
async function watched(job: string, follow: boolean, seen: (message: WatchResponse["message"]) => Promise<void>) {
  const messages: NonNullable<WatchResponse["message"]>[] = [];
  for await (const { message } of client.watch({ job, afterSequence: 0n, follow })) {
    await seen(message);
    if (message !== undefined) messages.push(message);
  }
  return messages;
}

test("the coordinator's share of audits is for those who say none; 0 is a share", async () => {
  for (const [name, options] of [
    ["unsaid", undefined],
    ["other", {}],
    ["none", { auditShare: 0 }],
    ["all", { auditShare: 1 }],
  ] as const)
    await submit(name, name, options);
  const shares = (await queue.list()).map(({ name, options }) => [
    name,
    (options as { auditShare: number }).auditShare,
  ]);
  expect(Object.fromEntries(shares)).toEqual({ unsaid: 0.5, other: 0.5, none: 0, all: 1 });
});

describe("warnings of a job that has ended", () => {
  const warnings = ["not all was audited", "worker w1 was set aside"];
  beforeEach(async () => {
    await submit("a");
    const claim = await queue.claim("");
    await claim?.end("done", { warnings });
  });

  test("reach those who watch, be it that it ended between two looks", async () => {
    const messages = await watched("a", true, async () => {});
    expect(messages.map((message) => (message.$case === "warning" ? message.value : ""))).toEqual([...warnings, ""]);
  });

  test.each([false, true])("are shown by `status`, json: %s", async (json) => {
    const io = new CapturedIo();
    const options = { ...{ coordinator: address, connectTimeout: 0, json }, insecure: false };
    expect(await statusCommand(["a"], options, io)).toBe(0);
    if (json) expect(io.objects()).toMatchObject([{ warnings }]);
    else for (const warning of warnings) expect(io.out).toContain(`  warning  ${warning}\n`);
  });
});

describe("whoever watches a job", () => {
  test("by its name, which another one has by now, sees how it ended and nothing of the other", async () => {
    const first = await submit("a");
    let reused = false;
    const messages = await watched("a", true, async () => {
      if (reused) return;
      reused = true;
      await coordinator.wish("a", "cancel");
      await submit("a");
    });
    const shown = messages.flatMap((message) =>
      message.$case === "progress" || message.$case === "ended" ? [message.value] : [],
    );
    expect(new Set(shown.map(({ jobId }) => jobId))).toEqual(new Set([first.jobId]));
    expect(shown.at(-1)?.state).toBe(JobState.JOB_STATE_CANCELLED);
  });

  test("by its id, and its output is another one's by now, sees no record of the other's journal", async () => {
    const first = await submit("a", "x");
    await coordinator.wish("a", "cancel");
    await submit("b", "x");
    mkdirSync(join(folder, "out/x/.deltaworks"), { recursive: true });
    const journal = await takeOver(
      await openFileJournal(store, placeOf(join(folder, "out/x/.deltaworks/journal"))),
      {},
    );
    await journal.append({ subject: "job", body: { state: "begun", plan: "ab".repeat(32) } }, journal.epoch.number);
    await journal.close();
    const entries = async (job: string) =>
      (await watched(job, false, async () => {})).filter(({ $case }) => $case === "event").length;
    expect(await entries(first.jobId)).toBe(0);
    expect(await entries("b")).toBe(2);
  });
});
