import type { Address, Kernels } from "../kernels.ts";
import { deltas } from "./conversion.ts";
import type { Memory } from "./memory.ts";

const SIGN_CLEARED = 0x7fffffff;

/** |d| as u32: for numbers, ascending bits are ascending magnitudes. */
export function magnitudeBits(memory: Memory, d: Address, n: number): Uint32Array {
  return memory.u32(d, n).map((bits) => bits & SIGN_CLEARED);
}

export function bitsOfMagnitudes(values: Float32Array): Uint32Array {
  return new Uint32Array(values.slice().buffer).map((bits) => bits & SIGN_CLEARED);
}

export function orderKernels(memory: Memory): Pick<Kernels, "bracket" | "bracketDelta" | "histogram" | "select"> {
  function bracket(
    counts: Address,
    collected: Address,
    capacity: number,
    magnitudes: Uint32Array,
    lo: number,
    hi: number,
  ) {
    const tally = memory.u32(counts, 5);
    const room = memory.u32(collected, capacity);
    for (const bits of magnitudes) {
      if (bits < lo) tally[0]!++;
      else if (bits === lo) tally[1]!++;
      else if (bits < hi) {
        if (tally[2]! < capacity) room[tally[2]!] = bits;
        tally[2]!++;
      } else if (bits === hi) tally[3]!++;
      else tally[4]!++;
    }
  }

  return {
    bracket(counts, collected, capacity, d, lo, hi, n) {
      bracket(counts, collected, capacity, magnitudeBits(memory, d, n), lo, hi);
    },

    bracketDelta(counts, collected, capacity, model, dtype, base, lo, hi, n) {
      bracket(counts, collected, capacity, bitsOfMagnitudes(deltas(memory, model, dtype, base, n)), lo, hi);
    },

    histogram(bins, d, lo, shift, binCount, n) {
      const counts = memory.u32(bins, binCount + 2);
      for (const bits of magnitudeBits(memory, d, n)) {
        const bin = Math.floor((bits - lo) / 2 ** shift);
        counts[bits < lo ? 0 : 1 + Math.min(bin, binCount)]!++;
      }
    },

    select(result, values, k, n) {
      const sorted = memory.u32(values, n).sort();
      const selected = sorted[k]!;
      const below = sorted.indexOf(selected);
      memory.u32(result, 3).set([selected, below, sorted.lastIndexOf(selected) - below + 1]);
    },
  };
}
