import type { PlainData } from "../merge/work/index.ts";
import { Data } from "../proto/index.ts";
import { messageOf, numbersOf, plainOf } from "./data.ts";
import { malformed } from "./errors.ts";
import { numberOf } from "./numbers.ts";

/** Data apart from the bytes of its arrays, which are views of it. */
export interface PackedData {
  /** Encoded. */
  readonly structure: Uint8Array;
  readonly arrays: readonly Uint8Array[];
  readonly arrayBytes: number;
}

/** For data of any size: no second copy of the arrays is made. */
export function packedData(value: PlainData): PackedData {
  const arrays: Buffer[] = [];
  let arrayBytes = 0;
  const message = messageOf(value, 0, (bytes) => {
    arrays.push(bytes);
    arrayBytes += bytes.length;
    return { bytes: Buffer.alloc(0), followingBytes: BigInt(bytes.length) };
  });
  return { structure: Data.encode(message).finish(), arrays, arrayBytes };
}

/** About the bytes that data takes in a message, without its being encoded. */
export function dataBytes(value: unknown): number {
  if (typeof value === "string") return value.length + 8;
  if (typeof value !== "object" || value === null) return 12;
  if (ArrayBuffer.isView(value)) return value.byteLength + 12;
  let bytes = 8;
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + dataBytes(item) + 4, bytes);
  for (const [name, item] of Object.entries(value)) bytes += name.length + 8 + dataBytes(item);
  return bytes;
}

/** Puts data together from pieces that were cut anywhere. @throws WireError `wire/malformed` */
export class DataIntake {
  readonly #structure: Uint8Array;
  readonly #arrayBytes: number;
  #got = 0;
  #value: PlainData = null;
  #places: Uint8Array[] = [];
  #next = 0;
  /** Of the place that is being filled. */
  #at = 0;

  /** As the other end says. Memory is taken only as bytes come, but for arrays, which the system gives out as they are filled. */
  constructor(structureBytes: number, arrayBytes: number) {
    this.#structure = room(structureBytes);
    this.#arrayBytes = arrayBytes;
    if (structureBytes === 0) throw malformed("data without a structure");
  }

  write(piece: Uint8Array): void {
    let rest = piece;
    const missing = this.#structure.length - this.#got;
    if (missing > 0) {
      const part = rest.subarray(0, missing);
      this.#structure.set(part, this.#got);
      this.#got += part.length;
      rest = rest.subarray(part.length);
      if (this.#got === this.#structure.length) this.#begin();
    }
    while (rest.length > 0) {
      const place = this.#places[this.#next];
      if (place === undefined) throw malformed("more bytes than its arrays have");
      const part = rest.subarray(0, place.length - this.#at);
      place.set(part, this.#at);
      this.#at += part.length;
      rest = rest.subarray(part.length);
      if (this.#at < place.length) continue;
      this.#next++;
      this.#at = 0;
    }
  }

  finish(): PlainData {
    if (this.#got < this.#structure.length || this.#next < this.#places.length) throw malformed("data without its end");
    return this.#value;
  }

  #begin(): void {
    let left = this.#arrayBytes;
    const places: Uint8Array[] = [];
    this.#value = plainOf(decoded(this.#structure), 0, ({ type, bytes, followingBytes }) => {
      const size = numberOf(followingBytes, "a size");
      if (bytes.length > 0 || size > left) throw malformed(`an array of ${size} bytes where ${left} are left`);
      left -= size;
      const place = room(size);
      if (size > 0) places.push(place);
      return numbersOf(type, place.buffer);
    });
    if (left > 0) throw malformed(`${left} bytes that belong to no array`);
    this.#places = places;
  }
}

function decoded(bytes: Uint8Array): Data {
  try {
    return Data.decode(bytes);
  } catch (cause) {
    throw malformed(`data that cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

function room(sizeBytes: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(sizeBytes);
  } catch {
    throw malformed(`data of ${sizeBytes} bytes`);
  }
}
