// npm run bench:cluster: a coordinator and single-threaded workers over loopback, files shared, against `deltaworks merge` of the same
// recipe in the same round. From the start of `submit` to its end; coordinator and workers are there before, as services are.
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { makeCheckpoints } from "./checkpoints.mjs";
import { benchFolder, repositoryRoot } from "./folders.mjs";
import { measure, median, settleDisk, warm } from "./measure.mjs";
import { inputsOf, writeRecipe } from "./recipes.mjs";
import { machineLine, markdownTable, replaceRegion } from "./report.mjs";

const { values: options } = parseArgs({
  options: {
    runs: { type: "string", default: "3" },
    cases: { type: "string", default: "ties:first:5:2,breadcrumbs:small:200:3" }, // method:set:fine-tunes:workers
    "write-docs": { type: "boolean", default: false },
  },
});
const main = join(repositoryRoot, "dist", "cli", "main.js");
const folder = join(benchFolder, "cluster");
const output = join(benchFolder, "out");
mkdirSync(benchFolder, { recursive: true });

const rows = [];
for (const [method, set, fineTunes, workers] of options.cases.split(",").map((text) => text.split(":"))) {
  await makeCheckpoints(set, Number(fineTunes));
  const { paths } = inputsOf(method, set, Number(fineTunes));
  const recipe = rooted(writeRecipe(method, set, Number(fineTunes)));
  warm(paths);
  const alone = [];
  const together = [];
  const ratios = [];
  for (let run = 0; run < Number(options.runs); run++) {
    settleDisk(output);
    const merged = await measure(process.execPath, [
      main,
      "merge",
      recipe,
      output,
      "--threads",
      workers,
      "--models-root",
      benchFolder,
      "--quiet",
    ]);
    settleDisk(output);
    const submitted = await cluster(recipe, Number(workers));
    alone.push(merged.seconds);
    together.push(submitted);
    ratios.push(submitted / merged.seconds);
    process.stderr.write(
      `${method}: merge ${merged.seconds.toFixed(2)} s, ${workers} workers ${submitted.toFixed(2)} s\n`,
    );
  }
  rows.push([
    `${method}, ${fineTunes} x ${set === "first" ? "336" : "16"} M`,
    `${workers} of one thread`,
    ...[alone, together].map((seconds) => median(seconds).toFixed(2)),
    median(ratios).toFixed(2),
  ]);
}
const columns = ["merge", "workers", "`merge` with as many threads, s", "`submit`, s", "ratio"];
const text = [
  `${machineLine()}; medians of ${options.runs} runs, inputs in the page cache.`,
  markdownTable(columns, rows),
].join("\n\n");
process.stdout.write(`${text}\n`);
if (options["write-docs"]) replaceRegion(join(repositoryRoot, "docs", "performance.md"), "cluster", text);

/** The recipe with its models named from the one folder that all processes know. */
function rooted(recipe) {
  const path = recipe.replace(/\.yml$/, "-rooted.yml");
  writeFileSync(path, readFileSync(recipe, "utf8").replaceAll("../", ""));
  return path;
}

/** Seconds of one submitted merge. */
async function cluster(recipe, workers) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, "out"), { recursive: true });
  const roots = ["--root", `bench=${benchFolder}`];
  const started = [];
  try {
    const coordinator = launch([
      "coordinator",
      "--listen",
      "127.0.0.1:0",
      "--state",
      join(folder, "state"),
      ...roots,
      "--json",
    ]);
    started.push(coordinator);
    const { address } = await coordinator.event("listening");
    for (let k = 1; k <= workers; k++) {
      const worker = launch([
        "worker",
        "--coordinator",
        address,
        "--name",
        `w${k}`,
        "--threads",
        "1",
        ...roots,
        "--json",
      ]);
      started.push(worker);
      await worker.event("attached");
    }
    const { seconds } = await measure(process.execPath, [
      ...[main, "submit", recipe, "bench:cluster/out/merged", "--coordinator", address, "--json"],
    ]);
    return seconds;
  } finally {
    await Promise.all(started.map((each) => each.end()));
  }
}

/** A process that tells what happens as lines of JSON. */
function launch(args) {
  const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const events = [];
  const waiting = [];
  const ended = new Promise((resolve) => child.once("exit", resolve));
  for (const stream of [child.stdout, child.stderr]) {
    let text = "";
    stream.setEncoding("utf8").on("data", (piece) => {
      text += piece;
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
        const line = text.slice(0, end);
        text = text.slice(end + 1);
        if (line.startsWith("{")) events.push(JSON.parse(line));
      }
      for (const look of [...waiting]) look();
    });
  }
  const named = (name) => events.find(({ event, msg }) => event === name || msg === name);
  return {
    event: (name) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = named(name);
          if (found !== undefined) resolve(found);
        };
        waiting.push(look);
        look();
        void ended.then((code) => reject(new Error(`${args[0]} ended with ${code} before "${name}"`)));
      }),
    end: async () => {
      child.kill("SIGTERM");
      await ended;
    },
  };
}
