import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openFileQueue } from "../../../coordinator/queue/index.ts";
import { FileStore, placeOf } from "../../../storage/index.ts";
import { SimulatedStore } from "../../support/simulated-store.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { claimOf, jobNamed, queueContract } from "../queue.contract.ts";

queueContract("the file queue", async () => {
  const directory = placeOf(join(temporaryFolder(), "jobs"));
  return () => openFileQueue(new FileStore(), directory);
});

describe("the file queue", () => {
  test("loses no submission that was acknowledged, whenever the power fails", async () => {
    const store = new SimulatedStore();
    const queue = await openFileQueue(store, placeOf("/jobs"));
    await queue.submit(jobNamed("a"));
    const claim = await claimOf(queue);
    await claim.update({ plan: "p" });
    for (let seed = 0; seed < 50; seed++) {
      const after = await openFileQueue(store.crash(seed), placeOf("/jobs"));
      expect(await after.list()).toMatchObject([{ name: "a", state: "queued", claims: 1, plan: "p" }]);
    }
  });

  test("has each job once, and the one before it still, wherever the power fails while a name changes hands", async () => {
    for (let at = 1; ; at++) {
      const store = new SimulatedStore();
      const queue = await openFileQueue(store, placeOf("/jobs"));
      const first = await queue.submit(jobNamed("a"));
      const ended = await (await claimOf(queue)).end("done");
      store.failAt(store.operations.length + at, "power-loss");
      const second = await queue.submit(jobNamed("a")).catch(() => undefined);
      if (!store.off) {
        expect(at).toBeGreaterThan(4);
        expect(new Set((await queue.list()).map(({ id }) => id))).toEqual(new Set([first.id, second?.id]));
        return;
      }
      for (let seed = 0; seed < 10; seed++) {
        const after = await openFileQueue(store.crash(seed), placeOf("/jobs"));
        expect(await after.find(first.id)).toEqual(ended);
        const others = (await after.list()).filter(({ id }) => id !== first.id);
        expect(await after.list()).toHaveLength(1 + others.length);
        for (const other of others) expect(other).toMatchObject({ name: "a", state: "queued" });
        expect(others.length).toBeLessThanOrEqual(1);
      }
    }
  });

  test("is opened by one process at a time", async () => {
    const directory = placeOf(join(temporaryFolder(), "jobs"));
    const queue = await openFileQueue(new FileStore(), directory);
    await expect(openFileQueue(new FileStore(), directory)).rejects.toMatchObject({ code: "storage/locked" });
    await queue.close();
    await (await openFileQueue(new FileStore(), directory)).close();
  });

  test.each([
    ["no JSON", "{"],
    ["no job", "[]"],
    ["another version", '{"version":2}'],
  ])("names a file that holds %s", async (_, text) => {
    const store = new SimulatedStore();
    await (await openFileQueue(store, placeOf("/jobs"))).close();
    store.addFile("/jobs/a.json", Buffer.from(text));
    const error = { code: "queue/corrupt", message: expect.stringContaining("/jobs/a.json") };
    await expect(openFileQueue(store, placeOf("/jobs"))).rejects.toMatchObject(error);
  });

  test("whose disk fails says that the outcome is unknown", async () => {
    const store = new SimulatedStore();
    const queue = await openFileQueue(store, placeOf("/jobs"));
    store.failAt(store.operations.length + 2, "full");
    await expect(queue.submit(jobNamed("a"))).rejects.toMatchObject({ code: "queue/unavailable" });
    await queue.submit(jobNamed("b"));
    expect(await queue.find("b")).toMatchObject({ state: "queued" });
  });
});
