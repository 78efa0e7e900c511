import { LANES_BYTES } from "./lanes";
import { highLanes, isKept, lowLanes } from "./mask-bits";

/** What is summed, as types, so that the loop is compiled once for each (see formats.ts). */
type L1 = i8;
type L2 = i16;
type LInf = i32;

export const enum Kind {
  L1 = 0,
  L2 = 1,
  LInf = 2,
}

/**
 * Size of d before and after the mask, in eight f64 lanes of each block (lanes.ts). L1: sums of |d|; L2: of d * d; LInf: largest |d|,
 * NaN passed over. all, kept: f64[blocks, 8], updated; d: f32[n]; mask: bits, or 0 for everything.
 */
export function magnitudes(
  all: usize,
  kept: usize,
  d: usize,
  mask: usize,
  kind: Kind,
  blockElements: i32,
  n: i32,
): void {
  switch (kind) {
    case Kind.L1:
      return measureBlocks<L1>(all, kept, d, mask, blockElements, n);
    case Kind.L2:
      return measureBlocks<L2>(all, kept, d, mask, blockElements, n);
    default:
      return measureBlocks<LInf>(all, kept, d, mask, blockElements, n);
  }
}

function measureBlocks<K>(all: usize, kept: usize, d: usize, mask: usize, blockElements: i32, n: i32): void {
  for (let done = 0; done < n; done += blockElements) {
    const elements = min<i32>(blockElements, n - done);
    const at = d + ((<usize>done) << 2);
    const bits = mask ? mask + (<usize>done >> 3) : 0;
    // The bits of a block that begins inside of a byte are taken one by one: rows of an odd length, on other devices than this.
    const bit = mask ? done & 7 : 0;
    if (bit == 0) measure<K>(all, kept, at, bits, elements);
    else measureOnes<K>(all, kept, at, bits, bit, 0, elements);
    all += LANES_BYTES;
    kept += LANES_BYTES;
  }
}

function measure<K>(all: usize, kept: usize, d: usize, mask: usize, n: i32): void {
  let all01 = v128.load(all);
  let all23 = v128.load(all, 16);
  let all45 = v128.load(all, 32);
  let all67 = v128.load(all, 48);
  let kept01 = v128.load(kept);
  let kept23 = v128.load(kept, 16);
  let kept45 = v128.load(kept, 32);
  let kept67 = v128.load(kept, 48);
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const at = d + ((<usize>k) << 2);
    const low = f32x4.abs(v128.load(at));
    const high = f32x4.abs(v128.load(at, 16));
    all01 = join<K>(all01, lowerHalf(low));
    all23 = join<K>(all23, upperHalf(low));
    all45 = join<K>(all45, lowerHalf(high));
    all67 = join<K>(all67, upperHalf(high));
    const byte = mask ? <i32>load<u8>(mask + (<usize>k >> 3)) : 0xff;
    // What is dropped counts as 0, which changes neither a sum nor a maximum of magnitudes.
    const keptLow = v128.and(low, lowLanes(byte));
    const keptHigh = v128.and(high, highLanes(byte));
    kept01 = join<K>(kept01, lowerHalf(keptLow));
    kept23 = join<K>(kept23, upperHalf(keptLow));
    kept45 = join<K>(kept45, lowerHalf(keptHigh));
    kept67 = join<K>(kept67, upperHalf(keptHigh));
  }
  v128.store(all, all01);
  v128.store(all, all23, 16);
  v128.store(all, all45, 32);
  v128.store(all, all67, 48);
  v128.store(kept, kept01);
  v128.store(kept, kept23, 16);
  v128.store(kept, kept45, 32);
  v128.store(kept, kept67, 48);
  measureOnes<K>(all, kept, d, mask, 0, k, n);
}

/** Elements [k, n), whose mask bits begin at this one. */
function measureOnes<K>(all: usize, kept: usize, d: usize, mask: usize, bit: i32, k: i32, n: i32): void {
  for (; k < n; k++) {
    const magnitude = f64x2.splat(<f64>abs<f32>(load<f32>(d + ((<usize>k) << 2))));
    const lane = (<usize>(k & 7)) << 3;
    v128.store64_lane(all + lane, join<K>(v128.load64_zero(all + lane), magnitude), 0);
    if (isKept(mask, bit + k)) v128.store64_lane(kept + lane, join<K>(v128.load64_zero(kept + lane), magnitude), 0);
  }
}

/** f64x2 of lanes with two more magnitudes. pmax keeps its first operand where the second is NaN. */
function join<K>(lanes: v128, magnitudes: v128): v128 {
  if (sizeof<K>() == sizeof<L1>()) return f64x2.add(lanes, magnitudes);
  if (sizeof<K>() == sizeof<L2>()) return f64x2.add(lanes, f64x2.mul(magnitudes, magnitudes));
  return f64x2.pmax(lanes, magnitudes);
}

function lowerHalf(x: v128): v128 {
  return f64x2.promote_low_f32x4(x);
}

function upperHalf(x: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<i64>(x, x, 1, 1));
}
