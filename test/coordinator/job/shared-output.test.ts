/** Jobs whose journals do not lie in their outputs, as with NATS, and whoever else wants the same output. */
import { beforeAll, describe, expect, test } from "vitest";
import { sharedHome } from "../../../coordinator/job/index.ts";
import { openFileJournal } from "../../../coordinator/journal/index.ts";
import { placeOf } from "../../../storage/index.ts";
import { attempt, diskWithModels, filesOf, OUT } from "../../e2e/in-memory-merge.ts";
import type { MergeSettings } from "../../support/run-merge.ts";
import { SimulatedStore } from "../../support/simulated-store.ts";

const STAGE = `${OUT}/.deltaworks/stage`;
let disk: SimulatedStore;
let expected: Record<string, string>;

beforeAll(async () => {
  disk = await diskWithModels();
  const store = disk.copy();
  await attempt(store);
  expected = filesOf(store);
});

/** Journals of jobs, on a disk of their own that lasts. */
function journals(ended: readonly string[] = []) {
  const place = new SimulatedStore();
  place.addFile("/journals/.keep", new Uint8Array());
  return (job: string): Partial<MergeSettings> => ({
    shared: {
      home: sharedHome(() => openFileJournal(place, placeOf(`/journals/${job}`))),
      owner: { name: job, hasEnded: async (id) => ended.includes(id) },
    },
  });
}

/** Stops once some slices are done. */
function stopping(): Pick<MergeSettings, "onStop" | "onProgress"> {
  let stop = () => {};
  return {
    onStop: (given) => {
      stop = given;
    },
    onProgress: ({ slicesDone }) => {
      if (slicesDone < 2) return;
      const once = stop;
      stop = () => {};
      once();
    },
  };
}

describe("a job whose journal lies elsewhere", () => {
  test("holds the output's lock while it runs, against other jobs and against merges on this machine", async () => {
    const store = disk.copy();
    const of = journals();
    const refused: (string | undefined)[] = [];
    let asked = false;
    const others: Promise<void>[] = [];
    const run = await attempt(store, {
      ...of("one"),
      onProgress: ({ slicesDone }) => {
        if (asked || slicesDone === 0) return;
        asked = true;
        for (const settings of [of("two"), {}]) {
          others.push(attempt(store, settings).then(({ ended }) => void refused.push(ended)));
        }
      },
    });
    await Promise.all(others);
    expect(run.ended).toBe("done");
    expect(refused).toEqual(["storage/locked", "storage/locked"]);
    expect(filesOf(store)).toEqual(expected);
    expect(store.paths(OUT).filter((path) => path.includes("lock") || path.startsWith(STAGE))).toEqual([]);
  });

  test.each([
    ["another job", (of: ReturnType<typeof journals>) => of("two")],
    ["a merge on this machine", () => ({})],
  ])("that waits for its next coordinator keeps its stage from %s, and goes on", async (_, other) => {
    const store = disk.copy();
    const of = journals();
    expect((await attempt(store, { ...of("one"), ...stopping() })).ended).toBe("stopped");
    const staged = store.paths(STAGE);
    const refused = await attempt(store, other(of));
    expect(refused.ended).toBe("coordinator/other-job");
    expect(refused.error?.message).toContain("one");
    expect(store.paths(STAGE)).toEqual(staged);
    const end = await attempt(store, of("one"));
    expect(end).toMatchObject({ ended: "done", run: { begun: { state: "resumed" } } });
    expect(filesOf(store)).toEqual(expected);
  });

  test("goes on in another process though the lock of the one before is still there", async () => {
    const store = disk.copy();
    const of = journals();
    expect((await attempt(store, { ...of("one"), ...stopping() })).ended).toBe("stopped");
    await store.lock(`${OUT}/.deltaworks/lock`, { owner: "one" });
    expect((await attempt(store, of("two"))).ended).toBe("storage/locked");
    expect((await attempt(store, of("one"))).ended).toBe("done");
  });

  test("makes room for one that comes after it has ended", async () => {
    const store = disk.copy();
    const of = journals(["one"]);
    await attempt(store, { ...of("one"), ...stopping() });
    expect((await attempt(store, of("two"))).ended).toBe("done");
    expect(filesOf(store)).toEqual(expected);
  });

  test("does not take an unfinished merge of this machine away, unless it is told to", async () => {
    const store = disk.copy();
    const of = journals();
    expect((await attempt(store, stopping())).ended).toBe("stopped");
    expect((await attempt(store, of("one"))).ended).toBe("coordinator/other-job");
    expect((await attempt(store.copy(), {})).run?.begun.state).toBe("resumed");
    expect((await attempt(store, { ...of("two"), restart: true })).ended).toBe("done");
    expect(filesOf(store)).toEqual(expected);
  });
});
