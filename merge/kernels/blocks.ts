import { scale } from "./accumulate";
import { BF16, E4M3, E5M2, F16, F32, F64, Format } from "./formats";

/* A matrix in blocks of blockRows x blockColumns with a number for each: element k lies `column` + k after the start of row `row`. */

/** out[k] = f32(codes[k]) times the scale of its block. out: f32[n]; codes: n elements of dtype; scales: f32, row-major by blocks. */
export function scaleBlocks(
  out: usize,
  codes: usize,
  dtype: Format,
  scales: usize,
  row: i32,
  column: i32,
  columns: i32,
  blockRows: i32,
  blockColumns: i32,
  n: i32,
): void {
  switch (dtype) {
    case Format.F64:
      return overBlocks<Scaling, F64>(out, codes, scales, 0, row, column, columns, blockRows, blockColumns, n);
    case Format.F32:
      return overBlocks<Scaling, F32>(out, codes, scales, 0, row, column, columns, blockRows, blockColumns, n);
    case Format.F16:
      return overBlocks<Scaling, F16>(out, codes, scales, 0, row, column, columns, blockRows, blockColumns, n);
    case Format.BF16:
      return overBlocks<Scaling, BF16>(out, codes, scales, 0, row, column, columns, blockRows, blockColumns, n);
    case Format.E4M3:
      return overBlocks<Scaling, E4M3>(out, codes, scales, 0, row, column, columns, blockRows, blockColumns, n);
    default:
      return overBlocks<Scaling, E5M2>(out, codes, scales, 0, row, column, columns, blockRows, blockColumns, n);
  }
}

/** out[k] = x[k] / the scale of its block, held within [-limit, limit]; NaN stays NaN. out, x: f32[n], may be the same. */
export function divideBlocks(
  out: usize,
  x: usize,
  scales: usize,
  limit: f32,
  row: i32,
  column: i32,
  columns: i32,
  blockRows: i32,
  blockColumns: i32,
  n: i32,
): void {
  overBlocks<Dividing, F32>(out, x, scales, limit, row, column, columns, blockRows, blockColumns, n);
}

/** maxima[block] = the largest of it and |x[k]| of the block, NaN passed over. x: f32[n]; maxima: f32, row-major by blocks. */
export function blockMaxima(
  maxima: usize,
  x: usize,
  row: i32,
  column: i32,
  columns: i32,
  blockRows: i32,
  blockColumns: i32,
  n: i32,
): void {
  overBlocks<Measuring, F32>(0, x, maxima, 0, row, column, columns, blockRows, blockColumns, n);
}

/** What is done to the elements of a block, as types, so that the loop is compiled once for each (see formats.ts). */
type Scaling = i8;
type Dividing = i16;
type Measuring = i32;

/** Runs of elements that lie in one row of one block, one after another. */
function overBlocks<Doing, T>(
  out: usize,
  x: usize,
  table: usize,
  limit: f32,
  row: i32,
  column: i32,
  columns: i32,
  blockRows: i32,
  blockColumns: i32,
  n: i32,
): void {
  const bandBytes = (<usize>((<u32>columns + <u32>blockColumns - 1) / <u32>blockColumns)) << 2;
  let at = table + <usize>(row / blockRows) * bandBytes;
  let rowInBlock = row % blockRows;
  for (let done = 0; done < n; ) {
    const block = <u32>column / <u32>blockColumns;
    const blockEnd = <i32>min<u32>(<u32>columns, (block + 1) * <u32>blockColumns);
    const count = min<i32>(n - done, blockEnd - column);
    const number = at + ((<usize>block) << 2);
    const to = out + ((<usize>done) << 2);
    const from = x + <usize>done * sizeof<T>();
    if (sizeof<Doing>() == sizeof<Scaling>()) scale<T>(to, from, load<f32>(number), count);
    else if (sizeof<Doing>() == sizeof<Dividing>()) divide(to, from, load<f32>(number), limit, count);
    else store<f32>(number, largest(load<f32>(number), from, count));
    done += count;
    column += count;
    if (column == columns) {
      column = 0;
      if (++rowInBlock == blockRows) {
        rowInBlock = 0;
        at += bandBytes;
      }
    }
  }
}

function divide(out: usize, x: usize, divisor: f32, limit: f32, n: i32): void {
  const divisors = f32x4.splat(divisor);
  const upper = f32x4.splat(limit);
  const lower = f32x4.splat(-limit);
  let k = 0;
  for (; k < (n & ~3); k += 4) {
    const at = (<usize>k) << 2;
    v128.store(out + at, f32x4.max(lower, f32x4.min(upper, f32x4.div(v128.load(x + at), divisors))));
  }
  for (; k < n; k++) {
    const at = (<usize>k) << 2;
    store<f32>(out + at, max<f32>(-limit, min<f32>(limit, load<f32>(x + at) / divisor)));
  }
}

/** pmax keeps its first operand where the second is NaN. */
function largest(known: f32, x: usize, n: i32): f32 {
  let even = f32x4.splat(known);
  let odd = even;
  let k = 0;
  for (; k < (n & ~7); k += 8) {
    const at = x + ((<usize>k) << 2);
    even = f32x4.pmax(even, f32x4.abs(v128.load(at)));
    odd = f32x4.pmax(odd, f32x4.abs(v128.load(at, 16)));
  }
  for (; k < n; k++) even = f32x4.pmax(even, f32x4.abs(v128.load32_splat(x + ((<usize>k) << 2))));
  const four = f32x4.pmax(even, odd);
  const two = f32x4.pmax(four, v128.shuffle<f32>(four, four, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.pmax(two, v128.shuffle<f32>(two, two, 1, 0, 3, 2)), 0);
}
