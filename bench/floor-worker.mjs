// One thread of the floor: see floor.mjs. Slices and units of the seal are taken from two shared counters.
import { createHash } from "node:crypto";
import { performance } from "node:perf_hooks";
import { parentPort, workerData } from "node:worker_threads";
import { FileStore } from "../dist/storage/index.js";

/** Of one read of an input: stays in the second-level cache, and calls of this size cost next to nothing. */
const READ_BYTES = 1024 * 1024;
/** Of one read of the seal. */
const SEAL_READ_BYTES = 1024 * 1024;

const { inputs, output, sizeBytes, sliceBytes, counters } = workerData;
const store = new FileStore({ blocking: true });
const slices = Math.ceil(sizeBytes / sliceBytes);
const milliseconds = { read: 0, write: 0, sha: 0, sync: 0, seal: 0 };
const input = new Uint8Array(READ_BYTES);

parentPort.once("message", async () => {
  await passThrough();
  parentPort.postMessage("written");
  parentPort.once("message", async () => {
    await timed("seal", seal);
    parentPort.postMessage(milliseconds);
  });
});
parentPort.postMessage("ready");

/** Every input byte read, as many written as one input has, hashed and synced: a merge without its arithmetic. */
async function passThrough() {
  const models = await Promise.all(inputs.map((path) => store.open(path)));
  const target = await store.openForWriting(output);
  // Not zeros, and no hole: what is written costs what real values cost.
  const bytes = new Uint8Array(sliceBytes).map((_, k) => Math.imul(k, 0x9e3779b1) >>> 24);
  let syncing = Promise.resolve();
  for (let slice = take(0); slice < slices; slice = take(0)) {
    const from = slice * sliceBytes;
    const length = Math.min(sliceBytes, sizeBytes - from);
    await timed("read", async () => {
      for (const model of models) await readThrough(model, from, length, input);
    });
    const result = bytes.subarray(0, length);
    await timed("sha", () => createHash("sha256").update(result).digest());
    await timed("write", () => target.write(from, result));
    await timed("sync", () => syncing);
    syncing = target.sync();
  }
  await timed("sync", () => syncing);
  for (const file of [...models, target]) await file.close();
}

/** Unit 0 is the hash of the file, which goes from front to back and so comes first; then the hash of each slice. */
async function seal() {
  const file = await store.open(output);
  const buffer = new Uint8Array(SEAL_READ_BYTES);
  for (let unit = take(1); unit <= slices; unit = take(1)) {
    const from = unit === 0 ? 0 : (unit - 1) * sliceBytes;
    const length = unit === 0 ? sizeBytes : Math.min(sliceBytes, sizeBytes - from);
    const hash = createHash("sha256");
    await readThrough(file, from, length, buffer, (piece) => hash.update(piece));
    hash.digest();
  }
  await file.close();
}

async function readThrough(file, from, length, buffer, use = () => undefined) {
  for (let done = 0; done < length; done += buffer.length) {
    const piece = buffer.subarray(0, Math.min(buffer.length, length - done));
    await file.read(from + done, piece);
    use(piece);
  }
}

function take(counter) {
  return Atomics.add(counters, counter, 1);
}

async function timed(part, work) {
  const start = performance.now();
  await work();
  milliseconds[part] += performance.now() - start;
}
