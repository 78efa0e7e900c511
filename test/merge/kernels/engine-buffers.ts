import type { Address } from "../../../merge/engines/kernels.ts";
import { WasmDevice } from "../../../merge/engines/wasm/index.ts";

/** One arena for a test file; `within` gives its memory back. */
export const arena = new WasmDevice().open(256 * 2 ** 20);
export const kernels = arena.kernels;

type Data = ArrayBufferView & { readonly buffer: ArrayBufferLike };

/** Bytes around a buffer that no kernel may change. */
const GUARD_BYTES = 64;
const GUARD = 0xa5;

/** A buffer with the data in it, between guards. */
export function put(data: Data): Address {
  const address = guarded(data.byteLength);
  arena.staging(address, data.byteLength).bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return address;
}

const guards: Address[] = [];

/** A buffer of garbage between guards. */
export function guarded(sizeBytes: number): Address {
  const start = arena.allocate(sizeBytes + 2 * GUARD_BYTES);
  arena.staging(start, sizeBytes + 2 * GUARD_BYTES).bytes.fill(GUARD);
  guards.push(start, start + GUARD_BYTES + sizeBytes);
  return start + GUARD_BYTES;
}

/** Runs with a stack of its own, and looks at the guards afterwards. */
export function within<T>(work: () => T): T {
  const scope = arena.scope();
  guards.length = 0;
  const result = work();
  for (const at of guards) {
    const changed = arena.staging(at, GUARD_BYTES).bytes.findIndex((byte) => byte !== GUARD);
    if (changed >= 0) throw new Error(`A kernel wrote outside of its buffers, at byte ${at + changed}.`);
  }
  scope.end();
  return result;
}

const copy = (at: Address, sizeBytes: number): ArrayBuffer =>
  arena.staging(at, sizeBytes).bytes.slice().buffer as ArrayBuffer;
export const u8 = (at: Address, n: number): Uint8Array => new Uint8Array(copy(at, n));
export const u16 = (at: Address, n: number): Uint16Array => new Uint16Array(copy(at, 2 * n));
export const u32 = (at: Address, n: number): Uint32Array => new Uint32Array(copy(at, 4 * n));
export const f32 = (at: Address, n: number): Float32Array => new Float32Array(copy(at, 4 * n));
export const f64 = (at: Address, n: number): Float64Array => new Float64Array(copy(at, 8 * n));

/** Bits to compare by; every NaN counts as the same, as arithmetic does not fix which it is. */
export function bitsOf(values: Float32Array): Uint32Array {
  const bits = new Uint32Array(values.length);
  const exact = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let k = 0; k < values.length; k++) bits[k] = Number.isNaN(values[k]) ? 0x7fc00000 : exact[k]!;
  return bits;
}

export function bitsOfF64(values: Float64Array): BigUint64Array {
  return new BigUint64Array(values.map((value) => (Number.isNaN(value) ? Number.NaN : value)).buffer);
}

/** |d| as it is ranked. */
export function magnitudeBits(d: Float32Array): Uint32Array {
  return new Uint32Array(d.buffer, d.byteOffset, d.length).map((bits) => bits & 0x7fffffff);
}

export function isSet(mask: Uint8Array, k: number): boolean {
  return ((mask[k >> 3]! >> (k & 7)) & 1) === 1;
}

/** 0: nothing; 1, 7: only the tail; 8: one turn of most loops; 9, 15 to 17: around a turn of the others; 1024, 1031: many, and a tail. */
export const lengths = [0, 1, 7, 8, 9, 15, 16, 17, 1024, 1031];
