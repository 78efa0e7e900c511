import { createHash, type Hash } from "node:crypto";
import type { SealRange } from "../merge/work/index.ts";

/** SHA-256 of each of several ranges that follow each other from the first byte on, of bytes that come in order. */
export class RangeHashes {
  readonly #ranges: readonly SealRange[];
  readonly #digests: string[] = [];
  #hash: Hash = createHash("sha256");
  #filled = 0;

  constructor(ranges: readonly SealRange[]) {
    this.#ranges = ranges;
    this.#take();
  }

  update(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const range = this.#ranges[this.#digests.length];
      if (range === undefined) return; // what is behind the last
      const length = Math.min(range.sizeBytes - this.#filled, bytes.length - at);
      this.#hash.update(bytes.subarray(at, at + length));
      at += length;
      this.#filled += length;
      this.#take();
    }
  }

  /** Of those that were filled, in order. */
  digests(): readonly string[] {
    return this.#digests;
  }

  #take(): void {
    while (this.#ranges[this.#digests.length]?.sizeBytes === this.#filled) {
      this.#digests.push(this.#hash.digest("hex"));
      this.#hash = createHash("sha256");
      this.#filled = 0;
    }
  }
}
