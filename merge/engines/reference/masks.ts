import { randomWord } from "../../math/index.ts";
import type { Kernels, RandomStream } from "../kernels.ts";
import { writeMask } from "./mask-bits.ts";
import type { Memory } from "./memory.ts";
import { magnitudeBits } from "./order.ts";

function wordOf(stream: RandomStream, element: number): number {
  return randomWord(stream.seedLow, stream.seedHigh, stream.nameLow, stream.nameHigh, stream.model, element);
}

/** rank of each element, ascending, of equals the lower index first. */
function ranksOf(values: Uint32Array): Uint32Array {
  const order = Array.from(values.keys()).sort((i, j) => values[i]! - values[j]! || i - j);
  const ranks = new Uint32Array(values.length);
  order.forEach((k, rank) => {
    ranks[k] = rank;
  });
  return ranks;
}

export function maskKernels(memory: Memory): Pick<Kernels, "maskBand" | "maskRandom" | "maskRanked" | "scaleByRank"> {
  return {
    maskBand(mask, ties, d, lo, loFrom, loTo, hi, hiFrom, hiTo, n) {
      const magnitudes = magnitudeBits(memory, d, n);
      const seen = memory.u32(ties, 2);
      writeMask(memory, mask, n, (k) => {
        const bits = magnitudes[k]!;
        if (bits === lo) {
          const tie = seen[0]!++;
          return tie >= loFrom && tie < loTo;
        }
        if (bits === hi) {
          const tie = seen[1]!++;
          return tie >= hiFrom && tie < hiTo;
        }
        return bits > lo && bits < hi;
      });
    },

    maskRandom(mask, stream, firstElement, threshold, n) {
      writeMask(memory, mask, n, (k) => wordOf(stream, firstElement + k) < threshold);
    },

    maskRanked(mask, d, thresholds, _scratch, stream, firstElement, rows, rowLength) {
      const byRank = memory.u32(thresholds, rowLength);
      let ranks: Uint32Array = new Uint32Array(0);
      writeMask(memory, mask, rows * rowLength, (k) => {
        const column = k % rowLength;
        if (column === 0) ranks = ranksOf(magnitudeBits(memory, d + 4 * k, rowLength));
        return wordOf(stream, firstElement + k) < byRank[ranks[column]!]!;
      });
    },

    scaleByRank(scaled, d, table, _scratch, rows, rowLength) {
      const factors = memory.f32(table, rowLength);
      for (let r = 0; r < rows; r++) {
        const values = memory.f32(d + 4 * r * rowLength, rowLength);
        const results = memory.f32(scaled + 4 * r * rowLength, rowLength);
        const ranks = ranksOf(magnitudeBits(memory, d + 4 * r * rowLength, rowLength));
        for (let k = 0; k < rowLength; k++) results[k] = Math.fround(factors[ranks[k]!]! * values[k]!);
      }
    },
  };
}
