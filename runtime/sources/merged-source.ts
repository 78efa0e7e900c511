import { dtypeBytes } from "../../checkpoint/index.ts";
import { type Address, put } from "../../merge/engines/index.ts";
import { geometryOfTask, type MergedSource } from "../../merge/work/index.ts";
import type { Keep, SourceReader } from "./source-reader.ts";

interface LastBlock {
  block: number;
  bytes: Uint8Array;
}

/** into = elements of what the inner task merges, of its dtype. Blocks are merged whole; the last one is kept. */
export async function readMerged(
  reader: SourceReader,
  source: MergedSource,
  first: number,
  count: number,
  into: Address,
  keep: Keep,
): Promise<void> {
  const elementBytes = dtypeBytes[source.dtype];
  const { blockElements } = geometryOfTask(source.task);
  const whole = new Uint8Array(count * elementBytes);
  for (let done = 0; done < count; ) {
    const block = Math.floor((first + done) / blockElements);
    const offset = first + done - block * blockElements;
    const taken = Math.min(count - done, blockElements - offset);
    const bytes = await blockOf(reader, source, block);
    whole.set(bytes.subarray(offset * elementBytes, (offset + taken) * elementBytes), done * elementBytes);
    done += taken;
  }
  keep(whole);
  put(reader.arena, into, whole);
  if (reader.check) reader.watch.read(source, source.task.name, first, count, into);
}

async function blockOf(reader: SourceReader, source: MergedSource, block: number): Promise<Uint8Array> {
  const last = reader.kept.get(source) as LastBlock | undefined;
  if (last?.block === block) return last.bytes;
  const bytes = await reader.options.mergedBlocks(source, block, reader.check);
  reader.kept.set(source, { block, bytes });
  return bytes;
}
