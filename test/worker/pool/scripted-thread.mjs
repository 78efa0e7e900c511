// Stands in for a worker thread: does with an assignment what its unit is called.
import { existsSync } from "node:fs";
import { parentPort, threadId } from "node:worker_threads";

// A thread that cannot be started.
if (existsSync(process.env.DELTAWORKS_TEST_NO_START ?? "")) process.exit(9);

const port = parentPort;
const hang = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
/** Streamed slices, one after another: the first asks for its grant when the one before is written. */
const streamed = [];

function ask() {
  const [key] = streamed;
  if (key !== undefined) port.postMessage({ type: "grant-request", ...key });
}

function granted({ job, unit, attempt }) {
  if (unit.startsWith("hang")) hang();
  if (unit.startsWith("die")) process.exit(7);
  port.postMessage({ type: "written", job, unit, attempt });
  streamed.shift();
  ask();
  if (unit.startsWith("slow")) return; // it never becomes durable
  port.postMessage({ type: "report", job, report: { unit, attempt, kind: "slice" } });
}

port.on("message", (message) => {
  if (message.type === "start") port.postMessage({ type: "ready" });
  if (message.type === "end") {
    port.postMessage({ type: "ended" });
    port.close();
  }
  if (message.type === "granted") granted(message);
  if (message.type === "refused") {
    const { job, unit, attempt } = streamed.shift();
    port.postMessage({ type: "dropped", job, unit, attempt });
    ask();
  }
  if (message.type !== "assign") return;
  const { job, assignment, output, buffer } = message;
  const { unit, attempt } = assignment;
  if (output === "stream") {
    port.postMessage({ type: "gathered", bytesRead: threadId });
    streamed.push({ job, unit, attempt });
    if (streamed.length === 1) ask();
    return;
  }
  if (unit.startsWith("hang")) hang();
  if (unit.startsWith("die")) process.exit(7);
  const computed = { type: "computed", job, unit, attempt, sha256: "", warnings: [], counts: {}, buffer };
  port.postMessage(computed, buffer === undefined ? [] : [buffer]);
});
