import type { TensorTask } from "../merge/work/index.ts";
import type { ModelEntry, RecipeModel } from "./model-entry.ts";

/** BART, Marian, Pegasus and their kind: a bias of the logits, a number for each token, stored as a matrix of one row. */
const oneRow = /(?:^|\.)final_logits_bias$/;

/** With such a bias as a list, like those of other heads: its elements are rows of the vocabulary. */
export function withListedRows(model: RecipeModel): RecipeModel {
  const rows = [...model.checkpoint.tensors].filter(
    ([name, { shape }]) => oneRow.test(name) && shape.length === 2 && shape[0] === 1,
  );
  if (rows.length === 0) return model;
  const listed = rows.map(([name, entry]): [string, ModelEntry] => [
    name,
    { ...entry, shape: entry.shape.slice(1), isRow: true },
  ]);
  const tensors = new Map<string, ModelEntry>([...model.checkpoint.tensors, ...listed]);
  return { ...model, checkpoint: { ...model.checkpoint, tensors } };
}

/** The task with the shape that it is stored in. */
export function asStoredRow(task: TensorTask, { isRow }: Pick<ModelEntry, "isRow">): TensorTask {
  return isRow === true ? { ...task, shape: [1, ...task.shape] } : task;
}
