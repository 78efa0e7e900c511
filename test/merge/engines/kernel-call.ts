import type { Address, Arena, Kernels } from "../../../merge/engines/index.ts";

/** In f32 and f64 buffers every NaN counts as the same one (kernels.ts leaves payloads open), but see `strictNaN`. */
export type TypedBuffer = Uint8Array | Uint16Array | Uint32Array | Float32Array | Float64Array;

/** One call of one kernel: what lies in memory before, and the call itself. */
export interface KernelCall<Name extends string = string> {
  readonly buffers: Readonly<Record<Name, TypedBuffer>>;
  /** Elements by which each buffer starts after the address that `allocate` gave: loads need not be aligned. */
  readonly shift: number;
  /** For kernels whose NaNs are fixed to the bit. */
  readonly strictNaN?: boolean;
  /** Bytes of scratch that the arena asks for; what is left in it does not matter. */
  readonly scratchBytes?: (arena: Arena) => number;
  readonly call: (kernels: Kernels, at: Readonly<Record<Name, Address>>, scratch: Address) => void;
}

/** Bytes before and after each buffer that must come back as they were. */
const GUARD = 64;
const GUARD_BYTE = 0xa7;

/**
 * Runs the call in fresh memory and gives the bits of every buffer after it, as hexadecimal or numbers: inputs too, since
 * kernels do not write them. @throws Error where a kernel wrote outside of its buffers
 */
export async function bitsAfter<Name extends string>(
  arena: Arena,
  { buffers, shift, strictNaN, scratchBytes, call }: KernelCall<Name>,
): Promise<Record<Name, number[]>> {
  const scope = arena.scope();
  const scratch = new Uint8Array(scratchBytes?.(arena) ?? 0);
  const entries = Object.entries<TypedBuffer>({ ...buffers, scratch }).map(([name, content]) => {
    const before = GUARD + (name === "scratch" ? 0 : shift) * content.BYTES_PER_ELEMENT;
    const sizeBytes = before + content.byteLength + GUARD;
    return { name, content, before, sizeBytes, start: arena.allocate(sizeBytes) };
  });
  // Only now: a view is good until the next allocation.
  for (const { content, before, sizeBytes, start } of entries) {
    const staging = arena.staging(start, sizeBytes);
    staging.bytes.fill(GUARD_BYTE);
    staging.bytes.set(new Uint8Array(content.buffer, content.byteOffset, content.byteLength), before);
    staging.send();
  }
  const at = Object.fromEntries(entries.map(({ name, start, before }) => [name, start + before]));
  call(arena.kernels, at as Record<Name, Address>, at.scratch!);
  const after: Record<string, number[]> = {};
  const downloads = entries.map(async ({ start, sizeBytes }) => (await arena.download(start, sizeBytes)).slice());
  const found = await Promise.all(downloads);
  for (const [k, { name, content, before }] of entries.entries()) {
    const bytes = found[k]!;
    const end = before + content.byteLength;
    const isTouched = (byte: number): boolean => byte !== GUARD_BYTE;
    if (bytes.subarray(0, before).some(isTouched)) throw new Error(`${arena.device.name} wrote before ${name}`);
    if (bytes.subarray(end).some(isTouched)) throw new Error(`${arena.device.name} wrote past ${name}`);
    if (name !== "scratch") after[name] = bitsOf(content, bytes.slice(before, end).buffer, strictNaN ?? false);
  }
  scope.end();
  return after as Record<Name, number[]>;
}

/** Bits as u8, u16 or u32; f64 as pairs of u32. */
function bitsOf(like: TypedBuffer, bytes: ArrayBuffer, strictNaN: boolean): number[] {
  if (like instanceof Float64Array) {
    new Float64Array(bytes).forEach((value, k) => {
      if (Number.isNaN(value) && !strictNaN) new Uint32Array(bytes, 8 * k, 2).set([0, 0x7ff80000]);
    });
    return Array.from(new Uint32Array(bytes));
  }
  if (like instanceof Float32Array) {
    const isNaNBits = (bits: number): boolean => (bits & 0x7fffffff) > 0x7f800000;
    return Array.from(new Uint32Array(bytes), (bits) => (isNaNBits(bits) && !strictNaN ? 0x7fc00000 : bits));
  }
  if (like instanceof Uint32Array) return Array.from(new Uint32Array(bytes));
  if (like instanceof Uint16Array) return Array.from(new Uint16Array(bytes));
  return Array.from(new Uint8Array(bytes));
}
