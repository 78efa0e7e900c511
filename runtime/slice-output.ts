import { createHash, type Hash } from "node:crypto";
import type { Address, Engine } from "../merge/engines/index.ts";
import type { StoredFile } from "../storage/index.ts";
import type { Sink } from "./range-work.ts";

/** Results gather here until they are written: large enough that calls cost nothing, small enough to stay in the caches. */
const WINDOW_BYTES = 1024 * 1024;

/** Takes bytes in order of their places; a StoredFile is one. */
export type OutputTarget = Pick<StoredFile, "write">;

/** Memory that is written to as a file is. */
export function heldIn(bytes: Uint8Array): OutputTarget {
  return {
    write: async (offsetBytes, piece) => {
      bytes.set(piece, offsetBytes);
    },
  };
}

export const nowhere: OutputTarget = { write: async () => {} };

/** A slice's bytes on their way to their place in a shard, or to where they are held, hashed as they go. */
export class SliceOutput implements Sink {
  readonly #engine: Engine;
  readonly #target: OutputTarget;
  readonly #hash: Hash = createHash("sha256");
  readonly #pause: () => Promise<void>;
  #window: Address = 0;
  #windowBytes = 0;
  #filled = 0;
  #offsetBytes: number;
  bytesWritten = 0;

  /** `pause` is called after each write: the moment to let messages in. */
  constructor(engine: Engine, target: OutputTarget, offsetBytes: number, pause: () => Promise<void>) {
    this.#engine = engine;
    this.#target = target;
    this.#offsetBytes = offsetBytes;
    this.#pause = pause;
  }

  /** Must be called before other buffers of the slice are made, with the most that will be reserved at once. */
  makeWindow(largestBytes: number): void {
    this.#windowBytes = Math.max(WINDOW_BYTES, largestBytes);
    this.#window = this.#engine.allocate(this.#windowBytes);
  }

  async reserve(sizeBytes: number, elementBytes: number): Promise<Address> {
    if (sizeBytes > this.#windowBytes)
      throw new Error(`a window of ${this.#windowBytes} bytes cannot take ${sizeBytes}`);
    // A tensor of wide elements may follow one of narrow ones at any byte; in the window it must be aligned.
    if (this.#filled % elementBytes !== 0 || this.#filled + sizeBytes > this.#windowBytes) await this.#flush();
    return this.#window + this.#filled;
  }

  commit(sizeBytes: number): void {
    this.#filled += sizeBytes;
  }

  /** Writes what is left. The SHA-256 of all bytes. */
  async finish(): Promise<string> {
    await this.#flush();
    return this.#hash.digest("hex");
  }

  async #flush(): Promise<void> {
    if (this.#filled === 0) return;
    const bytes = await this.#engine.download(this.#window, this.#filled);
    this.#hash.update(bytes);
    await this.#target.write(this.#offsetBytes, bytes);
    this.#offsetBytes += this.#filled;
    this.bytesWritten += this.#filled;
    this.#filled = 0;
    await this.#pause();
  }
}
