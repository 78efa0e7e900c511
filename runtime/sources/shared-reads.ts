import type { MergedSource, StoredSource } from "../../merge/work/index.ts";

/** Chunks that are kept: one for each tensor that several sources share, but no more than these. */
const CHUNKS_MAX = 8;

type Read = StoredSource | MergedSource;

interface Kept {
  readonly first: number;
  readonly count: number;
  readonly bytes: Uint8Array;
}

/**
 * The last chunk read of every stored tensor that several sources of a task are, or are made of: 200 adapters on one base read each
 * chunk of the base once, whether they change that tensor or not. While it holds, all chunks read of these and of the base.
 */
export class SharedReads {
  readonly #shared = new Set<string>();
  readonly #base: ReadonlySet<string>;
  readonly #last = new Map<string, Kept>();
  readonly #merged = new Map<MergedSource, string>();
  #held: Held | undefined;

  /** Per source: the stored tensors it is made of. What a source has to itself is not kept. `base`: held whoever else has it. */
  constructor(sources: readonly (readonly StoredSource[])[], base: readonly Read[] = []) {
    const seen = new Set<string>();
    for (const stored of sources) {
      for (const key of new Set(stored.map((each) => this.#keyOf(each)))) {
        if (seen.has(key)) this.#shared.add(key);
        seen.add(key);
      }
    }
    this.#base = new Set(base.map((each) => this.#keyOf(each)));
  }

  /** Until the returned function is called. One at a time. */
  hold(limitBytes: number): () => void {
    if (this.#held !== undefined) throw new Error("chunks are held already");
    const held = new Held(limitBytes);
    this.#held = held;
    return () => {
      if (this.#held === held) this.#held = undefined;
    };
  }

  find(source: Read, first: number, count: number): Uint8Array | undefined {
    if (this.#shared.size === 0 && this.#held === undefined) return undefined;
    const key = this.#keyOf(source);
    const last = this.#last.get(key);
    if (last !== undefined && last.first === first && last.count === count) return last.bytes;
    return this.#held?.find(key, first, count);
  }

  keep(source: Read, first: number, count: number, bytes: Uint8Array): void {
    if (this.#shared.size === 0 && this.#held === undefined) return;
    const key = this.#keyOf(source);
    const isShared = this.#shared.has(key);
    const mayHold = isShared || this.#base.has(key);
    const copy = isShared || (mayHold && this.#held !== undefined) ? bytes.slice() : undefined;
    if (copy === undefined) return;
    if (mayHold) this.#held?.keep(key, first, count, copy);
    if (!isShared) return;
    const [oldest] = this.#last.keys();
    if (!this.#last.has(key) && this.#last.size >= CHUNKS_MAX && oldest !== undefined) this.#last.delete(oldest);
    this.#last.set(key, { first, count, bytes: copy });
  }

  #keyOf(source: Read): string {
    if (source.kind === undefined) return `${source.input}/${source.file}/${source.offsetBytes}`;
    const known = this.#merged.get(source) ?? `merged/${this.#merged.size}`;
    this.#merged.set(source, known);
    return known;
  }
}

/** Chunks by tensor and place, up to a limit: what comes beyond it is not held. */
class Held {
  readonly #limitBytes: number;
  readonly #chunks = new Map<string, Map<string, Uint8Array>>();
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  find(key: string, first: number, count: number): Uint8Array | undefined {
    return this.#chunks.get(key)?.get(`${first}/${count}`);
  }

  keep(key: string, first: number, count: number, bytes: Uint8Array): void {
    if (this.#bytes + bytes.length > this.#limitBytes) return;
    const ofTensor = this.#chunks.get(key) ?? new Map<string, Uint8Array>();
    this.#chunks.set(key, ofTensor);
    ofTensor.set(`${first}/${count}`, bytes);
    this.#bytes += bytes.length;
  }
}
