interface Waiting {
  readonly bytes: number;
  readonly begin: () => void;
}

/** Lets so many go on at once, and no more than so many bytes of theirs; whoever comes first goes first. One may be larger than all. */
export class Limiter {
  readonly #most: { readonly count: number; readonly bytes: number };
  readonly #waiting: Waiting[] = [];
  #count = 0;
  #bytes = 0;

  constructor(most: { readonly count: number; readonly bytes?: number }) {
    this.#most = { bytes: Number.POSITIVE_INFINITY, ...most };
  }

  /** Waits for room of `bytes`, calls `act`, and gives the room back when that has ended, however it did. */
  async run<T>(bytes: number, act: () => Promise<T>): Promise<T> {
    await this.#enter(bytes);
    try {
      return await act();
    } finally {
      this.#count--;
      this.#bytes -= bytes;
      this.#admit();
    }
  }

  #enter(bytes: number): Promise<void> {
    return new Promise((begin) => {
      this.#waiting.push({ bytes, begin });
      this.#admit();
    });
  }

  #admit(): void {
    for (let [next] = this.#waiting; next !== undefined; [next] = this.#waiting) {
      const fits = this.#count === 0 || this.#bytes + next.bytes <= this.#most.bytes;
      if (this.#count >= this.#most.count || !fits) return;
      this.#waiting.shift();
      this.#count++;
      this.#bytes += next.bytes;
      next.begin();
    }
  }
}
