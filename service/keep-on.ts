import { setTimeout as delay } from "node:timers/promises";

const FIRST_WAIT_MS = 100;
const WAIT_MAX_MS = 10_000;

export interface KeepOnOptions {
  readonly signal: AbortSignal;
  failed(error: unknown): void;
}

/**
 * Runs what is meant to run as long as the process, or must succeed in it: after a failure again, with growing pauses, until it returns or
 * the signal is aborted; once in any case. `run` calls `goesOn` whenever it gets anywhere: then the pauses begin anew. Never rejects.
 */
export async function keepOn(
  run: (tries: number, goesOn: () => void) => Promise<void>,
  { signal, failed }: KeepOnOptions,
): Promise<void> {
  let waitMs = FIRST_WAIT_MS;
  for (let tries = 0; tries === 0 || !signal.aborted; tries++) {
    try {
      await run(tries, () => {
        waitMs = FIRST_WAIT_MS;
      });
      return;
    } catch (error) {
      failed(error);
    }
    await delay(waitMs, undefined, { signal, ref: false }).catch(() => undefined);
    waitMs = Math.min(2 * waitMs, WAIT_MAX_MS);
  }
}
