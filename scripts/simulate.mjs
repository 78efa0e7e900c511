// Runs the simulator: npm run test:sim -- [--buckets] [--seeds N] [--first N] [--threads N] | [--buckets] --seed N | --find-bugs
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const compiled = join(root, "build", "simulation", "test", "simulation");
const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "10000" },
    first: { type: "string", default: "1" },
    threads: { type: "string", default: String(availableParallelism()) },
    seed: { type: "string" },
    buckets: { type: "boolean", default: false },
    bug: { type: "string" },
    "find-bugs": { type: "boolean", default: false },
  },
});

const compiler = join(dirname(require.resolve("typescript/package.json")), "bin", "tsc");
execFileSync(process.execPath, [compiler, "-p", "test/simulation"], { cwd: root, stdio: "inherit" });

// Not process.exit(): what a pipe has not taken yet would be cut off.
process.exitCode = await run();

function run() {
  if (values.seed !== undefined) return replay(Number(values.seed), values.bug);
  if (values["find-bugs"]) return findBugs();
  return runMany(Number(values.first), Number(values.seeds), Number(values.threads));
}

/** One seed, all of what happened on stdout. */
async function replay(seed, bug) {
  const finding = await (values.buckets ? replayOfBuckets : replayOfClusters)(seed, bug);
  console.log(finding.trace.join("\n"));
  console.log(
    `seed ${seed}: ${finding.outcome ?? finding.ends.join(", ")}, ${finding.turns} turns, ${finding.endedMs.toFixed(0)} simulated ms`,
  );
  for (const violation of finding.violations) console.log(`VIOLATION  ${violation}`);
  return finding.violations.length === 0 ? 0 : 1;
}

async function replayOfClusters(seed, bug) {
  const { simulate } = await import(join(compiled, "cluster.js"));
  const { provokedBy } = await import(join(compiled, "bugs.js"));
  return simulate(seed, { trace: true, bug, provoked: provokedBy[bug] });
}

async function replayOfBuckets(seed, bug) {
  const { simulateBucket } = await import(join(compiled, "bucket-story.js"));
  return simulateBucket(seed, { trace: true, bug });
}

/** The first seed that finds each planted fault, written where the tests look for it. */
async function findBugs() {
  const { simulate } = await import(join(compiled, "cluster.js"));
  const { bugs, provokedBy, SEEDS_MAX } = await import(join(compiled, "bugs.js"));
  const found = {};
  for (const bug of bugs) {
    for (let seed = 1; seed <= SEEDS_MAX && found[bug] === undefined; seed++) {
      const { violations } = await simulate(seed, { bug, provoked: provokedBy[bug] });
      if (violations.length > 0) found[bug] = { seed, violation: violations[0] };
    }
    console.log(
      `${bug.padEnd(24)} ${found[bug] === undefined ? "NOT FOUND" : `seed ${found[bug].seed}: ${found[bug].violation}`}`,
    );
  }
  writeFileSync(join(root, "test", "simulation", "found-seeds.json"), `${JSON.stringify(found, null, 2)}\n`);
  return Object.keys(found).length === bugs.length ? 0 : 1;
}

async function runMany(first, count, threads) {
  const coverage = values.buckets
    ? new (await import(join(compiled, "bucket-coverage.js"))).BucketCoverage()
    : new (await import(join(compiled, "coverage.js"))).Coverage();
  const begun = performance.now();
  const violations = [];
  const done = new Array(threads).fill(0);
  let told = begun;
  const crashes = [];
  await Promise.all(
    done.map(
      (_, offset) =>
        new Promise((resolve) => {
          const workerData = {
            world: values.buckets ? "buckets" : "clusters",
            first,
            count,
            offset,
            step: threads,
            violationsMax: 10,
          };
          // A seed's world is garbage when it has ended: most of it dies young where there is room for it.
          const resourceLimits = { maxYoungGenerationSizeMb: 128 };
          const worker = new Worker(join(compiled, "seeds-worker.js"), { workerData, resourceLimits });
          worker.on("message", (message) => {
            if (message.type === "violation") {
              violations.push(message);
              console.log(`seed ${message.seed}: ${message.violation}`);
            } else if (message.type === "ended") coverage.addData(message.coverage);
            else {
              done[offset] = message.done;
              if (performance.now() - told < 10_000) return;
              told = performance.now();
              console.log(
                `${done.reduce((a, b) => a + b, 0)} of ${count} seeds, ${((told - begun) / 1000).toFixed(0)} s`,
              );
            }
          });
          worker.on("error", (error) => {
            crashes.push(error);
            console.log(error.stack);
          });
          worker.on("exit", resolve);
        }),
    ),
  );
  console.log(coverage.table());
  const missing = coverage.missing();
  if (missing.length > 0) console.log(`NOT EXERCISED: ${missing.join(", ")}`);
  const seconds = ((performance.now() - begun) / 1000).toFixed(0);
  console.log(`${count} seeds in ${seconds} s: ${violations.length} violations`);
  if (violations.length > 0)
    console.log(
      `replay one with: npm run test:sim --${values.buckets ? " --buckets" : ""} --seed ${violations[0].seed}`,
    );
  return violations.length + missing.length + crashes.length === 0 ? 0 : 1;
}
