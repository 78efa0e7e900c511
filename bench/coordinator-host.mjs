// The coordinator's process of bench/coordinator.mjs: the real core, journal, link and gRPC server; a made-up plan, no storage.
// One line of JSON for each job. "load": "grpc" workers come from another process; "inline" they answer in this one, without gRPC.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { ServerCredentials } from "@grpc/grpc-js";
import { keepHeapSmall } from "../dist/app/keep-heap-small.js";
import { JobRecords, JobRunner, remoteLimits } from "../dist/coordinator/job/index.js";
import { openFileJournal, openNatsJournal, takeOver } from "../dist/coordinator/journal/index.js";
import { coordinatorHandlers, RpcServer, WorkerHub } from "../dist/coordinator/link/index.js";
import { connectNats } from "../dist/coordinator/nats/index.js";
import { FileStore } from "../dist/storage/index.js";
import { coordinatorDefinition } from "../dist/wire/index.js";

keepHeapSmall();
const options = JSON.parse(process.argv[2]);
const { slices, jobs, workers, slots, load, journal, folder, natsUrl } = options;
const store = new FileStore({ blocking: false });
const clock = { nowMs: () => performance.now() };
const say = (facts) => process.stdout.write(`${JSON.stringify(facts)}\n`);

function madeUpPlan() {
  const tasks = [];
  const made = [];
  for (let k = 0; k < slices; k++) {
    const tensor = `layers.${k}.weight`;
    // Written out: V8 gives each object a shape of its own that spreads another and then sets a key of it anew.
    const models = [0, 1].map((index) => ({
      input: index,
      file: 0,
      tensor,
      dtype: "BF16",
      offsetBytes: 0,
      storedRowLength: 4096,
      index,
      parameters: { weight: 1 },
    }));
    tasks.push({
      name: tensor,
      kind: "merge",
      method: "linear",
      dtype: "BF16",
      shape: [4096, 4096],
      parameters: { normalize: true },
      models,
    });
    const part = { task: k, part: 0, partCount: 1, firstElement: 0, elementCount: 4096 * 4096 };
    made.push({
      id: `s${String(k).padStart(6, "0")}`,
      shard: 0,
      offsetBytes: 8 + k * 2 ** 25,
      sizeBytes: 2 ** 25,
      parts: [part],
    });
  }
  const plan = {
    version: 1,
    recipe: {},
    seed: "0",
    options: { sliceBytes: 2 ** 25, shardBytes: 2 ** 40, allowNonfinite: false },
  };
  const inputs = [0, 1].map((k) => ({
    label: `m${k}`,
    files: [{ name: "model.safetensors", sizeBytes: 2 ** 40, headerSha256: "ab".repeat(32) }],
  }));
  const shards = [
    { name: "model.safetensors", header: "{}", dataOffsetBytes: 8, sizeBytes: 8 + slices * 2 ** 25, tasks: [] },
  ];
  return { ...plan, inputs, definingInput: 0, tasks, shards, slices: made, notes: [] };
}

let hub;
const share = () => {
  if (hub === undefined) return;
  for (const worker of hub.workers) for (const id of hub.jobs.keys()) hub.setSlots(worker, id, slots);
};
hub = new WorkerHub({
  softwareVersion: "bench",
  startNumber: 1,
  store,
  clock,
  times: { leaseMs: 60_000, heartbeatMs: 10_000, ioTimeoutMs: 20_000 },
  fetch: () => Promise.reject(new Error("nothing is fetched here")),
  changed: share,
  log: () => {},
  defect: (error) => {
    throw error;
  },
});

let server;
if (load === "grpc") {
  const handlers = coordinatorHandlers(hub, (_, claimed) => claimed);
  server = new RpcServer({
    services: [{ name: "deltaworks.v1.Coordinator", definition: coordinatorDefinition, handlers }],
    credentials: ServerCredentials.createInsecure(),
  });
  say({ port: await server.listen("127.0.0.1:0") });
  while ([...hub.workers].filter(({ attached }) => attached).length < workers)
    await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Workers of this process that answer in the next turn of the loop: what is left is core and journal. */
const inline = (listener) => {
  for (let k = 0; k < workers; k++) {
    const id = `w${k}`;
    const later = (act) => setImmediate(act);
    listener.attached(
      {
        id,
        trust: "other",
        incarnation: "1",
        host: "here",
        memoryBytes: 2 ** 33,
        slots,
        assign: ({ unit, attempt }) => later(() => listener.grantRequested(id, unit, attempt, "cd".repeat(32))),
        answerGrant: ({ unit, attempt }) =>
          later(() =>
            listener.reported(id, {
              unit,
              attempt,
              kind: "slice",
              sha256: "cd".repeat(32),
              warnings: [],
              counts: { bytesRead: 0, bytesWritten: 0, tensorsCut: 0 },
            }),
          ),
        answerReport: () => {},
        cancel: () => {},
        close: async () => {},
      },
      [],
    );
  }
  return Promise.resolve();
};

let peakBytes = 0;
setInterval(() => {
  peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
}, 1000).unref();

const nats = journal === "nats" ? await connectNats(store, { servers: [natsUrl] }) : undefined;
for (let k = 0; k < jobs; k++) {
  const plan = madeUpPlan();
  const path = join(folder, `journal-${k}`);
  const opened =
    nats === undefined ? await openFileJournal(store, path) : await openNatsJournal(nats, `bench-${process.pid}-${k}`);
  const leader = await takeOver(opened, {});
  const records = new JobRecords(leader);
  const history = await records.history();
  const limits = {
    ...remoteLimits({ slices, speculates: false }),
    attemptBase: leader.attemptBase,
    earlierGrantsMs: 0,
  };
  const remote = {
    id: `job-${k}`,
    plan,
    planDigest: "ab".repeat(32),
    inputs: plan.inputs.map(({ label }) => ({ label, files: [{ path: "", sizeBytes: 0, mtimeNs: 0n, inode: 0n }] })),
    shardPaths: ["/bench/model.safetensors"],
    inputPlaces: plan.inputs.map(() => [{ root: "models", path: "m/model.safetensors" }]),
    shardPlaces: [{ root: "out", path: "x/model.safetensors" }],
  };
  const began = { ms: performance.now(), cpu: process.cpuUsage() };
  await new Promise((resolve) => {
    let ended = false;
    const runner = new JobRunner({ plan, shardPaths: remote.shardPaths, surveyElements: 2 ** 26, limits }, history, {
      records,
      workers: load === "grpc" ? (listener) => hub.source(remote)(listener) : inline,
      clock,
      ticks: (tick) => {
        const timer = setInterval(tick, 1000);
        return () => clearInterval(timer);
      },
      publish: async () => {},
      discardStage: async () => {},
      observer: {
        progress: ({ slicesDone }) => {
          if (slicesDone < slices || ended) return;
          ended = true;
          peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
          resolve();
        },
        warning: () => {},
        counted: () => {},
      },
    });
    void runner.run();
  });
  const seconds = (performance.now() - began.ms) / 1000;
  const { user, system } = process.cpuUsage(began.cpu);
  say({ job: k, seconds, cpuMicroseconds: (user + system) / slices, peakBytes });
  await hub.closeJob(remote.id);
  await opened.close();
  rmSync(path, { force: true });
}
process.exit(0);
