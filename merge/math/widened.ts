import { f32FromE4m3, f32FromE5m2, f32FromF16 } from "./float-formats.ts";

/** Formats of numbers as files have them, little-endian. */
export type StoredFormat = "F64" | "F32" | "F16" | "BF16" | "F8_E4M3" | "F8_E5M2";

const tables = new Map<StoredFormat, Float32Array>();

/** A fresh array of what these bytes hold as f32: exact, but for F64, which rounds to nearest even. NaNs are of any kind. */
export function widenedToF32(bytes: Uint8Array, format: StoredFormat): Float32Array {
  switch (format) {
    case "F64":
      return Float32Array.from(new Float64Array(aligned(bytes)));
    case "F32":
      return new Float32Array(aligned(bytes));
    case "F16":
      return decoded(new Uint16Array(aligned(bytes)), tableOf(format, 65_536, f32FromF16));
    case "BF16":
      return shifted(new Uint16Array(aligned(bytes)));
    case "F8_E4M3":
      return decoded(bytes, tableOf(format, 256, f32FromE4m3));
    case "F8_E5M2":
      return decoded(bytes, tableOf(format, 256, f32FromE5m2));
  }
}

/** A copy: a typed array begins at a multiple of its elements' size, which bytes within others need not. */
const aligned = (bytes: Uint8Array) => bytes.slice().buffer;

/** A BF16 code is the upper half of the f32. */
function shifted(codes: Uint16Array): Float32Array {
  const bits = new Uint32Array(codes.length);
  for (let k = 0; k < codes.length; k++) bits[k] = codes[k]! << 16;
  return new Float32Array(bits.buffer);
}

function decoded(codes: Uint8Array | Uint16Array, table: Float32Array): Float32Array {
  const values = new Float32Array(codes.length);
  for (let k = 0; k < codes.length; k++) values[k] = table[codes[k]!]!;
  return values;
}

/** What every code stands for; made when it is asked for first. */
function tableOf(format: StoredFormat, codes: number, decode: (code: number) => number): Float32Array {
  const known = tables.get(format);
  if (known !== undefined) return known;
  const table = Float32Array.from({ length: codes }, (_, code) => decode(code));
  tables.set(format, table);
  return table;
}
