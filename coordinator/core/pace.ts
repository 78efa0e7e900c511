/** How many durations are remembered: enough for a median that one slow worker does not move. */
const KEPT = 63;

/** Durations of finished attempts, in milliseconds per byte. */
export interface Pace {
  readonly kept: number[];
  next: number;
  /** Undefined: to be worked out anew. */
  median: number | undefined;
}

export function newPace(): Pace {
  return { kept: [], next: 0, median: undefined };
}

export function addDuration(pace: Pace, msPerByte: number): void {
  pace.kept[pace.next] = msPerByte;
  pace.next = (pace.next + 1) % KEPT;
  pace.median = undefined;
}

/** Undefined before anything has finished. */
export function medianOf(pace: Pace): number | undefined {
  if (pace.median === undefined) pace.median = pace.kept.toSorted((a, b) => a - b)[pace.kept.length >> 1];
  return pace.median;
}
