/*
 * Random words addressed by what they are for, not by the order in which they are drawn: a mask is the same whatever the cuts,
 * the workers and the engine. Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */

/** 64 bits as two u32. */
export interface Halves {
  readonly low: number;
  readonly high: number;
}

export type PhiloxCounter = readonly [number, number, number, number];
export type PhiloxKey = readonly [number, number];

const ROUNDS = 10;
const MULTIPLIERS = [0xd2511f53, 0xcd9e8d57] as const;
/** The golden ratio and sqrt(3) - 1, in 32 bits. */
const KEY_STEPS = [0x9e3779b9, 0xbb67ae85] as const;
const WORD_RANGE = 2 ** 32;

/** Four random u32 for a counter of four and a key of two u32. */
export function philox4x32(counter: PhiloxCounter, key: PhiloxKey): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = highProduct(MULTIPLIERS[0], c0);
    const low0 = Math.imul(MULTIPLIERS[0], c0);
    const high1 = highProduct(MULTIPLIERS[1], c2);
    const low1 = Math.imul(MULTIPLIERS[1], c2);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + KEY_STEPS[0]) | 0;
    k1 = (k1 + KEY_STEPS[1]) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/** The upper 32 bits of a * b, both taken as u32. No intermediate reaches 2^53. */
function highProduct(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + Math.floor((aLow * bLow) / 0x10000);
  return aHigh * bHigh + Math.floor((middle + aLow * bHigh) / 0x10000);
}

/** The u32 that decides about one element. element: flat index in the output tensor, below 2^34. model: see TensorTask's ModelSource.index. */
export function randomWord(
  seedLow: number,
  seedHigh: number,
  nameLow: number,
  nameHigh: number,
  model: number,
  element: number,
): number {
  const words = philox4x32([Math.floor(element / 4), model, nameLow, nameHigh], [seedLow, seedHigh]);
  return words[element % 4]!;
}

/** Words below the threshold keep their element. probability: in [0, 1). @throws RangeError outside */
export function randomThreshold(probability: number): number {
  if (!(probability >= 0 && probability < 1)) {
    throw new RangeError(`A keep probability of ${probability} has no threshold: it must be at least 0 and below 1.`);
  }
  return Math.floor(probability * WORD_RANGE);
}

/**
 * DELLA: one threshold per rank of a row of `columns` elements, ascending; the operations in this order.
 * @throws RangeError unless 0 < density - epsilon and density + epsilon < 1
 */
export function rankedThresholds(density: number, epsilon: number, columns: number): Uint32Array {
  if (!(epsilon >= 0 && density - epsilon > 0 && density + epsilon < 1)) {
    throw new RangeError(`density ${density} with epsilon ${epsilon} reaches outside of 0 to 1 (ends excluded).`);
  }
  if (columns === 1) return Uint32Array.of(randomThreshold(density));
  return Uint32Array.from({ length: columns }, (_, rank) => {
    const probability = density - epsilon + (2 * epsilon * rank) / (columns - 1);
    // The last sum can round up to 1 although density + epsilon does not.
    return Math.min(Math.floor(probability * WORD_RANGE), WORD_RANGE - 1);
  });
}

/** FNV-1a, 64 bits, over the text in UTF-8. */
export function fnv1a64(text: string): Halves {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return halvesOf(hash);
}

const SEED = /^(?:[0-9]{1,40}|0[xX][0-9a-fA-F]{1,40})$/;

/** A whole number from 0 to 2^64 - 1, decimal or hexadecimal (0x), never through a double. @throws RangeError otherwise */
export function parseSeed(text: string): Halves {
  const seed = SEED.test(text) ? BigInt(text) : undefined;
  if (seed === undefined || seed >= 2n ** 64n) {
    throw new RangeError(
      `"${text}" is no random seed: it must be a whole number from 0 to 18446744073709551615, decimal or hexadecimal with 0x.`,
    );
  }
  return halvesOf(seed);
}

function halvesOf(value: bigint): Halves {
  return { low: Number(BigInt.asUintN(32, value)), high: Number(value >> 32n) };
}
