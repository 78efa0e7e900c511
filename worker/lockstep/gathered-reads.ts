import { setImmediate } from "node:timers";

/** What was read last stays for those who come a little later. */
const KEPT_BYTES = 16 * 1024 * 1024;

/** Fills `into` from a file. */
export type ReadFile = (into: Uint8Array) => Promise<void>;

interface Waiting {
  readonly into: Uint8Array;
  readonly read: ReadFile;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Reads that several merges make of the same files, made once. A read waits until the event loop has come round, so that merges
 * which go through the same tensors ask for the same range together: this also keeps them in step. What was read last is kept for
 * those who come late.
 */
export class GatheredReads {
  readonly #waiting = new Map<string, Waiting[]>();
  /** Who waits for what is being read; who asks for it meanwhile waits with them. */
  readonly #reading = new Map<string, Waiting[]>();
  readonly #kept = new Map<string, Uint8Array>();
  #keptBytes = 0;
  /** Bytes that came from files. */
  bytesRead = 0;

  /** `key`: names the file and its state; equal keys, equal bytes. */
  read(key: string, offsetBytes: number, into: Uint8Array, read: ReadFile): Promise<void> {
    const range = `${key}/${offsetBytes}/${into.length}`;
    return new Promise((resolve, reject) => {
      if (this.#waiting.size === 0) setImmediate(() => this.#flush());
      const waiting = this.#waiting.get(range) ?? [];
      waiting.push({ into, read, resolve, reject });
      this.#waiting.set(range, waiting);
    });
  }

  /** All at once: what is far is many requests, and where reading blocks the thread they are made one after the other anyway. */
  #flush(): void {
    const ranges = [...this.#waiting];
    this.#waiting.clear();
    for (const [range, waiting] of ranges) {
      const reading = this.#reading.get(range);
      if (reading === undefined) void this.#fill(range, waiting);
      else reading.push(...waiting);
    }
  }

  async #fill(range: string, waiting: Waiting[]): Promise<void> {
    const [first] = waiting;
    if (first === undefined) return;
    this.#reading.set(range, waiting);
    try {
      let bytes = this.#kept.get(range);
      if (bytes === undefined) {
        await first.read(first.into);
        this.bytesRead += first.into.length;
        bytes = first.into;
        this.#keep(range, bytes);
      }
      for (const { into } of waiting) if (into !== bytes) into.set(bytes);
      for (const { resolve } of waiting) resolve();
    } catch (error) {
      for (const { reject } of waiting) reject(error);
    } finally {
      this.#reading.delete(range);
    }
  }

  #keep(range: string, bytes: Uint8Array): void {
    if (bytes.length > KEPT_BYTES) return;
    this.#kept.set(range, bytes.slice());
    this.#keptBytes += bytes.length;
    for (const [oldest, kept] of this.#kept) {
      if (this.#keptBytes <= KEPT_BYTES) return;
      this.#kept.delete(oldest);
      this.#keptBytes -= kept.length;
    }
  }
}
