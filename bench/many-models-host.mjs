// The coordinator's process of bench/many-models.mjs: all of the real service, but for its command line, so that a range can be as short as a
// slice. Told by its arguments what to merge, it says where it listens, and at the end for how long nothing else had a turn.
import { openSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { ServerCredentials } from "@grpc/grpc-js";
import { keepHeapSmall } from "../dist/app/keep-heap-small.js";
import { coordinatorHandlers, RpcServer, WorkerHub } from "../dist/coordinator/link/index.js";
import { openFileQueue } from "../dist/coordinator/queue/index.js";
import { JobCoordinator, Roots } from "../dist/service/index.js";
import { FileStore } from "../dist/storage/index.js";
import { coordinatorDefinition } from "../dist/wire/index.js";

keepHeapSmall();
const { folder, recipe, out, workers, sliceBytes, surveyElements } = JSON.parse(process.argv[2]);
const store = new FileStore({ blocking: false });
const clock = { nowMs: () => performance.now() };
const say = (facts) => process.stdout.write(`${JSON.stringify(facts)}\n`);
const roots = await Roots.open(store, [{ name: "bench", path: folder }]);
const times = { leaseMs: 30_000, ioTimeoutMs: 20_000 };

let coordinator;
let ended = () => {};
const end = new Promise((resolve) => {
  ended = resolve;
});
const hub = new WorkerHub({
  softwareVersion: "bench",
  startNumber: 1,
  times: { ...times, heartbeatMs: 5000 },
  store,
  clock,
  fetch: () => Promise.reject(new Error("nothing is fetched here")),
  changed: () => coordinator?.share(),
  log: () => {},
  defect: (error) => {
    throw error;
  },
});
setInterval(() => hub.tick(), 5000).unref();
coordinator = new JobCoordinator({
  name: { state: "bench", start: 1 },
  store,
  roots,
  hub,
  queue: await openFileQueue(store, join(folder, "queue")),
  toolVersion: "bench",
  clock,
  ...times,
  surveyElements,
  jobsMax: 1,
  slotsPerThread: 2,
  log: (event, facts) => {
    if (event === "job ended" || event === "job failed") ended(facts);
  },
});
const server = new RpcServer({
  services: [
    {
      name: "deltaworks.v1.Coordinator",
      definition: coordinatorDefinition,
      handlers: coordinatorHandlers(hub, (_, claimed) => claimed),
    },
  ],
  credentials: ServerCredentials.createInsecure(),
});
say({ event: "listening", port: await server.listen("127.0.0.1:0") });
while ([...hub.workers].filter(({ attached }) => attached).length < workers)
  await new Promise((resolve) => setTimeout(resolve, 20));

const ofThread = openSync(`/proc/self/task/${process.pid}/schedstat`, "r");
const scratch = Buffer.alloc(64);
/** What this thread has computed: waiting for a processor that others have is no block of ours, and compiling and collecting go on beside it. */
function threadCpuMs() {
  const length = readSync(ofThread, scratch, 0, scratch.length, 0);
  return Number(scratch.toString("latin1", 0, length).split(" ", 1)[0]) / 1e6;
}

/** By what went on: the longest time between two turns, and the most that the event loop's thread computed in one. */
const blocks = {};
let lastMs = performance.now();
let lastCpuMs = threadCpuMs();
let phase = "planning";
const watch = () => {
  const nowMs = performance.now();
  const cpuMs = threadCpuMs();
  const block = blocks[phase] ?? { ms: 0, cpuMs: 0 };
  blocks[phase] = block;
  block.ms = Math.max(block.ms, nowMs - lastMs);
  block.cpuMs = Math.max(block.cpuMs, cpuMs - lastCpuMs);
  const [id] = hub.jobs.keys();
  phase = coordinator.served(id)?.progressNow?.phase ?? phase;
  lastMs = performance.now();
  lastCpuMs = threadCpuMs();
  setTimeout(watch, 1);
};
watch();
const begunMs = performance.now();
coordinator.start();
const flags = { allowNonfinite: false, allowUnknownKeys: false, allowVocabularyMismatch: false, hashInputs: false };
await coordinator.submit({
  name: "job",
  priority: 2,
  recipe: readFileSync(recipe, "utf8"),
  out: { root: "bench", path: out },
  submitter: "bench",
  options: {
    ...{ requestId: "1", seed: "0", sliceBytes, shardBytes: 2 ** 40, auditShare: 0, recipeName: "recipe.yml" },
    ...{ ...flags, cutEmbeddings: false, overwrite: true, restart: false },
  },
});
const { outcome, cause, message } = await end;
const peakKib = /VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
const seconds = (performance.now() - begunMs) / 1000;
say({ event: "ended", outcome, cause, message, blocks, seconds, peakBytes: 1024 * Number(peakKib) });
process.exit(0);
