import type { Kernels } from "../kernels.ts";
import type { Memory } from "./memory.ts";

const { fround } = Math;

export function columnKernels(memory: Memory): Pick<Kernels, "dotColumns" | "accumulateColumns"> {
  return {
    dotColumns(sums, a, b, firstColumn, columns, n) {
      const as = memory.f32(a, n);
      const bs = memory.f32(b, n);
      const results = memory.f64(sums, columns);
      for (let k = 0; k < n; k++) results[(firstColumn + k) % columns]! += as[k]! * bs[k]!;
    },

    accumulateColumns(acc, x, c, first, firstColumn, columns, n) {
      const sums = memory.f32(acc, n);
      const values = memory.f32(x, n);
      const coefficients = memory.f32(c, columns);
      for (let k = 0; k < n; k++) {
        const term = fround(coefficients[(firstColumn + k) % columns]! * values[k]!);
        sums[k] = first ? term : fround(sums[k]! + term);
      }
    },
  };
}
