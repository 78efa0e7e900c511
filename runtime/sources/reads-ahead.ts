import type { StoredSource, TensorSource } from "../../merge/work/index.ts";

/** Elements of a stored source, from `first` on. */
export interface Wanted {
  readonly source: StoredSource;
  readonly first: number;
  readonly count: number;
}

type Stretch = Pick<Wanted, "first" | "count">;

interface Begun<T> {
  readonly wanted: Wanted;
  readonly result: T;
}

/** So many reads for nothing, and nothing is read ahead any more: who reads goes by another order. */
const MISSES_MAX = 2;

/**
 * Which read comes next in a range: chunk after chunk the same sources in the same order, at first that of the task. One read is ahead
 * of what is asked for.
 */
export class ReadsAhead<T> {
  readonly #begin: (wanted: Wanted) => T;
  /** Of the chunk before, and of this one as far as it has come. */
  #order: readonly TensorSource[];
  #now: TensorSource[] = [];
  #chunk: Stretch | undefined;
  #begun: Begun<T> | undefined;
  #misses = 0;

  /** `begin`: begins a read. `order`: in which the first chunk is expected to be read. */
  constructor(order: readonly TensorSource[], begin: (wanted: Wanted) => T) {
    this.#order = order;
    this.#begin = begin;
  }

  /** What was begun for just this; undefined: nothing. */
  take({ source, first, count }: Wanted): T | undefined {
    const begun = this.#begun;
    this.#begun = undefined;
    if (begun === undefined) return undefined;
    const { wanted } = begun;
    if (wanted.source === source && wanted.first === first && wanted.count === count) return begun.result;
    this.#misses++;
    return undefined;
  }

  /** A source was read for a chunk; `next`: the chunk after it. Begins what is wanted then, if `isWanted` says that it must be read. */
  wasRead(
    source: TensorSource,
    chunk: Stretch,
    next: Stretch | undefined,
    isWanted: (wanted: Wanted) => boolean,
  ): void {
    if (this.#chunk?.first !== chunk.first || this.#chunk.count !== chunk.count) {
      if (this.#now.length > 0) this.#order = this.#now;
      this.#now = [];
      this.#chunk = chunk;
    }
    this.#now.push(source);
    if (this.#misses >= MISSES_MAX || this.#begun !== undefined) return;
    const at = this.#now.length;
    if (this.#order[at - 1] !== source) return;
    const following = this.#order[at];
    const [expected, stretch] = following === undefined ? [this.#order[0], next] : [following, chunk];
    if (expected === undefined || expected.kind !== undefined || stretch === undefined) return;
    const wanted = { source: expected, first: stretch.first, count: stretch.count };
    if (isWanted(wanted)) this.#begun = { wanted, result: this.#begin(wanted) };
  }
}
