import { createHash, type Hash } from "node:crypto";
import type { Address, Arena } from "../merge/engines/index.ts";
import type { SlicePart } from "../merge/work/index.ts";
import type { StoredFile } from "../storage/index.ts";
import type { Sink } from "./range-work.ts";

/** Results gather here until they are written: large enough that calls cost nothing, small enough to stay in the caches. */
const WINDOW_BYTES = 1024 * 1024;
/** Most bytes of an element of common outputs: a window takes a whole piece of a device that computes by itself. */
const WIDEST_BYTES = 4;

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

/**
 * A slice's bytes on their way to their place in a shard, or to where they are held, hashed as they go. Where the device computes by
 * itself there are two windows: one fills while the other is fetched, hashed and written.
 */
export class SliceOutput implements Sink {
  readonly #arena: Arena;
  readonly #target: OutputTarget;
  readonly #hash: Hash = createHash("sha256");
  readonly #pause: () => Promise<void>;
  #windows: readonly Address[] = [];
  /** Which of them is being filled. */
  #turn = 0;
  #windowBytes = 0;
  #filled = 0;
  /** Everything that has left a window, in order; the last of it. */
  #leaving: Promise<void> = Promise.resolve();
  /** Settles when the window that is not being filled is free. */
  #other: Promise<void> = Promise.resolve();
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
    const { asynchronous, pieceElements } = this.#arena.device.limits;
    this.#windowBytes = Math.max(WINDOW_BYTES, largestBytes, asynchronous ? pieceElements * WIDEST_BYTES : 0);
    const count = asynchronous ? 2 : 1;
    this.#windows = Array.from({ length: count }, () => this.#arena.allocate(this.#windowBytes));
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
    await this.#leave(async () => bytes);
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
    await this.#leaving;
    return this.#hash.digest("hex");
  }

  /** Whatever became of it: nothing is being written any more. */
  async quiet(): Promise<void> {
    await this.#leaving.catch(() => undefined);
  }

  get #window(): Address {
    const window = this.#windows[this.#turn];
    if (window === undefined) throw new Error("the slice has no window");
    return window;
  }

  /** What fills the window leaves it, and another is there to be filled. */
  async #flush(): Promise<void> {
    if (this.#filled === 0) return;
    const filled = this.#filled;
    const from = Math.min(this.#skipBytes, filled);
    const to = Math.min(filled, from + this.#takeBytes);
    this.#skipBytes -= from;
    this.#takeBytes -= to - from;
    this.#filled = 0;
    const fetched = this.#arena.download(this.#window, filled);
    const left = this.#leave(async () => (await fetched).subarray(from, to));
    this.#turn = (this.#turn + 1) % this.#windows.length;
    await (this.#windows.length === 1 ? left : this.#other);
    this.#other = left;
  }

  /** After all that has left before. */
  #leave(bytes: () => Promise<Uint8Array>): Promise<void> {
    const before = this.#leaving;
    const left = (async () => {
      const piece = await bytes();
      await before;
      if (piece.length === 0) return;
      this.#hash.update(piece);
      await this.#target.write(this.#offsetBytes, piece);
      this.#offsetBytes += piece.length;
      this.bytesWritten += piece.length;
      await this.#pause();
    })();
    left.catch(() => undefined); // whoever comes next hears of it, at the latest `finish`
    this.#leaving = left;
    return left;
  }
}
