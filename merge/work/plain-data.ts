/** An array of numbers that travels as it lies in memory. */
export type Numbers =
  | Uint8Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

/**
 * What requests, summaries and verdicts are to everybody but their method: data that crosses threads, machines and the journal bit for bit,
 * and holds nothing else. Entries that are undefined are left out on the way.
 */
export type PlainData =
  | null
  | boolean
  | number
  | string
  | bigint
  | Numbers
  | readonly PlainData[]
  | { readonly [name: string]: PlainData | undefined };

export function isList(value: PlainData | undefined): value is readonly PlainData[] {
  return Array.isArray(value);
}
