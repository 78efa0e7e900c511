/** Threads that end in the middle of a merge: another takes their place, and what they had half written is written whole. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cli, type StorageFault } from "../support/child-process.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { hashesOf, MODELS, run, slicesDone } from "./cli-process.ts";
import { STACKED_SIZES, stackedRecipe } from "./stacked-recipe.ts";

const STAGED = "stage/.*safetensors$";
const options = ["--models-root", MODELS, "--threads", "2", ...STACKED_SIZES, "--json"];

const folder = mkdtempSync(join(tmpdir(), "deltaworks-threads-"));
const recipe = join(folder, "recipe.yml");
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let expected: Record<string, string>;

beforeAll(async () => {
  writeFileSync(recipe, stackedRecipe("merge_method: linear"));
  const whole = await run(["merge", recipe, join(folder, "whole"), ...options]);
  expect(whole.code, whole.stderr).toBe(0);
  expected = hashesOf(join(folder, "whole"));
});

/** One thread, in the middle of the slice that it writes as its tenth. */
function once(): StorageFault {
  const file = join(temporaryFolder(), "armed");
  writeFileSync(file, "");
  return { call: "write", path: STAGED, thread: "worker", from: 10, while: file, once: true, do: "end-thread" };
}

const warningsOf = ({ events }: Cli) => events.flatMap(({ event, message }) => (event === "warning" ? [message] : []));

test("a merge goes on with another thread, says so, and has the bytes of one in which none ended", async () => {
  const fault = once();
  const out = join(temporaryFolder(), "out");
  const merge = Cli.start(["merge", recipe, out, ...options], { faults: [fault] });
  expect((await merge.ended).code, merge.stderr).toBe(0);
  expect(existsSync(fault.while!)).toBe(false);
  expect(warningsOf(merge)).toEqual([
    expect.stringMatching(/^a thread was replaced, .*: thread-[12] ended with code 7 while it worked on s\d+$/),
  ]);
  expect(hashesOf(out)).toEqual(expected);
});

test("so do all merges of a sweep that went through the same thread", async () => {
  const sweep = join(temporaryFolder(), "sweep.yml");
  writeFileSync(join(folder, "weighed.yml"), stackedRecipe("merge_method: linear").replaceAll("0.5", `\${weight}`));
  writeFileSync(sweep, `recipe: ${join(folder, "weighed.yml")}\ngrid: {weight: [0.5, 0.6, 0.7]}\n`);
  const [alone, runs] = [join(temporaryFolder(), "alone"), join(temporaryFolder(), "runs")];
  const whole = await run(["sweep", sweep, alone, ...options]);
  expect(whole.code, whole.stderr).toBe(0);
  const fault = once();
  const swept = Cli.start(["sweep", sweep, runs, ...options], { faults: [fault] });
  expect((await swept.ended).code, swept.stderr).toBe(0);
  expect(existsSync(fault.while!)).toBe(false);
  expect(warningsOf(swept)).toHaveLength(1);
  for (const weight of ["0.5", "0.6", "0.7"]) {
    expect(hashesOf(join(runs, `weight=${weight}`))).toEqual(hashesOf(join(alone, `weight=${weight}`)));
  }
});

test("a slice that ends every thread ends the merge, which names it; what is finished is kept", async () => {
  const out = join(temporaryFolder(), "out");
  const fault: StorageFault = { call: "write", path: STAGED, thread: "worker", byte: 250_000, do: "end-thread" };
  const merge = Cli.start(["merge", recipe, out, ...options], { faults: [fault] });
  expect((await merge.ended).code, merge.stderr).toBe(1);
  const error = merge.events.find(({ event }) => event === "error");
  expect(error?.code, merge.stderr).toBe("worker/thread-ended");
  expect(error?.message).toMatch(/^thread-[12] ended with code 7 while it worked on s\d+/);
  expect(warningsOf(merge).length).toBeGreaterThanOrEqual(3);
  expect(slicesDone(out).size).toBeGreaterThan(0);
  const again = await run(["merge", recipe, out, ...options]);
  expect(again.code, again.stderr).toBe(0);
  expect(hashesOf(out)).toEqual(expected);
});
