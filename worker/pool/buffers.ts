/** Smaller buffers are not worth keeping apart. */
const GRAIN_BYTES = 1024 * 1024;

/**
 * The memory in which slices lie between their computation and their place in storage. Bounded, whatever the coordinator hands out;
 * buffers are used again: what the garbage collector would have to free might be gigabytes before it looks.
 */
export class ResultBuffers {
  readonly #limitBytes: number;
  #free: ArrayBuffer[] = [];
  #totalBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Free ones included. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** Undefined: there is none until one is given back. One is always lent, however large: a slice must fit. */
  maybeTake(sizeBytes: number): ArrayBuffer | undefined {
    const fitting = this.#free.find(({ byteLength }) => byteLength >= sizeBytes);
    if (fitting !== undefined) {
      this.#free = this.#free.filter((buffer) => buffer !== fitting);
      return fitting;
    }
    const wanted = Math.max(1, Math.ceil(sizeBytes / GRAIN_BYTES)) * GRAIN_BYTES;
    while (this.#totalBytes + wanted > this.#limitBytes) {
      const dropped = this.#free.pop();
      if (dropped === undefined) break;
      this.#totalBytes -= dropped.byteLength;
    }
    if (this.#totalBytes > 0 && this.#totalBytes + wanted > this.#limitBytes) return undefined;
    this.#totalBytes += wanted;
    return new ArrayBuffer(wanted);
  }

  give(buffer: ArrayBuffer): void {
    this.#free.push(buffer);
  }

  /** A buffer went down with its thread. */
  lost(sizeBytes: number): void {
    this.#totalBytes -= sizeBytes;
  }
}
