import { dtypeBytes, isFloatDtype } from "../../checkpoint/index.ts";
import { type Address, put } from "../../merge/engines/index.ts";
import type { ScaledSource } from "../../merge/work/index.ts";
import { bandsOf } from "./bands-of.ts";
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
  const { band, bandCount, perBand, row, column } = bandsOf({ columns, blockRows, blockColumns }, first, count);
  const scope = arena.scope();
  const raw = arena.allocate(count * dtypeBytes[codes.dtype]);
  const table = arena.allocate(bandCount * perBand * 4);
  await reader.elements(codes, first, count, raw);
  put(arena, table, scales.subarray(band * perBand, (band + bandCount) * perBand));
  arena.kernels.scaleBlocks(into, raw, codes.dtype, table, row, column, columns, blockRows, blockColumns, count);
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
