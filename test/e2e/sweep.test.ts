import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { errorOf, hashesOf, MODELS, run } from "./cli-process.ts";

const recipe = (density: string, weight: string) => `merge_method: ties
dtype: bfloat16
base_model: tiny-base
models:
  - model: tiny-python
    parameters: {weight: ${weight}, density: ${density}}
  - model: tiny-prose
    parameters: {weight: 0.5, density: ${density}}
`;
const placeholder = (name: string) => `\${${name}}`;

/** A sweep of four merges, the recipe in a file of its own. */
function writeSweep(folder: string, grid = "grid: {density: [0.3, 0.6], weight: [0.5, 1]}"): string {
  writeFileSync(join(folder, "ties.yml"), recipe(placeholder("density"), placeholder("weight")));
  const path = join(folder, "sweep.yml");
  writeFileSync(path, `recipe: ties.yml\n${grid}\n`);
  return path;
}

const options = ["--models-root", MODELS, "--cut-embeddings", "--json", "--threads", "2", "--slice-size", "200000"];

test("every merge of a sweep has the bytes of the merge alone, and inputs are read once for all of them", async () => {
  const folder = temporaryFolder();
  const swept = await run(["sweep", writeSweep(folder), join(folder, "runs"), ...options]);
  expect(swept.code, swept.stderr).toBe(0);
  const whole = swept.events.find(({ event }) => event === "sweep");
  expect(whole).toMatchObject({ merges: 4, made: 4 });

  let alone = 0;
  for (const [density, weight] of [
    ["0.3", "0.5"],
    ["0.3", "1"],
    ["0.6", "0.5"],
    ["0.6", "1"],
  ] as const) {
    writeFileSync(join(folder, "one.yml"), recipe(density, weight));
    const out = join(folder, `one-${density}-${weight}`);
    const merged = await run(["merge", join(folder, "one.yml"), out, ...options]);
    alone = Number(merged.events.find(({ event }) => event === "done")?.bytesRead);
    expect(hashesOf(join(folder, "runs", `density=${density},weight=${weight}`))).toEqual(hashesOf(out));
  }
  // Four merges alone would read four times as much. Where merges fall out of step a range may be read again.
  expect(Number(whole?.bytesRead)).toBeGreaterThan(0);
  expect(Number(whole?.bytesRead)).toBeLessThanOrEqual(1.5 * alone);
});

test("a sweep that was cut short goes on, and computes nothing again", async () => {
  const folder = temporaryFolder();
  const sweep = writeSweep(folder);
  const out = join(folder, "runs");
  await run(["sweep", sweep, out, ...options]);
  const before = hashesOf(join(out, "density=0.6,weight=1"));
  rmSync(join(out, "density=0.6,weight=1"), { recursive: true });
  const again = await run(["sweep", sweep, out, ...options]);
  expect(again.code, again.stderr).toBe(0);
  expect(hashesOf(join(out, "density=0.6,weight=1"))).toEqual(before);
  const written = again.events
    .filter(({ event }) => event === "merge")
    .map(({ bytesWritten }) => Number(bytesWritten) > 0);
  expect(written).toEqual([false, false, false, true]);
});

test("one merge that cannot be made does not hold up the others", async () => {
  const folder = temporaryFolder();
  const out = join(folder, "runs");
  mkdirSync(join(out, "density=0.3,weight=1"), { recursive: true });
  writeFileSync(join(out, "density=0.3,weight=1", "thesis.txt"), "not to be lost");
  const swept = await run(["sweep", writeSweep(folder), out, ...options]);
  expect(swept.code).toBe(1);
  expect(errorOf(swept)?.message).toMatch(/^density=0.3,weight=1: /);
  const outcomes = swept.events.filter(({ event }) => event === "merge").map(({ outcome }) => outcome);
  expect(outcomes).toEqual(["done", "failed", "done", "done"]);
  expect(readFileSync(join(out, "density=0.3,weight=1", "thesis.txt"), "utf8")).toBe("not to be lost");
});

test("a value that no recipe asks for is told before anything is begun", async () => {
  const folder = temporaryFolder();
  const swept = await run([
    "sweep",
    writeSweep(folder, "grid: {density: [0.3], weight: [0.5], beta: [1]}"),
    ...options,
  ]);
  expect(swept.code).toBe(2);
  expect(errorOf(swept)?.message).toMatch(/sweep\.yml:1:9: the sweep gives "beta", and the recipe has no/);
});
