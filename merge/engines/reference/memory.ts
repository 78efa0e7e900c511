import { EngineError } from "../errors.ts";

/** Addresses start here: 0 means "none". */
const FIRST_ADDRESS = 64;
const ALIGNMENT = 64;
/** What fresh memory holds, so that a caller who takes it for zeros is found out: a large number in every format. */
const GARBAGE = 0x6b;

/** One buffer that grows by being copied into a larger one, and a stack of allocations in it. */
export class Memory {
  private buffer = new ArrayBuffer(1 << 16);
  private top = FIRST_ADDRESS;
  private readonly maximumBytes: number;

  constructor(maximumBytes: number) {
    this.maximumBytes = maximumBytes;
  }

  allocate(sizeBytes: number): number {
    const address = Math.ceil(this.top / ALIGNMENT) * ALIGNMENT;
    const end = address + sizeBytes;
    if (end > this.maximumBytes) {
      throw new EngineError(
        "engine/memory",
        `The reference engine needs ${end} bytes to allocate ${sizeBytes} more; its limit is ${this.maximumBytes}.`,
        { hint: "Give it more memory, or fewer threads." },
      );
    }
    if (end > this.buffer.byteLength) this.grow(end);
    new Uint8Array(this.buffer, address, sizeBytes).fill(GARBAGE);
    this.top = end;
    return address;
  }

  mark(): number {
    return this.top;
  }

  release(mark: number): void {
    this.top = mark;
  }

  bytes(address: number, sizeBytes: number): Uint8Array {
    return new Uint8Array(this.buffer, address, sizeBytes);
  }

  u16(address: number, count: number): Uint16Array {
    return new Uint16Array(this.buffer, address, count);
  }

  u32(address: number, count: number): Uint32Array {
    return new Uint32Array(this.buffer, address, count);
  }

  f32(address: number, count: number): Float32Array {
    return new Float32Array(this.buffer, address, count);
  }

  f64(address: number, count: number): Float64Array {
    return new Float64Array(this.buffer, address, count);
  }

  private grow(neededBytes: number): void {
    const larger = new ArrayBuffer(Math.min(this.maximumBytes, Math.max(neededBytes, 2 * this.buffer.byteLength)));
    new Uint8Array(larger).set(new Uint8Array(this.buffer));
    this.buffer = larger;
  }
}
