/** Writers of safetensors for tests: checkpoints as they should be, and headers as they should not. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface WriteTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** As long as dtype and shape say; nothing here checks it. */
  readonly bytes: Uint8Array;
}

/** One file: tensors in the order given, without holes, header padded to 8 bytes. Makes the directory. */
export function writeSafetensors(
  path: string,
  tensors: readonly WriteTensor[],
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): void {
  const entries: string[] = [`"__metadata__":${JSON.stringify(metadata)}`];
  let offset = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    const data_offsets = [offset, offset + bytes.length];
    entries.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets })}`);
    offset += bytes.length;
  }
  const header = `{${entries.join(",")}}`;
  const padded = header.padEnd(header.length + ((8 - (Buffer.byteLength(header) % 8)) % 8), " ");
  writeRawSafetensors(path, padded, Buffer.concat(tensors.map((tensor) => tensor.bytes)));
}

/** Any header before any data, with its true length, or with a false one. */
export function writeRawSafetensors(
  path: string,
  header: string | Uint8Array,
  data: Uint8Array,
  headerLength?: bigint,
): void {
  mkdirSync(dirname(path), { recursive: true });
  const bytes = Buffer.from(header);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(headerLength ?? BigInt(bytes.length));
  writeFileSync(path, Buffer.concat([prefix, bytes, data]));
}

/** A sharded checkpoint: one list of tensors per shard, named as the Hub names them, with an index. */
export function writeSharded(directory: string, shards: readonly (readonly WriteTensor[])[]): void {
  const weight_map: Record<string, string> = {};
  let total_size = 0;
  const count = String(shards.length).padStart(5, "0");
  for (const [k, tensors] of shards.entries()) {
    const file = `model-${String(k + 1).padStart(5, "0")}-of-${count}.safetensors`;
    writeSafetensors(join(directory, file), tensors);
    for (const tensor of tensors) {
      weight_map[tensor.name] = file;
      total_size += tensor.bytes.length;
    }
  }
  const index = { metadata: { total_size }, weight_map };
  writeFileSync(join(directory, "model.safetensors.index.json"), `${JSON.stringify(index, null, 2)}\n`);
}
