import { bitsOf, storeBits } from "./mask-bits";
import { fillWords } from "./philox";

const CHUNK = 1024;
/** Words of a chunk, up to 3 of its first group before it, and SPARE_WORDS (philox.ts). */
const words = memory.data(4 * (1024 + 64), 16);

/**
 * bit k = word(firstElement + k) < threshold, unsigned. mask: ceil(n / 8) bytes, bits past n are 0. firstElement is an f64 because
 * it reaches 2^34.
 */
export function maskRandom(
  mask: usize,
  seedLow: u32,
  seedHigh: u32,
  model: u32,
  nameLow: u32,
  nameHigh: u32,
  firstElement: f64,
  threshold: u32,
  n: i32,
): void {
  const first = <u64>firstElement;
  const inGroup = <i32>first & 3;
  let group = <u32>(first >> 2);
  // With the sign bit turned over, signed comparison orders unsigned words.
  const threshold4 = i32x4.splat(<i32>(threshold ^ 0x80000000));
  for (let begin = 0; begin < n; begin += CHUNK) {
    const count = min<i32>(CHUNK, n - begin);
    fillWords(words, seedLow, seedHigh, model, nameLow, nameHigh, group, count + inGroup);
    for (let k = 0; k < count; k += 16) {
      const at = words + ((<usize>(k + inGroup)) << 2);
      const bits = bitsOf(
        less(at, threshold4),
        less(at + 16, threshold4),
        less(at + 32, threshold4),
        less(at + 48, threshold4),
      );
      storeBits(mask + (<usize>(begin + k) >> 3), bits, min<i32>(16, count - k));
    }
    group += CHUNK / 4;
  }
}

function less(at: usize, threshold: v128): v128 {
  return i32x4.gt_s(threshold, v128.xor(v128.load(at), i32x4.splat(0x80000000)));
}
