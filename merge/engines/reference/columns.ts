import type { Kernels } from "../kernels.ts";
import type { Memory } from "./memory.ts";

const { fround } = Math;

export function columnKernels(memory: Memory): Pick<Kernels, "dotColumns" | "accumulateColumns"> {
  return {
    dotColumns(sums, a, b, firstColumn, columns, blockElements, n) {
      const as = memory.f32(a, n);
      const bs = memory.f32(b, n);
      const results = memory.f64(sums, columns * Math.ceil(n / blockElements));
      for (let k = 0; k < n; k++) {
        const column = (firstColumn + k) % columns;
        results[Math.floor(k / blockElements) * columns + column]! += as[k]! * bs[k]!;
      }
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
