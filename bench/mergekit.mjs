// npm run bench:mergekit: mergekit, from PyPI, and deltaworks on the same recipes and checkpoints, in turn.
// The comparison is printed; with --write-docs, and if it is whole (all methods that both have, none failed), it is also put into README.md.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { makeCheckpoints } from "./checkpoints.mjs";
import { benchFolder, repositoryRoot } from "./folders.mjs";
import { measure, median, settleDisk, warm } from "./measure.mjs";
import { inputsOf, methods, recipesFolder, writeRecipe } from "./recipes.mjs";
import { fixed, machineLine, markdownTable, replaceRegion } from "./report.mjs";

/** As bench/mergekit-requirements.txt pins it, and methods that it does not have. */
const VERSION = "0.1.5";
const lacking = ["consensus", "magmax"];

const { values: options } = parseArgs({
  options: {
    runs: { type: "string", default: "3" }, // of deltaworks
    "mergekit-runs": { type: "string", default: "1" }, // of mergekit, which takes minutes
    threads: { type: "string", default: "2" },
    methods: { type: "string", default: Object.keys(methods).join(",") },
    small: { type: "string", default: "200" }, // breadcrumbs over so many small models; "" leaves it out
    reuse: { type: "boolean", default: false }, // take mergekit's figures of the last run on this machine
    "write-docs": { type: "boolean", default: false },
  },
});
const requirements = join(repositoryRoot, "bench", "mergekit-requirements.txt");
const python = join(benchFolder, "venv", "bin", "python");
const recordPath = join(benchFolder, "mergekit-results.json");
const output = join(benchFolder, "out");

mkdirSync(benchFolder, { recursive: true });
const record = existsSync(recordPath) ? JSON.parse(readFileSync(recordPath, "utf8")) : {};
const cases = options.methods
  .split(",")
  .filter((method) => method !== "" && !lacking.includes(method))
  .map((method) => ({ method, set: "first", fineTunes: 5 }));
if (options.small !== "") cases.push({ method: "breadcrumbs", set: "small", fineTunes: Number(options.small) });

const rows = [];
for (const each of cases) {
  const { method, set, fineTunes } = each;
  try {
    await makeCheckpoints(set, fineTunes);
    const inputs = inputsOf(method, set, fineTunes);
    warm(inputs.paths);
    const ours = await repeat(Number(options.runs), () => runDeltaworks(each));
    const theirs = await mergekitFigures(each);
    const models = methods[method].base ? inputs.paths.length - 1 : inputs.paths.length;
    rows.push([
      `${method}, ${models} x ${set === "first" ? "336" : "16"} M`,
      ...[theirs.seconds, ours.seconds].map(fixed(1)),
      `${(theirs.seconds / ours.seconds).toFixed(1)} x`,
      ...[theirs.peakBytes, ours.peakBytes].map((bytes) => `${(bytes / 1e9).toFixed(2)} GB`),
    ]);
  } catch (error) {
    process.exitCode = 1; // the other rows are measured all the same
    process.stderr.write(`${method} (${set}) failed: ${error.message}\n`);
  }
}

const columns = [
  "merge",
  `mergekit ${VERSION}, s`,
  "deltaworks, s",
  "faster",
  "mergekit, memory",
  "deltaworks, memory",
];
const text = [
  markdownTable(columns, rows),
  `${machineLine()}; ${options.threads} threads, bf16, inputs in the page cache, start-up included; mergekit on the CPU with ` +
    `\`--num-threads ${options.threads} --async-write --write-threads ${options.threads}\`. It has no ${lacking.join(" and no ")}. ` +
    "Reproduce with `npm run bench:mergekit`.",
].join("\n\n");
process.stdout.write(`${text}\n`);
const isWhole = rows.length === Object.keys(methods).length - lacking.length + 1;
if (options["write-docs"] && isWhole) replaceRegion(join(repositoryRoot, "README.md"), "mergekit", text);

async function mergekitFigures({ method, set, fineTunes }) {
  const key = `${VERSION} ${method} ${set} ${fineTunes}, ${options.threads} threads, ${machineLine()}`;
  if (options.reuse && record[key] !== undefined) return record[key];
  installMergekit();
  record[key] = await repeat(Number(options["mergekit-runs"]), () => runMergekit({ method, set, fineTunes }));
  writeFileSync(recordPath, `${JSON.stringify(record, null, 2)}\n`);
  return record[key];
}

/** Medians. */
async function repeat(count, run) {
  const results = [];
  for (let k = 0; k < count; k++) {
    settleDisk(output);
    results.push(await run());
  }
  settleDisk(output);
  const of = (key) => median(results.map((result) => result[key]));
  return { seconds: of("seconds"), peakBytes: of("peakBytes") };
}

async function runDeltaworks({ method, set, fineTunes }) {
  const program = [join(repositoryRoot, "bench", "peak.mjs"), join(repositoryRoot, "dist", "cli", "main.js")];
  const recipe = writeRecipe(method, set, fineTunes);
  const args = [...program, "merge", recipe, output, "--threads", options.threads, "--quiet"];
  return told("deltaworks", method, await measure(process.execPath, args));
}

async function runMergekit({ method, set, fineTunes }) {
  const recipe = writeRecipe(method, set, fineTunes);
  const program = [join(repositoryRoot, "bench", "peak.py"), "mergekit.scripts.run_yaml"];
  const threads = ["--num-threads", options.threads, "--async-write", "--write-threads", options.threads];
  const args = [...program, recipe, output, ...threads, "--quiet", "--random-seed", "0"];
  const env = { ...process.env, OMP_NUM_THREADS: options.threads, HF_HUB_OFFLINE: "1" };
  // mergekit looks relative paths up from the working directory, not from the recipe's folder.
  return told("mergekit", method, await measure(python, args, { cwd: recipesFolder, env }));
}

function told(program, method, result) {
  process.stderr.write(
    `${program} ${method}: ${result.seconds.toFixed(2)} s, ${(result.peakBytes / 1e9).toFixed(2)} GB\n`,
  );
  return result;
}

function installMergekit() {
  if (!existsSync(python)) execFileSync("python3", ["-m", "venv", join(benchFolder, "venv")], { stdio: "inherit" });
  const toStderr = { stdio: ["ignore", 2, 2] };
  execFileSync(python, ["-m", "pip", "install", "--quiet", "--requirement", requirements], toStderr);
}
