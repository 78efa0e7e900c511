import type { AttemptRef } from "../../merge/work/index.ts";

export interface Deadline extends AttemptRef {
  readonly atMs: number;
}

/**
 * When leases end, soonest first: a binary heap. A renewed lease keeps its old entry, and whoever takes that out puts a later one in:
 * renewing costs nothing, and looking for what has lapsed costs only what is looked at.
 */
export type Deadlines = Deadline[];

export function addDeadline(heap: Deadlines, { unit, attempt }: AttemptRef, atMs: number): void {
  if (atMs === Number.POSITIVE_INFINITY) return;
  const entry = { unit, attempt, atMs };
  let at = heap.length;
  heap.push(entry);
  while (at > 0) {
    const above = (at - 1) >> 1;
    const parent = heap[above];
    if (parent === undefined || parent.atMs <= atMs) break;
    heap[at] = parent;
    at = above;
  }
  heap[at] = entry;
}

/** Drops those that nobody waits for any more. */
export function keepDeadlines(heap: Deadlines, isWaitedFor: (ref: AttemptRef) => boolean): void {
  const kept = heap.filter(isWaitedFor).sort((a, b) => a.atMs - b.atMs); // in order they are a heap
  heap.length = 0;
  for (const deadline of kept) heap.push(deadline);
}

/** The soonest, if it is not after `nowMs`; it is gone then. */
export function takeDeadline(heap: Deadlines, nowMs: number): AttemptRef | undefined {
  const [first] = heap;
  if (first === undefined || first.atMs > nowMs) return undefined;
  const last = heap.pop();
  if (last !== undefined && heap.length > 0) sink(heap, last);
  return first;
}

function sink(heap: Deadlines, entry: Deadline): void {
  let at = 0;
  for (;;) {
    let below = 2 * at + 1;
    const left = heap[below];
    if (left === undefined) break;
    const right = heap[below + 1];
    const child = right !== undefined && right.atMs < left.atMs ? right : left;
    if (child !== left) below++;
    if (child.atMs >= entry.atMs) break;
    heap[at] = child;
    at = below;
  }
  heap[at] = entry;
}
