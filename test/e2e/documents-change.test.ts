import { cpSync, existsSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type MergeSettings, runMerge } from "../support/run-merge.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const recipe = `merge_method: linear
models:
  - {model: tiny-prose, parameters: {weight: 0.5}}
  - {model: tiny-json, parameters: {weight: 0.5}}
`;

function models(): string {
  const folder = temporaryFolder();
  for (const name of ["tiny-prose", "tiny-json"]) {
    cpSync("examples/models/tiny-prose", join(folder, name), { recursive: true });
    writeFileSync(join(folder, name, "README.md"), "---\nlicense: mit\n---\n");
    writeFileSync(join(folder, name, "LICENSE"), "do what you like");
  }
  return folder;
}

const append = (path: string) => writeFileSync(path, "\n", { flag: "a" });
/** Same size, other bytes, the old time: only the inode tells. */
const replace = (path: string) => {
  const aside = `${path}.new`;
  cpSync(path, aside);
  renameSync(aside, path);
};
const relink = (path: string) => {
  writeFileSync(`${path}.elsewhere`, "{}");
  rmSync(path);
  symlinkSync(`${path}.elsewhere`, path);
};
const touch = (path: string) => utimesSync(path, 1, 1);

const changes: [file: string, how: string, change: (path: string) => void][] = [
  ["tiny-prose/config.json", "grows", append],
  ["tiny-prose/config.json", "gives place to a link", relink],
  ["tiny-prose/config.json", "is removed", (path) => rmSync(path)],
  ["tiny-prose/tokenizer.json", "is replaced", replace],
  ["tiny-prose/generation_config.json", "is touched", touch],
  ["tiny-prose/LICENSE", "grows", append],
  ["tiny-json/config.json", "grows", append],
  ["tiny-json/README.md", "grows", append],
  ["tiny-json/tokenizer.json", "grows", append],
];

describe.each(changes)("%s %s", (file, _, change) => {
  const name = file.split("/")[1]!;

  test("in mid merge: the merge stops, names it and publishes nothing", async () => {
    const folder = models();
    const out = join(folder, "out");
    let isChanged = false;
    const onProgress = () => {
      if (!isChanged) change(join(folder, file));
      isChanged = true;
    };
    const { outcome } = await runMerge(recipe, out, { models: folder, sliceBytes: 2 ** 18, onProgress });
    expect(outcome).toMatchObject({
      outcome: "failed",
      cause: { code: "merge/input-changed", message: expect.stringContaining(name) },
    });
    expect(existsSync(join(out, "config.json"))).toBe(false);
  });

  test("before the merge goes on: it is refused, and named", async () => {
    const folder = models();
    const out = join(folder, "out");
    expect((await stopped(folder, out)).outcome.outcome).not.toBe("done");
    change(join(folder, file));
    const again = runMerge(recipe, out, { models: folder, sliceBytes: 2 ** 18 });
    // A config that is gone or another may make another plan, which is refused as such.
    await expect(again).rejects.toMatchObject({
      code: expect.stringMatching(/^(?:merge\/input-changed|coordinator\/other-job)$/),
    });
  });
});

test("a file of another model that is only carried along there may change", async () => {
  const folder = models();
  const onProgress = () => append(join(folder, "tiny-json", "LICENSE"));
  const { outcome } = await runMerge(recipe, join(folder, "out"), { models: folder, sliceBytes: 2 ** 18, onProgress });
  expect(outcome.outcome).toBe("done");
});

test("a file that is new since the merge began is named where it goes on", async () => {
  const folder = models();
  const out = join(folder, "out");
  await stopped(folder, out);
  writeFileSync(join(folder, "tiny-prose", "NOTICE"), "new");
  const again = runMerge(recipe, out, { models: folder, sliceBytes: 2 ** 18 });
  await expect(again).rejects.toMatchObject({
    code: "merge/input-changed",
    message: expect.stringContaining("NOTICE"),
  });
});

test("a file that is new since a merge was done is no part of it, and one that changed is named", async () => {
  const folder = models();
  const out = join(folder, "out");
  const merge = async () => (await runMerge(recipe, out, { models: folder })).begun.state;
  expect(await merge()).toBe("fresh");
  writeFileSync(join(folder, "tiny-prose", "NOTICE"), "new");
  expect(await merge()).toBe("complete");
  append(join(folder, "tiny-prose", "LICENSE"));
  await expect(merge()).rejects.toMatchObject({
    code: "merge/input-changed",
    message: expect.stringContaining("LICENSE"),
  });
});

test("a merge that was stopped goes on where nothing changed", async () => {
  const folder = models();
  const out = join(folder, "out");
  await stopped(folder, out);
  const { outcome, begun } = await runMerge(recipe, out, { models: folder, sliceBytes: 2 ** 18 });
  expect([outcome.outcome, begun.state]).toEqual(["done", "resumed"]);
});

/** A merge that was stopped with some of its slices done. */
function stopped(folder: string, out: string) {
  let stop: (() => void) | undefined;
  const settings: Partial<MergeSettings> = {
    onStop: (given) => {
      stop = given;
    },
    onProgress: ({ slicesDone }) => {
      const once = slicesDone > 0 ? stop : undefined;
      if (once !== undefined) stop = undefined;
      once?.();
    },
  };
  return runMerge(recipe, out, { models: folder, sliceBytes: 2 ** 18, ...settings });
}
