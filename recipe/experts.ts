import { dtypeBytes, holdsExperts } from "../checkpoint/index.ts";
import { geometryOf, type TensorSource, type TensorTask } from "../merge/work/index.ts";

/**
 * A task for each expert of a tensor that holds several, where the recipe's `scope` asks for it: whatever a method must know of a
 * whole tensor it then knows of each expert. Other tasks, and those of sources that are made while they are read, stay one.
 */
export function perExpert(task: TensorTask): readonly TensorTask[] {
  const [count = 0, ...shape] = task.shape;
  if (task.parameters.scope !== "expert" || !holdsExperts(task.name, task.shape) || count === 0) return [task];
  const sources = task.base === undefined ? task.models : [task.base, ...task.models];
  if (sources.some((source) => source.kind !== undefined)) return [task];
  const { elementCount } = geometryOf(shape);
  const partOf = <Source extends TensorSource>(source: Source, index: number): Source =>
    source.kind === undefined
      ? {
          ...source,
          tensor: `${source.tensor}[${index}]`,
          offsetBytes: source.offsetBytes + index * elementCount * dtypeBytes[source.dtype],
        }
      : source;
  return Array.from({ length: count }, (_, index) => ({
    ...task,
    shape,
    expert: { index, count },
    ...(task.base && { base: partOf(task.base, index) }),
    models: task.models.map((model) => partOf(model, index)),
  }));
}
