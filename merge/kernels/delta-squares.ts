import { BF16, E4M3, E5M2, F16, F32, F64, Format, four, one } from "./formats";
import { addToLane, LANES_BYTES } from "./lanes";
import { highLanes, isKept, lowLanes } from "./mask-bits";

/**
 * lanes[k mod 8] += f64(d) * f64(d) where kept, d = f32(model[k]) - base[k]; nothing where not; blocks apart. lanes: f64[blocks, 8];
 * base: f32[n].
 */
export function deltaSquares(
  lanes: usize,
  model: usize,
  dtype: Format,
  base: usize,
  mask: usize,
  blockElements: i32,
  n: i32,
): void {
  switch (dtype) {
    case Format.F64:
      return addBlocks<F64>(lanes, model, base, mask, blockElements, n);
    case Format.F32:
      return addBlocks<F32>(lanes, model, base, mask, blockElements, n);
    case Format.F16:
      return addBlocks<F16>(lanes, model, base, mask, blockElements, n);
    case Format.BF16:
      return addBlocks<BF16>(lanes, model, base, mask, blockElements, n);
    case Format.E4M3:
      return addBlocks<E4M3>(lanes, model, base, mask, blockElements, n);
    default:
      return addBlocks<E5M2>(lanes, model, base, mask, blockElements, n);
  }
}

function addBlocks<T>(lanes: usize, model: usize, base: usize, mask: usize, blockElements: i32, n: i32): void {
  // The compiler leaves `add` a function of its own, its own rest included: loop within loop takes 3 percent longer.
  if (n <= blockElements) return add<T>(lanes, model, base, mask, n);
  for (let done = 0; done < n; done += blockElements) {
    const elements = min<i32>(blockElements, n - done);
    const from = model + <usize>done * sizeof<T>();
    const at = base + ((<usize>done) << 2);
    const bits = mask ? mask + (<usize>done >> 3) : 0;
    // As in magnitudes.ts: bits that begin inside of a byte.
    const bit = mask ? done & 7 : 0;
    if (bit == 0) add<T>(lanes, from, at, bits, elements);
    else addOnes<T>(lanes, from, at, bits, bit, elements);
    lanes += LANES_BYTES;
  }
}

function add<T>(lanes: usize, model: usize, base: usize, mask: usize, n: i32): void {
  let sum01 = v128.load(lanes);
  let sum23 = v128.load(lanes, 16);
  let sum45 = v128.load(lanes, 32);
  let sum67 = v128.load(lanes, 48);
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const from = model + <usize>k * sizeof<T>();
    const at = base + ((<usize>k) << 2);
    let low = f32x4.sub(four<T>(from), v128.load(at));
    let high = f32x4.sub(four<T>(from + 4 * sizeof<T>()), v128.load(at, 16));
    if (mask) {
      const byte = <i32>load<u8>(mask + (<usize>k >> 3));
      if (byte == 0) continue; // a square of 0 changes no sum of squares
      low = v128.and(low, lowLanes(byte));
      high = v128.and(high, highLanes(byte));
    }
    sum01 = f64x2.add(sum01, square(f64x2.promote_low_f32x4(low)));
    sum23 = f64x2.add(sum23, square(f64x2.promote_low_f32x4(v128.shuffle<i64>(low, low, 1, 1))));
    sum45 = f64x2.add(sum45, square(f64x2.promote_low_f32x4(high)));
    sum67 = f64x2.add(sum67, square(f64x2.promote_low_f32x4(v128.shuffle<i64>(high, high, 1, 1))));
  }
  v128.store(lanes, sum01);
  v128.store(lanes, sum23, 16);
  v128.store(lanes, sum45, 32);
  v128.store(lanes, sum67, 48);
  for (; k < n; k++) {
    if (!isKept(mask, k)) continue;
    const d = <f64>(one<T>(model + <usize>k * sizeof<T>()) - load<f32>(base + ((<usize>k) << 2)));
    addToLane(lanes, k, d * d);
  }
}

/** Of a block whose mask bits begin at this one. */
function addOnes<T>(lanes: usize, model: usize, base: usize, mask: usize, bit: i32, n: i32): void {
  for (let k = 0; k < n; k++) {
    if (!isKept(mask, bit + k)) continue;
    const d = <f64>(one<T>(model + <usize>k * sizeof<T>()) - load<f32>(base + ((<usize>k) << 2)));
    addToLane(lanes, k, d * d);
  }
}

function square(values: v128): v128 {
  return f64x2.mul(values, values);
}
