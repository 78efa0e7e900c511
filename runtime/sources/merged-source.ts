import { dtypeBytes } from "../../checkpoint/index.ts";
import { type Address, put } from "../../merge/engines/index.ts";
import { geometryOfTask, type MergedSource } from "../../merge/work/index.ts";
import type { Keep, SourceReader } from "./source-reader.ts";

interface LastBlock {
  readonly block: number;
  readonly bytes: Uint8Array;
}

/** into = elements of what the inner task merges, of its dtype. Blocks are merged whole. */
export async function readMerged(
  reader: SourceReader,
  source: MergedSource,
  first: number,
  count: number,
  into: Address,
  keep: Keep,
): Promise<void> {
  if (count === 0) return;
  const { elementCount, blockElements } = geometryOfTask(source.task);
  const block = Math.floor(first / blockElements);
  const blockCount = Math.ceil((first + count) / blockElements) - block;
  const made = Math.min(elementCount - block * blockElements, blockCount * blockElements);
  // Where the device computes by itself, to wait for a block is dear, and to merge one at each end that is not all wanted is not.
  const stays = reader.arena.device.limits.asynchronous && (made === count || count >= blockElements);
  if (stays) await onDevice(reader, source, { block, blockCount, made }, first - block * blockElements, count, into);
  else await byHost(reader, source, first, count, into, keep);
  if (reader.check) reader.watch.read(source, source.task.name, first, count, into);
}

/** `made`: elements of these blocks, of which `count` from `offset` on are wanted. Nothing is kept: it would have to be waited for. */
async function onDevice(
  { arena, options, check }: SourceReader,
  source: MergedSource,
  { block, blockCount, made }: { readonly block: number; readonly blockCount: number; readonly made: number },
  offset: number,
  count: number,
  into: Address,
): Promise<void> {
  if (made === count) return options.mergedBlocks.blocks(source, block, blockCount, check, into);
  const elementBytes = dtypeBytes[source.dtype];
  const scope = arena.scope();
  const place = arena.allocate(made * elementBytes);
  await options.mergedBlocks.blocks(source, block, blockCount, check, place);
  arena.kernels.copy(into, place + offset * elementBytes, count * elementBytes);
  scope.end();
}

/** The last block is kept, for whoever reads the rest of it. */
async function byHost(
  reader: SourceReader,
  source: MergedSource,
  first: number,
  count: number,
  into: Address,
  keep: Keep,
): Promise<void> {
  const elementBytes = dtypeBytes[source.dtype];
  const { blockElements } = geometryOfTask(source.task);
  const withinBlock = first % blockElements;
  if (withinBlock + count <= blockElements) {
    const bytes = await blockOf(reader, source, Math.floor(first / blockElements));
    const wanted = bytes.subarray(withinBlock * elementBytes, (withinBlock + count) * elementBytes);
    keep(wanted);
    return put(reader.arena, into, wanted);
  }
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
}

/** Valid until the next one is asked for. */
async function blockOf(reader: SourceReader, source: MergedSource, block: number): Promise<Uint8Array> {
  const { blockElements, elementCount } = geometryOfTask(source.task);
  const known = reader.kept.get(source) as LastBlock | undefined;
  if (known?.block === block) return known.bytes;
  const bytes = known?.bytes ?? new Uint8Array(Math.min(blockElements, elementCount) * dtypeBytes[source.dtype]);
  // One memory for all of them: garbage of this size is dear to collect.
  reader.kept.delete(source);
  await reader.options.mergedBlocks.block(source, block, reader.check, bytes);
  reader.kept.set(source, { block, bytes });
  return bytes;
}
