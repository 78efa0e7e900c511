import { type Address, type Arena, put } from "../../merge/engines/index.ts";
import type { TensorSource } from "../../merge/work/index.ts";
import type { SourceReader } from "./source-reader.ts";

/** Elements of a source's own rows, widened to f32, on the host: small things that several chunks need. */
export async function hostF32(
  reader: SourceReader,
  source: TensorSource,
  first: number,
  count: number,
): Promise<Float32Array> {
  const { arena } = reader;
  const scope = arena.scope();
  const place = arena.allocate(count * 4);
  await reader.elementsF32(source, first, count, place);
  const bytes = (await arena.download(place, count * 4)).slice();
  scope.end();
  return new Float32Array(bytes.buffer, 0, count);
}

/** A fresh buffer that holds these values as f64; they are numbers, or NaN of any kind. */
export function widenedToF64(arena: Arena, values: Float32Array): Address {
  const wide = arena.allocate(values.length * 8);
  const scope = arena.scope();
  const place = arena.allocate(values.byteLength);
  put(arena, place, values);
  arena.kernels.narrow(wide, place, "F64", values.length);
  scope.end();
  return wide;
}
