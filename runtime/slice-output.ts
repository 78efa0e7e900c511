import { createHash, type Hash } from "node:crypto";
import type { Address, Arena } from "../merge/engines/index.ts";
import type { SlicePart } from "../merge/work/index.ts";
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
  readonly #arena: Arena;
  readonly #target: OutputTarget;
  readonly #hash: Hash = createHash("sha256");
  readonly #pause: () => Promise<void>;
  #window: Address = 0;
  #windowBytes = 0;
  #filled = 0;
  #offsetBytes: number;
  /** Of what comes next: bytes that are passed over, and bytes that are kept after them. */
  #skipBytes = 0;
  #takeBytes = Number.POSITIVE_INFINITY;
  bytesWritten = 0;

  /** `pause` is called after each write: the moment to let messages in. */
  constructor(arena: Arena, target: OutputTarget, offsetBytes: number, pause: () => Promise<void>) {
    this.#arena = arena;
    this.#target = target;
    this.#offsetBytes = offsetBytes;
    this.#pause = pause;
  }

  /** Must be called before other buffers of the slice are made, with the most that will be reserved at once. */
  makeWindow(largestBytes: number): void {
    this.#windowBytes = Math.max(WINDOW_BYTES, largestBytes);
    this.#window = this.#arena.allocate(this.#windowBytes);
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

  /** Bytes that are no results. Before any of these, or between two parts. */
  async put(bytes: Uint8Array): Promise<void> {
    await this.#flush();
    await this.#write(bytes);
  }

  /** Which bytes of the next part are the slice's. Absent: all. */
  async keep(kept: SlicePart["kept"]): Promise<void> {
    const isTrimmed = this.#takeBytes !== Number.POSITIVE_INFINITY;
    if (kept !== undefined || isTrimmed) await this.#flush();
    this.#skipBytes = kept?.skipBytes ?? 0;
    this.#takeBytes = kept?.takeBytes ?? Number.POSITIVE_INFINITY;
  }

  /** Writes what is left. The SHA-256 of all bytes. */
  async finish(): Promise<string> {
    await this.#flush();
    return this.#hash.digest("hex");
  }

  async #flush(): Promise<void> {
    if (this.#filled === 0) return;
    const bytes = await this.#arena.download(this.#window, this.#filled);
    const from = Math.min(this.#skipBytes, this.#filled);
    const to = Math.min(this.#filled, from + this.#takeBytes);
    this.#skipBytes -= from;
    this.#takeBytes -= to - from;
    this.#filled = 0;
    if (to > from) await this.#write(bytes.subarray(from, to));
    await this.#pause();
  }

  async #write(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    await this.#target.write(this.#offsetBytes, bytes);
    this.#offsetBytes += bytes.length;
    this.bytesWritten += bytes.length;
  }
}
