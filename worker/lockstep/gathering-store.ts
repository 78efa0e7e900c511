import type { Place, Readable, ReadOptions, StoredFile, WriteOptions } from "../../storage/index.ts";
import type { SessionStore } from "../index.ts";
import type { GatheredReads } from "./gathered-reads.ts";

/**
 * A store whose reads of input files are gathered with those of other merges. All else goes to the store behind it: above all what
 * the seal reads back, which must come from storage.
 */
export class GatheringStore implements SessionStore {
  readonly #store: SessionStore;
  readonly #reads: GatheredReads;
  readonly #inputs: ReadonlySet<string>;

  /** `inputs`: paths of the input files. */
  constructor(store: SessionStore, reads: GatheredReads, inputs: Iterable<string>) {
    this.#store = store;
    this.#reads = reads;
    this.#inputs = new Set(inputs);
  }

  async open(place: Place, options?: ReadOptions): Promise<Readable> {
    const file = await this.#store.open(place, options);
    if (!this.#inputs.has(place)) return file;
    // A file that is replaced meanwhile is another: its reads must not mix with those of the old one.
    const { version, sizeBytes } = await file.identity();
    const key = `${place}/${version}/${sizeBytes}`;
    return {
      place,
      identity: () => file.identity(),
      read: (offsetBytes, into, memory) =>
        this.#reads.read(key, offsetBytes, into, (bytes) => file.read(offsetBytes, bytes, memory)),
      close: () => file.close(),
    };
  }

  openForWriting(place: Place, options?: WriteOptions): Promise<StoredFile> {
    return this.#store.openForWriting(place, options);
  }

  putPart(slot: Place, offsetBytes: number, bytes: Uint8Array, sha256: string): Promise<unknown> {
    if (this.#store.putPart === undefined) throw new Error(`there is nothing here that puts parts into ${slot}`);
    return this.#store.putPart(slot, offsetBytes, bytes, sha256);
  }
}
