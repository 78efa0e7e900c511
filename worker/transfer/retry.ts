import { type ServiceError, status } from "@grpc/grpc-js";
import { delay, isTooLarge, systemTimers, type Timers } from "../../wire/index.ts";
import { WorkerError } from "../index.ts";

/** Codes with which a call may be made again: the other end is away, busy or slow. */
const PASSING: ReadonlySet<number> = new Set([
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  status.RESOURCE_EXHAUSTED,
  status.ABORTED,
  status.INTERNAL,
  status.UNKNOWN,
  status.CANCELLED,
]);

export function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "details" in error && typeof error.code === "number";
}

/** Whether the call, made again later, may succeed with nobody doing anything. */
export function canPass(error: unknown): boolean {
  if (error instanceof WorkerError) return error.code === "worker/unreachable";
  return isServiceError(error) && PASSING.has(error.code) && !isTooLarge(error);
}

export interface BackoffOptions {
  readonly firstMs: number;
  readonly mostMs: number;
}

/**
 * How long to wait before try number `attempt` (1: the first repetition): twice as long each time, the upper half of it by chance, so
 * that a thousand workers do not come back at once. `chance`: 0 to 1.
 */
export function backoffMs(attempt: number, chance: number, { firstMs, mostMs }: BackoffOptions): number {
  const full = Math.min(mostMs, firstMs * 2 ** Math.min(attempt - 1, 30));
  return full / 2 + (full / 2) * chance;
}

/** Makes a call until it succeeds, fails for good, or `untilMs` of the monotonic clock has passed. */
export async function persist<T>(
  call: () => Promise<T>,
  options: BackoffOptions & {
    readonly untilMs: number;
    readonly mayGoOn?: () => boolean;
    readonly timers?: Timers;
  },
): Promise<T> {
  const { timers = systemTimers } = options;
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      const waitMs = backoffMs(attempt, timers.chance(), options);
      if (!canPass(error) || timers.nowMs() + waitMs > options.untilMs) throw error;
      await delay(timers, waitMs);
      if (options.mayGoOn?.() === false) throw error;
    }
  }
}
