import { expect, test } from "vitest";
import { boundedSource, FileStore, inParallel, placeOf, Turns } from "../../storage/index.ts";

test("as many as allowed are under way, and what came of them stands in the order of the items", async () => {
  let [inFlight, most] = [0, 0];
  const found = await inParallel([5, 4, 3, 2, 1, 0], 3, async (turns, index) => {
    most = Math.max(most, ++inFlight);
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    inFlight--;
    return `${index}: ${turns}`;
  });
  expect(found).toEqual(["0: 5", "1: 4", "2: 3", "3: 2", "4: 1", "5: 0"]);
  expect(most).toBe(3);
});

test("the failure of the first item in order is thrown, whichever failed first, and nothing is begun after one", async () => {
  const begun: number[] = [];
  const failed = inParallel([0, 1, 2, 3, 4, 5], 2, async (item) => {
    begun.push(item);
    for (let turn = 0; turn < 10 - item; turn++) await Promise.resolve();
    if (item > 0) return item;
    throw new Error("of 0");
  });
  await expect(failed).rejects.toThrow("of 0");
  const both = inParallel([0, 1], 2, async (item) => {
    for (let turn = 0; turn < 10 - 5 * item; turn++) await Promise.resolve();
    throw new Error(`of ${item}`);
  });
  await expect(both).rejects.toThrow("of 0");
  expect(begun.length).toBeLessThan(6);
});

test("who comes first has the first turn, and a failure gives its turn on", async () => {
  const turns = new Turns(1);
  const order: string[] = [];
  const act = (name: string, fails = false) =>
    turns.take(async () => {
      order.push(name);
      await Promise.resolve();
      if (fails) throw new Error(name);
    });
  const all = await Promise.allSettled([act("a", true), act("b"), act("c", true), act("d")]);
  expect(order).toEqual(["a", "b", "c", "d"]);
  expect(all.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "rejected", "fulfilled"]);
});

test("a bounded store counts calls on open files too", async () => {
  const files = new FileStore();
  let [inFlight, most] = [0, 0];
  const counted = async <T>(call: Promise<T>) => {
    most = Math.max(most, ++inFlight);
    return call.finally(() => inFlight--);
  };
  const slow = {
    identity: (path: string) => counted(files.identity(placeOf(path))),
    open: async (path: string) => {
      const file = await counted(files.open(placeOf(path)));
      return {
        ...file,
        path,
        read: (at: number, into: Uint8Array) => counted(file.read(at, into)),
        close: () => file.close(),
      };
    },
  };
  const store = boundedSource(slow as never, 2);
  const file = await store.open(placeOf(import.meta.filename));
  await Promise.all(
    [0, 1, 2, 3].flatMap((at) => [file.read(at, new Uint8Array(1)), store.identity(placeOf(import.meta.filename))]),
  );
  await file.close();
  expect(most).toBe(2);
});
