import { type Kernels, LANES_BYTES } from "../kernels.ts";
import { widened } from "./conversion.ts";
import { readMask } from "./mask-bits.ts";
import type { Memory } from "./memory.ts";

const LANES = LANES_BYTES / 8;

/** The order in which lanes are added is part of the result (docs/spec/methods.md). */
function foldedLanes(lanes: Float64Array): number {
  const pair = (lane: number): number => lanes[lane]! + lanes[lane + 1]!;
  return pair(0) + pair(2) + (pair(4) + pair(6));
}

/** Element k goes to lane k mod 8. */
function addToLanes(lanes: Float64Array, count: number, term: (k: number) => number): void {
  for (let k = 0; k < count; k++) lanes[k % LANES]! += term(k);
}

/** Which of the lanes of all blocks element k goes to. */
function laneOf(k: number, blockElements: number): number {
  return LANES * Math.floor(k / blockElements) + ((k % blockElements) % LANES);
}

function addToBlocks(lanes: Float64Array, blockElements: number, count: number, term: (k: number) => number): void {
  for (let k = 0; k < count; k++) lanes[laneOf(k, blockElements)]! += term(k);
}

/** A sum of `count` terms as a row has it: in lanes of its own. */
export function laneSum(count: number, term: (k: number) => number): number {
  const lanes = new Float64Array(LANES);
  addToLanes(lanes, count, term);
  return foldedLanes(lanes);
}

export function sumKernels(
  memory: Memory,
): Pick<
  Kernels,
  | "dot"
  | "dotFour"
  | "dotRows"
  | "foldLanes"
  | "foldMaxima"
  | "accumulateF64"
  | "accumulateRowsF64"
  | "squaresF64"
  | "squaresRowsF64"
  | "magnitudes"
  | "deltaSquares"
> {
  const lanesAt = (address: number, blocks: number): Float64Array => memory.f64(address, blocks * LANES);
  const lanesOf = (address: number, blockElements: number, n: number): Float64Array =>
    lanesAt(address, Math.ceil(n / blockElements));
  /** Each block's lanes made one number, and zeroed. */
  const fold = (results: number, address: number, count: number, folded: (lanes: Float64Array) => number): void => {
    const lanes = lanesAt(address, count);
    const folds = memory.f64(results, count);
    for (let j = 0; j < count; j++) folds[j] = folded(lanes.subarray(j * LANES, (j + 1) * LANES));
    lanes.fill(0);
  };
  return {
    dot(lanes, a, b, blockElements, n) {
      const as = memory.f32(a, n);
      const bs = memory.f32(b, n);
      addToBlocks(lanesOf(lanes, blockElements, n), blockElements, n, (k) => as[k]! * bs[k]!);
    },

    dotFour(lanes0, lanes1, lanes2, lanes3, a0, a1, a2, a3, x, blockElements, n) {
      const xs = memory.f32(x, n);
      const rows = [
        [lanes0, a0],
        [lanes1, a1],
        [lanes2, a2],
        [lanes3, a3],
      ] as const;
      for (const [lanes, a] of rows) {
        const as = memory.f32(a, n);
        addToBlocks(lanesOf(lanes, blockElements, n), blockElements, n, (k) => as[k]! * xs[k]!);
      }
    },

    dotRows(sums, a, b, rows, rowLength) {
      const as = memory.f32(a, rows * rowLength);
      const bs = memory.f32(b, rows * rowLength);
      const results = memory.f64(sums, rows);
      for (let r = 0; r < rows; r++) {
        results[r] = laneSum(rowLength, (k) => as[r * rowLength + k]! * bs[r * rowLength + k]!);
      }
    },

    foldLanes(sums, lanes, count) {
      fold(sums, lanes, count, foldedLanes);
    },

    foldMaxima(maxima, lanes, count) {
      fold(maxima, lanes, count, (values) => Math.max(...values));
    },

    accumulateF64(acc, d, c, n) {
      const sums = memory.f64(acc, n);
      const values = memory.f32(d, n);
      for (let k = 0; k < n; k++) sums[k]! += values[k]! * c;
    },

    accumulateRowsF64(acc, d, c, rows, rowLength) {
      const sums = memory.f64(acc, rows * rowLength);
      const values = memory.f32(d, rows * rowLength);
      const coefficients = memory.f64(c, rows);
      for (let k = 0; k < rows * rowLength; k++) sums[k]! += values[k]! * coefficients[Math.floor(k / rowLength)]!;
    },

    squaresF64(lanes, a, blockElements, n) {
      const values = memory.f64(a, n);
      addToBlocks(lanesOf(lanes, blockElements, n), blockElements, n, (k) => values[k]! * values[k]!);
    },

    squaresRowsF64(sums, a, rows, rowLength) {
      const values = memory.f64(a, rows * rowLength);
      const results = memory.f64(sums, rows);
      for (let r = 0; r < rows; r++) {
        results[r] = laneSum(rowLength, (k) => values[r * rowLength + k]! * values[r * rowLength + k]!);
      }
    },

    deltaSquares(lanes, model, dtype, base, mask, blockElements, n) {
      const models = widened(memory, model, dtype, n);
      const bases = memory.f32(base, n);
      const isKept = readMask(memory, mask, n);
      const term = (k: number): number => (isKept[k] ? Math.fround(models[k]! - bases[k]!) ** 2 : 0);
      addToBlocks(lanesOf(lanes, blockElements, n), blockElements, n, term);
    },

    magnitudes(all, kept, d, mask, kind, blockElements, n) {
      const values = memory.f32(d, n);
      const isKept = readMask(memory, mask, n);
      const [allLanes, keptLanes] = [lanesOf(all, blockElements, n), lanesOf(kept, blockElements, n)];
      const enter = (lanes: Float64Array, lane: number, value: number): void => {
        if (kind === "l1") lanes[lane]! += Math.abs(value);
        else if (kind === "l2") lanes[lane]! += value * value;
        else if (Math.abs(value) > lanes[lane]!) lanes[lane] = Math.abs(value);
      };
      for (let k = 0; k < n; k++) {
        const lane = laneOf(k, blockElements);
        enter(allLanes, lane, values[k]!);
        if (isKept[k]) enter(keptLanes, lane, values[k]!);
      }
    },
  };
}
