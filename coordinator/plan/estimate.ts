import { dtypeBytes } from "../../checkpoint/index.ts";
import { methodNamed } from "../../merge/methods/index.ts";
import { geometryOf, type Plan, type TensorSource, type TensorTask } from "../../merge/work/index.ts";
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
    const base = task.base === undefined ? 0 : sourceBytes(task, task.base);
    const models = task.models.reduce((sum, model) => sum + sourceBytes(task, model), 0);
    if (task.kind === "copy") {
      const copied = task.base === undefined ? sourceBytes(task, task.models[0]) : base;
      inputBytes += copied;
      readBytes += copied;
      continue;
    }
    const reads = methodNamed(task.method).reads(task);
    inputBytes += base + models;
    readBytes += base * reads.base + models * reads.models;
  }
  const cut = new Set(
    plan.slices.flatMap(({ parts }) => parts.filter(({ partCount }) => partCount > 1).map(({ task }) => task)),
  );
  return {
    inputBytes,
    readBytes,
    writeBytes: plan.shards.reduce((sum, shard) => sum + shard.sizeBytes, 0),
    mergedTensors: plan.tasks.filter(({ kind }) => kind === "merge").length,
    copiedTensors: plan.tasks.filter(({ kind }) => kind === "copy").length,
    cutTensors: cut.size,
  };
}

function sourceBytes(task: TensorTask, source: TensorSource | undefined): number {
  return source === undefined ? 0 : geometryOf(task.shape).elementCount * dtypeBytes[source.dtype];
}

/** For the plan's table: size of the largest output tensor. */
export function largestTensorBytes(plan: Plan): number {
  return plan.tasks.reduce((largest, task) => Math.max(largest, sizeBytesOf(task)), 0);
}
