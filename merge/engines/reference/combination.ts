import type { Kernels } from "../kernels.ts";
import { widened } from "./conversion.ts";
import type { Memory } from "./memory.ts";

const { fround } = Math;

export function combinationKernels(
  memory: Memory,
): Pick<Kernels, "accumulate" | "accumulateRows" | "accumulateDelta" | "finishDelta" | "addLowRank" | "nearSwap"> {
  return {
    accumulate(acc, x, dtype, c, first, n) {
      const sums = memory.f32(acc, n);
      const values = widened(memory, x, dtype, n);
      for (let k = 0; k < n; k++) {
        const term = fround(fround(c) * values[k]!);
        sums[k] = first ? term : fround(sums[k]! + term);
      }
    },

    accumulateRows(acc, x, dtype, c, first, rows, rowLength) {
      const sums = memory.f32(acc, rows * rowLength);
      const values = widened(memory, x, dtype, rows * rowLength);
      const coefficients = memory.f32(c, rows);
      for (let k = 0; k < rows * rowLength; k++) {
        const term = fround(coefficients[Math.floor(k / rowLength)]! * values[k]!);
        sums[k] = first ? term : fround(sums[k]! + term);
      }
    },

    accumulateDelta(acc, model, dtype, base, c, first, n) {
      const sums = memory.f32(acc, n);
      const models = widened(memory, model, dtype, n);
      const bases = memory.f32(base, n);
      for (let k = 0; k < n; k++) {
        const term = fround(fround(c) * fround(models[k]! - bases[k]!));
        sums[k] = first ? term : fround(sums[k]! + term);
      }
    },

    finishDelta(out, base, acc, divisor, lambda, n) {
      const results = memory.f32(out, n);
      const bases = memory.f32(base, n);
      const sums = memory.f32(acc, n);
      for (let k = 0; k < n; k++) {
        const step = fround(fround(lambda) * fround(sums[k]! / fround(divisor)));
        results[k] = fround(bases[k]! + step);
      }
    },

    addLowRank(values, left, right, scale, rank, columns, first, n) {
      const results = memory.f32(values, n);
      const lefts = memory.f64(left, Math.ceil((first + n) / columns) * rank);
      const rights = memory.f64(right, rank * columns);
      for (let k = 0; k < n; k++) {
        const row = Math.floor((first + k) / columns);
        const column = (first + k) % columns;
        let sum = 0;
        for (let j = 0; j < rank; j++) sum += lefts[row * rank + j]! * rights[j * columns + column]!;
        results[k] = fround(results[k]! + scale * sum);
      }
    },

    nearSwap(out, base, x, t, n) {
      const results = memory.f32(out, n);
      const bases = memory.f32(base, n);
      const models = memory.f32(x, n);
      for (let k = 0; k < n; k++) {
        const distance = Math.max(Math.abs(fround(bases[k]! - models[k]!)), fround(1e-6));
        let share = fround(fround(t) / distance);
        if (share < 0) share = 0; // Math.max would make 0 of -0
        if (share > 1) share = 1;
        results[k] = fround(fround(share * models[k]!) + fround(fround(1 - share) * bases[k]!));
      }
    },
  };
}
