import type { FloatDtype } from "../../checkpoint/index.ts";

/**
 * A place in the arena's memory: a number to which bytes may be added to reach into an allocation.
 * Nothing else may be assumed: on a GPU it is no address of this process.
 */
export type Address = number;

/** Mask bits: bit (k & 7) of byte (k >> 3) belongs to element k. Address 0 as mask means: everything is kept. */
export const EVERYTHING: Address = 0;

/** f64 sums in eight lanes: element k of a block goes to lane k mod 8 (docs/spec/methods.md). A lanes buffer is 8 f64, 64 bytes. */
export const LANES_BYTES = 64;

export type SumKind = "l1" | "l2" | "linf";

/**
 * Notation: n elements; x, d, b: f32 unless a dtype is given; |d| is ranked by its bits with the sign cleared, as u32.
 * f32 operations are single IEEE operations rounded to nearest even, never fused. Coefficients given as number are
 * rounded to f32 first (Math.fround) unless they are called f64.
 * Every buffer starts at a multiple of its element's size. n may be 0. Kernels write their results and nothing else.
 * A NaN that arithmetic leaves in an f32 or f64 buffer has any sign and payload (so WebAssembly has it): `narrow` makes it one.
 */
export interface Kernels {
  /** dst[k] = f32(src[k]); exact, but F64 rounds to nearest even. dst: f32. dst = src is not allowed. */
  widen(dst: Address, src: Address, dtype: FloatDtype, n: number): void;
  /**
   * dst[k] = dtype(src[k]), one rounding to nearest even. src: f32. F16 and F8_E5M2 overflow to infinity, F8_E4M3 to NaN (0x7f
   * with the sign kept), as in PyTorch. NaN becomes the canonical quiet NaN of the dtype, positive (BF16 0x7fc0, F16 0x7e00,
   * F32 0x7fc00000, F64 0x7ff8000000000000, F8_E4M3 0x7f, F8_E5M2 0x7e).
   */
  narrow(dst: Address, src: Address, dtype: FloatDtype, n: number): void;
  /**
   * Where note[0] is 0xffffffff and a NaN or infinity is among src[0..n): note (u32[3]) = tag, the index of the first, and its bits as f32.
   * With `values` (f32; 0: none) the bits are those of
   * values[index]. Of a NaN they are 0x7fc00000. F64 is judged as widened. tag: u32 below 0xffffffff.
   */
  noteNonFinite(note: Address, tag: number, src: Address, dtype: FloatDtype, values: Address, n: number): void;
  /** d[k] = f32(model[k]) - base[k]. d, base: f32. */
  delta(d: Address, model: Address, dtype: FloatDtype, base: Address, n: number): void;

  // ---- linear combinations
  /** acc[k] = c * f32(x[k]) if first, else acc[k] + c * f32(x[k]). acc: f32. */
  accumulate(acc: Address, x: Address, dtype: FloatDtype, c: number, first: boolean, n: number): void;
  /** The same with a coefficient per row: c: f32[rows]. acc, x: rows * rowLength. */
  accumulateRows(
    acc: Address,
    x: Address,
    dtype: FloatDtype,
    c: Address,
    first: boolean,
    rows: number,
    rowLength: number,
  ): void;
  /** acc[k] = first ? c * d : acc[k] + c * d, with d = f32(model[k]) - base[k]. acc, base: f32. */
  accumulateDelta(
    acc: Address,
    model: Address,
    dtype: FloatDtype,
    base: Address,
    c: number,
    first: boolean,
    n: number,
  ): void;
  /** out[k] = base[k] + lambda * (acc[k] / divisor). f32 all. out may be acc. divisor, lambda: f32. */
  finishDelta(out: Address, base: Address, acc: Address, divisor: number, lambda: number, n: number): void;

  /**
   * values[k] = f32(values[k] + scale * s), s = sum over j of left[r, j] * right[j, c] in order of j, beginning with 0; everything in
   * f64 but the last rounding. values (f32) are the n elements from `first` on of a matrix with `columns` columns; r and c: row and
   * column of element first + k. left: f64[rows, rank] from that matrix's row 0; right: f64[rank, columns]. scale: f64.
   * first + n < 2^31.
   */
  addLowRank(
    values: Address,
    left: Address,
    right: Address,
    scale: number,
    rank: number,
    columns: number,
    first: number,
    n: number,
  ): void;

  /**
   * g = t / (|base[k] - x[k]|, or 1e-6 where that is below it), then 0 where g < 0, 1 where g > 1; out[k] = g * x[k] + (1 - g) * base[k].
   * f32 all. out may be x or base.
   */
  nearSwap(out: Address, base: Address, x: Address, t: number, n: number): void;

  // ---- vectors along the first dimension: element k belongs to column (firstColumn + k) mod columns
  /**
   * sums[block, column] += f64(a[k]) * f64(b[k]), in order of k; block: floor(k / blockElements). sums: f64[blocks, columns]; a, b: f32, may
   * be the same.
   */
  dotColumns(
    sums: Address,
    a: Address,
    b: Address,
    firstColumn: number,
    columns: number,
    blockElements: number,
    n: number,
  ): void;
  /** acc[k] = c[column] * x[k] if first, else acc[k] + c[column] * x[k]. acc, x: f32; c: f32[columns]. */
  accumulateColumns(
    acc: Address,
    x: Address,
    c: Address,
    first: boolean,
    firstColumn: number,
    columns: number,
    n: number,
  ): void;

  // ---- matrices in blocks of blockRows rows and blockColumns columns, those at the edges cut short. Element k lies in row r = row +
  // floor((column + k) / columns) and column c = (column + k) mod columns; the number of its block is numbers[floor(r / blockRows) *
  // ceil(columns / blockColumns) + floor(c / blockColumns)]. numbers: f32; column < columns; all of row + 1, blockRows, columns,
  // blockColumns and column + n < 2^30.
  /** out[k] = number * f32(codes[k]), one f32 product. out: f32. */
  scaleBlocks(
    out: Address,
    codes: Address,
    dtype: FloatDtype,
    numbers: Address,
    row: number,
    column: number,
    columns: number,
    blockRows: number,
    blockColumns: number,
    n: number,
  ): void;
  /** out[k] = x[k] / number held within [-limit, limit]; NaN stays NaN. f32 all. out may be x. */
  divideBlocks(
    out: Address,
    x: Address,
    numbers: Address,
    limit: number,
    row: number,
    column: number,
    columns: number,
    blockRows: number,
    blockColumns: number,
    n: number,
  ): void;
  /** number = max(number, |x[k]|), NaN passed over. x: f32. numbers, updated: no NaN, none below 0. */
  blockMaxima(
    numbers: Address,
    x: Address,
    row: number,
    column: number,
    columns: number,
    blockRows: number,
    blockColumns: number,
    n: number,
  ): void;

  /**
   * values[r, k] = f32(values[r, k] * (magnitudes[r] / sqrt(s))), s = sum of values[r, k] * values[r, k] in order of k, beginning with 0;
   * everything in f64 but the last rounding. values: f32[rows, rowLength]; magnitudes: f32[rows].
   */
  normRows(values: Address, magnitudes: Address, rows: number, rowLength: number): void;

  // ---- sums in f64: lanes in the order of docs/spec/methods.md. Elements begin at a multiple of 8 within a block and stay inside it, or they
  // are several blocks, the last of which may be short: element k belongs to block j = floor(k / blockElements), whose lanes lie at
  // lanes + j * LANES_BYTES, and among them to lane (k - j * blockElements) & 7, called `lane` here.
  /** lanes[j][lane] += f64(a[k]) * f64(b[k]). a, b: f32, may be the same. */
  dot(lanes: Address, a: Address, b: Address, blockElements: number, n: number): void;
  /** As dot(lanes_i, a_i, x, blockElements, n) for each of the four. Rows may be x, and lanes are four different ones. */
  dotFour(
    lanes0: Address,
    lanes1: Address,
    lanes2: Address,
    lanes3: Address,
    a0: Address,
    a1: Address,
    a2: Address,
    a3: Address,
    x: Address,
    blockElements: number,
    n: number,
  ): void;
  /** sums[r] = the dot of row r, own lanes per row, lanes added as ((0+1)+(2+3))+((4+5)+(6+7)). sums: f64[rows]. */
  dotRows(sums: Address, a: Address, b: Address, rows: number, rowLength: number): void;
  /** sums[j] (f64) = ((l0+l1)+(l2+l3))+((l4+l5)+(l6+l7)) of lanes[j], for `count` of them one after another. All are then zeroed. */
  foldLanes(sums: Address, lanes: Address, count: number): void;
  /** As foldLanes with the largest lane of each in place of the sum. Lanes: no NaN, none below 0. */
  foldMaxima(maxima: Address, lanes: Address, count: number): void;
  /** acc[k] += f64(d[k]) * c in f64 (product rounded, then added). acc: f64; d: f32; c: f64. */
  accumulateF64(acc: Address, d: Address, c: number, n: number): void;
  /** acc[r, k] += f64(d[r, k]) * c[r]. c: f64[rows]. */
  accumulateRowsF64(acc: Address, d: Address, c: Address, rows: number, rowLength: number): void;
  /** lanes[j][lane] += a[k] * a[k]. a: f64. */
  squaresF64(lanes: Address, a: Address, blockElements: number, n: number): void;
  /** sums[r] of squares of row r of a: f64[rows, rowLength]; own lanes per row, as dotRows. */
  squaresRowsF64(sums: Address, a: Address, rows: number, rowLength: number): void;
  /**
   * Size of d before and after the mask. l1: sum of |d|; l2: sum of d*d; linf: max of |d| (lane-wise max; NaN counts as no number
   * and is passed over). all and kept: lanes, updated; only elements whose mask bit is set enter kept.
   */
  magnitudes(
    all: Address,
    kept: Address,
    d: Address,
    mask: Address,
    kind: SumKind,
    blockElements: number,
    n: number,
  ): void;

  /** lanes[j][lane] += f64(d) * f64(d) where kept, d = f32(model[k]) - base[k]; nothing where not. base: f32. */
  deltaSquares(
    lanes: Address,
    model: Address,
    dtype: FloatDtype,
    base: Address,
    mask: Address,
    blockElements: number,
    n: number,
  ): void;

  // ---- order statistics of |d| bits
  /**
   * counts (u32[5]) += how many |d| are: below lo, equal lo, strictly between lo and hi, equal hi, above hi.
   * lo <= hi; if lo = hi every equal counts as equal lo. Those strictly between are appended to `collected` (u32[capacity], bits of
   * |d|, in element order) at index counts[2] before the call and on, as long as there is room; counting goes on without.
   */
  bracket(counts: Address, collected: Address, capacity: number, d: Address, lo: number, hi: number, n: number): void;
  /** As bracket of d = f32(model[k]) - base[k]. base: f32. */
  bracketDelta(
    counts: Address,
    collected: Address,
    capacity: number,
    model: Address,
    dtype: FloatDtype,
    base: Address,
    lo: number,
    hi: number,
    n: number,
  ): void;
  /**
   * bins (u32[binCount + 2]): bins[0] += how many bits are below lo; bins[1 + j] += how many lie in
   * [lo + j * 2^shift, lo + (j + 1) * 2^shift); bins[binCount + 1] += how many are above all bins.
   * shift: 0 .. 31; lo + binCount * 2^shift <= 2^32.
   */
  histogram(bins: Address, d: Address, lo: number, shift: number, binCount: number, n: number): void;
  /**
   * result (u32[3]): the k-th smallest (0 <= k < n) of values (u32[n]), how many are below it, how many equal it.
   * values is reordered.
   */
  select(result: Address, values: Address, k: number, n: number): void;

  // ---- masks
  /**
   * bit k = lo < |d| < hi, or |d| = lo with tie number in [loFrom, loTo), or |d| = hi with tie number in [hiFrom, hiTo).
   * lo <= hi. If lo = hi only the lo window and the first tie count are looked at.
   * Tie numbers count on from ties (u32[2]: seen so far at lo, at hi), which is updated.
   * hi = 0xffffffff: no upper end. Windows: u32, 0xffffffff for "to the end". n: multiple of 8 except at the tensor's end;
   * bits past n in the last byte are 0.
   */
  maskBand(
    mask: Address,
    ties: Address,
    d: Address,
    lo: number,
    loFrom: number,
    loTo: number,
    hi: number,
    hiFrom: number,
    hiTo: number,
    n: number,
  ): void;
  /** bit k = word(firstElement + k) < threshold (u32). Words as in docs/spec/random.md. Bits past n in the last byte are 0. */
  maskRandom(mask: Address, stream: RandomStream, firstElement: number, threshold: number, n: number): void;
  /**
   * bit of (r, k) = word(firstElement + r * rowLength + k) < thresholds[rank of |d[r, k]| in its row], ascending, of equals the
   * lower k first. thresholds: u32[rowLength], ascending. scratch: Arena.rankScratchBytes(rowLength) bytes.
   */
  maskRanked(
    mask: Address,
    d: Address,
    thresholds: Address,
    scratch: Address,
    stream: RandomStream,
    firstElement: number,
    rows: number,
    rowLength: number,
  ): void;
  /** scaled[r, k] = f32 table[rank of |d[r, k]|] * d[r, k]. table: f32[rowLength]; scaled may be d. scratch as above. */
  scaleByRank(scaled: Address, d: Address, table: Address, scratch: Address, rows: number, rowLength: number): void;

  // ---- consensus (docs/spec/methods.md, "terms" and "consensus by sum")
  /** acc[k] += kept ? c * d[k] : 0. acc: f32, zeroed by the caller (which keeps -0 out of it). */
  accumulateMasked(acc: Address, d: Address, mask: Address, c: number, n: number): void;
  /**
   * t = c * d[k] where kept. t > 0: positive[k] += t and positiveWeight[k] += w. t < 0: negative[k] += t, negativeWeight[k] += w.
   * The two weight buffers may both be 0: no weights are kept. f32, zeroed by the caller.
   */
  elect(
    positive: Address,
    negative: Address,
    positiveWeight: Address,
    negativeWeight: Address,
    d: Address,
    mask: Address,
    c: number,
    w: number,
    n: number,
  ): void;
  /**
   * Of `models` models (1 .. 16), one after another: d = f32(x_i[k]) - base[k], x_i at x + i * strideBytes; t = c_i * d where band i keeps it
   * (maskBand). negative = 0: positive[k] += t. Else t goes to positive or negative, and w_i to its weight, as in elect. bands, for each model:
   * u32[6] lo, loFrom, loTo, hi, hiFrom, hiTo, then f32[2] c, w. ties: u32[models, 2], seen so far; counted on while what stays of later
   * equals may still change. base, positive, negative: f32, zeroed by the caller, as the weights.
   */
  combineBands(
    positive: Address,
    negative: Address,
    positiveWeight: Address,
    negativeWeight: Address,
    x: Address,
    strideBytes: number,
    dtype: FloatDtype,
    base: Address,
    bands: Address,
    ties: Address,
    models: number,
    n: number,
  ): void;
  /** The same with mask bits of model i at masks + i * maskStrideBytes. factors: f32[models, 2], c and w. */
  combineMasked(
    positive: Address,
    negative: Address,
    positiveWeight: Address,
    negativeWeight: Address,
    x: Address,
    strideBytes: number,
    dtype: FloatDtype,
    base: Address,
    masks: Address,
    maskStrideBytes: number,
    factors: Address,
    models: number,
    n: number,
  ): void;
  /**
   * plus = positive + negative >= 0 (f32 sum; NaN counts as not). mixed = plus ? positive : negative. With weights: W likewise,
   * divisor = W = 0 ? 1 : W; without: 1. out[k] = base[k] + lambda * (mixed / divisor). f32. out may be positive.
   */
  finishElection(
    out: Address,
    base: Address,
    positive: Address,
    negative: Address,
    positiveWeight: Address,
    negativeWeight: Address,
    lambda: number,
    n: number,
  ): void;
  /**
   * d = f32(model[k]) - base[k] where kept. d > 0: positive[k] += d, positiveTerms[k] += w * d, positiveWeight[k] += w; d < 0: the same
   * for negative. NaN is neither. f32, zeroed by the caller.
   */
  electWeighed(
    positive: Address,
    negative: Address,
    positiveTerms: Address,
    negativeTerms: Address,
    positiveWeight: Address,
    negativeWeight: Address,
    model: Address,
    dtype: FloatDtype,
    base: Address,
    mask: Address,
    w: number,
    n: number,
  ): void;
  /**
   * plus as in finishElection. out[k] = base[k] + terms / (weight < least ? least : weight), terms and weight those of that side;
   * least > 0. f32. out may be any of the accumulators.
   */
  finishWeighed(
    out: Address,
    base: Address,
    positive: Address,
    negative: Address,
    positiveTerms: Address,
    negativeTerms: Address,
    positiveWeight: Address,
    negativeWeight: Address,
    least: number,
    n: number,
  ): void;
  /** t = c * d[k]; best[k] = |t| >= |best[k]| ? t : best[k]: of equals the later one, NaN never. f32, zeroed by the caller. */
  keepLargest(best: Address, d: Address, c: number, n: number): void;
  /**
   * d = f32(model[k]) - base[k]; votes[k] += |d| > tau * |total[k] - d| ? 1 : 0. votes, base, total: f32; votes zeroed by the caller.
   * NaN votes for nothing.
   */
  agree(votes: Address, model: Address, dtype: FloatDtype, base: Address, total: Address, tau: number, n: number): void;
  /** out[k] = base[k] + lambda * (votes[k] >= least ? total[k] : 0). f32. out may be total. */
  finishAgreement(
    out: Address,
    base: Address,
    total: Address,
    votes: Address,
    least: number,
    lambda: number,
    n: number,
  ): void;
  /**
   * One more model, the number-th, in Welford's sums: d = f32(model[k]) - base[k]; o = d - mean[k]; mean[k] += o / number;
   * spread[k] += o * (d - mean[k]). f32, mean and spread zeroed by the caller.
   */
  addToVariance(
    mean: Address,
    spread: Address,
    model: Address,
    dtype: FloatDtype,
    base: Address,
    number: number,
    n: number,
  ): void;

  // ---- changed elements: |d| > epsilon; NaN is no change
  /**
   * Where changed: sum[k] += d[k], count[k] += 1, label[k] = value. f32, zeroed by the caller. sum and label may each be 0: not kept.
   */
  accumulateChanged(
    sum: Address,
    count: Address,
    label: Address,
    d: Address,
    epsilon: number,
    value: number,
    n: number,
  ): void;
  /** tally (u32) += how many are changed. */
  countChanged(tally: Address, d: Address, epsilon: number, n: number): void;
  /** Where count[k] = 1: tallies[label[k]] += 1. tallies: u32; labels: f32, whole numbers that index them. */
  countUnique(tallies: Address, count: Address, label: Address, n: number): void;
  /**
   * out[k] = base[k] + (count[k] = 1 ? factor[k] * sum[k] : sum[k] / (count[k] < 1 ? 1 : count[k])). f32. factor may be 0: all ones. out may be
   * sum.
   */
  finishChanged(out: Address, base: Address, sum: Address, count: Address, factor: Address, n: number): void;

  // ---- importance by rows (docs/spec/methods.md, arcee_fusion)
  /**
   * divergences[r] (f32) = max(0, sum of p ln(p / q)), f64 throughout and rounded once; p = softmax(row r of x) + 1e-8, q likewise of
   * base, softmax(v) = exp(v - max v) / sum of those; sums as in dotRows, exp and log of merge/math. x, base: f32[rows, rowLength];
   * scratch: f64[2 * rowLength].
   */
  divergenceRows(
    divergences: Address,
    x: Address,
    base: Address,
    scratch: Address,
    rows: number,
    rowLength: number,
  ): void;
  /** out[k] = |d[k]| * factors[floor((firstColumn + k) / rowLength)]. f32 all. */
  importance(out: Address, d: Address, factors: Address, firstColumn: number, rowLength: number, n: number): void;
  /** out[k] = base[k] + (rank[k] >= bound ? d[k] : 0). f32 all. out may be d. */
  addAtLeast(out: Address, base: Address, d: Address, rank: Address, bound: number, n: number): void;

  /** zero n bytes. */
  zero(at: Address, sizeBytes: number): void;
  /** The bytes at dst become those at src, NaNs included. */
  copy(dst: Address, src: Address, sizeBytes: number): void;
}

/** Which random words (docs/spec/random.md): all u32. */
export interface RandomStream {
  readonly seedLow: number;
  readonly seedHigh: number;
  readonly model: number;
  readonly nameLow: number;
  readonly nameHigh: number;
}
