import type { ReadTensor } from "../support/read-safetensors.ts";

/** Tensors that differ in name, dtype, shape or any bit, each with the first byte that does. Empty: the same. */
export function differencesBetween(
  found: ReadonlyMap<string, ReadTensor>,
  expected: ReadonlyMap<string, ReadTensor>,
): string[] {
  const names = new Set([...expected.keys(), ...found.keys()]);
  return [...names].flatMap((name) => {
    const [a, b] = [found.get(name), expected.get(name)];
    if (a === undefined || b === undefined)
      return [`${name}: ${a === undefined ? "is missing" : "should not be there"}`];
    if (a.dtype !== b.dtype || String(a.shape) !== String(b.shape))
      return [`${name}: ${a.dtype} [${a.shape}] instead of ${b.dtype} [${b.shape}]`];
    if (a.bytes.equals(b.bytes)) return [];
    const at = a.bytes.findIndex((byte, k) => byte !== b.bytes[k]);
    const differing = a.bytes.reduce((sum, byte, k) => sum + (byte === b.bytes[k] ? 0 : 1), 0);
    return [
      `${name}: differs from byte ${at} on, in ${differing} of ${b.bytes.length} bytes (${b.dtype} [${b.shape}])`,
    ];
  });
}
