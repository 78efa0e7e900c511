// How many slices a second one coordinator dispatches and commits, with workers that compute nothing: npm run bench:coordinator
// [-- --quick] [-- --nats] [-- --record] (into docs/performance.md).
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { startNats } from "./nats.mjs";
import { machineLine, markdownTable, replaceRegion } from "./report.mjs";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const flag = (name) => process.argv.includes(name);
const many = flag("--quick") ? 10_000 : 100_000;

const scenarios = [
  {
    name: "core and file journal alone",
    slices: many,
    jobs: 1,
    workers: 32,
    slots: 16,
    load: "inline",
    journal: "file",
  },
  {
    name: "gRPC, file journal, 20 jobs of 1,000",
    slices: 1000,
    jobs: 20,
    workers: 32,
    slots: 16,
    load: "grpc",
    journal: "file",
  },
  { name: "gRPC, file journal", slices: many, jobs: 1, workers: 32, slots: 16, load: "grpc", journal: "file" },
  {
    name: "gRPC, file journal, 1,000 workers",
    slices: many,
    jobs: 1,
    workers: 1000,
    slots: 2,
    load: "grpc",
    journal: "file",
  },
  ...(flag("--nats")
    ? [
        {
          name: "core and JetStream alone",
          slices: many,
          jobs: 1,
          workers: 32,
          slots: 16,
          load: "inline",
          journal: "nats",
        },
        { name: "gRPC, JetStream", slices: many, jobs: 1, workers: 32, slots: 16, load: "grpc", journal: "nats" },
      ]
    : []),
].filter(({ name }) => process.argv.slice(2).every((word) => word.startsWith("--") || name.includes(word)));

async function measure(scenario, natsUrl) {
  const folder = mkdtempSync(join(tmpdir(), "deltaworks-bench-"));
  const host = spawn(
    process.execPath,
    [...nodeFlags("host"), here("coordinator-host.mjs"), JSON.stringify({ ...scenario, folder, natsUrl })],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  let load;
  const measured = [];
  try {
    for await (const line of createInterface({ input: host.stdout })) {
      const said = JSON.parse(line);
      if (said.port === undefined) measured.push(said);
      else {
        const settings = JSON.stringify({ port: said.port, workers: scenario.workers });
        load = spawn(process.execPath, [...nodeFlags("load"), here("coordinator-load.mjs"), settings], {
          stdio: ["ignore", "inherit", "inherit"],
        });
      }
    }
  } finally {
    host.kill();
    load?.kill();
    rmSync(folder, { recursive: true, force: true });
  }
  // The first of several small jobs compiles the code that the others run.
  const counted = measured.length > 1 ? measured.slice(Math.floor(measured.length / 4)) : measured;
  const mean = (of) => counted.reduce((sum, one) => sum + of(one), 0) / counted.length;
  return {
    name: scenario.name,
    slicesPerSecond: scenario.slices / mean(({ seconds }) => seconds),
    cpuMicroseconds: mean(({ cpuMicroseconds }) => cpuMicroseconds),
    peakBytes: Math.max(...measured.map(({ peakBytes }) => peakBytes)),
  };
}

/** As all commands set it (cli/main.ts); the coordinator's own settings are the host's to make. `BENCH_PROFILE=host` writes a CPU profile of that process. */
function nodeFlags(which) {
  const profile = process.env.BENCH_PROFILE === which ? ["--cpu-prof", "--cpu-prof-dir=.bench/profiles"] : [];
  return ["--semi-space-growth-factor=1", ...profile];
}

const nats = flag("--nats") ? await startNats() : undefined;
const rows = [];
try {
  for (const scenario of scenarios) {
    const { name, slicesPerSecond, cpuMicroseconds, peakBytes } = await measure(scenario, nats?.url);
    rows.push([
      name,
      Math.round(slicesPerSecond).toLocaleString("en"),
      cpuMicroseconds.toFixed(0),
      `${Math.round(peakBytes / 1e6)} MB`,
    ]);
    console.log(rows.at(-1).join("  "));
  }
} finally {
  nats?.close();
}
const table = markdownTable(["", "slices/s", "CPU of the coordinator, µs a slice", "its memory, at most"], rows);
console.log(`\n${machineLine()}\n\n${table}`);
if (flag("--record")) replaceRegion("docs/performance.md", "coordinator", `${machineLine()}\n\n${table}`);
