// What it costs to go on with a job of many slices: npm run bench:resume [-- SLICES] [-- --record] (into docs/performance.md).
// From the opening of its journal until its first survey could be lent; a third of the slices belongs to cut tensors.
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileHome, JobRecords, runMergeJob } from "../dist/coordinator/job/index.js";
import { openFileJournal, takeOver } from "../dist/coordinator/journal/index.js";
import { FileOutput } from "../dist/output/index.js";
import { FileStore } from "../dist/storage/index.js";
import { machineLine, markdownTable, replaceRegion } from "./report.mjs";

const given = process.argv.slice(2).find((word) => /^[0-9]+$/.test(word));
const slices = Number(given ?? 100_000);
const PARTS = 30;

function madeUpPlan() {
  const tasks = [];
  const made = [];
  while (made.length < slices) {
    const partCount = made.length < slices / 3 ? PARTS : 1;
    const task = tasks.length;
    tasks.push({
      name: `t${task}`,
      kind: "merge",
      method: "model_stock",
      dtype: "BF16",
      shape: [partCount * 256, 65_536],
      parameters: { filter_wise: false },
      models: [],
    });
    for (let part = 0; part < partCount; part++) {
      const elementCount = 2 ** 24;
      made.push({
        id: `s${String(made.length).padStart(6, "0")}`,
        shard: 0,
        offsetBytes: 0,
        sizeBytes: 2 ** 25,
        parts: [{ task, part, partCount, firstElement: part * elementCount, elementCount }],
      });
    }
  }
  const shards = [{ name: "model.safetensors", header: "{}", dataOffsetBytes: 16, sizeBytes: 16, tasks: [] }];
  const options = { sliceBytes: 2 ** 25, shardBytes: 2 ** 40, allowNonfinite: false };
  return {
    version: 2,
    recipe: {},
    seed: "0",
    options,
    inputs: [],
    definingInput: 0,
    tasks,
    shards,
    slices: made,
    notes: [],
  };
}

const plan = madeUpPlan();
const store = new FileStore({ blocking: true });
const folder = mkdtempSync(join(tmpdir(), "deltaworks-bench-resume-"));
const work = join(folder, ".deltaworks");
const cpuMs = (since) => {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1000;
};
try {
  mkdirSync(join(work, "stage"), { recursive: true });
  writeFileSync(join(work, "stage", "model.safetensors"), "");
  truncateSync(join(work, "stage", "model.safetensors"), 16);
  const journal = await openFileJournal(store, join(work, "journal"));
  const records = new JobRecords(await takeOver(journal, {}));
  await records.history();
  await records.begun(plan, "digest", {}, [], []);
  const sha256 = "cd".repeat(32);
  // The last slice of each tensor is open, so that all cut tensors are surveyed anew.
  const done = plan.slices.filter(({ parts: [part] }) => part.part < part.partCount - 1 || part.partCount === 1);
  for (let at = 0; at < done.length; at += 1024)
    await Promise.all(done.slice(at, at + 1024).map(({ id }) => records.sliceDone(id, 1, sha256, "w")));
  await journal.close();

  let stop = () => {};
  let kept = 0;
  let beganMs = 0;
  let readyMs = 0;
  const before = process.cpuUsage();
  const outcome = await runMergeJob({
    store,
    output: new FileOutput(store, folder),
    home: fileHome(store, work),
    plan,
    digest: "digest",
    inputs: [],
    seed: { low: 0, high: 0 },
    overwrite: false,
    restart: false,
    surveyElements: 2 ** 26,
    toolVersion: "bench",
    workers: () => async () => {
      readyMs = cpuMs(before);
      stop();
    },
    clock: { nowMs: () => performance.now() },
    observer: {
      began: ({ slicesDone }) => {
        kept = slicesDone;
        beganMs = cpuMs(before);
      },
      progress: () => {},
      warning: () => {},
      counted: () => {},
    },
    onStop: (act) => {
      stop = act;
    },
  });
  if (outcome.outcome !== "stopped") throw new Error(`the job ${outcome.outcome}: ${outcome.cause?.message}`);
  const table = markdownTable(
    ["slices", "in the journal", "journal read, s of the processor", "work begun, s of the processor"],
    [
      [slices, kept, beganMs / 1000, readyMs / 1000].map((value, k) =>
        k < 2 ? value.toLocaleString("en") : value.toFixed(2),
      ),
    ],
  );
  console.log(`${machineLine()}\n\n${table}`);
  if (process.argv.includes("--record")) replaceRegion("docs/performance.md", "resume", `${machineLine()}\n\n${table}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
