import { EngineError } from "../errors.ts";
import type { Address } from "../kernels.ts";

const ALIGNMENT_BYTES = 64;
const PAGE_BYTES = 65_536;
/** Not all 2^16: the end of the last buffer is an address too, and must fit 32 bits. */
const MAXIMUM_PAGES = 65_535;

/**
 * Buffers at power-of-two distances compete for the same few cache lines, and a load waits for an unrelated store whose address
 * has the same lowest 12 bits. What that costs depends on the processor and the number of buffers: 0.72 ns an element instead of
 * 0.52 in finishElection where bench/kernels was last run, 4 instead of 0.7 for ties on another machine. So each buffer of 4 KiB
 * or more begins 19 lines further on within 4 KiB than the one before; any two of nine in a row are then five lines apart or more.
 */
const STAGGER_PERIOD_BYTES = 4096;
const STAGGER_BYTES = 19 * ALIGNMENT_BYTES;

/** A WebAssembly memory that may grow up to `maximumBytes`, rounded down to whole pages. @throws EngineError `engine/memory` */
export function createMemory(maximumBytes: number): WebAssembly.Memory {
  const maximum = Math.min(MAXIMUM_PAGES, Math.floor(maximumBytes / PAGE_BYTES));
  if (!(maximum >= 1)) {
    throw new EngineError(
      "engine/memory",
      `A limit of ${maximumBytes} bytes leaves no memory: the least is ${PAGE_BYTES}.`,
      {
        hint: "Give it more memory, or fewer threads.",
      },
    );
  }
  return new WebAssembly.Memory({ initial: 1, maximum });
}

/** A stack of buffers in a WebAssembly memory, which grows in `allocate` only and never shrinks. */
export class StackMemory {
  readonly #memory: WebAssembly.Memory;
  readonly #maximumBytes: number;
  #view: Uint8Array;
  #top: number;
  #staggered = 0;

  /** firstByte: what lies below is not ours. */
  constructor(memory: WebAssembly.Memory, maximumBytes: number, firstByte: number) {
    this.#memory = memory;
    this.#maximumBytes = Math.min(MAXIMUM_PAGES, Math.floor(maximumBytes / PAGE_BYTES)) * PAGE_BYTES;
    this.#view = new Uint8Array(memory.buffer);
    this.#top = firstByte;
  }

  allocate(sizeBytes: number): Address {
    const address = this.#place(sizeBytes);
    const end = address + sizeBytes;
    if (end > this.#view.byteLength) this.#grow(end, sizeBytes);
    this.#top = end;
    return address;
  }

  mark(): number {
    return this.#top;
  }

  release(mark: number): void {
    this.#top = mark;
  }

  view(address: Address, sizeBytes: number): Uint8Array {
    return this.#view.subarray(address, address + sizeBytes);
  }

  #place(sizeBytes: number): Address {
    const aligned = Math.ceil(this.#top / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    if (sizeBytes < STAGGER_PERIOD_BYTES) return aligned;
    this.#staggered += 1;
    const wanted = (this.#staggered * STAGGER_BYTES) % STAGGER_PERIOD_BYTES;
    const forward = (wanted - (aligned % STAGGER_PERIOD_BYTES) + STAGGER_PERIOD_BYTES) % STAGGER_PERIOD_BYTES;
    return aligned + forward;
  }

  #grow(endBytes: number, sizeBytes: number): void {
    const fault = `The wasm engine needs ${endBytes} bytes to allocate ${sizeBytes} more; its limit is ${this.#maximumBytes}.`;
    const hint = "Give it more memory, or fewer threads.";
    if (endBytes > this.#maximumBytes) throw new EngineError("engine/memory", fault, { hint });
    try {
      this.#memory.grow(Math.ceil((endBytes - this.#view.byteLength) / PAGE_BYTES));
    } catch (cause) {
      throw new EngineError("engine/memory", `${fault} The system refused to give it that much.`, { hint, cause });
    }
    this.#view = new Uint8Array(this.#memory.buffer);
  }
}
