import { describe, expect, test } from "vitest";
// Behind the door: queues are the core's own.
import { addDeadline, type Deadlines, keepDeadlines, takeDeadline } from "../../../coordinator/core/deadlines.ts";
import { emptyQueue, emptySliceQueue, leaveRun, takeFrom, takeSlice } from "../../../coordinator/core/queues.ts";
import type { UnitId } from "../../../merge/work/index.ts";
import { seededRandom } from "../../support/seeded-random.ts";
import { W1, W2 } from "./harness.ts";

const units = (count: number) => Array.from({ length: count }, (_, k) => `u${k}` as UnitId);
const never = () => false;
const always = (_: UnitId) => true;

describe("slices", () => {
  function queueOf(count: number, runLength: number) {
    const queue = emptySliceQueue(runLength);
    queue.items.push(...units(count));
    return { queue, take: (worker: typeof W1, suits = always) => takeSlice(queue, worker, never, suits) };
  }

  test("go to workers in runs of neighbours", () => {
    const { take } = queueOf(8, 4);
    expect([take(W1), take(W2), take(W1), take(W2), take(W1)]).toEqual(["u0", "u4", "u1", "u5", "u2"]);
  });

  test("of a run that another has left over are taken from its end", () => {
    const { take } = queueOf(4, 4);
    expect([take(W1), take(W2), take(W2), take(W1), take(W1)]).toEqual(["u0", "u2", "u3", "u1", undefined]);
  });

  test("of a worker that left are others'", () => {
    const { queue, take } = queueOf(4, 4);
    take(W1);
    leaveRun(queue, W1);
    expect([take(W2), take(W2), take(W2), take(W2)]).toEqual(["u1", "u2", "u3", undefined]);
  });

  test("that do not suit a worker are left for another, and hide nothing", () => {
    const { take } = queueOf(30, 4);
    const suits = (unit: UnitId) => Number(unit.slice(1)) >= 4;
    const taken = Array.from({ length: 40 }, () => takeTwice(take, suits)).flatMap((unit) => unit ?? []);
    expect(new Set(taken).size).toBe(26);
    expect([take(W2), take(W2), take(W2), take(W2)].sort()).toEqual(["u0", "u1", "u2", "u3"]);
  });
});

/** A worker that is offered nothing at first may be at its next turn. */
function takeTwice(
  take: (worker: typeof W1, suits: (unit: UnitId) => boolean) => UnitId | undefined,
  suits: (unit: UnitId) => boolean,
) {
  return take(W1, suits) ?? take(W1, suits);
}

describe("a queue", () => {
  test("gives what was returned first, then in order; what is gone is passed over", () => {
    const queue = emptyQueue();
    queue.items.push(...units(4));
    queue.returned.push("back" as UnitId);
    const gone = (unit: UnitId) => unit === "u1";
    const all = Array.from({ length: 5 }, () => takeFrom(queue, gone, always));
    expect(all).toEqual(["back", "u0", "u2", "u3", undefined]);
  });

  test("gives the first that suits, and keeps the order of the others", () => {
    const queue = emptyQueue();
    queue.items.push(...units(4));
    expect(takeFrom(queue, never, (unit) => unit === "u2")).toBe("u2");
    expect([takeFrom(queue, never, always), takeFrom(queue, never, always)]).toEqual(["u0", "u1"]);
  });
});

test("deadlines come soonest first, whatever the order in which they were set", () => {
  const random = seededRandom(7);
  const heap: Deadlines = [];
  const times = Array.from({ length: 500 }, () => Math.floor(random() * 100));
  for (const [k, atMs] of times.entries()) addDeadline(heap, { unit: `u${k}` as UnitId, attempt: k }, atMs);
  addDeadline(heap, { unit: "never" as UnitId, attempt: 0 }, Number.POSITIVE_INFINITY);
  const taken: number[] = [];
  for (let nowMs = 0; nowMs < 100; nowMs++) {
    for (let due = takeDeadline(heap, nowMs); due !== undefined; due = takeDeadline(heap, nowMs)) {
      expect(times[due.attempt]).toBe(nowMs);
      taken.push(due.attempt);
    }
  }
  expect(new Set(taken).size).toBe(500);
  expect(heap).toEqual([]);
});

test("deadlines that nobody waits for are cleared away; the others come soonest first as before", () => {
  const random = seededRandom(8);
  const heap: Deadlines = [];
  const times = Array.from({ length: 500 }, () => Math.floor(random() * 1000));
  for (const [k, atMs] of times.entries()) addDeadline(heap, { unit: `u${k}` as UnitId, attempt: k }, atMs);
  keepDeadlines(heap, ({ attempt }) => attempt % 3 === 0);
  addDeadline(heap, { unit: "u500" as UnitId, attempt: 500 }, 1);
  const taken: number[] = [];
  for (let due = takeDeadline(heap, 1000); due !== undefined; due = takeDeadline(heap, 1000)) taken.push(due.attempt);
  const kept = times.flatMap((atMs, k) => (k % 3 === 0 ? [atMs] : []));
  expect(taken.map((k) => times[k] ?? 1)).toEqual([...kept, 1].sort((a, b) => a - b));
  expect(new Set(taken).size).toBe(kept.length + 1);
});
