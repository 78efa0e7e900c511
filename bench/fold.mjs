// For how long the coordinator is deaf while it folds surveys of 200 models: npm run bench:fold [-- --record] (into docs/performance.md).
// The real job, its rounds and the wire's encoding; a worker that answers at once with summaries that are as large as real ones.
import { JobRunner, localLimits } from "../dist/coordinator/job/index.js";
import { machineLine, markdownTable, megabytes, replaceRegion } from "./report.mjs";

const MODELS = 200;
const RANGES = 8;
const PARTS = 4;
const PART_ELEMENTS = 2 ** 24;
const SHOWN = [8_000, 25_000];

function madeUpPlan() {
  const source = (index) => ({
    input: index,
    file: 0,
    tensor: "t",
    dtype: "F32",
    offsetBytes: 0,
    storedRowLength: 1024,
    index,
    parameters: { weight: 1, density: 0.5 },
  });
  const task = {
    name: "t",
    kind: "merge",
    method: "ties",
    dtype: "F32",
    shape: [(RANGES * PARTS * PART_ELEMENTS) / 1024, 1024],
    parameters: { normalize: true, rescale: false, rescale_mode: "l1", lambda: 1 },
    base: source(MODELS),
    models: Array.from({ length: MODELS }, (_, k) => source(k)),
  };
  const partCount = RANGES * PARTS;
  const slices = Array.from({ length: partCount }, (_, part) => ({
    id: `s${part}`,
    shard: 0,
    offsetBytes: 0,
    sizeBytes: 4 * PART_ELEMENTS,
    parts: [{ task: 0, part, partCount, firstElement: part * PART_ELEMENTS, elementCount: PART_ELEMENTS }],
  }));
  return { version: 2, tasks: [task], slices, shards: [], options: {} };
}

/** Bins as they fall, sorted; another for each range, so that sums have more of them. */
function histogram(bins, seed, binCount) {
  const chosen = new Uint16Array(bins);
  for (let k = 0; k < bins; k++) chosen[k] = Math.floor((k * binCount) / bins) + (seed % 2);
  return { below: 0, bins: chosen, counts: new Uint32Array(bins).fill((PARTS * PART_ELEMENTS) / bins), zeros: 0 };
}

/** The longest time for which nothing else had a turn, and what else a fold of so many bins took. */
async function measure(bins) {
  let longestMs = 0;
  let longestCpuMs = 0;
  let lastMs = performance.now();
  let lastCpu = process.cpuUsage();
  let watching = true;
  const begin = () => {
    lastMs = performance.now();
    lastCpu = process.cpuUsage();
  };
  const watch = () => {
    const { user, system } = process.cpuUsage(lastCpu);
    longestMs = Math.max(longestMs, performance.now() - lastMs);
    longestCpuMs = Math.max(longestCpuMs, (user + system) / 1000);
    begin();
    if (watching) setImmediate(watch);
  };
  const summaryOf = (range, isLast) => {
    const total = histogram(bins, range, isLast ? 2 ** 15 : 2 ** 16);
    const part = { from: 0, to: 65_536, bins: total.bins.slice(0, 1024), counts: total.counts.slice(0, 1024) };
    const column = { total, parts: isLast ? Array.from({ length: PARTS }, () => part) : [], below: 0 };
    return { order: { road: "histogram", columns: Array.from({ length: MODELS }, () => column) } };
  };
  let peakBytes = 0;
  const before = process.cpuUsage();
  await new Promise((resolve) => {
    const queue = [];
    const answer = () => {
      peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
      const { unit, attempt, firstRound } = queue.shift();
      const summary = summaryOf(Number(unit.split("-").at(-1)), !firstRound);
      const counts = { bytesRead: 0, bytesWritten: 0, tensorsCut: 0 };
      // What is made up here counts for nobody.
      begin();
      runner.reported("w", { unit, attempt, kind: "survey", summary, counts });
    };
    const runner = new JobRunner(
      {
        plan: madeUpPlan(),
        shardPaths: [],
        surveyElements: PARTS * PART_ELEMENTS,
        limits: { ...localLimits, attemptBase: 0, earlierGrantsMs: 0 },
      },
      { replaced: [], phase: "planned", files: [], slices: new Map(), verdicts: new Map() },
      {
        records: { verdict: async () => resolve() },
        clock: { nowMs: () => performance.now() },
        publish: async () => {},
        discardStage: async () => {},
        observer: { progress: () => {}, warning: () => {}, counted: () => {} },
        workers: async (listener) => {
          const link = {
            id: "w",
            trust: "own",
            incarnation: "1",
            host: "h",
            memoryBytes: 2 ** 40,
            slots: RANGES,
            assign: (assignment) => {
              if (assignment.kind !== "survey") return;
              queue.push(assignment);
              setImmediate(answer);
            },
            answerGrant: () => {},
            answerReport: () => {},
            cancel: () => {},
            close: async () => {},
          };
          listener.attached(link, []);
          begin();
          watch();
        },
      },
    );
    void runner.run();
  });
  watching = false;
  const { user, system } = process.cpuUsage(before);
  return { longestMs, longestCpuMs, cpuSeconds: (user + system) / 1e6, peakBytes };
}

await measure(1000); // compiles what is measured
const rows = [];
for (const bins of SHOWN) {
  // The least of three: whoever else runs on the machine makes a block longer, never shorter.
  const runs = [await measure(bins), await measure(bins), await measure(bins)];
  const longestMs = Math.min(...runs.map((run) => run.longestMs));
  const longestCpuMs = Math.min(...runs.map((run) => run.longestCpuMs));
  const [{ cpuSeconds }] = runs;
  const peakBytes = Math.max(...runs.map((run) => run.peakBytes));
  rows.push([
    bins.toLocaleString("en"),
    longestMs.toFixed(0),
    longestCpuMs.toFixed(0),
    cpuSeconds.toFixed(2),
    megabytes(peakBytes),
  ]);
}
const columns = [
  "bins of a histogram",
  "longest block of the event loop, ms",
  "the same, ms of the processor",
  "both rounds, s of the processor",
  "memory, at most",
];
const table = markdownTable(columns, rows);
console.log(`${machineLine()}\n\n${table}`);
if (process.argv.includes("--record")) replaceRegion("docs/performance.md", "fold", `${machineLine()}\n\n${table}`);
process.exit(0);
