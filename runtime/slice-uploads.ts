/** Slices of one worker that are held for a store that is far: one goes up, one is computed. */
export const UPLOADS_MAX = 2;
/** Whoever waits for the network shows so often that it lives. */
const SIGN_MS = 1000;

/** The memory in which slices of one worker wait until their store has them. */
export class SliceUploads {
  readonly #free: Uint8Array[] = [];
  readonly #sending = new Set<Promise<void>>();
  #made = 0;

  /** Memory for a slice; waits for a slice before where there is none. `sign`: called every second meanwhile; what it throws ends the wait. */
  async buffer(sizeBytes: number, sign: () => Promise<void> | undefined): Promise<Uint8Array> {
    while (this.#free.length === 0 && this.#made >= UPLOADS_MAX && this.#sending.size > 0)
      await whileSigning(
        Promise.race(this.#sending).catch(() => undefined),
        sign,
      );
    const known = this.#free.pop();
    if (known !== undefined && known.length >= sizeBytes) return known;
    if (known === undefined) this.#made++;
    return new Uint8Array(sizeBytes);
  }

  /** `sent`: what became of it; then the memory is free. */
  send(buffer: Uint8Array, sent: Promise<unknown>): Promise<void> {
    const over = sent
      .then(() => undefined)
      .finally(() => {
        this.#sending.delete(over);
        this.giveBack(buffer);
      });
    over.catch(() => undefined); // whoever waits for the slice hears of it
    this.#sending.add(over);
    return over;
  }

  giveBack(buffer: Uint8Array): void {
    this.#free.push(buffer);
  }

  /** Resolves once nothing is on its way any more. */
  async over(): Promise<void> {
    await Promise.allSettled(this.#sending);
    this.#free.length = 0;
    this.#made = 0;
  }
}

/** Waits, and lets `sign` be called every second: a thread that waits for the network is not one that hangs. @throws what either throws */
export async function whileSigning<T>(waited: Promise<T>, sign: () => Promise<void> | undefined): Promise<T> {
  for (;;) {
    let timer: NodeJS.Timeout | undefined;
    const later = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), SIGN_MS);
    });
    try {
      const result = await Promise.race([waited.then((value) => ({ value })), later]);
      if (result !== undefined) return result.value;
    } finally {
      clearTimeout(timer);
    }
    await sign();
  }
}
