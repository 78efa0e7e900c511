import { type Dtype, dtypeBytes, isDtype, isOpaqueDtype, type TensorEntry } from "../../checkpoint/index.ts";
import { f32FromBf16, f32FromE4m3, f32FromE5m2, f32FromF16 } from "../../merge/math/index.ts";
import type { Readable } from "../../storage/index.ts";

const CHUNK_ELEMENTS = 1024 * 1024;

export interface TensorDifference {
  /** Same dtype, same bytes. */
  readonly equalBits: boolean;
  /** Largest |a - b|; infinite where one side is NaN or infinite and the other is not the same, NaN where no numbers are made of a dtype. JSON: null. */
  readonly maxDifference: number;
  /** Root of the mean of (a - b)². */
  readonly rmsDifference: number;
  /** Of a and b as vectors; undefined where one of them is zero. Elements that are not finite are left out. */
  readonly cosine: number | undefined;
}

export interface TensorPlace {
  readonly entry: TensorEntry;
  readonly file: Readable;
}

/** Compares two tensors of equal shape as bytes and, if those differ, as numbers in float64, a chunk at a time. */
export async function compareTensors(a: TensorPlace, b: TensorPlace): Promise<TensorDifference> {
  if (a.entry.dtype === b.entry.dtype && (await haveEqualBytes(a, b))) {
    return { equalBits: true, maxDifference: 0, rmsDifference: 0, cosine: 1 };
  }
  const { elementCount } = a.entry;
  // Bytes that differ are all that can be said.
  if (isOpaqueDtype(a.entry.dtype) || isOpaqueDtype(b.entry.dtype))
    return { equalBits: false, maxDifference: Number.NaN, rmsDifference: Number.NaN, cosine: undefined };
  const [left, right] = [new NumberReader(a), new NumberReader(b)];
  let max = 0;
  let [dd, ab, aa, bb] = [0, 0, 0, 0];
  for (let first = 0; first < elementCount; first += CHUNK_ELEMENTS) {
    const count = Math.min(CHUNK_ELEMENTS, elementCount - first);
    const [xs, ys] = [await left.read(first, count), await right.read(first, count)];
    for (let k = 0; k < count; k++) {
      const x = xs[k] ?? 0;
      const y = ys[k] ?? 0;
      if (Number.isFinite(x) && Number.isFinite(y)) {
        const d = x - y;
        if (Math.abs(d) > max) max = Math.abs(d);
        dd += d * d;
        ab += x * y;
        aa += x * x;
        bb += y * y;
      } else if (!Object.is(x, y)) {
        max = Number.POSITIVE_INFINITY;
        dd = Number.POSITIVE_INFINITY;
      }
    }
  }
  const norms = Math.sqrt(aa) * Math.sqrt(bb);
  return {
    equalBits: false,
    maxDifference: max,
    rmsDifference: elementCount === 0 ? 0 : Math.sqrt(dd / elementCount),
    cosine: norms > 0 ? ab / norms : undefined,
  };
}

async function haveEqualBytes(a: TensorPlace, b: TensorPlace): Promise<boolean> {
  const total = a.entry.sizeBytes;
  const chunk = CHUNK_ELEMENTS * 8;
  const [left, right] = [Buffer.alloc(Math.min(chunk, total)), Buffer.alloc(Math.min(chunk, total))];
  for (let at = 0; at < total; at += chunk) {
    const [x, y] = [left.subarray(0, total - at), right.subarray(0, total - at)];
    await Promise.all([a.file.read(a.entry.offsetBytes + at, x), b.file.read(b.entry.offsetBytes + at, y)]);
    if (!x.equals(y)) return false;
  }
  return true;
}

type Numbers = Float64Array | Float32Array;

/** Reads ranges of a tensor as numbers. A 64-bit integer beyond 2^53 loses its last bits. */
class NumberReader {
  readonly #place: TensorPlace;
  readonly #bytes: ArrayBuffer;
  readonly #width: number;
  readonly #decode: (bytes: ArrayBuffer, count: number) => Numbers;

  constructor(place: TensorPlace) {
    this.#place = place;
    const { dtype, elementCount } = place.entry;
    if (!isDtype(dtype)) throw new Error(`${dtype} was compared as numbers`);
    this.#width = dtypeBytes[dtype];
    this.#bytes = new ArrayBuffer(Math.min(CHUNK_ELEMENTS, elementCount) * this.#width);
    this.#decode = decoders[dtype]();
  }

  /** Valid until the next read. */
  async read(first: number, count: number): Promise<Numbers> {
    const { entry, file } = this.#place;
    const width = this.#width;
    await file.read(entry.offsetBytes + first * width, new Uint8Array(this.#bytes, 0, count * width));
    return this.#decode(this.#bytes, count);
  }
}

/** Made per tensor: a decoder may own a table. Typed arrays read little-endian on every platform that Node runs on. */
const decoders: Readonly<Record<Dtype, () => (bytes: ArrayBuffer, count: number) => Numbers>> = {
  F64: () => (bytes, count) => new Float64Array(bytes, 0, count),
  F32: () => (bytes, count) => new Float32Array(bytes, 0, count),
  F16: () => byTable(65_536, f32FromF16),
  BF16: () => byTable(65_536, f32FromBf16),
  F8_E4M3: () => byTable(256, f32FromE4m3),
  F8_E5M2: () => byTable(256, f32FromE5m2),
  I64: () => (bytes, count) => Float64Array.from(new BigInt64Array(bytes, 0, count), Number),
  U64: () => (bytes, count) => Float64Array.from(new BigUint64Array(bytes, 0, count), Number),
  I32: () => (bytes, count) => Float64Array.from(new Int32Array(bytes, 0, count)),
  U32: () => (bytes, count) => Float64Array.from(new Uint32Array(bytes, 0, count)),
  I16: () => (bytes, count) => Float64Array.from(new Int16Array(bytes, 0, count)),
  U16: () => (bytes, count) => Float64Array.from(new Uint16Array(bytes, 0, count)),
  I8: () => (bytes, count) => Float64Array.from(new Int8Array(bytes, 0, count)),
  U8: () => (bytes, count) => Float64Array.from(new Uint8Array(bytes, 0, count)),
  BOOL: () => (bytes, count) => Float64Array.from(new Uint8Array(bytes, 0, count)),
};

/** Narrow formats by looking every code up: decoding one takes much longer. */
function byTable(
  codes: 256 | 65_536,
  decode: (code: number) => number,
): (bytes: ArrayBuffer, count: number) => Numbers {
  const table = tableOf(codes, decode);
  const numbers = new Float32Array(CHUNK_ELEMENTS);
  return (bytes, count) => {
    const view = codes === 256 ? new Uint8Array(bytes, 0, count) : new Uint16Array(bytes, 0, count);
    for (let k = 0; k < count; k++) numbers[k] = table[view[k] ?? 0] ?? 0;
    return numbers;
  };
}

const tables = new Map<(code: number) => number, Float32Array>();

function tableOf(codes: number, decode: (code: number) => number): Float32Array {
  const known = tables.get(decode);
  if (known !== undefined) return known;
  const table = Float32Array.from({ length: codes }, (_, code) => decode(code));
  tables.set(decode, table);
  return table;
}
