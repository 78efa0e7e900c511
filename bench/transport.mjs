// npm run bench:transport: what one worker without any root moves through the coordinator, bytes in and out together.
// A coordinator and a worker in processes of their own on loopback; a passthrough of one model, so that every byte that comes
// in goes out again. Timed from the first slice that is done to the last one, so that neither start nor seal counts.
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { linuxOnly } from "../scripts/linux-only.mjs";
import { benchFolder, repositoryRoot } from "./folders.mjs";
import { machineLine, markdownTable, megabytes, replaceRegion } from "./report.mjs";

linuxOnly("bench:transport reads what processes have taken from /proc");

const { values: options } = parseArgs({
  options: {
    mebibytes: { type: "string", default: "1024" }, // of the model
    threads: { type: "string", default: "2" },
    runs: { type: "string", default: "3" },
    tls: { type: "boolean", default: false },
    "write-docs": { type: "boolean", default: false },
  },
});
const main = join(repositoryRoot, "dist", "cli", "main.js");
const folder = join(benchFolder, "transport");
const models = join(folder, "models");
const TENSOR_BYTES = 64 * 2 ** 20;
const tensors = Math.max(1, Math.floor((Number(options.mebibytes) * 2 ** 20) / TENSOR_BYTES));

rmSync(folder, { recursive: true, force: true });
mkdirSync(join(models, "one"), { recursive: true });
writeModel(join(models, "one", "model.safetensors"));
const recipe = join(folder, "recipe.yml");
writeFileSync(recipe, "merge_method: passthrough\nmodels:\n  - model: one\ndtype: bfloat16\n");
const tls = options.tls ? await certificates() : { coordinator: [], worker: [], client: [] };

const ways = [
  ["ReadInput and SendResult", []],
  ["ReadInput and FetchResult", ["--listen", "127.0.0.1:0"]],
];
const rows = [];
for (const [name, args] of ways) {
  const runs = [];
  for (let k = 0; k < Number(options.runs); k++) runs.push(await measureOnce(`${k}`, args));
  runs.sort((a, b) => a.bytesPerSecond - b.bytesPerSecond);
  const median = runs[Math.floor(runs.length / 2)];
  rows.push([
    name,
    `${perSecond(median)} MB/s`,
    `${perSecond(runs[0])} to ${perSecond(runs.at(-1))}`,
    `${median.workerCpu.toFixed(2)} s`,
    `${median.coordinatorCpu.toFixed(2)} s`,
    megabytes(Math.max(...runs.map(({ workerBytes }) => workerBytes))),
    megabytes(Math.max(...runs.map(({ coordinatorBytes }) => coordinatorBytes))),
  ]);
}
rmSync(folder, { recursive: true, force: true });
const head = [
  "way",
  "in + out",
  "of the runs",
  "worker's CPU per GB",
  "coordinator's CPU per GB",
  "worker's peak",
  "coordinator's peak",
];
const text = [
  `${machineLine()}. One worker of ${options.threads} threads and the coordinator on loopback${options.tls ? ", mutual TLS" : ""}; ` +
    `a model of ${options.mebibytes} MiB in the page cache; medians of ${options.runs} runs; peaks are resident sets (VmHWM).`,
  markdownTable(head, rows),
].join("\n\n");
process.stdout.write(`${text}\n`);
if (options["write-docs"]) replaceRegion(join(repositoryRoot, "docs", "performance.md"), "transport", text);

function perSecond({ bytesPerSecond }) {
  return Math.round(bytesPerSecond / 1e6);
}

async function measureOnce(run, workerArgs) {
  const out = join(folder, "out");
  const state = join(folder, "state");
  for (const path of [out, state]) rmSync(path, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const roots = ["--root", `models=${models}`, "--root", `out=${out}`];
  const coordinator = start([
    "coordinator",
    "--listen",
    "127.0.0.1:0",
    "--state",
    state,
    ...roots,
    "--json",
    ...tls.coordinator,
  ]);
  const { address } = await coordinator.event(({ event }) => event === "listening");
  const worker = start([
    "worker",
    "--coordinator",
    address,
    "--name",
    "bench",
    "--threads",
    options.threads,
    "--json",
    ...workerArgs,
    ...tls.worker,
  ]);
  await worker.event(({ msg }) => msg === "attached");
  const job = start(["submit", recipe, `out:${run}`, "--coordinator", address, "--json", ...tls.client]);
  const first = await job.event(({ slicesDone }) => slicesDone > 0);
  const before = [worker, coordinator].map(({ pid }) => cpuSecondsOf(pid));
  const last = await job.event(({ slices, slicesDone }) => slicesDone > 0 && slicesDone === slices);
  const [workerBytes, coordinatorBytes] = [worker, coordinator].map(({ pid }) => peakOf(pid));
  const [workerCpu, coordinatorCpu] = [worker, coordinator].map(({ pid }, k) => cpuSecondsOf(pid) - before[k]);
  if ((await job.ended) !== 0) throw new Error(`the job failed: ${job.said()}`);
  worker.kill();
  coordinator.kill();
  await Promise.all([worker.ended, coordinator.ended]);
  const bytes = last.bytesRead + last.bytesWritten - first.bytesRead - first.bytesWritten;
  return {
    bytesPerSecond: bytes / ((last.atMs - first.atMs) / 1000),
    workerBytes,
    coordinatorBytes,
    workerCpu: workerCpu / (bytes / 1e9),
    coordinatorCpu: coordinatorCpu / (bytes / 1e9),
  };
}

/** Its lines of JSON, each with the time at which it came. */
function start(args) {
  const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const events = [];
  let text = "";
  const waiting = [];
  const wake = () => {
    for (const again of waiting.splice(0)) again();
  };
  for (const stream of [child.stdout, child.stderr]) {
    let rest = "";
    stream.setEncoding("utf8").on("data", (piece) => {
      text += piece;
      const lines = (rest + piece).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line.startsWith("{")) events.push({ ...JSON.parse(line), atMs: performance.now() });
      wake();
    });
  }
  let code;
  const ended = new Promise((resolve) =>
    child.once("close", (status) => {
      code = status ?? -1;
      resolve(code);
      wake();
    }),
  );
  const event = async (fits) => {
    for (;;) {
      const found = events.find(fits);
      if (found !== undefined) return found;
      if (code !== undefined) throw new Error(`deltaworks ${args.join(" ")} ended with ${code}: ${text.slice(-2000)}`);
      await new Promise((resolve) => waiting.push(resolve));
    }
  };
  return { pid: child.pid, ended, event, kill: () => child.kill("SIGKILL"), said: () => text.slice(-2000) };
}

function peakOf(pid) {
  const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kilobytes) * 1024;
}

/** Of the process and its threads, as the kernel counts them: on a busy machine they say more than the clock. */
function cpuSecondsOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function writeModel(path) {
  const rows = TENSOR_BYTES / 2 / 4096;
  const entries = Array.from({ length: tensors }, (_, k) => [
    `model.layers.${k}.mlp.up_proj.weight`,
    { dtype: "BF16", shape: [rows, 4096], data_offsets: [k * TENSOR_BYTES, (k + 1) * TENSOR_BYTES] },
  ]);
  const json = JSON.stringify(Object.fromEntries(entries));
  const header = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const file = openSync(path, "w");
  writeSync(file, length);
  writeSync(file, header);
  // Any finite values; no two blocks alike.
  const block = new Uint16Array(TENSOR_BYTES / 2);
  for (let k = 0; k < tensors; k++) {
    for (let e = 0; e < block.length; e++) block[e] = 0x3c00 + ((e * 31 + k * 7) & 0x3ff);
    writeSync(file, Buffer.from(block.buffer));
  }
  closeSync(file);
  writeFileSync(join(path, "..", "config.json"), JSON.stringify({ model_type: "llama", num_hidden_layers: tensors }));
}

/** An authority and three certificates by the command itself. */
async function certificates() {
  const certs = join(folder, "certs");
  const issue = (role, name) => ["certs", "issue", certs, "--role", role, "--name", name];
  for (const args of [
    ["certs", "init", certs],
    issue("coordinator", "main"),
    issue("worker", "bench"),
    issue("submitter", "anna"),
  ]) {
    const made = start(args);
    if ((await made.ended) !== 0) throw new Error(made.said());
  }
  const of = (name) => [
    "--cert",
    join(certs, `${name}.pem`),
    "--key",
    join(certs, `${name}-key.pem`),
    "--ca",
    join(certs, "ca.pem"),
  ];
  return { coordinator: of("coordinator-main"), worker: of("worker-bench"), client: of("submitter-anna") };
}
