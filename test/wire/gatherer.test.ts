import { describe, expect, test } from "vitest";
import { Gatherer } from "../../wire/index.ts";

/** Never sends by time: every call in these tests has another cause. */
const LONG_MS = 1_000_000;

describe("Gatherer", () => {
  test("sends what came together as one call, and gives each its own answer", async () => {
    const calls: number[][] = [];
    const gatherer = new Gatherer<number, string>({
      send: async (entries) => {
        calls.push([...entries]);
        return entries.map((entry) => `answer ${entry}`);
      },
      gatherMs: 0,
    });
    expect(await Promise.all([1, 2, 3].map((entry) => gatherer.add(entry)))).toEqual([
      "answer 1",
      "answer 2",
      "answer 3",
    ]);
    expect(await gatherer.add(4)).toBe("answer 4");
    expect(calls).toEqual([[1, 2, 3], [4]]);
  });

  test("sends at once when a call is full, by entries or by bytes", async () => {
    const calls: number[][] = [];
    const send = async (entries: readonly number[]) => {
      calls.push([...entries]);
      return entries;
    };
    const byCount = new Gatherer<number, number>({ send, gatherMs: LONG_MS, entriesMax: 2 });
    await Promise.all([byCount.add(1), byCount.add(2)]);
    const byBytes = new Gatherer<number, number>({ send, gatherMs: LONG_MS, bytesOf: (entry) => entry, bytesMax: 100 });
    const answers = [byBytes.add(60), byBytes.add(30), byBytes.add(20)];
    byBytes.flush();
    await Promise.all(answers);
    expect(calls).toEqual([[1, 2], [60, 30], [20]]);
  });

  test("an error of the call reaches all that it carried, and none after", async () => {
    let fails = true;
    const gatherer = new Gatherer<number, number>({
      send: async (entries) => {
        if (fails) throw new Error("unavailable");
        return entries;
      },
      gatherMs: 0,
    });
    const settled = await Promise.allSettled([gatherer.add(1), gatherer.add(2)]);
    expect(settled.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    fails = false;
    expect(await gatherer.add(3)).toBe(3);
  });
});
