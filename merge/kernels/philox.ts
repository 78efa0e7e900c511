/*
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) as docs/spec/random.md fixes it.
 * Four calls run side by side, one a lane; a vector holds one word of the counter for all four.
 */

const M0: u32 = 0xd2511f53;
const M1: u32 = 0xcd9e8d57;
const STEP0: u32 = 0x9e3779b9;
const STEP1: u32 = 0xbb67ae85;
/** Calls a turn: two vectors of four, whose chains of multiplications overlap. */
const CALLS = 8;

/** fillWords writes whole turns: up to this many words beyond those asked for. */
export const SPARE_WORDS: i32 = 4 * CALLS;

/**
 * words (u32): those of calls firstGroup, firstGroup + 1, ..., four a call, in the order of the elements, at least `count` of
 * them, rounded up to whole turns.
 * Only c0 differs from call to call, so that in the first round one product, and in the second the other, is the same for all.
 */
export function fillWords(
  words: usize,
  seedLow: u32,
  seedHigh: u32,
  model: u32,
  nameLow: u32,
  nameHigh: u32,
  firstGroup: u32,
  count: i32,
): void {
  // First round, the half that depends on c2 = nameLow alone.
  const p1 = <u64>M1 * <u64>nameLow;
  const c0AfterFirst = <u32>(p1 >> 32) ^ model ^ seedLow;
  const c1AfterFirst = <u32>p1;
  const c2Mask = i32x4.splat(<i32>(nameHigh ^ seedHigh));
  // Second round, the half that depends on that c0.
  const p0 = <u64>M0 * <u64>c0AfterFirst;
  const c0Mask = i32x4.splat(<i32>(c1AfterFirst ^ (seedLow + STEP0)));
  const c2Word = i32x4.splat(<i32>(<u32>(p0 >> 32) ^ (seedHigh + STEP1)));
  const c3Word = i32x4.splat(<i32>(<u32>p0));

  const m0 = i32x4.splat(<i32>M0);
  const m1 = i32x4.splat(<i32>M1);
  const step0 = i32x4.splat(<i32>STEP0);
  const step1 = i32x4.splat(<i32>STEP1);
  const thirdKey0 = i32x4.splat(<i32>(seedLow + 2 * STEP0));
  const thirdKey1 = i32x4.splat(<i32>(seedHigh + 2 * STEP1));
  let group = i32x4.add(i32x4.splat(<i32>firstGroup), i32x4(0, 1, 2, 3));

  for (let done = 0; done < count; done += 4 * CALLS) {
    const group2 = i32x4.add(group, i32x4.splat(4));
    // Rounds one and two.
    let low = i64x2.extmul_low_i32x4_u(group, m0);
    let high = i64x2.extmul_high_i32x4_u(group, m0);
    let low2 = i64x2.extmul_low_i32x4_u(group2, m0);
    let high2 = i64x2.extmul_high_i32x4_u(group2, m0);
    let c2 = v128.xor(upperWords(low, high), c2Mask);
    let c3 = lowerWords(low, high);
    let d2 = v128.xor(upperWords(low2, high2), c2Mask);
    let d3 = lowerWords(low2, high2);
    low = i64x2.extmul_low_i32x4_u(c2, m1);
    high = i64x2.extmul_high_i32x4_u(c2, m1);
    low2 = i64x2.extmul_low_i32x4_u(d2, m1);
    high2 = i64x2.extmul_high_i32x4_u(d2, m1);
    let c0 = v128.xor(upperWords(low, high), c0Mask);
    let c1 = lowerWords(low, high);
    let d0 = v128.xor(upperWords(low2, high2), c0Mask);
    let d1 = lowerWords(low2, high2);
    c2 = v128.xor(c3, c2Word);
    d2 = v128.xor(d3, c2Word);
    c3 = c3Word;
    d3 = c3Word;
    let key0 = thirdKey0;
    let key1 = thirdKey1;
    for (let round = 2; round < 10; round++) {
      low = i64x2.extmul_low_i32x4_u(c0, m0);
      high = i64x2.extmul_high_i32x4_u(c0, m0);
      const oldC1 = c1;
      const lowerC = i64x2.extmul_low_i32x4_u(c2, m1);
      const upperC = i64x2.extmul_high_i32x4_u(c2, m1);
      c0 = v128.xor(v128.xor(upperWords(lowerC, upperC), oldC1), key0);
      c1 = lowerWords(lowerC, upperC);
      c2 = v128.xor(v128.xor(upperWords(low, high), c3), key1);
      c3 = lowerWords(low, high);
      low2 = i64x2.extmul_low_i32x4_u(d0, m0);
      high2 = i64x2.extmul_high_i32x4_u(d0, m0);
      const oldD1 = d1;
      const lowerD = i64x2.extmul_low_i32x4_u(d2, m1);
      const upperD = i64x2.extmul_high_i32x4_u(d2, m1);
      d0 = v128.xor(v128.xor(upperWords(lowerD, upperD), oldD1), key0);
      d1 = lowerWords(lowerD, upperD);
      d2 = v128.xor(v128.xor(upperWords(low2, high2), d3), key1);
      d3 = lowerWords(low2, high2);
      key0 = i32x4.add(key0, step0);
      key1 = i32x4.add(key1, step1);
    }
    storeTransposed(words, c0, c1, c2, c3);
    storeTransposed(words + 64, d0, d1, d2, d3);
    words += 16 * CALLS;
    group = i32x4.add(group, i32x4.splat(CALLS));
  }
}

/** Of two vectors of u64 products the lower halves, as u32x4. */
function lowerWords(low: v128, high: v128): v128 {
  return v128.shuffle<i32>(low, high, 0, 2, 4, 6);
}

function upperWords(low: v128, high: v128): v128 {
  return v128.shuffle<i32>(low, high, 1, 3, 5, 7);
}

/** Vectors by word of the call become vectors by call. */
function storeTransposed(at: usize, w0: v128, w1: v128, w2: v128, w3: v128): void {
  const low01 = v128.shuffle<i32>(w0, w1, 0, 4, 1, 5);
  const low23 = v128.shuffle<i32>(w2, w3, 0, 4, 1, 5);
  const high01 = v128.shuffle<i32>(w0, w1, 2, 6, 3, 7);
  const high23 = v128.shuffle<i32>(w2, w3, 2, 6, 3, 7);
  v128.store(at, v128.shuffle<i64>(low01, low23, 0, 2));
  v128.store(at, v128.shuffle<i64>(low01, low23, 1, 3), 16);
  v128.store(at, v128.shuffle<i64>(high01, high23, 0, 2), 32);
  v128.store(at, v128.shuffle<i64>(high01, high23, 1, 3), 48);
}
