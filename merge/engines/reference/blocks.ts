import type { Kernels } from "../kernels.ts";
import { widened } from "./conversion.ts";
import type { Memory } from "./memory.ts";

const { fround } = Math;

/** Matrices in blocks with a number for each, and in rows with one for each. */
export function blockKernels(
  memory: Memory,
): Pick<Kernels, "scaleBlocks" | "divideBlocks" | "blockMaxima" | "normRows"> {
  return {
    scaleBlocks(out, codes, dtype, scales, row, column, columns, blockRows, blockColumns, n) {
      const { blockOf, blocks } = grid(row, column, columns, blockRows, blockColumns, n);
      const results = memory.f32(out, n);
      const values = widened(memory, codes, dtype, n);
      const factors = memory.f32(scales, blocks);
      for (let k = 0; k < n; k++) results[k] = fround(factors[blockOf(k)]! * values[k]!);
    },

    divideBlocks(out, x, scales, limit, row, column, columns, blockRows, blockColumns, n) {
      const { blockOf, blocks } = grid(row, column, columns, blockRows, blockColumns, n);
      const results = memory.f32(out, n);
      const values = memory.f32(x, n);
      const divisors = memory.f32(scales, blocks);
      const bound = fround(limit);
      for (let k = 0; k < n; k++) {
        results[k] = Math.max(-bound, Math.min(bound, fround(values[k]! / divisors[blockOf(k)]!)));
      }
    },

    blockMaxima(maxima, x, row, column, columns, blockRows, blockColumns, n) {
      const { blockOf, blocks } = grid(row, column, columns, blockRows, blockColumns, n);
      const values = memory.f32(x, n);
      const largest = memory.f32(maxima, blocks);
      for (let k = 0; k < n; k++) {
        const magnitude = Math.abs(values[k]!);
        if (magnitude > largest[blockOf(k)]!) largest[blockOf(k)] = magnitude;
      }
    },

    normRows(values, magnitudes, rows, rowLength) {
      const lengths = memory.f32(magnitudes, rows);
      for (let row = 0; row < rows; row++) {
        const own = memory.f32(values + row * rowLength * 4, rowLength);
        let squares = 0;
        for (const value of own) squares += value * value;
        const factor = lengths[row]! / Math.sqrt(squares);
        for (let k = 0; k < rowLength; k++) own[k] = fround(own[k]! * factor);
      }
    },
  };
}

/** Which block an element lies in, and how many blocks there are down to the last element's. */
function grid(row: number, column: number, columns: number, blockRows: number, blockColumns: number, n: number) {
  const perBand = Math.ceil(columns / blockColumns);
  const bandOf = (k: number) => Math.floor((row + Math.floor((column + k) / columns)) / blockRows);
  const blockOf = (k: number) => bandOf(k) * perBand + Math.floor(((column + k) % columns) / blockColumns);
  return { blockOf, blocks: n === 0 ? 0 : (bandOf(n - 1) + 1) * perBand };
}
