/** So many bytes may be taken at once; who finds no room waits for it, in the order of coming. What is larger than all waits to be alone. */
export class Room {
  readonly #sizeBytes: number;
  #taken = 0;
  readonly #waiting: { readonly bytes: number; readonly begin: () => void }[] = [];

  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
  }

  get takenBytes(): number {
    return this.#taken;
  }

  /** Resolves once there is room, to what gives it back; to be called once. */
  take(bytes: number): Promise<() => void> {
    const wanted = Math.min(bytes, this.#sizeBytes);
    return new Promise((resolve) => {
      const begin = () => {
        this.#taken += wanted;
        resolve(() => {
          this.#taken -= wanted;
          this.#admit();
        });
      };
      this.#waiting.push({ bytes: wanted, begin });
      this.#admit();
    });
  }

  #admit(): void {
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined || this.#taken + next.bytes > this.#sizeBytes) return;
      this.#waiting.shift();
      next.begin();
    }
  }
}
