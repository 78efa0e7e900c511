import { crc32 } from "node:zlib";
import type { StoredFile } from "../storage/index.ts";
import type { Extent } from "./wanted-extents.ts";
import { WINDOW_MIN_BYTES } from "./window-layout.ts";

/** What is there or is not, and is compared: windows are as long as some of them. The last of a stretch is shorter. */
const GRAIN_BYTES = WINDOW_MIN_BYTES;

/** Bytes of an input file that are kept on the local disk once they have come, and where: from byte `at` of the cache on. */
export interface CachedStretch extends Extent {
  readonly at: number;
}

/** What all threads of a process share. */
export interface RangeCacheDescription {
  readonly stretches: readonly CachedStretch[];
  /** Of an unnamed file. */
  readonly descriptor: number;
  /** Of `rangeCacheTable`. */
  readonly table: SharedArrayBuffer;
}

/** Part of what is wanted: in a stretch, or in none. */
interface Piece {
  readonly fromByte: number;
  readonly toByte: number;
  readonly stretch: CachedStretch | undefined;
}

/** In the order in which they are given, those that have room. Each is read in windows that begin where it begins. */
export function layOutCache(
  capacityBytes: number,
  extents: readonly Extent[],
): { readonly stretches: readonly CachedStretch[]; readonly sizeBytes: number } {
  const stretches: CachedStretch[] = [];
  let sizeBytes = 0;
  for (const extent of extents) {
    const room = grainsOf(extent) * GRAIN_BYTES;
    if (sizeBytes + room > capacityBytes || stretches.some((other) => overlap(other, extent))) continue;
    stretches.push({ ...extent, at: sizeBytes });
    sizeBytes += room;
  }
  return { stretches, sizeBytes };
}

/** Two numbers a grain, behind two of all: whether it is there, and its CRC-32. */
export function rangeCacheTable(sizeBytes: number): SharedArrayBuffer {
  return new SharedArrayBuffer(8 * (1 + Math.ceil(sizeBytes / GRAIN_BYTES)));
}

/** Whether something could not be kept: the disk was full, say. From then on nothing more is. */
export function isGivenUp({ table }: Pick<RangeCacheDescription, "table">): boolean {
  return Atomics.load(new Int32Array(table), 0) !== 0;
}

/**
 * What came from far and will be wanted again, on the local disk: where each byte lies is known from the plan, nothing takes the place of
 * anything else. A grain counts once it was written as a whole, by whatever thread, and is compared with its CRC-32 when it is read; one that
 * is damaged counts no more, and is brought again. It lives no longer than the process, so that no crash leaves anything to be trusted.
 */
export class RangeCache {
  readonly #stretches = new Map<string, CachedStretch[]>();
  readonly #table: Int32Array;
  readonly #file: Pick<StoredFile, "read" | "write">;

  constructor(
    { stretches, table }: Omit<RangeCacheDescription, "descriptor">,
    file: Pick<StoredFile, "read" | "write">,
  ) {
    for (const stretch of stretches) {
      const key = `${stretch.input}/${stretch.file}`;
      this.#stretches.set(key, [...(this.#stretches.get(key) ?? []), stretch]);
    }
    for (const list of this.#stretches.values()) list.sort((a, b) => a.fromByte - b.fromByte);
    this.#table = new Int32Array(table);
    this.#file = file;
  }

  /** What is wanted, cut where stretches begin and end. */
  piecesOf({ input, file, fromByte, toByte }: Extent): readonly Piece[] {
    const pieces: Piece[] = [];
    let at = fromByte;
    for (const stretch of this.#stretches.get(`${input}/${file}`) ?? []) {
      if (stretch.toByte <= at || stretch.fromByte >= toByte) continue;
      if (stretch.fromByte > at) pieces.push({ fromByte: at, toByte: stretch.fromByte, stretch: undefined });
      const from = Math.max(at, stretch.fromByte);
      at = Math.min(toByte, stretch.toByte);
      pieces.push({ fromByte: from, toByte: at, stretch });
    }
    if (at < toByte) pieces.push({ fromByte: at, toByte, stretch: undefined });
    return pieces;
  }

  /** Fills `into`; false: it is not there, or not sound. */
  async read(stretch: CachedStretch, fromByte: number, into: Uint8Array): Promise<boolean> {
    const offset = fromByte - stretch.fromByte;
    const end = offset + into.length;
    const lastGrain = Math.ceil(end / GRAIN_BYTES);
    for (let grain = Math.floor(offset / GRAIN_BYTES); grain < lastGrain; grain++)
      if (Atomics.load(this.#table, placeIn(stretch, grain)) !== 1) return false;
    for (let at = offset; at < end; ) {
      const grain = Math.floor(at / GRAIN_BYTES);
      const grainEnd = this.#endOf(stretch, grain);
      if (at === grain * GRAIN_BYTES && grainEnd <= end) {
        // As many whole ones as there are, straight to where they are wanted.
        const to = end === stretch.toByte - stretch.fromByte ? end : Math.floor(end / GRAIN_BYTES) * GRAIN_BYTES;
        if (!(await this.#readGrains(stretch, grain, into.subarray(at - offset, to - offset)))) return false;
        at = to;
      } else {
        const bytes = new Uint8Array(grainEnd - grain * GRAIN_BYTES);
        if (!(await this.#readGrains(stretch, grain, bytes))) return false;
        const to = Math.min(end, grainEnd);
        into.set(bytes.subarray(at - grain * GRAIN_BYTES, to - grain * GRAIN_BYTES), at - offset);
        at = to;
      }
    }
    return true;
  }

  /** Keeps what came, as far as grains are whole. What cannot be written is not kept, and nothing more is. */
  async put(stretch: CachedStretch, fromByte: number, bytes: Uint8Array): Promise<void> {
    const offset = fromByte - stretch.fromByte;
    const first = Math.ceil(offset / GRAIN_BYTES);
    const isEnd = fromByte + bytes.length === stretch.toByte;
    const end = isEnd ? grainsOf(stretch) : Math.floor((offset + bytes.length) / GRAIN_BYTES);
    if (end <= first || Atomics.load(this.#table, 0) !== 0) return;
    const skip = first * GRAIN_BYTES - offset;
    const kept = bytes.subarray(skip, isEnd ? bytes.length : end * GRAIN_BYTES - offset);
    const sums = Array.from({ length: end - first }, (_, k) =>
      crc32(kept.subarray(k * GRAIN_BYTES, (k + 1) * GRAIN_BYTES)),
    );
    try {
      await this.#file.write(stretch.at + first * GRAIN_BYTES, kept);
    } catch {
      Atomics.store(this.#table, 0, 1);
      return;
    }
    for (const [k, sum] of sums.entries()) {
      const at = placeIn(stretch, first + k);
      Atomics.store(this.#table, at + 1, sum | 0);
      Atomics.store(this.#table, at, 1);
    }
  }

  /** Whole grains, the first of them this one. False: one is not sound, and is forgotten. */
  async #readGrains(stretch: CachedStretch, first: number, into: Uint8Array): Promise<boolean> {
    let isRead = true;
    try {
      await this.#file.read(stretch.at + first * GRAIN_BYTES, into);
    } catch {
      isRead = false;
    }
    let isSound = isRead;
    for (let at = 0; at < into.length; at += GRAIN_BYTES) {
      const place = placeIn(stretch, first + at / GRAIN_BYTES);
      if (isRead && Atomics.load(this.#table, place + 1) === (crc32(into.subarray(at, at + GRAIN_BYTES)) | 0)) continue;
      Atomics.store(this.#table, place, 0);
      isSound = false;
    }
    return isSound;
  }

  #endOf({ fromByte, toByte }: CachedStretch, grain: number): number {
    return Math.min(toByte - fromByte, (grain + 1) * GRAIN_BYTES);
  }
}

function placeIn({ at }: CachedStretch, grain: number): number {
  return 2 * (1 + at / GRAIN_BYTES + grain);
}

function grainsOf({ fromByte, toByte }: Extent): number {
  return Math.ceil((toByte - fromByte) / GRAIN_BYTES);
}

function overlap(a: Extent, b: Extent): boolean {
  return a.input === b.input && a.file === b.file && a.fromByte < b.toByte && b.fromByte < a.toByte;
}
