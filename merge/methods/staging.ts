import type { Address } from "../engines/index.ts";
import type { RangeContext } from "./range.ts";

/** Puts a table on the device. */
export function stageValues(
  { engine }: RangeContext,
  address: Address,
  values: Uint32Array | Float32Array | Float64Array,
): void {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  engine.stage(address, bytes.length).set(bytes);
  engine.upload(address, bytes.length);
}
