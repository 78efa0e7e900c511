import { dtypeBytes } from "../../checkpoint/index.ts";
import { methodNamed } from "../../merge/methods/index.ts";
import {
  beginsTensor,
  geometryOf,
  type Plan,
  type RowsSource,
  rowsOfRun,
  type StoredSource,
  type TensorSource,
  type TensorTask,
} from "../../merge/work/index.ts";
import { sizeBytesOf } from "./layout.ts";

/** What a plan will cost, from headers alone. */
export interface Estimate {
  /** Bytes of the tensors that go in, each counted once. */
  readonly inputBytes: number;
  /** Bytes that will be read from the inputs, all rounds together, for tensors that are not cut for want of memory. */
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly mergedTensors: number;
  readonly copiedTensors: number;
  readonly cutTensors: number;
}

export function estimateOf(plan: Plan): Estimate {
  let inputBytes = 0;
  let readBytes = 0;
  for (const task of plan.tasks) {
    const bytes = taskBytes(task);
    inputBytes += bytes.input;
    readBytes += Math.round(bytes.read);
  }
  const cut = new Set(
    plan.slices.flatMap(({ parts }) => parts.filter(({ partCount }) => partCount > 1).map(({ task }) => task)),
  );
  return {
    inputBytes,
    readBytes,
    writeBytes: plan.shards.reduce((sum, shard) => sum + shard.sizeBytes, 0),
    mergedTensors: plan.tasks.filter((task) => beginsTensor(task) && (task.kind === "merge" || task.kind === "codes"))
      .length,
    copiedTensors: plan.tasks.filter((task) => beginsTensor(task) && task.kind === "copy").length,
    cutTensors: cut.size,
  };
}

/** Of one task: bytes of the stored tensors that go into it, each counted once; bytes read in all of its rounds. */
function taskBytes(task: TensorTask): { readonly input: number; readonly read: number } {
  const { elementCount } = geometryOf(task.shape);
  const counted = new Map<string, number>();
  const reads = new Map<string, number>();
  for (const [source, times] of partsOf(task)) {
    for (const { stored, bytes, repeats } of storedBytes(source, elementCount)) {
      const key = `${stored.input}/${stored.file}/${stored.offsetBytes}`;
      counted.set(key, Math.max(counted.get(key) ?? 0, bytes));
      // A tensor that several sources share is read once for all of them.
      reads.set(key, Math.max(reads.get(key) ?? 0, bytes * repeats * times));
    }
  }
  const total = (bytes: ReadonlyMap<string, number>) => [...bytes.values()].reduce((sum, each) => sum + each, 0);
  return { input: total(counted), read: total(reads) };
}

/** The sources of a task, and how often each is read. */
function partsOf(task: TensorTask): [TensorSource, number][] {
  if (task.kind !== "merge") {
    const copied = task.base ?? task.models[0];
    // Codes are written once the largest magnitudes are known.
    return copied === undefined ? [] : [[copied, task.kind === "codes" ? 2 : 1]];
  }
  const reads = methodNamed(task.method).reads(task);
  const models = task.models.map((model): [TensorSource, number] => [model, reads.models]);
  return task.base === undefined ? models : [[task.base, reads.base], ...models];
}

interface StoredBytes {
  readonly stored: StoredSource;
  readonly bytes: number;
  /** How often it is read where the source is read once: more than once below a merged source with rounds. */
  readonly repeats: number;
}

/** What reading all of a source, `elementCount` elements, takes from files. */
function storedBytes(source: TensorSource, elementCount: number): StoredBytes[] {
  const of = (stored: StoredSource, elements: number) => ({
    stored,
    bytes: elements * dtypeBytes[stored.dtype],
    repeats: 1,
  });
  if (source.kind === undefined) return [of(source, elementCount)];
  switch (source.kind) {
    case "adapter": {
      const { a, b, rank, rows, columns } = source;
      const [ofA, ofB] = source.transposed ? [rows, columns] : [columns, rows];
      return [...storedBytes(source.base, elementCount), of(a, rank * ofA), of(b, rank * ofB)];
    }
    case "scaled": {
      const { codes, scales, rows, blockRows, blockColumns, storedRowLength } = source;
      const grid = Math.ceil(rows / blockRows) * Math.ceil(storedRowLength / blockColumns);
      return [...storedBytes(codes, elementCount), ...storedBytes(scales, grid)];
    }
    case "rows":
      return source.parts.flatMap((part, index) => storedBytes(part, rowsFrom(source, index) * source.width));
    case "columns":
      return source.parts.map((part) => of(part.source, (elementCount / source.width) * part.columns));
    case "product":
      return source.terms.flatMap(({ a, b, rank }) => [of(b, source.rows * rank), of(a, rank * source.columns)]);
    case "merged":
      return partsOf(source.task).flatMap(([inner, times]) =>
        storedBytes(inner, geometryOf(source.task.shape).elementCount).map((bytes) => ({
          ...bytes,
          repeats: bytes.repeats * times,
        })),
      );
  }
}

function rowsFrom({ runs }: RowsSource, part: number): number {
  let rows = 0;
  for (const run of runs) {
    if ("mean" in run) rows += run.mean.filter(([from]) => from === part).length;
    else if ("part" in run && run.part === part) rows += rowsOfRun(run);
  }
  return rows;
}

/** For the plan's table: size of the largest output tensor. */
export function largestTensorBytes(plan: Plan): number {
  return plan.tasks.reduce((largest, task) => Math.max(largest, sizeBytesOf(task)), 0);
}
