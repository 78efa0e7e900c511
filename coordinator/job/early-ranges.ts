/** Of summaries of one job that came before their turn and wait for it, of all its tensors together. */
export const EARLY_BYTES = 256 * 1024 * 1024;

interface Asked {
  readonly bytes: number;
  readonly isDue: () => boolean;
  readonly begin: () => void;
}

/**
 * Which summaries may come, so that those before whose turn others are due take no more memory than this. The others stay where they are:
 * with whoever computed them. What is due always comes, and so does whatever others would wait for for ever.
 */
export class EarlyRanges {
  readonly #limitBytes: number;
  #taken = 0;
  #asked: Asked[] = [];

  constructor(limitBytes = EARLY_BYTES) {
    this.#limitBytes = limitBytes;
  }

  get takenBytes(): number {
    return this.#taken;
  }

  /** Resolves when a summary of so many bytes may come, to what says that it is early no more; safe to repeat. */
  take(bytes: number, isDue: () => boolean): Promise<() => void> {
    return new Promise((resolve) => {
      const begin = () => {
        this.#taken += bytes;
        let isTaken = true;
        resolve(() => {
          if (!isTaken) return;
          isTaken = false;
          this.#taken -= bytes;
          this.look();
        });
      };
      this.#asked.push({ bytes, isDue, begin });
      this.look();
    });
  }

  /** Something has changed on which it may depend whether one is due. */
  look(): void {
    if (this.#asked.length === 0) return;
    const waiting = this.#asked;
    this.#asked = [];
    for (const one of waiting) {
      if (this.#taken + one.bytes <= this.#limitBytes || one.isDue()) one.begin();
      else this.#asked.push(one);
    }
  }
}
