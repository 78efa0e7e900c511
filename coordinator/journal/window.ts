/** Lets so many calls, of so many bytes together, run at once; the others wait in order. One alone always may. */
export class Window {
  readonly #countMax: number;
  readonly #bytesMax: number;
  #count = 0;
  #bytes = 0;
  readonly #waiting: { readonly bytes: number; readonly go: () => void }[] = [];

  constructor(countMax: number, bytesMax: number) {
    this.#countMax = countMax;
    this.#bytesMax = bytesMax;
  }

  async run<T>(bytes: number, call: () => Promise<T>): Promise<T> {
    if (this.#waiting.length > 0 || !this.#fits(bytes)) {
      await new Promise<void>((go) => this.#waiting.push({ bytes, go }));
    } else {
      this.#take(bytes);
    }
    try {
      return await call();
    } finally {
      this.#count--;
      this.#bytes -= bytes;
      for (let next = this.#waiting[0]; next !== undefined && this.#fits(next.bytes); next = this.#waiting[0]) {
        this.#waiting.shift();
        this.#take(next.bytes);
        next.go();
      }
    }
  }

  #fits(bytes: number): boolean {
    return this.#count === 0 || (this.#count < this.#countMax && this.#bytes + bytes <= this.#bytesMax);
  }

  #take(bytes: number): void {
    this.#count++;
    this.#bytes += bytes;
  }
}
