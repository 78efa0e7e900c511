import { setTimeout } from "node:timers/promises";

/** Shorter waits are made up for by the next one. */
const WAIT_MIN_MS = 5;

/** A limit of bytes a second that all connections of a thread share, in the order in which they come. */
export class Bandwidth {
  readonly #bytesPerMs: number;
  /** When all that was taken so far has had its time. */
  #freeAtMs = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1000;
  }

  /** Bytes that have come; returns how long nothing more may be taken by whoever took them. */
  take(sizeBytes: number, nowMs = performance.now()): number {
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + sizeBytes / this.#bytesPerMs;
    const waitMs = this.#freeAtMs - nowMs;
    return waitMs < WAIT_MIN_MS ? 0 : waitMs;
  }
}

/** The same pieces, each given when it may go. `pause`: of milliseconds. */
export async function* slowed(
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  bandwidth: Bandwidth,
  pause: (ms: number) => Promise<unknown> = setTimeout,
): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    const waitMs = bandwidth.take(piece.length);
    if (waitMs > 0) await pause(waitMs);
    yield piece;
  }
}
