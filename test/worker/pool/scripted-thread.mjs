// Stands in for a worker thread: does with an assignment what its unit is called.
import { parentPort } from "node:worker_threads";

const port = parentPort;
port.on("message", (message) => {
  if (message.type === "start") port.postMessage({ type: "ready" });
  if (message.type === "end") {
    port.postMessage({ type: "ended" });
    port.close();
  }
  if (message.type !== "assign") return;
  const { job, assignment, buffer } = message;
  const { unit, attempt } = assignment;
  if (unit.startsWith("hang")) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  if (unit.startsWith("die")) process.exit(7);
  const computed = { type: "computed", job, unit, attempt, sha256: "", warnings: [], counts: {}, buffer };
  port.postMessage(computed, buffer === undefined ? [] : [buffer]);
});
