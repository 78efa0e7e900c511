/**
 * How a thread shows that it lives: a counter in shared memory that rises with every step. A message would need the thread's
 * event loop, which a computing thread seldom comes to, and a hung one never.
 */
export class SignsOfLife {
  readonly #steps: Int32Array;
  readonly #bytes: BigInt64Array;

  constructor(memory: SharedArrayBuffer) {
    this.#bytes = new BigInt64Array(memory, 0, 1);
    this.#steps = new Int32Array(memory, 8, 1);
  }

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(16);
  }

  /** By the thread: one step of work, which moved this many bytes. */
  step(bytes: number): void {
    Atomics.add(this.#steps, 0, 1);
    Atomics.add(this.#bytes, 0, BigInt(bytes));
  }

  /** Steps so far; it wraps around. Two equal values: nothing was done in between. */
  get steps(): number {
    return Atomics.load(this.#steps, 0);
  }

  /** Bytes that the thread has moved since it began. */
  get bytes(): number {
    return Number(Atomics.load(this.#bytes, 0));
  }
}
