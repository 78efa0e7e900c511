import { dtypeBytes } from "../checkpoint/index.ts";
import { geometryOfTask, type PlanShard, type Slice, type SlicePart, type TensorTask } from "../merge/work/index.ts";
import { sizeBytesOf, sliceId } from "./layout.ts";

/** Object stores take no more parts of one object than this. */
const PARTS_MAX = 10_000;
const MIB = 2 ** 20;

/** Bytes of all parts of a shard but the last: as few as allowed, or whole MiB so that the shard has no more parts than a store takes. */
export function partBytesOf(shardBytes: number, leastBytes: number): number {
  const needed = Math.ceil(shardBytes / PARTS_MAX);
  return needed <= leastBytes ? leastBytes : Math.ceil(needed / MIB) * MIB;
}

/**
 * Every byte of the shards, headers too, on an equal grid. A tensor over which it lies is shared by slices: they have its parts, which
 * begin at blocks, and of the block that lies across a line of the grid both have their side.
 */
export function layOutParts(tasks: readonly TensorTask[], shards: readonly PlanShard[], leastBytes: number): Slice[] {
  const slices: Slice[] = [];
  for (const [shard, { sizeBytes, dataOffsetBytes, tasks: group }] of shards.entries()) {
    const grid = partBytesOf(sizeBytes, leastBytes);
    const parts: SlicePart[][] = Array.from({ length: Math.ceil(sizeBytes / grid) }, () => []);
    let beginBytes = dataOffsetBytes;
    for (const index of group) {
      const task = tasks[index];
      if (task === undefined) continue;
      for (const [slice, part] of partsOf(index, task, beginBytes, grid))
        parts[Math.min(slice, parts.length - 1)]?.push(part);
      beginBytes += sizeBytesOf(task);
    }
    for (const [k, held] of parts.entries()) {
      const offsetBytes = k * grid;
      const size = Math.min(grid, sizeBytes - offsetBytes);
      slices.push({ id: sliceId(slices.length), shard, offsetBytes, sizeBytes: size, parts: held });
    }
  }
  return slices;
}

/** What each slice of a shard has of a tensor that begins at a byte of it. */
function* partsOf(
  index: number,
  task: TensorTask,
  beginBytes: number,
  grid: number,
): Generator<readonly [slice: number, SlicePart]> {
  const { elementCount, blockElements } = geometryOfTask(task);
  const elementBytes = dtypeBytes[task.dtype];
  const blockBytes = blockElements * elementBytes;
  const endBytes = beginBytes + elementCount * elementBytes;
  const first = Math.floor(beginBytes / grid);
  const lines = Math.max(0, Math.ceil(endBytes / grid) - first - 1);
  const starts = partStarts(
    Array.from({ length: lines }, (_, k) => (first + 1 + k) * grid - beginBytes),
    blockBytes,
    blockElements,
    elementCount,
  );
  const whole = { task: index, partCount: starts.length };
  if (elementCount === 0) yield [first, { ...whole, part: 0, firstElement: 0, elementCount }];
  let part = 0;
  for (let slice = first; slice * grid < endBytes && elementCount > 0; slice++) {
    const from = Math.max(0, slice * grid - beginBytes);
    const to = Math.min(endBytes, (slice + 1) * grid) - beginBytes;
    const firstElement = Math.floor(from / blockBytes) * blockElements;
    const end = Math.min(elementCount, Math.ceil(to / blockBytes) * blockElements);
    while ((starts[part + 1] ?? elementCount) <= firstElement) part++;
    for (let k = part; (starts[k] ?? elementCount) < end; k++) {
      const [start = 0, next = elementCount] = [starts[k], starts[k + 1]];
      const length = Math.min(next, end) - start;
      const skipBytes = Math.max(0, from - start * elementBytes);
      const takeBytes = Math.min(to, (start + length) * elementBytes) - start * elementBytes - skipBytes;
      const kept = takeBytes < length * elementBytes ? { kept: { skipBytes, takeBytes } } : {};
      yield [slice, { ...whole, part: k, firstElement: start, elementCount: length, ...kept }];
    }
  }
}

/** Elements at which parts begin: blocks over which a line of the grid lies; of the first block, the one after it. */
function partStarts(
  lines: readonly number[],
  blockBytes: number,
  blockElements: number,
  elementCount: number,
): readonly number[] {
  const starts = [0];
  for (const line of lines) {
    const start = Math.max(1, Math.floor(line / blockBytes)) * blockElements;
    if (start > (starts.at(-1) ?? 0) && start < elementCount) starts.push(start);
  }
  return starts;
}
