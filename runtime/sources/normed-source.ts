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
  const { arena } = reader;
  const scope = arena.scope();
  // A row's length takes all of it, whatever part is asked for.
  const isWhole = rows * columns === count;
  const values = isWhole ? into : arena.allocate(rows * columns * 4);
  const table = arena.allocate(rows * 4);
  await reader.elementsF32(source.values, firstRow * columns, rows * columns, values);
  put(arena, table, magnitudes.subarray(firstRow, firstRow + rows));
  arena.kernels.normRows(values, table, rows, columns);
  if (!isWhole) arena.kernels.copy(into, values + (first - firstRow * columns) * 4, count * 4);
  scope.end();
}

async function magnitudesOf(reader: SourceReader, source: NormedSource): Promise<Float32Array> {
  const known = reader.kept.get(source);
  if (known instanceof Float32Array) return known;
  const magnitudes = await hostF32(reader, source.magnitudes, 0, source.rows);
  reader.kept.set(source, magnitudes);
  return magnitudes;
}
