// npm run bench:many-models [-- --record] (into docs/performance.md): merges of 200 small models by a coordinator and two workers, processes
// over loopback. Tensors are cut into ranges as those of large models are, so surveys go through the coordinator. For how long its event loop
// was blocked, and its memory.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { linuxOnly } from "../scripts/linux-only.mjs";
import { benchFolder, repositoryRoot } from "./folders.mjs";
import { machineLine, markdownTable, megabytes, replaceRegion } from "./report.mjs";

linuxOnly("bench:many-models reads from /proc what a thread has computed and a process has taken");

const MODELS = 200;
const WORKERS = 2;
const TENSORS = 3;
/** Four blocks of 65,536 elements: four slices, four ranges. */
const [ROWS, COLUMNS] = [512, 512];
const RANGE_ELEMENTS = 65_536;
const SHOWN = {
  ties: "merge_method: ties\nparameters: {rescale: true}",
  breadcrumbs: "merge_method: breadcrumbs",
  sce: "merge_method: sce\nparameters: {select_topk: 0.4}",
  model_stock: "merge_method: model_stock",
  karcher: "merge_method: karcher\nparameters: {max_iter: 1000, tol: 1.0e-12}",
};
const PARAMETERS = { ties: "density: 0.4, weight: 0.1", breadcrumbs: "density: 0.9, gamma: 0.01, weight: 0.1" };

const folder = join(benchFolder, "many-models");
const names = Array.from({ length: MODELS }, (_, k) => `m${k}`);

/** Magnitudes of forty binary orders: the upper halves of their bits fill thousands of bins, as those of large tensors do. */
function writeModel(name, seed) {
  const path = join(folder, name);
  if (existsSync(path)) return;
  const bytes = ROWS * COLUMNS * 4;
  const header = {};
  for (let t = 0; t < TENSORS; t++) {
    const offsets = [t * bytes, (t + 1) * bytes];
    header[`model.layers.${t}.mlp.up_proj.weight`] = { dtype: "F32", shape: [ROWS, COLUMNS], data_offsets: offsets };
  }
  const text = Buffer.from(JSON.stringify(header).padEnd(512));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  let state = seed + 1;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const values = Float32Array.from(
    { length: TENSORS * ROWS * COLUMNS },
    () => (next() < 0.5 ? -1 : 1) * 2 ** (-40 * next()),
  );
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "model.safetensors"), Buffer.concat([size, text, Buffer.from(values.buffer)]));
}

function launch(command, onLine) {
  const child = spawn(process.execPath, command, { stdio: ["ignore", "pipe", "inherit"] });
  createInterface({ input: child.stdout }).on("line", (line) => line.startsWith("{") && onLine(JSON.parse(line)));
  return { child, ended: new Promise((resolve) => child.once("close", resolve)) };
}

async function merge(method) {
  const recipe = join(folder, `${method}.yml`);
  const listed = names.map((name) => {
    return `  - {model: ${name}${PARAMETERS[method] === undefined ? "" : `, parameters: {${PARAMETERS[method]}}`}}`;
  });
  const base = method === "karcher" ? "" : "base_model: base\n";
  writeFileSync(recipe, `${SHOWN[method]}\n${base}dtype: float32\nmodels:\n${listed.join("\n")}\n`);
  const out = `out-${method}`;
  rmSync(join(folder, out), { recursive: true, force: true });
  rmSync(join(folder, "queue"), { recursive: true, force: true });
  const host = fileURLToPath(new URL("many-models-host.mjs", import.meta.url));
  const sizes = { sliceBytes: 4 * RANGE_ELEMENTS, surveyElements: RANGE_ELEMENTS };
  const told = JSON.stringify({ folder, recipe, out, workers: WORKERS, ...sizes });
  const workers = [];
  const result = await new Promise((resolve, reject) => {
    const coordinator = launch(["--semi-space-growth-factor=1", host, told], (said) => {
      if (said.event === "ended") return resolve(said);
      for (let k = 0; k < WORKERS; k++) {
        const own = [
          "--coordinator",
          `127.0.0.1:${said.port}`,
          "--name",
          `w${k}`,
          "--threads",
          "1",
          "--log-level",
          "error",
        ];
        workers.push(
          launch(
            [join(repositoryRoot, "dist", "cli", "main.js"), "worker", ...own, "--root", `bench=${folder}`],
            () => {},
          ),
        );
      }
    });
    void coordinator.ended.then((code) => reject(new Error(`the coordinator ended with ${code}`)));
  });
  for (const { child } of workers) child.kill("SIGKILL");
  await Promise.all(workers.map(({ ended }) => ended));
  rmSync(join(folder, out), { recursive: true, force: true });
  if (result.outcome !== "done") throw new Error(`${method}: ${JSON.stringify(result)}`);
  return result;
}

mkdirSync(folder, { recursive: true });
for (const [k, name] of ["base", ...names].entries()) writeModel(name, k);
const rows = [];
for (const method of Object.keys(SHOWN)) {
  const { blocks, peakBytes, seconds } = await merge(method);
  process.stderr.write(`${method}: ${JSON.stringify(blocks)}\n`);
  const { planning, ...working } = blocks;
  const longest = Object.entries(working).reduce((a, b) => (b[1].ms > a[1].ms ? b : a));
  const longestCpuMs = Math.max(...Object.values(working).map(({ cpuMs }) => cpuMs));
  rows.push([
    method,
    seconds.toFixed(0),
    planning.ms.toFixed(0),
    `${longest[1].ms.toFixed(0)} (${longest[0]})`,
    longestCpuMs.toFixed(0),
    megabytes(peakBytes),
  ]);
}
const columns = [
  "method",
  "seconds",
  "longest block while it plans, ms",
  "afterwards, ms",
  "longest that its thread computed, ms",
  "memory, at most",
];
const text = `${machineLine()}\n\n${markdownTable(columns, rows)}`;
console.log(text);
if (process.argv.includes("--record"))
  replaceRegion(join(repositoryRoot, "docs", "performance.md"), "many-models", text);
