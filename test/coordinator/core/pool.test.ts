import { expect, test } from "vitest";
import { type PoolJob, type Shares, shareSlots, slotChanges } from "../../../coordinator/core/index.ts";
import { W1, W2 } from "./harness.ts";

const TWO = [
  { id: W1, slots: 4 },
  { id: W2, slots: 4 },
];
const NONE: Shares = new Map();

function job(id: string, priority = 0, wanted = 100): PoolJob {
  return { id, priority, wanted };
}

function total(shares: Shares, id: string): number {
  return [...(shares.get(id)?.values() ?? [])].reduce((sum, slots) => sum + slots, 0);
}

function onWorker(shares: Shares, worker: typeof W1): number {
  return [...shares.values()].reduce((sum, share) => sum + (share.get(worker) ?? 0), 0);
}

test("jobs of equal priority share evenly, and no worker has more than its slots", () => {
  const shares = shareSlots(TWO, [job("a"), job("b")], NONE);
  expect([total(shares, "a"), total(shares, "b")]).toEqual([4, 4]);
  expect([onWorker(shares, W1), onWorker(shares, W2)]).toEqual([4, 4]);
});

test("what one does not want is the others'", () => {
  const shares = shareSlots(TWO, [job("a"), job("b", 0, 1), job("c")], NONE);
  expect(total(shares, "b")).toBe(1);
  expect(total(shares, "a") + total(shares, "c")).toBe(7);
  expect(Math.abs(total(shares, "a") - total(shares, "c"))).toBe(1);
});

test("higher priority goes first, and leaves what it does not want", () => {
  const shares = shareSlots(TWO, [job("low"), job("high", 5, 6)], NONE);
  expect([total(shares, "high"), total(shares, "low")]).toEqual([6, 2]);
  expect(total(shareSlots(TWO, [job("low"), job("high", 5)], NONE), "low")).toBe(0);
});

test("slots stay where they were", () => {
  const before: Shares = new Map([["b", new Map([[W1, 4]])]]);
  const after = shareSlots(TWO, [job("a"), job("b")], before);
  expect(after.get("b")).toEqual(new Map([[W1, 4]]));
  expect(after.get("a")).toEqual(new Map([[W2, 4]]));
});

test("a job has a slot at a worker that it needs, be it all another's, and no more slots for that", () => {
  const before: Shares = new Map([
    ["a", new Map([[W1, 4]])],
    ["b", new Map([[W2, 4]])],
  ]);
  const after = shareSlots(
    TWO,
    [
      { ...job("a"), needs: [W2] },
      { ...job("b"), needs: [W1] },
    ],
    before,
  );
  expect([after.get("a")?.get(W2), after.get("b")?.get(W1)]).toEqual([1, 1]);
  expect([total(after, "a"), total(after, "b")]).toEqual([4, 4]);
  expect([onWorker(after, W1), onWorker(after, W2)]).toEqual([4, 4]);
});

test("a job of one slot has it where it needs it", () => {
  const jobs = [{ ...job("a", 0, 1), spread: true, needs: [W2] }, job("b")];
  expect(shareSlots(TWO, jobs, NONE).get("a")).toEqual(new Map([[W2, 1]]));
});

test("a job that ends leaves its slots, a worker that leaves takes them along", () => {
  const before = shareSlots(TWO, [job("a"), job("b")], NONE);
  expect(total(shareSlots(TWO, [job("a")], before), "a")).toBe(8);
  expect(total(shareSlots([TWO[0]!], [job("a")], before), "a")).toBe(4);
});

test("changes name those first that lose slots", () => {
  const before: Shares = new Map([["a", new Map([[W1, 4]])]]);
  const after: Shares = new Map([
    ["b", new Map([[W1, 2]])],
    ["a", new Map([[W1, 2]])],
  ]);
  expect(slotChanges(before, after)).toEqual([
    { job: "a", worker: W1, slots: 2 },
    { job: "b", worker: W1, slots: 2 },
  ]);
  expect(slotChanges(after, after)).toEqual([]);
});

test("the last units of a job may go to every worker, though one has all that it wants", () => {
  // What is left may not suit the worker that has the slots: it failed or vanished there.
  const before: Shares = new Map([["a", new Map([[W1, 4]])]]);
  const last = { ...job("a", 0, 2), spread: true };
  expect(shareSlots(TWO, [last], before).get("a")).toEqual(
    new Map([
      [W1, 1],
      [W2, 1],
    ]),
  );
  expect(shareSlots(TWO, [job("a", 0, 2)], before).get("a")).toEqual(new Map([[W1, 2]]));
});

test("a worker that is of no use to a job is the others', who take what it cannot", () => {
  const jobs = [{ ...job("a"), without: [W1] }, job("b")];
  const shares = shareSlots(TWO, jobs, new Map([["a", new Map([[W1, 4]])]]));
  expect(shares.get("a")).toEqual(new Map([[W2, 4]]));
  expect(shares.get("b")).toEqual(new Map([[W1, 4]]));
  const alone = shareSlots(TWO, [{ ...job("a", 5), without: [W1] }, job("b")], NONE);
  expect([alone.get("a"), alone.get("b")]).toEqual([new Map([[W2, 4]]), new Map([[W1, 4]])]);
});
