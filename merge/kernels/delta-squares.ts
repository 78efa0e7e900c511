import { BF16, E4M3, E5M2, F16, F32, F64, Format, four, one } from "./formats";
import { addToLane } from "./lanes";
import { highLanes, isKept, lowLanes } from "./mask-bits";

/**
 * lanes[k mod 8] += f64(d) * f64(d) where kept, d = f32(model[k]) - base[k]; nothing where not. lanes: f64[8]; base: f32[n].
 */
export function deltaSquares(lanes: usize, model: usize, dtype: Format, base: usize, mask: usize, n: i32): void {
  switch (dtype) {
    case Format.F64:
      return add<F64>(lanes, model, base, mask, n);
    case Format.F32:
      return add<F32>(lanes, model, base, mask, n);
    case Format.F16:
      return add<F16>(lanes, model, base, mask, n);
    case Format.BF16:
      return add<BF16>(lanes, model, base, mask, n);
    case Format.E4M3:
      return add<E4M3>(lanes, model, base, mask, n);
    default:
      return add<E5M2>(lanes, model, base, mask, n);
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

function square(values: v128): v128 {
  return f64x2.mul(values, values);
}
