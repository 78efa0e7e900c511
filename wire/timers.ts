/** Time and chance as a process has them. A simulation brings its own. */
export interface Timers {
  /** Milliseconds of a monotonic clock. */
  nowMs(): number;
  /** Calls `act` once, `delayMs` from now. The returned function takes that back. */
  after(delayMs: number, act: () => void): () => void;
  /** 0 to 1. */
  chance(): number;
}

export const systemTimers: Timers = {
  nowMs: () => performance.now(),
  after: (delayMs, act) => {
    const timer = setTimeout(act, delayMs);
    return () => clearTimeout(timer);
  },
  chance: () => Math.random(),
};

export function delay({ after }: Timers, delayMs: number): Promise<void> {
  return new Promise((resolve) => after(delayMs, resolve));
}

/** Calls `act` again and again until the returned function is called. */
export function every({ after }: Timers, intervalMs: number, act: () => void): () => void {
  let stop: () => void = () => {};
  const next = () => {
    stop = after(intervalMs, () => {
      next();
      act();
    });
  };
  next();
  return () => stop();
}
