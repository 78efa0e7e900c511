import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runMerge } from "../support/run-merge.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { run } from "./cli-process.ts";

const recipe = (model: string) => `merge_method: passthrough\nmodels: [{model: ${model}}]\n`;

test("an output is not written over a model that it is made of, also not with --overwrite or through a link", async () => {
  const models = temporaryFolder();
  cpSync("examples/models/tiny-prose", join(models, "a"), { recursive: true });
  const out = join(models, "merged");
  expect((await runMerge(recipe("a"), out, { models })).outcome.outcome).toBe("done");
  const before = readFileSync(join(out, "model.safetensors"));
  symlinkSync(out, join(models, "link"));
  const again = `${recipe("merged")}dtype: float32\n`;
  for (const target of [out, join(models, "link")]) {
    for (const settings of [{}, { overwrite: true }, { overwrite: true, restart: true }]) {
      await expect(runMerge(again, target, { models, ...settings })).rejects.toMatchObject({
        code: "publish/output-is-input",
        message: expect.stringMatching(/^merged: .*model\.safetensors lies in the output directory/),
      });
    }
  }
  expect(readFileSync(join(out, "model.safetensors")).equals(before)).toBe(true);
  expect((await runMerge(again, join(models, "other"), { models })).outcome.outcome).toBe("done");
});

test("a disk with too little space left is named before work, with what is needed and what is there", async () => {
  const models = temporaryFolder();
  cpSync("examples/models/tiny-prose", join(models, "a"), { recursive: true });
  const out = join(models, "out");
  const merge = (freeBytes: number | undefined, more = {}) =>
    runMerge(recipe("a"), out, { models, sliceBytes: 2 ** 18, freeBytes: async () => freeBytes, ...more });
  await expect(merge(1_000_000)).rejects.toMatchObject({
    code: "coordinator/no-space",
    message: expect.stringMatching(/has 4\.\d MiB to write, and the disk of .*out has 976\.6 KiB left/),
  });
  // What was begun goes on, and is warned of.
  let stop: (() => void) | undefined;
  const onStop = (given: () => void) => {
    stop = given;
  };
  const onProgress = ({ slicesDone }: { slicesDone: number }) => {
    const once = slicesDone > 0 ? stop : undefined;
    if (once !== undefined) stop = undefined;
    once?.();
  };
  expect((await merge(undefined, { onStop, onProgress })).outcome.outcome).not.toBe("done");
  const { outcome, warnings } = await merge(1_000_000);
  expect(outcome.outcome).toBe("done");
  expect(warnings).toEqual([expect.stringMatching(/to write, and the disk of .* has 976\.6 KiB left/)]);
});

test("a path with ~ that no shell has spelled out is refused with a hint, on the command line and in a recipe", async () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, "cwd"));
  writeFileSync(join(folder, "recipe.yml"), recipe('"~/models/a"'));
  for (const args of [
    ["plan", "recipe.yml", "--models-root=~/models"],
    ["merge", "recipe.yml", "~/out"],
    ["verify", "~"],
  ]) {
    const { code, stderr } = await run(args, folder);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/~.* is spelled out by the shell alone/)]);
  }
  const { code, stderr } = await run(["plan", "recipe.yml"], folder);
  expect([code, stderr]).toEqual([
    2,
    expect.stringMatching(/checkpoint\/not-found[\s\S]*hint {2}~ is spelled out by the shell alone.*\/models\/a/),
  ]);
});
