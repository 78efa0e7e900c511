import { WINDOW_MAX_BYTES, WINDOW_MIN_BYTES } from "./window-layout.ts";

/** Cut into windows of one size, until all of them are free again. */
interface Slab {
  readonly memory: ArrayBuffer;
  windowBytes: number;
  /** Where free windows begin. */
  free: number[];
}

/**
 * Memory for windows, whose size changes from assignment to assignment and is a power of two: allocated once, and cut anew. Fresh memory
 * costs a page fault every 4 KiB, and a collection of garbage every 64 MiB.
 */
export class WindowMemory {
  readonly #capacityBytes: number;
  readonly #slabs = new Map<ArrayBufferLike, Slab>();
  heldBytes = 0;

  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
  }

  /** Undefined: all of it is taken, or cut into windows of another size that are not free yet. */
  take(windowBytes: number): Uint8Array | undefined {
    const slab = this.#slabFor(windowBytes);
    const at = slab?.free.pop();
    return slab === undefined || at === undefined ? undefined : new Uint8Array(slab.memory, at, windowBytes);
  }

  /** A window that was taken, or the beginning of one. */
  giveBack({ buffer, byteOffset }: Uint8Array): void {
    this.#slabs.get(buffer)?.free.push(byteOffset);
  }

  close(): void {
    this.#slabs.clear();
    this.heldBytes = 0;
  }

  #slabFor(windowBytes: number): Slab | undefined {
    let free: Slab | undefined;
    for (const slab of this.#slabs.values()) {
      if (slab.windowBytes === windowBytes && slab.free.length > 0) return slab;
      const { byteLength } = slab.memory;
      if (byteLength >= windowBytes && slab.free.length === Math.floor(byteLength / slab.windowBytes)) free ??= slab;
    }
    free ??= this.#allocated(windowBytes);
    if (free === undefined) return undefined;
    const count = Math.floor(free.memory.byteLength / windowBytes);
    free.windowBytes = windowBytes;
    free.free = Array.from({ length: count }, (_, k) => (count - 1 - k) * windowBytes);
    return free;
  }

  #allocated(windowBytes: number): Slab | undefined {
    const left = Math.min(WINDOW_MAX_BYTES, this.#capacityBytes - this.heldBytes);
    const sizeBytes = Math.floor(left / WINDOW_MIN_BYTES) * WINDOW_MIN_BYTES;
    if (sizeBytes < windowBytes) return undefined;
    const slab = { memory: new ArrayBuffer(sizeBytes), windowBytes, free: [] };
    this.#slabs.set(slab.memory, slab);
    this.heldBytes += sizeBytes;
    return slab;
  }
}
