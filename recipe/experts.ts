import { dtypeBytes, holdsExperts } from "../checkpoint/index.ts";
import { geometryOf, type ModelSource, type TensorSource, type TensorTask } from "../merge/work/index.ts";

/**
 * A task for each expert of a tensor that holds several, where the recipe's `scope` asks for it: whatever a method must know of a
 * whole tensor it then knows of each expert. Other tasks stay one.
 */
export function perExpert(task: TensorTask): readonly TensorTask[] {
  const [count = 0, ...shape] = task.shape;
  if (task.parameters.scope !== "expert" || !holdsExperts(task.name, task.shape) || count === 0) return [task];
  return Array.from({ length: count }, (_, index) => ({
    ...task,
    shape,
    expert: { index, count },
    ...(task.base && { base: expertOf(task.base, shape, index) }),
    models: task.models.map((model): ModelSource => {
      const { index: position, parameters } = model;
      return { ...expertOf(model, shape, index), index: position, parameters };
    }),
  }));
}

/** One expert of a source that holds several, each of `shape`. */
function expertOf(source: TensorSource, shape: readonly number[], index: number): TensorSource {
  const { elementCount, rowLength } = geometryOf(shape);
  const tensor = `${source.tensor}[${index}]`;
  if (source.kind === undefined) {
    const offsetBytes = source.offsetBytes + index * elementCount * dtypeBytes[source.dtype];
    return { ...source, tensor, offsetBytes };
  }
  // Made while it is read: its rows are taken out of those of all experts.
  const count = elementCount / rowLength;
  const runs = [{ part: 0, first: index * count, count }];
  return { kind: "rows", dtype: "F32", tensor, storedRowLength: rowLength, width: rowLength, parts: [source], runs };
}

/** The source of a tensor of which each task makes one expert, as if it had been written and read back. */
export function expertsTogether(tasks: readonly TensorTask[]): TensorSource {
  const [first] = tasks;
  if (first === undefined) throw new Error("a tensor of experts has tasks");
  const { elementCount, rowLength } = geometryOf(first.shape);
  const shared = { dtype: first.dtype, storedRowLength: rowLength };
  const parts = tasks.map((task): TensorSource => ({ kind: "merged", tensor: task.name, ...shared, task }));
  const runs = tasks.map((_, part) => ({ part, first: 0, count: elementCount / rowLength }));
  return { kind: "rows", dtype: "F32", tensor: first.name, storedRowLength: rowLength, width: rowLength, parts, runs };
}
