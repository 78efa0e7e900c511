/** Reads of so many bytes and less are a matter of the pause before the answer: they say nothing of how fast bytes come. */
const TELLING_BYTES = 256 * 2 ** 10;
const REMEMBERED = 32;
/** Fewer than so many say nothing of what is usual. */
const KNOWN_MIN = 8;
const SLOW_FACTOR = 3;

export interface PaceLimits {
  /** Nothing that takes less is slow. */
  readonly leastMs: number;
  /** What is slow while it is not known what is usual. */
  readonly unknownMs: number;
}

const LIMITS: PaceLimits = { leastMs: 2_000, unknownMs: 10_000 };

/** How long reads take: what takes three times as long as half of the last ones is slow. */
export class Pace {
  readonly #limits: PaceLimits;
  readonly #last: { readonly sizeBytes: number; readonly ms: number }[] = [];

  constructor(limits: Partial<PaceLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits };
  }

  note(sizeBytes: number, ms: number): void {
    if (sizeBytes < TELLING_BYTES) return;
    this.#last.push({ sizeBytes, ms });
    if (this.#last.length > REMEMBERED) this.#last.shift();
  }

  /** After how long a read of so many bytes is slow. */
  slowAfterMs(sizeBytes: number): number {
    const { leastMs, unknownMs } = this.#limits;
    if (this.#last.length < KNOWN_MIN) return Math.max(leastMs, unknownMs);
    const middle = this.#last.toSorted((a, b) => a.ms - b.ms)[this.#last.length >> 1];
    if (middle === undefined) return unknownMs;
    return Math.max(leastMs, SLOW_FACTOR * middle.ms * Math.max(1, sizeBytes / middle.sizeBytes));
  }
}
