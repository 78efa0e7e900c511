import { dtypeBytes, isFloatDtype } from "../../checkpoint/index.ts";
import { type Address, type Arena, put } from "../../merge/engines/index.ts";
import { widenedToF32 } from "../../merge/math/index.ts";
import type { StoredSource, TensorSource } from "../../merge/work/index.ts";
import { checkReadOnHost } from "../finite-watch.ts";
import type { SourceReader } from "./source-reader.ts";

/**
 * Elements of a source's own rows, widened to f32, on the host: small things that several chunks need. What is stored is widened here;
 * what is made on the way comes from the device, and is waited for.
 * @throws MergeError merge/nonfinite, merge/input-changed; StorageError
 */
export async function hostF32(
  reader: SourceReader,
  source: TensorSource,
  first: number,
  count: number,
): Promise<Float32Array> {
  if (source.kind === undefined) return storedF32(reader, source, first, count);
  const bytes = await throughDevice(reader, count * 4, (into) => reader.elementsF32(source, first, count, into));
  return new Float32Array(bytes.buffer, 0, count);
}

/** Elements of a source's own rows as bytes of its dtype, on the host. Not to be altered. */
export async function hostBytes(
  reader: SourceReader,
  source: TensorSource,
  first: number,
  count: number,
): Promise<Uint8Array> {
  if (source.kind === undefined) return reader.bytesOf(source, first, count);
  return throughDevice(reader, count * dtypeBytes[source.dtype], (into) => reader.elements(source, first, count, into));
}

/** A copy of bytes that are made at a place of the device. */
async function throughDevice(
  { arena }: SourceReader,
  sizeBytes: number,
  make: (into: Address) => Promise<void>,
): Promise<Uint8Array<ArrayBuffer>> {
  const scope = arena.scope();
  const place = arena.allocate(sizeBytes);
  await make(place);
  const bytes = (await arena.download(place, sizeBytes)).slice();
  scope.end();
  return bytes;
}

async function storedF32(
  reader: SourceReader,
  source: StoredSource,
  first: number,
  count: number,
): Promise<Float32Array> {
  const { dtype, tensor } = source;
  if (!isFloatDtype(dtype)) throw new Error(`${tensor} of dtype ${dtype} cannot be widened`);
  const values = widenedToF32(await reader.bytesOf(source, first, count), dtype);
  if (reader.check) checkReadOnHost(tensor, reader.files.label(source.input), first, values);
  return values;
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
