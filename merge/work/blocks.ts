import type { TensorTask } from "./tensor-task.ts";

/** docs/spec/methods.md: a block is the smallest number of whole rows that holds at least this many elements. */
export const BLOCK_MIN_ELEMENTS = 65_536;

export interface Geometry {
  readonly elementCount: number;
  /** Length of the last dimension; 1 for a scalar. */
  readonly rowLength: number;
  /** Elements of every block but the last. */
  readonly blockElements: number;
}

/** How a shape falls into rows and blocks. A 1-D tensor is one row, in blocks of 65,536 elements. */
export function geometryOf(shape: readonly number[]): Geometry {
  const elementCount = shape.reduce((product, size) => product * size, 1);
  const rowLength = shape.at(-1) ?? 1;
  if (shape.length <= 1 || rowLength === 0) return { elementCount, rowLength, blockElements: BLOCK_MIN_ELEMENTS };
  return { elementCount, rowLength, blockElements: rowLength * Math.ceil(BLOCK_MIN_ELEMENTS / rowLength) };
}

/** Elements of the output tensor that lie before those of the task: other experts'. Random masks count them (docs/spec/random.md). */
export function elementsBefore(task: TensorTask): number {
  return (task.expert?.index ?? 0) * geometryOf(task.shape).elementCount;
}

/** Whether a task is the first, mostly the only one of its output tensor. */
export function beginsTensor({ expert }: TensorTask): boolean {
  return expert === undefined || expert.index === 0;
}

export function geometryOfTask(task: TensorTask): Geometry {
  return geometryOf(task.shape);
}
