import { randomBytes } from "node:crypto";

/**
 * Finds the second occurrence of a key among many without keeping the keys: 8 bytes a key, in one typed array.
 * The hash is keyed afresh each time (HalfSipHash-1-3, Aumasson and Bernstein), so that nobody can write a file whose
 * names all fall together and take quadratic time.
 */
export class NameSet {
  /** Index + 1; 0 is empty. At most half full. */
  readonly #table: Uint32Array<ArrayBuffer>;
  readonly #mask: number;
  readonly #key0: number;
  readonly #key1: number;

  constructor(capacity: number) {
    const size = 2 ** Math.ceil(Math.log2(Math.max(8, 2 * capacity)));
    this.#table = new Uint32Array(size);
    this.#mask = size - 1;
    const key = randomBytes(8);
    this.#key0 = key.readInt32LE(0);
    this.#key1 = key.readInt32LE(4);
  }

  /** Adds item `index` with this name. Returns the index of the item that `isSame` says has that name, -1 if none. */
  add(name: Uint8Array, nameBytes: number, index: number, isSame: (other: number) => boolean): number {
    let slot = halfSipHash(name, nameBytes, this.#key0, this.#key1) & this.#mask;
    for (;;) {
      const other = (this.#table[slot] ?? 0) - 1;
      if (other < 0) break;
      if (isSame(other)) return other;
      slot = (slot + 1) & this.#mask;
    }
    this.#table[slot] = index + 1;
    return -1;
  }

  /** Gives the memory away, for at least `capacity` numbers of f64. The set is of no more use. */
  intoScratch(): Float64Array<ArrayBuffer> {
    return new Float64Array(this.#table.buffer);
  }
}

function halfSipHash(bytes: Uint8Array, length: number, key0: number, key1: number): number {
  let v0 = key0;
  let v1 = key1;
  let v2 = 0x6c796765 ^ key0;
  let v3 = 0x74656462 ^ key1;
  const round = (): void => {
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
  };
  // The last word holds the length and what is left of the bytes, as in the paper.
  for (let at = 0; at <= length; at += 4) {
    let word = at + 4 > length ? length << 24 : 0;
    for (let k = Math.min(4, length - at) - 1; k >= 0; k--) word |= (bytes[at + k] ?? 0) << (8 * k);
    v3 ^= word;
    round();
    v0 ^= word;
  }
  v2 ^= 0xff;
  round();
  round();
  round();
  return v1 ^ v3;
}
