import { isFloatDtype } from "../../checkpoint/index.ts";
import type { Address } from "../../merge/engines/index.ts";
import type { ScaledSource } from "../../merge/work/index.ts";
import { hostBytes, hostF32 } from "./host-values.ts";
import type { SourceReader } from "./source-reader.ts";

/** into (f32) = f32(code) * f32(scale of the block that the code lies in), one f32 product. */
export async function readScaled(
  reader: SourceReader,
  source: ScaledSource,
  first: number,
  count: number,
  into: Address,
): Promise<void> {
  const { arena } = reader;
  const { codes, blockRows, blockColumns, storedRowLength: columns } = source;
  if (!isFloatDtype(codes.dtype)) throw new Error(`${codes.tensor} of dtype ${codes.dtype} holds no codes`);
  if (count === 0) return;
  const scales = await scalesOf(reader, source);
  const scaleColumns = Math.ceil(columns / blockColumns);
  const scope = arena.scope();
  const raw = arena.allocate(count);
  await reader.elements(codes, first, count, raw);
  for (let done = 0; done < count; ) {
    const row = Math.floor((first + done) / columns);
    const column = (first + done) % columns;
    const blockColumn = Math.floor(column / blockColumns);
    const run = Math.min(count - done, Math.min(columns, (blockColumn + 1) * blockColumns) - column);
    const scale = scales[Math.floor(row / blockRows) * scaleColumns + blockColumn] ?? Number.NaN;
    arena.kernels.accumulate(into + done * 4, raw + done, codes.dtype, scale, true, run);
    done += run;
  }
  scope.end();
}

async function scalesOf(reader: SourceReader, source: ScaledSource): Promise<Float32Array> {
  const known = reader.kept.get(source);
  if (known instanceof Float32Array) return known;
  const rows = Math.ceil(source.rows / source.blockRows);
  const columns = Math.ceil(source.storedRowLength / source.blockColumns);
  const count = rows * columns;
  const scales =
    source.scales.dtype === "U8"
      ? await powersOfTwo(reader, source, count)
      : await hostF32(reader, source.scales, 0, count);
  reader.kept.set(source, scales);
  return scales;
}

/** Of scales that are stored as exponents alone (E8M0). */
async function powersOfTwo(reader: SourceReader, { scales }: ScaledSource, count: number): Promise<Float32Array> {
  const exponents = await hostBytes(reader, scales, 0, count);
  return Float32Array.from(exponents, (e) => (e === 255 ? Number.NaN : 2 ** (e - 127)));
}
