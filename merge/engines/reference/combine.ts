import type { FloatDtype } from "../../../checkpoint/index.ts";
import type { Address, Kernels } from "../kernels.ts";
import { deltas } from "./conversion.ts";
import { readMask } from "./mask-bits.ts";
import type { Memory } from "./memory.ts";
import { bitsOfMagnitudes } from "./order.ts";

const { fround } = Math;
const BAND_BYTES = 32;
const TO_THE_END = 0xffffffff;

/** One end of a band: its bits, and which equals of it stay. */
interface End {
  readonly bits: number;
  readonly from: number;
  readonly to: number;
}

/** Whether the equal of an end with this number stays, and whether it could be otherwise for a later one. */
function windowOf({ from, to }: End, seen: number) {
  const isInside = seen >= from && seen < to;
  const change = seen < from && from < to ? from : seen < to ? to : TO_THE_END;
  return { isInside, changes: change !== TO_THE_END };
}

interface Model {
  readonly d: Float32Array;
  readonly isKept: readonly boolean[];
  readonly c: number;
  readonly w: number;
}

export function combineKernels(memory: Memory): Pick<Kernels, "combineBands" | "combineMasked"> {
  function bandMask(band: Address, ties: Address, d: Float32Array): boolean[] {
    const [lo = 0, loFrom = 0, loTo = 0, hi = 0, hiFrom = 0, hiTo = 0] = memory.u32(band, 6);
    const lower = { bits: lo, from: loFrom, to: loTo };
    const upper = { bits: hi, from: hiFrom, to: hiTo };
    const seen = memory.u32(ties, 2);
    const isTieKept = (end: End, column: number) => {
      const { isInside, changes } = windowOf(end, seen[column]!);
      if (changes) seen[column]!++;
      return isInside;
    };
    return Array.from(bitsOfMagnitudes(d), (bits) => {
      if (bits === lo) return isTieKept(lower, 0);
      if (bits === hi) return isTieKept(upper, 1);
      return bits > lo && bits < hi;
    });
  }

  function combine(
    [positive, negative, positiveWeight, negativeWeight]: readonly [Address, Address, Address, Address],
    models: readonly Model[],
    n: number,
  ) {
    const sums = (at: Address) => (at === 0 ? undefined : memory.f32(at, n));
    const up = { sums: memory.f32(positive, n), weights: sums(positiveWeight) };
    const down = { sums: sums(negative), weights: sums(negativeWeight) };
    for (const { d, isKept, c, w } of models) {
      for (let k = 0; k < n; k++) {
        if (!isKept[k]) continue;
        const term = fround(fround(c) * d[k]!);
        if (down.sums === undefined) up.sums[k] = fround(up.sums[k]! + term);
        else if (term > 0) {
          up.sums[k] = fround(up.sums[k]! + term);
          if (up.weights) up.weights[k] = fround(up.weights[k]! + fround(w));
        } else if (term < 0) {
          down.sums[k] = fround(down.sums[k]! + term);
          if (down.weights) down.weights[k] = fround(down.weights[k]! + fround(w));
        }
      }
    }
  }

  const deltasOf = (x: Address, strideBytes: number, dtype: FloatDtype, base: Address, i: number, n: number) =>
    deltas(memory, x + i * strideBytes, dtype, base, n);

  return {
    combineBands(p, q, pw, qw, x, strideBytes, dtype, base, bands, ties, models, n) {
      const of = Array.from({ length: models }, (_, i) => {
        const band = bands + i * BAND_BYTES;
        const d = deltasOf(x, strideBytes, dtype, base, i, n);
        const [c = 0, w = 0] = memory.f32(band + 24, 2);
        return { d, isKept: bandMask(band, ties + 8 * i, d), c, w };
      });
      combine([p, q, pw, qw], of, n);
    },

    combineMasked(p, q, pw, qw, x, strideBytes, dtype, base, masks, maskStrideBytes, factors, models, n) {
      const of = Array.from({ length: models }, (_, i) => {
        const [c = 0, w = 0] = memory.f32(factors + 8 * i, 2);
        const d = deltasOf(x, strideBytes, dtype, base, i, n);
        return { d, isKept: readMask(memory, masks + i * maskStrideBytes, n), c, w };
      });
      combine([p, q, pw, qw], of, n);
    },
  };
}
