/* Masks: bit (k & 7) of byte (k >> 3) belongs to element k. Address 0 stands for a mask that keeps everything. */

/** i32x4 masks of the sixteen sets of four elements: looked up, one takes half the time of comparing with the bits. */
// biome-ignore format: a set a line
const lanesOfSets = memory.data<i32>([
  0, 0, 0, 0,
  -1, 0, 0, 0,
  0, -1, 0, 0,
  -1, -1, 0, 0,
  0, 0, -1, 0,
  -1, 0, -1, 0,
  0, -1, -1, 0,
  -1, -1, -1, 0,
  0, 0, 0, -1,
  -1, 0, 0, -1,
  0, -1, 0, -1,
  -1, -1, 0, -1,
  0, 0, -1, -1,
  -1, 0, -1, -1,
  0, -1, -1, -1,
  -1, -1, -1, -1,
], 16);

/** i32x4 masks of elements 0 .. 3 of a mask byte. */
export function lowLanes(byte: i32): v128 {
  return v128.load(lanesOfSets + ((<usize>(byte & 15)) << 4));
}

/** i32x4 masks of elements 4 .. 7 of a mask byte. */
export function highLanes(byte: i32): v128 {
  return v128.load(lanesOfSets + <usize>(byte & 0xf0));
}

export function isKept(mask: usize, k: i32): bool {
  if (!mask) return true;
  return ((<i32>load<u8>(mask + (<usize>k >> 3)) >> (k & 7)) & 1) != 0;
}

/** 16 bits of four i32x4 masks, the first element lowest. */
export function bitsOf(m0: v128, m1: v128, m2: v128, m3: v128): i32 {
  return i8x16.bitmask(i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(m0, m1), i16x8.narrow_i32x4_s(m2, m3)));
}

/** Writes the mask bits of `elements` <= 16 elements at byte `at`; bits past them in the last byte become 0. */
export function storeBits(at: usize, bits: i32, elements: i32): void {
  const valid = bits & ((1 << elements) - 1);
  if (elements > 8) store<u16>(at, <u16>valid);
  else store<u8>(at, <u8>valid);
}

/** As storeBits at any bit position, the bits before it being written already: those in its byte are kept. */
export function appendBits(mask: usize, position: u64, bits: i32, elements: i32): void {
  const at = mask + <usize>(position >> 3);
  const used = <i32>position & 7;
  const before = used ? <i32>load<u8>(at) & ((1 << used) - 1) : 0;
  const all = before | ((bits & ((1 << elements) - 1)) << used);
  store<u8>(at, <u8>all);
  if (used + elements > 8) store<u8>(at, <u8>(all >> 8), 1);
  if (used + elements > 16) store<u8>(at, <u8>(all >> 16), 2);
}
