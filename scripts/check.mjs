// Runs every check in turn and counts: each step is one, each test is one. `--all`: also what needs root, network namespaces or large tools.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { linuxOnly } from "./linux-only.mjs";
import { otherNodes } from "./node-versions.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const binary = (name, path) => join(dirname(require.resolve(`${name}/package.json`)), path);
const { values } = parseArgs({ options: { all: { type: "boolean", default: false } } });
if (values.all) linuxOnly("check:all has tests in namespaces of the kernel, and looks at processes in /proc");

/** What the names of test files end in that a newcomer need not run: they need root or large tools, or are clusters of processes for minutes. */
const SYSTEM = ".system.test.ts";
/** Bits, goldens and whole merges are looked at with every major version of Node. */
const OF_EACH_NODE = ["test/merge/engines", "test/golden", "test/e2e"];
const LONGEST_MESSAGE = 3000;
const SEEDS = 1000;
const SEEDS_OF_ALL = 10_000;
/** A minute of two processors. */
const SEEDS_OF_BUCKETS = 2000;

let passed = 0;
let failed = 0;
let skipped = 0;
/** What failed, in the order in which it did: told once more at the end, where it is looked for. */
const failures = [];

/** Runs a step; says whether it ended well. */
function runs(script, ...args) {
  return runsWith(process.execPath, script, ...args);
}

function runsWith(node, script, ...args) {
  const { status } = spawnSync(node, [script, ...args], { cwd: root, stdio: "inherit" });
  return status === 0;
}

function step(name, ok) {
  console.log(`${ok ? "ok    " : "FAILED"} ${name}`);
  if (ok) passed++;
  else {
    failed++;
    failures.push(name);
  }
  return ok;
}

/** Runs test files, and counts their tests. */
function tests(name, files, node = process.execPath) {
  mkdirSync(join(root, "build"), { recursive: true });
  const results = join(root, "build", `test-results-${name}.json`);
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${results}`];
  const ok = runsWith(node, binary("vitest", "vitest.mjs"), "run", ...reporters, ...files);
  const counts = testCounts(results);
  passed += counts.passed;
  failed += counts.failed;
  skipped += counts.skipped;
  failures.push(...counts.failures);
  if (!ok && counts.failed === 0) step(`${name} tests ran to their end`, false);
  if (counts.passed === 0) step(`there are ${name} tests`, false);
}

function testCounts(path) {
  try {
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(
      readFileSync(path, "utf8"),
    );
    return {
      passed: numPassedTests,
      failed: numFailedTests,
      skipped: numPendingTests + numTodoTests,
      failures: testResults.flatMap(failuresOfFile),
    };
  } catch (cause) {
    return { passed: 0, failed: 1, skipped: 0, failures: [`${path}: ${cause.message}`] };
  }
}

function failuresOfFile({ name, message, assertionResults }) {
  const file = relative(root, name);
  const ofTests = assertionResults
    .filter(({ status }) => status !== "passed")
    .map(
      ({ fullName, failureMessages }) =>
        `${file}: ${fullName}\n${failureMessages.join("\n").slice(0, LONGEST_MESSAGE)}`,
    );
  return message === "" ? ofTests : [...ofTests, `${file}: ${message.slice(0, LONGEST_MESSAGE)}`];
}

step("lint and format", runs(binary("@biomejs/biome", "bin/biome"), "check", "."));
const buf = binary("@bufbuild/buf", "bin/buf");
step("the wire contract is in order", runs(buf, "lint"));
step("the wire contract breaks nobody", runs(buf, "breaking", "--against", "proto/baseline.binpb"));
if (step("types, kernels and build", runs("scripts/build.mjs"))) {
  step("types of the tests", runs(binary("typescript", "bin/tsc"), "-p", "test"));
  tests("plain", ["--exclude", `**/*${SYSTEM}`]);
  if (!values.all) step("1,000 seeds of simulated clusters", runs("scripts/simulate.mjs", "--seeds", String(SEEDS)));
  step("the packed package merges in an empty directory", runs("scripts/check-package.mjs"));
  if (values.all) {
    step("10,000 seeds of simulated clusters", runs("scripts/simulate.mjs", "--seeds", String(SEEDS_OF_ALL)));
    step(
      "2,000 seeds of simulated buckets",
      runs("scripts/simulate.mjs", "--buckets", "--seeds", String(SEEDS_OF_BUCKETS)),
    );
    if (step("nats-servers to test against", runs("scripts/nats-servers.mjs"))) tests("system", [SYSTEM]);
    for (const { version, path } of otherNodes()) tests(`node-${version}`, OF_EACH_NODE, path);
  }
}
for (const failure of failures) console.log(`failed: ${failure}`);
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed + skipped === 0 ? 0 : 1);
