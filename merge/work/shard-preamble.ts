import type { Plan, Slice } from "./plan.ts";

/** What stands before the data of a shard: the length of its header as u64, then the text. */
export function shardPreamble(header: string): Uint8Array {
  const text = Buffer.from(header, "utf8");
  const preamble = Buffer.alloc(8 + text.length);
  preamble.writeBigUInt64LE(BigInt(text.length), 0);
  text.copy(preamble, 8);
  return preamble;
}

/** What of it is a slice's; undefined: nothing. */
export function preambleIn(plan: Plan, { shard, offsetBytes, sizeBytes }: Slice): Uint8Array | undefined {
  const { header = "", dataOffsetBytes = 0 } = plan.shards[shard] ?? {};
  return offsetBytes < dataOffsetBytes
    ? shardPreamble(header).subarray(offsetBytes, offsetBytes + sizeBytes)
    : undefined;
}
