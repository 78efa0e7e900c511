/** Bytes of one window, as they came: pieces that follow one another. */
export type Pieces = readonly Uint8Array[];

export interface WindowCacheOptions {
  readonly windowBytes: number;
  /** Most bytes of windows that are kept or on their way. One window per reader at least is needed; that is the caller's to see to. */
  readonly capacityBytes: number;
  /** Windows that are fetched ahead of one that is read in sequence. */
  readonly ahead: number;
  fetch(file: string, offsetBytes: number, sizeBytes: number): Promise<Pieces>;
}

interface Window {
  readonly pieces: Promise<Pieces>;
  readonly sizeBytes: number;
}

/**
 * Files that are far away, read in windows: large ones for reading in sequence, fetched ahead; small things that are read again stay.
 * What is kept is bounded; the windows that were not used for longest go first.
 */
export class WindowCache {
  readonly #options: WindowCacheOptions;
  /** In order of their last use. */
  readonly #windows = new Map<string, Window>();
  readonly #lastTouched = new Map<string, number>();
  #bytes = 0;

  constructor(options: WindowCacheOptions) {
    this.#options = options;
  }

  /** Bytes that are kept or on their way. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Fills `into` from `offsetBytes` of a file of `fileBytes`. */
  async read(file: string, fileBytes: number, offsetBytes: number, into: Uint8Array): Promise<void> {
    const { windowBytes } = this.#options;
    let done = 0;
    while (done < into.length) {
      const at = offsetBytes + done;
      const index = Math.floor(at / windowBytes);
      const pending = this.#window(file, fileBytes, index);
      this.#readAhead(file, fileBytes, index);
      const from = at - index * windowBytes;
      const count = Math.min(into.length - done, windowBytes - from);
      copy(await pending, from, into.subarray(done, done + count));
      done += count;
    }
  }

  clear(): void {
    this.#windows.clear();
    this.#lastTouched.clear();
    this.#bytes = 0;
  }

  #readAhead(file: string, fileBytes: number, index: number): void {
    const { windowBytes, ahead } = this.#options;
    const last = this.#lastTouched.get(file);
    this.#lastTouched.set(file, index);
    if (last !== index && last !== index - 1) return;
    for (let k = index + 1; k <= index + ahead && k * windowBytes < fileBytes; k++) {
      this.#window(file, fileBytes, k).catch(() => undefined); // whoever reads it asks again
    }
  }

  #window(file: string, fileBytes: number, index: number): Promise<Pieces> {
    const { windowBytes } = this.#options;
    const key = `${file}@${index}`;
    const known = this.#windows.get(key);
    if (known !== undefined) {
      this.#windows.delete(key);
      this.#windows.set(key, known);
      return known.pieces;
    }
    const sizeBytes = Math.min(windowBytes, fileBytes - index * windowBytes);
    this.#makeRoom(sizeBytes);
    const pieces = this.#options.fetch(file, index * windowBytes, sizeBytes);
    const window = { pieces, sizeBytes };
    this.#windows.set(key, window);
    this.#bytes += sizeBytes;
    // What failed is asked for again by the next read; who waits for it hears of it.
    pieces.catch(() => {
      if (this.#windows.get(key) === window) this.#forget(key, window);
    });
    return pieces;
  }

  #makeRoom(sizeBytes: number): void {
    for (const [key, window] of this.#windows) {
      if (this.#bytes + sizeBytes <= this.#options.capacityBytes) return;
      this.#forget(key, window);
    }
  }

  #forget(key: string, window: Window): void {
    this.#windows.delete(key);
    this.#bytes -= window.sizeBytes;
  }
}

function copy(pieces: Pieces, offsetBytes: number, into: Uint8Array): void {
  let skip = offsetBytes;
  let done = 0;
  for (const piece of pieces) {
    if (skip >= piece.length) {
      skip -= piece.length;
      continue;
    }
    const part = piece.subarray(skip, skip + into.length - done);
    into.set(part, done);
    done += part.length;
    skip = 0;
    if (done === into.length) return;
  }
  throw new Error(`a window ended ${into.length - done} bytes before what was asked of it`);
}
