import type { UnitId, WorkerId } from "../../merge/work/index.ts";

/** How far a queue is searched for a unit that suits a worker better than the first one: no event may cost more for a longer queue. */
export const LOOK_AHEAD = 8;

/** First in, first out, with returned units at the front. */
export interface Queue {
  readonly returned: UnitId[];
  items: UnitId[];
  next: number;
}

export function emptyQueue(): Queue {
  return { returned: [], items: [], next: 0 };
}

export function isEmpty(queue: Queue): boolean {
  return queue.returned.length === 0 && queue.next >= queue.items.length;
}

/** The first unit that suits, of those at the front; undefined if none of them does. Units that are `gone` are passed over for good. */
export function takeFrom(
  queue: Queue,
  gone: (unit: UnitId) => boolean,
  suits: (unit: UnitId) => boolean,
): UnitId | undefined {
  const returned = takeLast(queue.returned, gone, suits);
  if (returned !== undefined) return returned;
  let looked = 0;
  for (let at = queue.next; at < queue.items.length && looked < LOOK_AHEAD; at++) {
    const item = queue.items[at];
    if (item === undefined) break;
    if (gone(item)) {
      if (at === queue.next) queue.next++;
      continue;
    }
    looked++;
    if (!suits(item)) continue;
    // What was passed over moves one place back.
    for (let k = at; k > queue.next; k--) queue.items[k] = queue.items[k - 1] ?? item;
    queue.next++;
    return item;
  }
  return undefined;
}

/** Those that do not suit go to the other end, so that they stand in nobody's way. */
function takeLast(
  returned: UnitId[],
  gone: (unit: UnitId) => boolean,
  suits: (unit: UnitId) => boolean,
): UnitId | undefined {
  for (let looked = Math.min(LOOK_AHEAD, returned.length); looked > 0; ) {
    const item = returned.pop();
    if (item === undefined) break;
    if (gone(item)) continue;
    if (suits(item)) return item;
    returned.unshift(item);
    looked--;
  }
  return undefined;
}

/** Neighbouring slices, by their places in the queue's items. */
export interface Run {
  next: number;
  end: number;
}

/**
 * Slices in the plan's order, cut into runs: a worker goes on where its last slice ended, since neighbours read the same files. Where no
 * run is left, half of another worker's is taken.
 */
export interface SliceQueue extends Queue {
  readonly runLength: number;
  /** Of workers that have some left. */
  readonly runs: Map<WorkerId, Run>;
  /** Of workers that are gone. */
  readonly freeRuns: Run[];
}

export function emptySliceQueue(runLength: number): SliceQueue {
  return { ...emptyQueue(), runLength, runs: new Map(), freeRuns: [] };
}

/** As `takeFrom`, for a worker. */
export function takeSlice(
  queue: SliceQueue,
  worker: WorkerId,
  gone: (unit: UnitId) => boolean,
  suits: (unit: UnitId) => boolean,
): UnitId | undefined {
  const returned = takeLast(queue.returned, gone, suits);
  if (returned !== undefined) return returned;
  for (;;) {
    const run = queue.runs.get(worker) ?? nextRun(queue, worker);
    if (run === undefined) return undefined;
    for (let looked = 0; run.next < run.end && looked < LOOK_AHEAD; ) {
      const item = queue.items[run.next++];
      if (item === undefined || gone(item)) continue;
      if (suits(item)) return item;
      looked++;
      queue.returned.unshift(item);
    }
    if (run.next < run.end) return undefined;
    queue.runs.delete(worker);
  }
}

/** The rest of a worker's run is for others. */
export function leaveRun(queue: SliceQueue, worker: WorkerId): void {
  const run = queue.runs.get(worker);
  if (run === undefined) return;
  queue.runs.delete(worker);
  if (run.next < run.end) queue.freeRuns.push(run);
}

function nextRun(queue: SliceQueue, worker: WorkerId): Run | undefined {
  const run = queue.freeRuns.pop() ?? freshRun(queue) ?? stolenRun(queue);
  if (run !== undefined) queue.runs.set(worker, run);
  return run;
}

function freshRun(queue: SliceQueue): Run | undefined {
  if (queue.next >= queue.items.length) return undefined;
  const end = Math.min(queue.items.length, queue.next + queue.runLength);
  const run = { next: queue.next, end };
  queue.next = end;
  return run;
}

function stolenRun(queue: SliceQueue): Run | undefined {
  for (const [victim, run] of queue.runs) {
    const middle = run.next + ((run.end - run.next) >> 1);
    if (run.next >= run.end) {
      queue.runs.delete(victim);
      continue;
    }
    const stolen = { next: middle, end: run.end };
    run.end = middle;
    if (run.next >= run.end) queue.runs.delete(victim);
    return stolen;
  }
  return undefined;
}
