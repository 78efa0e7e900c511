import { exp, log } from "../../math/index.ts";
import type { Kernels } from "../kernels.ts";
import type { Memory } from "./memory.ts";
import { laneSum } from "./sums.ts";

const { fround } = Math;
const FLOOR = 1e-8;

export function divergenceKernels(memory: Memory): Pick<Kernels, "divergenceRows" | "importance" | "addAtLeast"> {
  return {
    divergenceRows(divergences, x, base, _scratch, rows, rowLength) {
      const results = memory.f32(divergences, rows);
      for (let r = 0; r < rows; r++) {
        const p = softmax(memory.f32(x + 4 * r * rowLength, rowLength));
        const q = softmax(memory.f32(base + 4 * r * rowLength, rowLength));
        const divergence = laneSum(rowLength, (k) => (p[k]! + FLOOR) * log((p[k]! + FLOOR) / (q[k]! + FLOOR)));
        results[r] = Math.max(divergence, 0);
      }
    },

    importance(out, d, factors, firstColumn, rowLength, n) {
      const results = memory.f32(out, n);
      const values = memory.f32(d, n);
      const factorsOfRows = memory.f32(factors, Math.ceil((firstColumn + n) / rowLength));
      for (let k = 0; k < n; k++)
        results[k] = Math.abs(values[k]!) * factorsOfRows[Math.floor((firstColumn + k) / rowLength)]!;
    },

    addAtLeast(out, base, d, rank, bound, n) {
      const results = memory.f32(out, n);
      const bases = memory.f32(base, n);
      const values = memory.f32(d, n);
      const ranks = memory.f32(rank, n);
      for (let k = 0; k < n; k++) results[k] = fround(bases[k]! + (ranks[k]! >= fround(bound) ? values[k]! : 0));
    },
  };
}

function softmax(values: Float32Array): Float64Array {
  let largest = Number.NEGATIVE_INFINITY;
  for (const value of values) largest = Math.max(largest, value);
  const exponentials = Float64Array.from(values, (value) => exp(value - largest));
  const sum = laneSum(values.length, (k) => exponentials[k]!);
  return exponentials.map((value) => value / sum);
}
