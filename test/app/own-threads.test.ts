/** Threads of this process that hang in the middle of a write, in a merge and where several merges go in step. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import type { OwnThreads as OwnThreadsType, workerThreads as WorkerThreads } from "../../app/own-threads.ts";
import type { Failure } from "../../merge/work/index.ts";
import type { WorkerBudget } from "../../runtime/index.ts";
import { MODELS } from "../e2e/cli-process.ts";
import { stackedRecipe } from "../e2e/stacked-recipe.ts";
import { fileHashes, runMerge } from "../support/run-merge.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

// As built: threads are files of the build.
const { OwnThreads, workerThreads } = (await import(
  new URL("../../dist/app/own-threads.js", import.meta.url).href
)) as {
  readonly OwnThreads: typeof OwnThreadsType;
  readonly workerThreads: typeof WorkerThreads;
};

const settings = { models: MODELS, sliceBytes: 1024, shardBytes: 300_000 };
const BUDGET = {
  rangeElements: 2 ** 24,
  spareBytes: 2 ** 22,
  heldBytes: 2 ** 22,
  pieceElements: 32_768,
  openFilesMax: 8,
};
const ENGINE = { name: "wasm", maximumBytes: 2 ** 30, arenas: 1 } as const;
const recipe = stackedRecipe("merge_method: linear");
/** Far longer than a slice of these takes, whatever else the machine does. */
const times = { lookMs: 100, hungAfterMs: 4000 };

/** One thread of those that start from now on hangs in the write of the slice that it writes as its tenth. */
function hangOnce(): void {
  const file = join(temporaryFolder(), "armed");
  writeFileSync(file, "");
  const fault = { call: "write", path: "stage/.*safetensors$", from: 10, while: file, once: true, do: "hang" };
  vi.stubEnv("DELTAWORKS_TEST_FAULTS", JSON.stringify([fault]));
  onTestFinished(() => void vi.unstubAllEnvs());
}

function budgetOf({ openFilesMax = 8, ...budget }: WorkerBudget): WorkerBudget {
  return { openFilesMax, ...budget };
}

test("a merge goes on with another thread, and has the bytes of one in which none hung", {
  timeout: 120_000,
}, async () => {
  const [whole, out] = [join(temporaryFolder(), "whole"), join(temporaryFolder(), "out")];
  await runMerge(recipe, whole, settings);
  hangOnce();
  const replaced: Failure[] = [];
  const { outcome } = await runMerge(recipe, out, {
    ...settings,
    source: (job, budget, engine) =>
      workerThreads({
        ...{ engines: [engine, engine], job, budget: budgetOf(budget), ...times },
        entry: new URL("faulty-thread.mjs", import.meta.url),
        replaced: (failure) => replaced.push(failure),
      }),
  });
  expect(outcome).toEqual({ outcome: "done" });
  expect(replaced).toEqual([expect.objectContaining({ code: "worker/hung" })]);
  expect(fileHashes(out)).toEqual(fileHashes(whole));
});

test("so do merges that go in step through the same threads", { timeout: 120_000 }, async () => {
  const recipes = [recipe, recipe.replaceAll("0.5", "0.7")];
  const alone = recipes.map(() => join(temporaryFolder(), "alone"));
  const outs = recipes.map(() => join(temporaryFolder(), "out"));
  for (const [k, text] of recipes.entries()) await runMerge(text, alone[k]!, settings);
  hangOnce();
  const replaced: Failure[] = [];
  const own = await OwnThreads.start({
    ...{ engines: [ENGINE, ENGINE], budget: BUDGET, ...times, inStep: true },
    entry: new URL("faulty-lockstep-thread.mjs", import.meta.url),
    replaced: (failure) => replaced.push(failure),
  });
  const runs = await Promise.all(
    recipes.map((text, k) => runMerge(text, outs[k]!, { ...settings, source: (job) => own.workersFor(`${k}`, job) })),
  );
  await own.end();
  expect(runs.map(({ outcome }) => outcome.outcome)).toEqual(["done", "done"]);
  expect(replaced).toEqual([expect.objectContaining({ code: "worker/hung" })]);
  expect(own.bytesRead).toBeGreaterThan(0);
  expect(outs.map(fileHashes)).toEqual(alone.map(fileHashes));
});
