import { isOpaqueDtype, type ScaledTensor, scaledTensors, scaleNameFor } from "../checkpoint/index.ts";
import type { Scaling, TensorTask } from "../merge/work/index.ts";
import { asBytes, dtypeOf, type ModelEntry, type RecipeModel, sourceOfEntry } from "./model-entry.ts";

/** A model as its values: codes become what they mean, scales are no tensors of their own. */
export function withoutScales(model: RecipeModel): RecipeModel {
  const scaled = scaledTensors(model.checkpoint, model.label, { packed: "leave" });
  if (scaled.size === 0) return model;
  const scales = new Set([...scaled.values()].map((tensor) => tensor.scales.name));
  const tensors = new Map<string, ModelEntry>();
  for (const [name, entry] of model.checkpoint.tensors) {
    const tensor = scaled.get(name);
    if (tensor !== undefined) tensors.set(name, dequantised(tensor, model.filesOf));
    else if (!scales.has(name)) tensors.set(name, entry);
  }
  return { ...model, isScaled: true, checkpoint: { ...model.checkpoint, tensors } };
}

function dequantised(scaled: ScaledTensor, filesOf: number): ModelEntry {
  const { codes, scales, rows, blockRows, blockColumns, columns } = scaled;
  const source = {
    kind: "scaled",
    tensor: codes.name,
    dtype: "F32",
    storedRowLength: columns,
    codes: sourceOfEntry(codes, filesOf),
    scales: sourceOfEntry(scales, filesOf),
    ...{ rows, blockRows, blockColumns },
  } as const;
  return { ...codes, source, scaled };
}

/**
 * The tasks that write a tensor as fp8 after the custom of `like`: codes, and fresh scales beside them. What would be copied as it
 * stands is copied, scales and all. Undefined where fresh scales cannot be of the dtype that the custom asks for.
 */
export function quantisedTasks(
  task: TensorTask,
  like: ScaledTensor,
  dtype: Scaling["codes"],
): TensorTask[] | undefined {
  const { name, method, shape } = task;
  const scaleName = scaleNameFor(like, name);
  const { base } = task;
  const isWhole = (n: number) => n === shape.slice(0, -1).reduce((product, size) => product * size, 1);
  if (task.kind === "copy" && base?.kind === "scaled" && base.codes.dtype === dtype && isWhole(base.rows)) {
    const { shape: grid, written } = asBytes(like.scales);
    const scales = { ...task, name: scaleName, dtype: dtypeOf(like.scales), shape: grid, base: base.scales };
    return [
      { ...task, dtype, base: base.codes },
      { ...scales, ...(written && { written }) },
    ];
  }
  if (isOpaqueDtype(like.scales.dtype)) return undefined;
  const columns = shape.at(-1) ?? 1;
  const rows = shape.slice(0, -1).reduce((product, size) => product * size, 1);
  const blockRows = like.blockRows === like.rows ? rows : like.blockRows;
  const blockColumns = like.blockColumns === like.columns ? columns : like.blockColumns;
  const scaling: Scaling = { rows, columns, blockRows, blockColumns, codes: dtype };
  const values: TensorTask = { ...task, dtype: "F32" };
  const source = { kind: "merged", tensor: name, dtype: "F32", storedRowLength: columns, task: values } as const;
  const quantised = { method, parameters: {}, base: source, models: [], scaling };
  const grid = [Math.ceil(rows / blockRows), Math.ceil(columns / blockColumns)];
  const isLike = like.rows === rows && like.columns === columns;
  return [
    { ...quantised, name, kind: "codes", dtype, shape },
    { ...quantised, name: scaleName, kind: "scales", dtype: "F32", shape: isLike ? like.scales.shape : grid },
  ];
}
