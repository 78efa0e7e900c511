/** A whole job on a disk in memory that somebody or something tampers with. */
import { beforeAll, describe, expect, test } from "vitest";
import type { Progress } from "../../../coordinator/job/index.ts";
import { attempt, diskWithModels, filesOf, OUT, sliceWrites } from "../../e2e/in-memory-merge.ts";
import type { MergeSettings } from "../../support/run-merge.ts";
import type { SimulatedStore } from "../../support/simulated-store.ts";

const STAGE = `${OUT}/.deltaworks/stage`;
const SHARD = `${STAGE}/model-00002-of-00003.safetensors`;
const JOURNAL = `${OUT}/.deltaworks/journal`;

let disk: SimulatedStore;
let expected: Record<string, string>;
const SLICES = 8;

beforeAll(async () => {
  disk = await diskWithModels();
  const store = disk.copy();
  const { run } = await attempt(store);
  expect(run?.plan.slices).toHaveLength(SLICES);
  expected = filesOf(store);
});

async function flipBit(store: SimulatedStore, path: string, offsetBytes: number): Promise<void> {
  const file = await store.openForWriting(path);
  const byte = new Uint8Array(1);
  await file.read(offsetBytes, byte);
  await file.write(
    offsetBytes,
    byte.map((value) => value ^ 16),
  );
  await file.close();
}

/** Tampers with the stage each time the seal begins, up to `times`. */
function tamperingAtSeal(store: SimulatedStore, offsetBytes: number, times: number) {
  let left = times;
  let before = "";
  return ({ phase }: Progress) => {
    if (phase === "sealing" && before !== "sealing" && left-- > 0) void flipBit(store, SHARD, offsetBytes);
    before = phase;
  };
}

describe("the seal", () => {
  test("finds bytes that are not those computed, and has just that slice computed again", async () => {
    const store = disk.copy();
    const { ended, run } = await attempt(store, { onProgress: tamperingAtSeal(store, 5000, 1) });
    expect(ended).toBe("done");
    expect(run?.counters.get("lost-slice")).toBe(1);
    expect(sliceWrites(store.operations)).toBe(SLICES + 1 + 1); // the flip is a write of its own
    expect(filesOf(store)).toEqual(expected);
  });

  test("gives up on storage that damages the same slice again and again; on a sound one the merge goes on", async () => {
    const store = disk.copy();
    const { ended, run } = await attempt(store, { onProgress: tamperingAtSeal(store, 5000, 100) });
    expect(ended).toBe("coordinator/storage-damages");
    expect(run?.counters.get("lost-slice")).toBe(2);
    expect(filesOf(store)).toEqual({});
    const sound = store.restart();
    expect((await attempt(sound)).ended).toBe("done");
    expect(filesOf(sound)).toEqual(expected);
  });

  test("finds a header that is not the plan's; the next run writes it anew", async () => {
    const store = disk.copy();
    const { ended } = await attempt(store, { onProgress: tamperingAtSeal(store, 20, 1) });
    expect(ended).toBe("coordinator/storage-damages");
    const next = store.restart();
    const { ended: endedNext, run } = await attempt(next);
    expect(endedNext).toBe("done");
    expect(run?.begun.slicesDone).toBe(SLICES);
    expect(filesOf(next)).toEqual(expected);
  });
});

describe("a job that goes on", () => {
  function stoppingAt(slicesDone: number): Pick<MergeSettings, "onStop" | "onProgress"> {
    let stop = () => {};
    return {
      onStop: (given) => {
        stop = given;
      },
      onProgress: (progress) => {
        if (progress.slicesDone < slicesDone) return;
        const stopOnce = stop; // what it causes is progress, too
        stop = () => {};
        stopOnce();
      },
    };
  }

  /** Stopped cleanly once so many slices are done. */
  async function stopped(slicesDone: number): Promise<SimulatedStore> {
    const store = disk.copy();
    const { ended, acknowledged } = await attempt(store, stoppingAt(slicesDone));
    expect(ended).toBe("stopped");
    expect(acknowledged).toBeGreaterThanOrEqual(slicesDone);
    return store.restart();
  }

  test("of a submission with --restart begins anew what others left, once, and goes on with its own", async () => {
    const store = await stopped(3);
    const submission = { id: "two", isRunAgain: false };
    const half = stoppingAt(2);
    // The first run came to nothing: somebody had the output.
    const lock = await store.lock(`${OUT}/.deltaworks/lock`);
    expect((await attempt(store, { restart: true, submission })).ended).toBe("storage/locked");
    await lock.release();
    const again = { restart: true, submission: { ...submission, isRunAgain: true } };
    const second = await attempt(store, { ...again, ...half });
    expect(second).toMatchObject({ ended: "stopped", run: { begun: { state: "fresh", slicesDone: 0 } } });
    const third = await attempt(store, again);
    expect(third).toMatchObject({ ended: "done", run: { begun: { state: "resumed" } } });
    expect(third.run!.begun.slicesDone).toBeGreaterThan(0);
    expect(filesOf(store)).toEqual(expected);
    // Published, and its coordinator died before the queue knew.
    const fourth = await attempt(store, { ...again, overwrite: true });
    expect(fourth).toMatchObject({ ended: "done", run: { begun: { state: "complete" } } });
  });

  test("computes what is left after a clean stop, and only that", async () => {
    const store = await stopped(3);
    const { ended, run } = await attempt(store);
    expect(ended).toBe("done");
    expect(run?.begun.state).toBe("resumed");
    expect(sliceWrites(store.operations)).toBe(SLICES - run!.begun.slicesDone);
    expect(filesOf(store)).toEqual(expected);
  });

  test.each(["removed", "cut short"])("computes all slices of a shard again that was %s meanwhile", async (how) => {
    const store = await stopped(5);
    const path = `${STAGE}/model-00001-of-00003.safetensors`;
    if (how === "removed") await store.remove(path);
    else await (await store.openForWriting(path)).truncate(100);
    expect((await attempt(store)).ended).toBe("done");
    expect(filesOf(store)).toEqual(expected);
  });

  test("finds slices whose bytes changed meanwhile in the seal", async () => {
    const store = await stopped(SLICES - 1);
    await flipBit(store, SHARD, 5000);
    const { ended, run } = await attempt(store);
    expect(ended).toBe("done");
    expect(run?.counters.get("lost-slice")).toBe(1);
    expect(filesOf(store)).toEqual(expected);
  });

  test("from a journal with a damaged record: what it told is computed again", async () => {
    const store = await stopped(4);
    const sizeBytes = store.contentOf(JOURNAL)!.length;
    await flipBit(store, JOURNAL, sizeBytes - 400);
    const { ended, run } = await attempt(store);
    expect(ended).toBe("done");
    expect(run?.begun.tornBytes).toBeGreaterThan(0);
    expect(filesOf(store)).toEqual(expected);
  });
});
