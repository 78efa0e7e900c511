import { type Address, put } from "../../merge/engines/index.ts";
import type { NormedSource } from "../../merge/work/index.ts";
import { hostF32 } from "./host-values.ts";
import type { SourceReader } from "./source-reader.ts";

/** into (f32) = the values, each row times its magnitude divided by its length. */
export async function readNormed(
  reader: SourceReader,
  source: NormedSource,
  first: number,
  count: number,
  into: Address,
): Promise<void> {
  if (count === 0) return;
  const columns = source.storedRowLength;
  const firstRow = Math.floor(first / columns);
  const rows = Math.ceil((first + count) / columns) - firstRow;
  const magnitudes = await magnitudesOf(reader, source);
  // A row's length takes all of it, whatever part is asked for.
  const values = await hostF32(reader, source.values, firstRow * columns, rows * columns);
  for (let row = 0; row < rows; row++) {
    const own = values.subarray(row * columns, (row + 1) * columns);
    let squares = 0;
    for (const value of own) squares += value * value;
    const factor = (magnitudes[firstRow + row] ?? Number.NaN) / Math.sqrt(squares);
    for (let k = 0; k < columns; k++) own[k] = (own[k] ?? 0) * factor;
  }
  const begin = first - firstRow * columns;
  put(reader.arena, into, values.subarray(begin, begin + count));
}

async function magnitudesOf(reader: SourceReader, source: NormedSource): Promise<Float32Array> {
  const known = reader.kept.get(source);
  if (known instanceof Float32Array) return known;
  const magnitudes = await hostF32(reader, source.magnitudes, 0, source.rows);
  reader.kept.set(source, magnitudes);
  return magnitudes;
}
