// The floor: everything a merge does but arithmetic, through the same storage port and with as many threads.
// Inputs are read once into a reused buffer; as many bytes as one of them has are written in slices of 32 MiB, each
// hashed and then synced (at most one sync a thread under way; all are waited for at the end); then the seal reads the
// file back through fresh handles and hashes every slice and the file, shared among the threads.
// As a command: node bench/floor.mjs OUTPUT THREADS SIZE_BYTES INPUT...  prints { seconds, parts } as JSON.
import { once } from "node:events";
import { performance } from "node:perf_hooks";
import { Worker } from "node:worker_threads";

const SLICE_BYTES = 32 * 1024 * 1024;

const [output, threadText, sizeText, ...inputs] = process.argv.slice(2);
const threads = Number(threadText);
const workerData = {
  inputs,
  output,
  sizeBytes: Number(sizeText),
  sliceBytes: SLICE_BYTES,
  counters: new Int32Array(new SharedArrayBuffer(8)),
};
const workers = Array.from(
  { length: threads },
  () => new Worker(new URL("./floor-worker.mjs", import.meta.url), { workerData }),
);
const all = (then) => Promise.all(workers.map(then));
const answers = () => all(async (worker) => (await once(worker, "message"))[0]);

await answers(); // ready
const start = performance.now();
await exchange("write");
const reports = await exchange("seal");
const seconds = (performance.now() - start) / 1000;

/** What a thread spent on each part, in seconds, on average: the parts add up to about the whole. */
const parts = Object.fromEntries(
  ["read", "write", "sha", "sync", "seal"].map((part) => [
    part,
    reports.reduce((sum, report) => sum + report[part], 0) / threads / 1000,
  ]),
);
process.stdout.write(`${JSON.stringify({ seconds, parts })}\n`);

async function exchange(message) {
  const reply = answers();
  for (const worker of workers) worker.postMessage(message);
  return reply;
}
