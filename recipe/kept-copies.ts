import type { TensorTask } from "../merge/work/index.ts";

/**
 * Tasks in which second copies of a parameter have the values of the first, whatever method, gradients, filters and masks give under their
 * own names. `copies`: by name, what it is a copy of. A copy that no task makes is added.
 */
export function withCopies(tasks: readonly TensorTask[], copies: ReadonlyMap<string, string>): readonly TensorTask[] {
  if (copies.size === 0) return tasks;
  const byName = new Map(tasks.map((task) => [task.name, task]));
  const made = new Map<string, TensorTask>();
  for (const [name, of] of copies) {
    const original = byName.get(of);
    if (original !== undefined && original.expert === undefined) made.set(name, copyOf(original, name));
  }
  const added = [...made.values()].filter(({ name }) => !byName.has(name));
  return [...tasks.map((task) => made.get(task.name) ?? task), ...added];
}

/** The values that a task makes, as if they had been written and read back. */
function copyOf(task: TensorTask, name: string): TensorTask {
  if (task.kind === "copy") return { ...task, name };
  const { method, dtype, shape } = task;
  const base = { kind: "merged", tensor: task.name, dtype, storedRowLength: shape.at(-1) ?? 1, task } as const;
  return { name, kind: "copy", method, dtype, shape, parameters: {}, base, models: [] };
}
