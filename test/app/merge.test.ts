/** A merge and a sweep as functions: what the commands start, and what a service would. */
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import type {
  MergeEnd,
  MergePorts,
  PlannedMerge,
  runMerge as RunMerge,
  runSweep as RunSweep,
} from "../../app/index.ts";
import { defaultsOf } from "../../options/index.ts";
import { hashesOf, MODELS } from "../e2e/cli-process.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

// As built: the threads are files of the build.
const { runMerge, runSweep } = (await import(new URL("../../dist/app/index.js", import.meta.url).href)) as {
  readonly runMerge: typeof RunMerge;
  readonly runSweep: typeof RunSweep;
};

const RECIPE = `merge_method: ties
base_model: tiny-base
models:
  - {model: tiny-python, parameters: {weight: 0.5, density: 0.5}}
  - {model: tiny-prose, parameters: {weight: 0.5, density: 0.5}}
dtype: bfloat16
`;
const more = { modelsRoot: MODELS, cutEmbeddings: true, threads: 1 };
let folder: string;

beforeEach(() => {
  folder = temporaryFolder();
  writeFileSync(join(folder, "r.yml"), RECIPE);
});

/** Keeps what a merge tells. */
class Told {
  readonly planned: string[] = [];
  readonly begun: string[] = [];
  readonly ends: MergeEnd[] = [];
  stop: (() => void) | undefined;
  readonly ports: MergePorts = {
    planned: ({ digest }, out) => {
      this.planned.push(`${digest} ${out}`);
      const began = ({ state }: { readonly state: string }) => void this.begun.push(state);
      return {
        began,
        progress: ({ slicesDone }) => this.#progressed(slicesDone),
        warning: () => {},
        counted: () => {},
      };
    },
    ended: (end) => void this.ends.push(end),
    onStop: (stop) => {
      this.stop = stop;
    },
  };
  readonly #stopsEarly: boolean;

  constructor(stopsEarly = false) {
    this.#stopsEarly = stopsEarly;
  }

  #progressed(slicesDone: number): void {
    if (!this.#stopsEarly || slicesDone === 0) return;
    // Stopping is progress, of which it is told at once.
    const { stop } = this;
    this.stop = undefined;
    stop?.();
  }
}

function merge(told: Told, changes: object = {}) {
  const settings = { ...defaultsOf("merge"), ...more, recipe: join(folder, "r.yml"), out: join(folder, "out") };
  return runMerge({ ...settings, ...changes }, told.ports);
}

test("a merge is run in this process, told of, and found done when it is run again", async () => {
  const told = new Told();
  const end = await merge(told);
  expect(end).toMatchObject({
    outcome: "done",
    out: join(folder, "out"),
    digest: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
  expect(end.last).toMatchObject({ bytesWritten: expect.any(Number) });
  expect(told.planned).toEqual([`${end.digest} ${end.out}`]);
  expect([told.begun, told.ends]).toEqual([["fresh"], [end]]);
  const made = hashesOf(join(folder, "out"));
  const again = new Told();
  expect(await merge(again)).toMatchObject({ outcome: "done", digest: end.digest, last: undefined });
  expect(again.begun).toEqual(["complete"]);
  expect(hashesOf(join(folder, "out"))).toEqual(made);
});

test("one that is stopped goes on, with the bytes of one that was not", async () => {
  expect(await merge(new Told(true), { sliceBytes: 65_536 })).toMatchObject({ outcome: "stopped" });
  const on = new Told();
  expect(await merge(on, { sliceBytes: 65_536 })).toMatchObject({ outcome: "done" });
  expect(on.begun).toEqual(["resumed"]);
  await merge(new Told(), { sliceBytes: 65_536, out: join(folder, "whole") });
  expect(hashesOf(join(folder, "out"))).toEqual(hashesOf(join(folder, "whole")));
});

describe("a merge whose journal lies in a folder of its own", () => {
  const small = { sliceBytes: 65_536 };
  const work = () => readdirSync(join(folder, "out/.deltaworks"));

  test("goes on where it was stopped, and has the same bytes; beside the output there is neither journal nor log", async () => {
    const state = join(folder, "state/deep");
    expect(await merge(new Told(true), { ...small, state })).toMatchObject({ outcome: "stopped" });
    expect(work()).toContain("stage");
    const on = new Told();
    expect(await merge(on, { ...small, state })).toMatchObject({ outcome: "done" });
    expect(on.begun).toEqual(["resumed"]);
    const [own = "", ...others] = readdirSync(state);
    expect([own, others]).toEqual([expect.stringMatching(/^out-[0-9a-f]{12}$/), []]);
    expect(readdirSync(join(state, own)).toSorted()).toEqual(["job.log", "journal"]);
    expect(work().filter((name) => /journal|log|stage/.test(name))).toEqual([]);
    const again = new Told();
    expect(await merge(again, { ...small, state })).toMatchObject({ outcome: "done" });
    expect(again.begun).toEqual(["complete"]);
    await merge(new Told(), { ...small, out: join(folder, "whole") });
    expect(hashesOf(join(folder, "out"))).toEqual(hashesOf(join(folder, "whole")));
  });

  test("may share that folder with others", async () => {
    const state = join(folder, "state");
    for (const out of ["a/out", "b/out"])
      expect(await merge(new Told(), { state, out: join(folder, out) })).toMatchObject({ outcome: "done" });
    expect(readdirSync(state)).toHaveLength(2);
  });

  test.each([
    ["and not without that folder", (state: string) => [{ state }, {}]],
    ["and not with another one", (state: string) => [{ state }, { state: `${state}-2` }]],
    ["and one that was begun without not with one", (state: string) => [{}, { state }]],
  ])("goes on with it alone, %s; --restart discards what was computed", async (_, settings) => {
    const [first = {}, other = {}] = settings(join(folder, "state"));
    expect(await merge(new Told(true), { ...small, ...first })).toMatchObject({ outcome: "stopped" });
    await expect(merge(new Told(), { ...small, ...other })).rejects.toMatchObject({ code: "coordinator/other-job" });
    expect(work()).toContain("stage");
    const on = new Told();
    expect(await merge(on, { ...small, ...other, restart: true })).toMatchObject({ outcome: "done" });
    expect(on.begun).toEqual(["fresh"]);
    const again = new Told();
    expect(await merge(again, { ...small, ...other })).toMatchObject({ outcome: "done" });
    expect(again.begun).toEqual(["complete"]);
  });
});

test.each<[object, string]>([
  [{ seal: "checksums" }, "options/value"],
  [{ seal: "sums" }, "options/value"],
  [{ sliceBytes: 0.5 }, "options/value"],
  [{ seed: "many" }, "options/value"],
  [{ engine: "cuda" }, "engine/unavailable"],
  [{ keep: ["nobody"] }, "options/value"],
  [{ modelsRoot: "/nowhere" }, "checkpoint/not-in-cache"],
])("%j is refused before anything is written", async (changes, code) => {
  const told = new Told();
  await expect(merge(told, changes)).rejects.toMatchObject({ code });
  expect([told.planned, existsSync(join(folder, "out"))]).toEqual([[], false]);
});

test("documents that are kept are outputs of their own, and come first", async () => {
  writeFileSync(join(folder, "r.yml"), `name: half\n${RECIPE}---\n${RECIPE.replace("tiny-prose", "half")}`);
  const told = new Told();
  await merge(told, { keep: ["half"] });
  expect(told.ends.map(({ out, outcome }) => [out, outcome])).toEqual([
    [join(folder, "out-half"), "done"],
    [join(folder, "out"), "done"],
  ]);
});

test("a sweep is run in this process, each merge with the bytes of the merge alone", async () => {
  writeFileSync(join(folder, "ties.yml"), RECIPE.replace("weight: 0.5", `weight: ${"$"}{weight}`));
  writeFileSync(join(folder, "sweep.yml"), "recipe: ties.yml\ngrid: {weight: [0.5, 1]}\n");
  const settings = { ...defaultsOf("sweep"), ...more, sweep: join(folder, "sweep.yml"), out: join(folder, "runs") };
  let planned: readonly PlannedMerge[] = [];
  const swept = await runSweep(settings, {
    warned: () => {},
    warning: () => {},
    planned: (merges) => (planned = merges),
    onStop: () => {},
  });
  expect(planned.map(({ point }) => point.name)).toEqual(["weight=0.5", "weight=1"]);
  expect(swept).toMatchObject({ merges: 2, made: [{ outcome: "done" }, { outcome: "done" }] });
  expect(swept.made.map(({ planned: one }) => one)).toEqual(planned);
  await merge(new Told());
  expect(hashesOf(join(folder, "runs", "weight=0.5"))).toEqual(hashesOf(join(folder, "out")));
});

test.each([
  ["hf://owner/name", {}],
  ["s3://bucket/runs?signature", {}],
  ["s3://bucket/runs", { sliceBytes: 2 ** 20 }],
  ["runs", { seal: "checksums" }],
])("a sweep into %s, with %j, is refused before anything is asked of it", async (out, changes) => {
  writeFileSync(join(folder, "ties.yml"), RECIPE);
  writeFileSync(join(folder, "sweep.yml"), "recipe: ties.yml\ngrid: {weight: [0.5, 1]}\n");
  const settings = { ...defaultsOf("sweep"), ...more, sweep: join(folder, "sweep.yml"), out, ...changes };
  const ports = { warned: () => {}, warning: () => {}, planned: () => {}, onStop: () => {} };
  await expect(runSweep(settings, ports)).rejects.toMatchObject({ code: "options/value" });
});
