import type { FloatDtype } from "../../../checkpoint/index.ts";
import type { Kernels, RandomStream, SumKind } from "../kernels.ts";

/** Numbers instead of words: `Format` in merge/kernels/formats.ts, `Kind` in merge/kernels/magnitudes.ts. */
const formats: Readonly<Record<FloatDtype, number>> = { F64: 0, F32: 1, F16: 2, BF16: 3, F8_E4M3: 4, F8_E5M2: 5 };
const kinds: Readonly<Record<SumKind, number>> = { l1: 0, l2: 1, linf: 2 };

/** The same arguments with words, flags and streams as numbers. */
type Numbers<Parameters extends readonly unknown[]> = Parameters extends readonly [infer Head, ...infer Tail]
  ? [...(Head extends RandomStream ? [number, number, number, number, number] : [number]), ...Numbers<Tail>]
  : [];

/** What the module exports: merge/kernels/index.ts. u32 arguments beyond 2^31 wrap as WebAssembly means them. */
export type KernelExports = {
  readonly [Name in keyof Kernels]: (...values: Numbers<Parameters<Kernels[Name]>>) => void;
} & {
  readonly heapBase: () => number;
  readonly rankScratchBytes: (rowLength: number) => number;
};

/** The kernels as the interface has them. Those whose arguments are all numbers are the module's own functions. */
export function kernelsOf(wasm: KernelExports): Kernels {
  return {
    widen: (dst, src, dtype, n) => wasm.widen(dst, src, formats[dtype], n),
    narrow: (dst, src, dtype, n) => wasm.narrow(dst, src, formats[dtype], n),
    noteNonFinite: (note, tag, src, dtype, values, n) => wasm.noteNonFinite(note, tag, src, formats[dtype], values, n),
    delta: (d, model, dtype, base, n) => wasm.delta(d, model, formats[dtype], base, n),
    accumulate: (acc, x, dtype, c, first, n) => wasm.accumulate(acc, x, formats[dtype], c, Number(first), n),
    accumulateRows: (acc, x, dtype, c, first, rows, rowLength) =>
      wasm.accumulateRows(acc, x, formats[dtype], c, Number(first), rows, rowLength),
    accumulateDelta: (acc, model, dtype, base, c, first, n) =>
      wasm.accumulateDelta(acc, model, formats[dtype], base, c, Number(first), n),
    finishDelta: wasm.finishDelta,
    addLowRank: wasm.addLowRank,
    scaleBlocks: (out, codes, dtype, numbers, row, column, columns, blockRows, blockColumns, n) =>
      wasm.scaleBlocks(out, codes, formats[dtype], numbers, row, column, columns, blockRows, blockColumns, n),
    divideBlocks: wasm.divideBlocks,
    blockMaxima: wasm.blockMaxima,
    normRows: wasm.normRows,
    dot: wasm.dot,
    dotFour: wasm.dotFour,
    dotRows: wasm.dotRows,
    foldLanes: wasm.foldLanes,
    foldMaxima: wasm.foldMaxima,
    accumulateF64: wasm.accumulateF64,
    accumulateRowsF64: wasm.accumulateRowsF64,
    squaresF64: wasm.squaresF64,
    squaresRowsF64: wasm.squaresRowsF64,
    magnitudes: (all, kept, d, mask, kind, blockElements, n) =>
      wasm.magnitudes(all, kept, d, mask, kinds[kind], blockElements, n),
    bracket: wasm.bracket,
    bracketDelta: (counts, collected, capacity, model, dtype, base, lo, hi, n) =>
      wasm.bracketDelta(counts, collected, capacity, model, formats[dtype], base, lo, hi, n),
    histogram: wasm.histogram,
    select: wasm.select,
    maskBand: wasm.maskBand,
    maskRandom: (mask, s, firstElement, threshold, n) =>
      wasm.maskRandom(mask, s.seedLow, s.seedHigh, s.model, s.nameLow, s.nameHigh, firstElement, threshold, n),
    maskRanked: (mask, d, thresholds, scratch, s, firstElement, rows, rowLength) =>
      wasm.maskRanked(
        mask,
        d,
        thresholds,
        scratch,
        s.seedLow,
        s.seedHigh,
        s.model,
        s.nameLow,
        s.nameHigh,
        firstElement,
        rows,
        rowLength,
      ),
    scaleByRank: wasm.scaleByRank,
    accumulateMasked: wasm.accumulateMasked,
    elect: wasm.elect,
    combineBands: (p, q, pw, qw, x, strideBytes, dtype, base, bands, ties, models, n) =>
      wasm.combineBands(p, q, pw, qw, x, strideBytes, formats[dtype], base, bands, ties, models, n),
    combineMasked: (p, q, pw, qw, x, strideBytes, dtype, base, masks, maskStrideBytes, factors, models, n) =>
      wasm.combineMasked(
        p,
        q,
        pw,
        qw,
        x,
        strideBytes,
        formats[dtype],
        base,
        masks,
        maskStrideBytes,
        factors,
        models,
        n,
      ),
    finishElection: wasm.finishElection,
    nearSwap: wasm.nearSwap,
    dotColumns: wasm.dotColumns,
    accumulateColumns: (acc, x, c, first, firstColumn, columns, n) =>
      wasm.accumulateColumns(acc, x, c, Number(first), firstColumn, columns, n),
    electWeighed: (p, q, tp, tq, wp, wq, model, dtype, base, mask, w, n) =>
      wasm.electWeighed(p, q, tp, tq, wp, wq, model, formats[dtype], base, mask, w, n),
    finishWeighed: wasm.finishWeighed,
    deltaSquares: (lanes, model, dtype, base, mask, blockElements, n) =>
      wasm.deltaSquares(lanes, model, formats[dtype], base, mask, blockElements, n),
    keepLargest: wasm.keepLargest,
    agree: (votes, model, dtype, base, total, tau, n) => wasm.agree(votes, model, formats[dtype], base, total, tau, n),
    finishAgreement: wasm.finishAgreement,
    addToVariance: (mean, spread, model, dtype, base, number, n) =>
      wasm.addToVariance(mean, spread, model, formats[dtype], base, number, n),
    accumulateChanged: wasm.accumulateChanged,
    countChanged: wasm.countChanged,
    countUnique: wasm.countUnique,
    finishChanged: wasm.finishChanged,
    divergenceRows: wasm.divergenceRows,
    importance: wasm.importance,
    addAtLeast: wasm.addAtLeast,
    zero: wasm.zero,
    copy: wasm.copy,
  };
}
