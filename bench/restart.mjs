// npm run bench:restart: a coordinator with the default times and two workers over loopback; it ends in the middle of a job, stays away for
// a while, and is started again. From the moment on that it listens: until all workers are back, until a slice is written again, until the end.
// With the job's journal beside its output, and with queue and journal in NATS.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { repositoryRoot } from "./folders.mjs";
import { startNats } from "./nats.mjs";
import { machineLine, markdownTable, replaceRegion } from "./report.mjs";

const { values } = parseArgs({
  options: { runs: { type: "string", default: "3" }, "write-docs": { type: "boolean", default: false } },
});
const main = join(repositoryRoot, "dist", "cli", "main.js");
const models = join(repositoryRoot, "examples", "models");
const WORKERS = ["a", "b"];
/** 220 slices. */
const sizes = ["--slice-size", "1KiB", "--shard-size", "300KB"];
const layers = ["base", "python", "prose"]
  .map((name) => `      - {model: gpt2-${name}, layer_range: [0, 3], parameters: {weight: 0.4}}\n`)
  .join("");
const recipe = `merge_method: linear\ndtype: float32\nslices:\n${`  - sources:\n${layers}`.repeat(8)}`;

/** A command of ours, and what it says, each with when it was said. */
class Process {
  constructor(args) {
    this.said = [];
    this.waiting = [];
    this.child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    this.ended = new Promise((resolve) => this.child.once("close", resolve));
    for (const stream of [this.child.stdout, this.child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        if (!line.startsWith("{")) return;
        const event = JSON.parse(line);
        this.said.push({ name: event.event ?? event.msg, atMs: performance.now() });
        for (const again of this.waiting.splice(0)) again();
      });
    }
  }

  /** When it said this for the `count`-th time, after `sinceMs`. */
  async when(name, { sinceMs = 0, count = 1 } = {}) {
    for (;;) {
      const found = this.said.filter((said) => said.name === name && said.atMs >= sinceMs);
      if (found.length >= count) return found[count - 1].atMs;
      await new Promise((resolve) => this.waiting.push(resolve));
    }
  }
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function restart(signal, awayMs, nats) {
  const folder = mkdtempSync(join(tmpdir(), "deltaworks-restart-"));
  const out = join(folder, "out");
  mkdirSync(out);
  writeFileSync(join(folder, "recipe.yml"), recipe);
  const address = `127.0.0.1:${await freePort()}`;
  const roots = ["--root", `models=${models}`, "--root", `out=${out}`];
  const shared = nats === undefined ? [] : ["--nats", nats];
  const start = () =>
    new Process(["coordinator", "--listen", address, "--state", join(folder, "state"), ...roots, ...shared, "--json"]);
  let coordinator = start();
  await coordinator.when("listening");
  const ofWorker = ["worker", "--coordinator", address, "--threads", "1", "--json", "--log-level", "debug", ...roots];
  const workers = WORKERS.map((name) => new Process([...ofWorker, "--name", name]));
  await Promise.all(workers.map((worker) => worker.when("attached")));
  const job = new Process([
    "submit",
    join(folder, "recipe.yml"),
    "out:x",
    "--coordinator",
    address,
    "--json",
    ...sizes,
  ]);
  await workers[0].when("written", { count: 20 });
  coordinator.child.kill(signal);
  await coordinator.ended;
  await new Promise((resolve) => setTimeout(resolve, awayMs));
  coordinator = start();
  const sinceMs = await coordinator.when("listening");
  const back = Math.max(...(await Promise.all(workers.map((worker) => worker.when("attached", { sinceMs })))));
  const written = Math.min(await Promise.race(workers.map((worker) => worker.when("written", { sinceMs }))));
  const code = await job.ended;
  const endedMs = performance.now();
  for (const { child } of [coordinator, ...workers]) child.kill("SIGKILL");
  await Promise.all([coordinator, ...workers].map(({ ended }) => ended));
  rmSync(folder, { recursive: true, force: true });
  if (code !== 0) throw new Error(`the job ended with ${code}`);
  return [back, written, endedMs].map((atMs) => (atMs - sinceMs) / 1000);
}

const rows = [];
const nats = await startNats();
try {
  for (const [journal, url] of [
    ["beside the output", undefined],
    ["in NATS", nats.url],
  ]) {
    for (const [name, signal, awayMs] of [
      ["killed, started again at once", "SIGKILL", 0],
      ["killed, away for 20 s", "SIGKILL", 20_000],
      ["told to end (SIGTERM), started again at once", "SIGTERM", 0],
    ]) {
      const runs = [];
      for (let run = 0; run < Number(values.runs); run++) runs.push(await restart(signal, awayMs, url));
      const worst = [0, 1].map((k) => Math.max(...runs.map((figures) => figures[k])).toFixed(1));
      rows.push([journal, name, ...worst]);
      process.stderr.write(
        `${journal}: ${name}: ${runs.map((run) => run.map((s) => s.toFixed(2)).join(" ")).join("; ")}\n`,
      );
    }
  }
} finally {
  nats.close();
}
const table = markdownTable(["journal", "the coordinator is", "all workers back, s", "first slice written, s"], rows);
const text = `${table}\n\n${values.runs} runs each, the slowest of them; ${machineLine()}.`;
if (values["write-docs"]) replaceRegion(join(repositoryRoot, "docs", "operations.md"), "restart", text);
else console.log(text);
