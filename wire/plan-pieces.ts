import { gunzipSync, gzipSync } from "node:zlib";
import { type Plan, planBytes } from "../merge/work/index.ts";
import type { ReadPlanResponse } from "../proto/index.ts";
import { CHUNK_BYTES } from "./chunks.ts";
import { malformed } from "./errors.ts";

/** The fastest: a plan repeats itself, and becomes a tenth or less even so (59 MB of text 2.3). */
const LEVEL = 1;

/**
 * The text of a plan as it is kept for workers, small: as it stands it would lie in memory as long as the job runs. Pieces are made when
 * somebody first asks for them, so that a long plan holds nobody up.
 */
export class PlanPieces {
  readonly #texts: Iterator<Uint8Array>;
  readonly #packed: Uint8Array[] = [];

  constructor(plan: Plan) {
    this.#texts = planBytes(plan, CHUNK_BYTES);
  }

  /** As messages, in order. Any number of readers may be under way. */
  *messages(takesGzip: boolean): Generator<ReadPlanResponse> {
    for (let k = 0; ; k++) {
      const packed = this.#packed[k] ?? this.#next();
      if (packed === undefined) return;
      yield takesGzip
        ? { chunk: EMPTY, gzipChunk: Buffer.from(packed.buffer, packed.byteOffset, packed.length) }
        : { chunk: gunzipSync(packed), gzipChunk: EMPTY };
    }
  }

  #next(): Uint8Array | undefined {
    const { value, done } = this.#texts.next();
    if (done === true) return undefined;
    // A copy: what zlib gives back lies in a buffer of 16 KiB and more.
    const packed = Uint8Array.from(gzipSync(value, { level: LEVEL }));
    this.#packed.push(packed);
    return packed;
  }
}

const EMPTY = Buffer.alloc(0);

/** The bytes of text in a message. @throws WireError `wire/malformed` */
export function planTextOf({ chunk, gzipChunk }: ReadPlanResponse): Uint8Array {
  if (gzipChunk.length === 0) return chunk;
  try {
    return gunzipSync(gzipChunk, { maxOutputLength: CHUNK_BYTES });
  } catch (error) {
    throw malformed(`a piece of a plan that is no gzip of up to ${CHUNK_BYTES} bytes: ${(error as Error).message}`);
  }
}
