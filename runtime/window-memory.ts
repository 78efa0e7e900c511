import { WINDOW_MAX_BYTES, WINDOW_MIN_BYTES } from "./window-layout.ts";

/** Cut into windows of one size, until all of them are free again. */
interface Slab {
  readonly fromByte: number;
  readonly sizeBytes: number;
  windowBytes: number;
  /** Where free windows begin. */
  free: number[];
}

/**
 * Memory for windows, whose size changes from assignment to assignment and is a power of two: allocated once and at once, and cut anew. Every
 * 64 MiB of memory that come by themselves begin a collection of garbage; of what is allocated at once the system gives what is written to.
 */
export class WindowMemory {
  readonly #capacityBytes: number;
  #memory: ArrayBuffer | undefined;
  readonly #slabs: Slab[] = [];
  /** Of what was allocated, as much as was ever cut into windows. */
  heldBytes = 0;

  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
  }

  /** Undefined: all of it is taken, or cut into windows of another size that are not free yet. */
  take(windowBytes: number): Uint8Array | undefined {
    const slab = this.#slabFor(windowBytes);
    const at = slab?.free.pop();
    if (at === undefined || this.#memory === undefined) return undefined;
    return new Uint8Array(this.#memory, at, windowBytes);
  }

  /** A window that was taken, or the beginning of one. */
  giveBack({ buffer, byteOffset }: Uint8Array): void {
    if (buffer === this.#memory) this.#slabs[Math.floor(byteOffset / WINDOW_MAX_BYTES)]?.free.push(byteOffset);
  }

  close(): void {
    this.#slabs.length = 0;
    this.#memory = undefined;
    this.heldBytes = 0;
  }

  #slabFor(windowBytes: number): Slab | undefined {
    let free: Slab | undefined;
    for (const slab of this.#slabs) {
      if (slab.windowBytes === windowBytes && slab.free.length > 0) return slab;
      const isFree = slab.free.length === Math.floor(slab.sizeBytes / slab.windowBytes);
      if (slab.sizeBytes >= windowBytes && isFree) free ??= slab;
    }
    free ??= this.#fresh(windowBytes);
    if (free === undefined) return undefined;
    const { fromByte, sizeBytes } = free;
    const count = Math.floor(sizeBytes / windowBytes);
    free.windowBytes = windowBytes;
    free.free = Array.from({ length: count }, (_, k) => fromByte + (count - 1 - k) * windowBytes);
    return free;
  }

  #fresh(windowBytes: number): Slab | undefined {
    const wholeBytes = Math.floor(this.#capacityBytes / WINDOW_MIN_BYTES) * WINDOW_MIN_BYTES;
    const sizeBytes = Math.min(WINDOW_MAX_BYTES, wholeBytes - this.heldBytes);
    if (sizeBytes < windowBytes) return undefined;
    this.#memory ??= new ArrayBuffer(wholeBytes);
    const slab = { fromByte: this.heldBytes, sizeBytes, windowBytes, free: [] };
    this.#slabs.push(slab);
    this.heldBytes += sizeBytes;
    return slab;
  }
}
