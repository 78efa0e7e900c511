import type { StoredSource } from "../../merge/work/index.ts";

/** Chunks that are kept: one for each tensor that several sources share, but no more than these. */
const CHUNKS_MAX = 8;

interface Kept {
  readonly first: number;
  readonly count: number;
  readonly bytes: Uint8Array;
}

/**
 * The last chunk read of every stored tensor that several sources of a task are, or are made of: 200 adapters on one base read each
 * chunk of the base once, whether they change that tensor or not.
 */
export class SharedReads {
  readonly #wanted = new Set<string>();
  readonly #kept = new Map<string, Kept>();

  /** Per source: the stored tensors it is made of. What a source has to itself is not kept. */
  constructor(sources: readonly (readonly StoredSource[])[]) {
    const seen = new Set<string>();
    for (const stored of sources) {
      for (const key of new Set(stored.map(keyOf))) {
        if (seen.has(key)) this.#wanted.add(key);
        seen.add(key);
      }
    }
  }

  find(source: StoredSource, first: number, count: number): Uint8Array | undefined {
    if (this.#wanted.size === 0) return undefined;
    const kept = this.#kept.get(keyOf(source));
    return kept !== undefined && kept.first === first && kept.count === count ? kept.bytes : undefined;
  }

  keep(source: StoredSource, first: number, count: number, bytes: () => Uint8Array): void {
    if (this.#wanted.size === 0) return;
    const key = keyOf(source);
    if (!this.#wanted.has(key)) return;
    const [oldest] = this.#kept.keys();
    if (!this.#kept.has(key) && this.#kept.size >= CHUNKS_MAX && oldest !== undefined) this.#kept.delete(oldest);
    this.#kept.set(key, { first, count, bytes: bytes().slice() });
  }
}

function keyOf({ input, file, offsetBytes }: StoredSource): string {
  return `${input}/${file}/${offsetBytes}`;
}
