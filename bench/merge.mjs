// npm run bench: every method against the floor of the same round, then 5, 50 and 200 small models.
// docs/performance.md says what is measured and how. With --against COMMIT each merge is made by that version too, in the same round.
import { mkdirSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { builtVersion, factorOf, orderOf } from "./against.mjs";
import { makeCheckpoints, modelBytes } from "./checkpoints.mjs";
import { benchFolder, repositoryRoot } from "./folders.mjs";
import { measure, median, settleDisk, warm } from "./measure.mjs";
import { inputsOf, methods, writeRecipe } from "./recipes.mjs";
import { fixed, machineLine, markdownTable, megabytes, replaceRegion } from "./report.mjs";

const { values: options } = parseArgs({
  options: {
    runs: { type: "string", default: "5" },
    threads: { type: "string", default: "2" },
    methods: { type: "string", default: Object.keys(methods).join(",") },
    small: { type: "string", default: "5,50,200" }, // numbers of small models; "" for none
    "small-methods": { type: "string", default: "linear,ties,breadcrumbs" },
    against: { type: "string" }, // a commit of this repository, built in the bench's folder
    quick: { type: "boolean", default: false }, // one run, and no more than 50 small models
    "write-docs": { type: "boolean", default: false },
  },
});
const runs = options.quick ? 1 : Number(options.runs);
const listOf = (text) => text.split(",").filter((word) => word !== "");
const smallCounts = listOf(options.small)
  .map(Number)
  .filter((count) => !options.quick || count <= 50);
const output = join(benchFolder, "out");

const firstCases = listOf(options.methods).map((method) => caseOf(method, "first", 5));
const smallCases = smallCounts.flatMap((count) =>
  listOf(options["small-methods"]).map((method) => caseOf(method, "small", count)),
);
mkdirSync(benchFolder, { recursive: true });
if (firstCases.length > 0) await makeCheckpoints("first");
if (smallCases.length > 0) await makeCheckpoints("small", Math.max(...smallCounts));
const other = options.against === undefined ? undefined : builtVersion(options.against, join(benchFolder, "versions"));
const mains = { own: join(repositoryRoot, "dist", "cli", "main.js"), other: other?.main };
const floors = [...(await runCases(firstCases)), ...(await runCases(smallCases))];

const load = loadavg()
  .map((each) => each.toFixed(1))
  .join(", ");
const text = [
  `${machineLine()}. ${options.threads} threads, ${runs === 1 ? "one run" : `medians of ${runs} runs`}, ` +
    `inputs in the page cache, default settings otherwise.` +
    (other === undefined ? "" : ` Beside ${other.name}, in turns; the machine's load when it ended: ${load}.`),
  ...(firstCases.length > 0 ? ["### Base and 5 fine-tunes of 336 M parameters", mergeTable(firstCases)] : []),
  ...(smallCases.length > 0 ? ["### Fine-tunes of 16 M parameters", mergeTable(smallCases)] : []),
  "### The floor and its parts, in seconds",
  floorTable(floors),
].join("\n\n");
process.stdout.write(`${text}\n`);
writeFileSync(
  join(benchFolder, "results.json"),
  `${JSON.stringify({ machine: machineLine(), threads: Number(options.threads), cases: [...firstCases, ...smallCases], floors }, null, 2)}\n`,
);
if (options["write-docs"]) replaceRegion(join(repositoryRoot, "docs", "performance.md"), "bench", text);
const failed = [...firstCases, ...smallCases].filter(({ error }) => error !== undefined);
for (const { method, set, fineTunes, error } of failed) {
  process.stderr.write(`${method} over ${fineTunes} models of the ${set} set failed: ${error}\n`);
}
process.exitCode = failed.length > 0 ? 1 : 0;

function caseOf(method, set, fineTunes) {
  if (methods[method] === undefined)
    throw new Error(`no method ${method}; there are ${Object.keys(methods).join(", ")}`);
  const { paths, bytes } = inputsOf(method, set, fineTunes);
  const times = () => ({ seconds: [], processorSeconds: [] });
  return {
    ...{ method, set, fineTunes, inputs: paths.length, inputBytes: bytes, peakBytes: [], ratios: [] },
    ...{ ...times(), other: times() },
  };
}

/** Runs all cases in rounds: the floors, then each merge, so that whatever else the machine does falls on all alike. */
async function runCases(cases) {
  const counts = [...new Set(cases.map(({ inputs }) => inputs))].sort((a, b) => a - b);
  const floorsHere = counts.map((inputs) => {
    const { set, method, fineTunes } = cases.find((each) => each.inputs === inputs);
    return { set, inputs, paths: inputsOf(method, set, fineTunes).paths, seconds: [], parts: [] };
  });
  warm(new Set(floorsHere.flatMap(({ paths }) => paths)));
  for (let round = 0; round < runs; round++) {
    for (const floor of floorsHere) await runFloor(floor);
    for (const each of cases) {
      const floor = floorsHere.find(({ inputs }) => inputs === each.inputs);
      if (each.error === undefined) await runMerge(each, round, floor.seconds[round]);
    }
  }
  return floorsHere.map(({ paths, ...rest }) => rest);
}

async function runFloor(floor) {
  const file = `${output}.floor`;
  settleDisk(output, file);
  const size = String(modelBytes(floor.set));
  const { seconds, stdout } = await measure(process.execPath, [
    join(repositoryRoot, "bench", "floor.mjs"),
    ...[file, options.threads, size, ...floor.paths],
  ]);
  const own = JSON.parse(stdout);
  floor.seconds.push(seconds);
  floor.parts.push({ start: seconds - own.seconds, ...own.parts });
  settleDisk(file);
  note(`floor of ${floor.inputs} inputs (${floor.set}): ${seconds.toFixed(2)} s`);
}

/** A merge by this version and, where there is another, by that one, right after each other. */
async function runMerge(each, round, floorSeconds) {
  for (const version of other === undefined ? ["own"] : orderOf(round)) {
    const isOwn = version === "own";
    const what = `${each.method} over ${each.fineTunes} (${each.set})${isOwn ? "" : `, ${other.name}`}`;
    try {
      const { seconds, processorSeconds, peakBytes } = await measureMerge(each, mains[version]);
      const times = isOwn ? each : each.other;
      times.seconds[round] = seconds;
      times.processorSeconds[round] = processorSeconds;
      note(
        `${what}: ${seconds.toFixed(2)} s, ${processorSeconds.toFixed(2)} s of the processor, ${megabytes(peakBytes)}`,
      );
      if (!isOwn) continue;
      each.peakBytes.push(peakBytes);
      each.ratios.push(seconds / floorSeconds);
    } catch (error) {
      if (isOwn) each.error = error.message; // the other cases go on
      note(`${what} failed: ${error.message}`);
    }
  }
}

async function measureMerge({ method, set, fineTunes }, main) {
  const recipe = writeRecipe(method, set, fineTunes);
  settleDisk(output);
  try {
    return await measure(process.execPath, [
      ...[join(repositoryRoot, "bench", "peak.mjs"), main],
      ...["merge", recipe, output, "--threads", options.threads, "--quiet"],
    ]);
  } finally {
    settleDisk(output);
  }
}

function mergeTable(cases) {
  const columns = ["method", "fine-tunes", "seconds", "GB/s", "peak memory", "x floor", "at most"];
  if (other !== undefined) columns.push(`times faster than ${other.name}`, "in processor time");
  const rows = cases.map(
    ({ method, set, fineTunes, inputs, inputBytes, seconds, peakBytes, ratios, error, ...each }) => {
      const models = methods[method].base ? inputs - 1 : fineTunes;
      if (error !== undefined) return [`${method} (failed)`, models, ...columns.slice(2).map(() => "")];
      const time = median(seconds);
      const target = (set === "first" ? methods[method].target : undefined) ?? "";
      const measured = [time.toFixed(2), (inputBytes / 1e9 / time).toFixed(2), megabytes(median(peakBytes))];
      const row = [method, models, ...measured, median(ratios).toFixed(2), target];
      if (other === undefined) return row;
      const factors = [
        factorOf(seconds, each.other.seconds),
        factorOf(each.processorSeconds, each.other.processorSeconds),
      ];
      return [...row, ...factors.map((factor) => factor?.toFixed(2) ?? "")];
    },
  );
  return markdownTable(columns, rows);
}

function floorTable(all) {
  const parts = ["start", "read", "write", "sha", "sync", "seal"];
  const rows = all.map((floor) => [
    `${floor.inputs} inputs of the ${floor.set} set`,
    ...[median(floor.seconds), ...parts.map((part) => median(floor.parts.map((each) => each[part])))].map(fixed(2)),
  ]);
  return markdownTable(["floor", "all", ...parts], rows);
}

function note(line) {
  process.stderr.write(`${line}\n`);
}
