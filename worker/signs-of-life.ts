/**
 * How a thread shows that it lives: a counter in shared memory that rises with every step. A message would need the thread's
 * event loop, which a computing thread seldom comes to, and a hung one never.
 */
export class SignsOfLife {
  readonly #steps: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#steps = new Int32Array(memory, 0, 1);
  }

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(4);
  }

  /** By the thread: one step of work. */
  step(): void {
    Atomics.add(this.#steps, 0, 1);
  }

  /** Steps so far; it wraps around. Two equal values: nothing was done in between. */
  get steps(): number {
    return Atomics.load(this.#steps, 0);
  }
}
