import type { Address, Engine } from "../../merge/engines/index.ts";
import type { TensorSource } from "../../merge/work/index.ts";
import type { SourceReader } from "./source-reader.ts";

/** Elements of a source's own rows, widened to f32, on the host: small things that several chunks need. */
export async function hostF32(
  reader: SourceReader,
  source: TensorSource,
  first: number,
  count: number,
): Promise<Float32Array> {
  const { engine } = reader;
  const mark = engine.mark();
  const place = engine.allocate(count * 4);
  await reader.elementsF32(source, first, count, place);
  const bytes = (await engine.download(place, count * 4)).slice();
  engine.release(mark);
  return new Float32Array(bytes.buffer, 0, count);
}

/** A fresh buffer that holds these values as f64; they are numbers, or NaN of any kind. */
export function widenedToF64(engine: Engine, values: Float32Array): Address {
  const wide = engine.allocate(values.length * 8);
  const mark = engine.mark();
  const place = engine.allocate(values.byteLength);
  putF32(engine, place, values);
  engine.kernels.narrow(wide, place, "F64", values.length);
  engine.release(mark);
  return wide;
}

export function putF32(engine: Engine, place: Address, values: Float32Array): void {
  const { buffer, byteOffset, byteLength } = values;
  engine.stage(place, byteLength).set(new Uint8Array(buffer, byteOffset, byteLength));
  engine.upload(place, byteLength);
}
