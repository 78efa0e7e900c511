import type { Address } from "../../merge/engines/index.ts";
import type { AdapterSource, StoredSource } from "../../merge/work/index.ts";
import { hostF32, widenedToF64 } from "./host-values.ts";
import type { SourceReader } from "./source-reader.ts";

/** into (f32) = base + scale * (left right): left is [rows, rank], right [rank, columns]. */
export async function readAdapter(
  reader: SourceReader,
  source: AdapterSource,
  first: number,
  count: number,
  into: Address,
): Promise<void> {
  const { arena } = reader;
  const { columns, rank, scale } = source;
  await reader.elementsF32(source.base, first, count, into);
  if (count === 0) return;
  const firstRow = Math.floor(first / columns);
  const rows = Math.ceil((first + count) / columns) - firstRow;
  const rightValues = await rightFactor(reader, source);
  const leftValues = await leftFactor(reader, source, firstRow, rows);
  const scope = arena.scope();
  const right = widenedToF64(arena, rightValues);
  const left = widenedToF64(arena, leftValues);
  arena.kernels.addLowRank(into, left, right, scale, rank, columns, first - firstRow * columns, count);
  scope.end();
}

/** [rank, columns]: every chunk needs all of it. */
function rightFactor(reader: SourceReader, source: AdapterSource): Promise<Float32Array> {
  const { a, b, rank, columns } = source;
  if (!source.transposed) return keptFactor(reader, a, rank * columns, (values) => values);
  return keptFactor(reader, b, columns * rank, (values) => transposed(values, columns, rank));
}

/** [rows, rank]: the rows asked for. */
async function leftFactor(
  reader: SourceReader,
  source: AdapterSource,
  firstRow: number,
  rows: number,
): Promise<Float32Array> {
  const { a, b, rank } = source;
  if (!source.transposed) return hostF32(reader, b, firstRow * rank, rows * rank);
  const whole = await keptFactor(reader, a, rank * source.rows, (values) => transposed(values, rank, source.rows));
  return whole.subarray(firstRow * rank, (firstRow + rows) * rank);
}

/** A whole factor: kept for the range while there is room, else read for every chunk. */
async function keptFactor(
  reader: SourceReader,
  factor: StoredSource,
  elements: number,
  arranged: (values: Float32Array) => Float32Array,
): Promise<Float32Array> {
  const known = reader.kept.get(factor);
  if (known instanceof Float32Array) return known;
  const values = arranged(await hostF32(reader, factor, 0, elements));
  if (reader.keptBytes + values.byteLength <= reader.options.keptBytes) {
    reader.keptBytes += values.byteLength;
    reader.kept.set(factor, values);
  }
  return values;
}

/** [rows, columns] to [columns, rows]. */
function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(values.length);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) result[c * rows + r] = values[r * columns + c] ?? 0;
  }
  return result;
}
