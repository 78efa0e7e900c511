import { type Address, put } from "../../merge/engines/index.ts";
import type { ColumnsSource } from "../../merge/work/index.ts";
import { hostF32 } from "./host-values.ts";
import type { SourceReader } from "./source-reader.ts";

/** Matrices side by side, each times its factor. Rows of a factor are short: each part's rows are read together, and laid out here. */
export async function readColumns(
  reader: SourceReader,
  { parts, width }: ColumnsSource,
  first: number,
  count: number,
  into: Address,
): Promise<void> {
  if (count === 0) return;
  const firstRow = Math.floor(first / width);
  const rows = Math.ceil((first + count) / width) - firstRow;
  const whole = new Float32Array(rows * width);
  let before = 0;
  for (const { source, columns, factor } of parts) {
    const values = await hostF32(reader, source, firstRow * columns, rows * columns);
    const times = Math.fround(factor);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        whole[row * width + before + column] = times * (values[row * columns + column] ?? 0);
      }
    }
    before += columns;
  }
  const offset = first - firstRow * width;
  put(reader.arena, into, whole.subarray(offset, offset + count));
}
