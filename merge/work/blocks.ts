import type { TensorTask } from "./tensor-task.ts";

/** methods.md: a block is the smallest number of whole rows that holds at least this many elements. */
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

export function geometryOfTask(task: TensorTask): Geometry {
  return geometryOf(task.shape);
}
