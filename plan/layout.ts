import { dtypeBytes, type StoredDtype } from "../checkpoint/index.ts";
import {
  beginsTensor,
  geometryOf,
  type PlanShard,
  type Slice,
  type SliceId,
  type SlicePart,
  type TensorTask,
} from "../merge/work/index.ts";

/** safetensors wants the header to end at a multiple of 8 so that data is aligned. */
const HEADER_ALIGNMENT_BYTES = 8;

/**
 * A slice of small tensors is closed when so many inputs go into it: with hundreds of models a few tensors are work enough, and what a
 * worker is told of a slice stays small.
 */
const SLICE_SOURCES_MAX = 256;

/** Tensors in output order into shards: each as full as `shardBytes` allows, a larger tensor alone in its own. `metadata`: of each. */
export function layOutShards(
  tasks: readonly TensorTask[],
  shardBytes: number,
  metadata?: Readonly<Record<string, string>>,
): PlanShard[] {
  const groups: number[][] = [];
  let bytes = 0;
  for (const [index, task] of tasks.entries()) {
    // The experts of one tensor stay together.
    const size = beginsTensor(task) ? tensorBytes(task) : 0;
    const group = groups.at(-1);
    if (group === undefined || (beginsTensor(task) && bytes + size > shardBytes)) {
      groups.push([index]);
      bytes = size;
    } else {
      group.push(index);
      bytes += size;
    }
  }
  if (groups.length === 0) groups.push([]);
  return groups.map((group, k) => shardOf(shardName(k, groups.length), group, tasks, metadata));
}

/** PEFT looks for one file of this name, whatever its size. */
export function layOutAdapter(tasks: readonly TensorTask[]): PlanShard {
  return shardOf("adapter_model.safetensors", Array.from(tasks.keys()), tasks);
}

function shardName(index: number, count: number): string {
  if (count === 1) return "model.safetensors";
  const digits = (n: number) => String(n).padStart(5, "0");
  return `model-${digits(index + 1)}-of-${digits(count)}.safetensors`;
}

/** Every file has all of the metadata, as loaders expect it of files that are one model. */
function shardOf(
  name: string,
  group: readonly number[],
  tasks: readonly TensorTask[],
  metadata: Readonly<Record<string, string>> = {},
): PlanShard {
  const entries: string[] = [`"__metadata__":${JSON.stringify({ format: "pt", ...metadata })}`];
  let end = 0;
  for (const index of group) {
    const task = tasks[index];
    if (task === undefined || !beginsTensor(task)) continue;
    const { dtype, shape } = writtenAs(task);
    const begin = end;
    end += tensorBytes(task);
    entries.push(
      `${JSON.stringify(task.name)}:{"dtype":"${dtype}","shape":${JSON.stringify(shape)},"data_offsets":[${begin},${end}]}`,
    );
  }
  const text = `{${entries.join(",")}}`;
  const textBytes = Buffer.byteLength(text);
  const padding = (HEADER_ALIGNMENT_BYTES - (textBytes % HEADER_ALIGNMENT_BYTES)) % HEADER_ALIGNMENT_BYTES;
  const dataOffsetBytes = 8 + textBytes + padding;
  return { name, header: text + " ".repeat(padding), dataOffsetBytes, sizeBytes: dataOffsetBytes + end, tasks: group };
}

/** What a header says of the output tensor that the task makes, or makes a part of. */
export function writtenAs(task: TensorTask): { readonly dtype: StoredDtype; readonly shape: readonly number[] } {
  const { dtype, shape, expert, written } = task;
  return written ?? { dtype, shape: expert === undefined ? shape : [expert.count, ...shape] };
}

export function sizeBytesOf(task: TensorTask): number {
  return geometryOf(task.shape).elementCount * dtypeBytes[task.dtype];
}

/** Of the output tensor that the task makes, or makes a part of. */
export function tensorBytes(task: TensorTask): number {
  return sizeBytesOf(task) * (task.expert?.count ?? 1);
}

/** Every byte of tensor data in one slice: large tensors cut between blocks, small neighbours bundled. */
export function layOutSlices(tasks: readonly TensorTask[], shards: readonly PlanShard[], sliceBytes: number): Slice[] {
  const slices: Slice[] = [];
  for (const [shard, { dataOffsetBytes, tasks: group }] of shards.entries()) {
    let offsetBytes = dataOffsetBytes;
    let bundle: SlicePart[] = [];
    let bundleBytes = 0;
    let bundleSources = 0;
    const close = (parts: readonly SlicePart[], sizeBytes: number) => {
      if (parts.length === 0) return;
      slices.push({ id: sliceId(slices.length), shard, offsetBytes, sizeBytes, parts });
      offsetBytes += sizeBytes;
    };
    const closeBundle = () => {
      close(bundle, bundleBytes);
      bundle = [];
      bundleBytes = 0;
      bundleSources = 0;
    };
    for (const index of group) {
      const task = tasks[index];
      if (task === undefined) continue;
      const size = sizeBytesOf(task);
      const sources = task.models.length + (task.base === undefined ? 0 : 1);
      if (bundleBytes + size > sliceBytes || bundleSources + sources > SLICE_SOURCES_MAX) closeBundle();
      const parts = partsOf(index, task, sliceBytes);
      const [only] = parts;
      if (parts.length === 1 && only !== undefined) {
        bundle.push(only);
        bundleBytes += size;
        bundleSources += sources;
        continue;
      }
      for (const part of parts) close([part], part.elementCount * dtypeBytes[task.dtype]);
    }
    closeBundle();
  }
  return slices;
}

function partsOf(index: number, task: TensorTask, sliceBytes: number): SlicePart[] {
  const { elementCount, blockElements } = geometryOf(task.shape);
  const size = elementCount * dtypeBytes[task.dtype];
  const blocksInSlice = Math.max(1, Math.floor(sliceBytes / (blockElements * dtypeBytes[task.dtype])));
  const partElements = size <= sliceBytes ? Math.max(1, elementCount) : blocksInSlice * blockElements;
  const partCount = Math.max(1, Math.ceil(elementCount / partElements));
  return Array.from({ length: partCount }, (_, part) => {
    const firstElement = part * partElements;
    return {
      task: index,
      part,
      partCount,
      firstElement,
      elementCount: Math.min(partElements, elementCount - firstElement),
    };
  });
}

export function sliceId(index: number): SliceId {
  return `s${String(index).padStart(6, "0")}` as SliceId;
}
