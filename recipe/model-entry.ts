import {
  type Dtype,
  isDtype,
  isOpaqueDtype,
  type OpaqueDtype,
  type ScaledTensor,
  type TensorEntry,
} from "../checkpoint/index.ts";
import type { StoredSource, TensorSource } from "../merge/work/index.ts";
import type { RecipeInput } from "./recipe.ts";
import type { Ties } from "./stored-ties.ts";
import type { BoundTokenizer } from "./token-binder.ts";

/** A model as the recipe names it, with whatever is applied to it. Its checkpoint is a view: entries may be ModelEntry. */
export interface RecipeModel extends RecipeInput {
  /** Index into the plan's inputs: its own files, of which its config and tokenizer are companions. */
  readonly filesOf: number;
  /** Index of the input whose tokenizer files, and of the one whose chat template it has: its own, or an adapter's. */
  readonly tokenizerOf: number;
  readonly templateOf: number;
  /** Where an earlier document made it: the tokenizer and the template that it would have been written with. */
  readonly made?: { readonly tokenizer?: BoundTokenizer; readonly chatTemplate?: string };
  /** Whether any of its tensors are codes with scales. */
  readonly isScaled?: boolean;
  /** Of a model with an adapter: the adapter, an index into the plan's inputs. */
  readonly adapterInput?: number;
  /** Of a model with a config: which of its tensors are one parameter. */
  readonly ties?: Ties;
}

/** A tensor as the recipe sees it. */
export interface ModelEntry extends TensorEntry {
  /**
   * Where it is not simply stored in the model's own files. Shape and dtype are then those that the output takes after, not those of
   * the source.
   */
  readonly source?: TensorSource;
  /** Where it holds codes: an output in fp8 is quantised again after the same custom. */
  readonly scaled?: ScaledTensor;
  /** Codes or what belongs to them: copied as it stands. */
  readonly isPacked?: boolean;
  /** Measured of the model as it ran: copied as it stands. */
  readonly isMeasured?: boolean;
  /** A list that is stored as a matrix of one row. */
  readonly isRow?: true;
  /** What a file calls it where the entry is of its bytes, as no numbers are made of its dtype. */
  readonly written?: { readonly dtype: OpaqueDtype; readonly shape: readonly number[] };
}

/** `filesOf`: of the model that the entry belongs to. `output`: name of the output's tensor. */
export function sourceOfEntry(entry: ModelEntry, filesOf: number, output?: string): TensorSource {
  return entry.source ?? storedSource(entry, filesOf, output);
}

export function storedSource(entry: TensorEntry, input: number, output?: string): StoredSource {
  const { file, name, offsetBytes, shape } = asBytes(entry);
  // Usually they are equal: one string serves all models.
  const tensor = name === output ? output : name;
  return { input, file, tensor, dtype: dtypeOf(entry), offsetBytes, storedRowLength: shape.at(-1) ?? 1 };
}

/** Of the elements as they are read. */
export function dtypeOf(entry: TensorEntry): Dtype {
  return isDtype(entry.dtype) ? entry.dtype : "U8";
}

/** A tensor of a dtype of which no numbers are made, as its bytes: rows of them where no byte is shared by two rows. */
export function asBytes(entry: ModelEntry): ModelEntry {
  const { dtype, shape, sizeBytes } = entry;
  if (!isOpaqueDtype(dtype)) return entry;
  const rowBytes = sizeBytes / shape.slice(0, -1).reduce((product, size) => product * size, 1);
  const isOfRows = shape.length > 1 && Number.isInteger(rowBytes);
  return {
    ...entry,
    dtype: "U8",
    shape: isOfRows ? [...shape.slice(0, -1), rowBytes] : [sizeBytes],
    elementCount: sizeBytes,
    written: { dtype, shape },
  };
}
