import type { Checkpoint, TensorEntry } from "../checkpoint/index.ts";
import type { TensorSource } from "../merge/work/index.ts";
import type { GatheredRows } from "../tokenizer/index.ts";
import { type RecipeModel, sourceOfEntry } from "./model-entry.ts";
import type { LayerRange, LayerSource } from "./recipe.ts";

/** One source of a layer range, opened. */
export interface Participant {
  readonly source: LayerSource;
  readonly input: RecipeModel;
  readonly inputIndex: number;
  /** The range's base_model, at its first entry. */
  readonly isBase: boolean;
  /** Position among the sources of the range; a base that is kept apart is not counted. */
  readonly index: number;
}

/** Where in the recipe an output tensor comes from. */
export interface TensorPlace {
  readonly range: LayerRange;
  readonly participants: readonly Participant[];
  readonly defining: Participant;
  /** Position in the range's layers, 0 to 1. */
  readonly t: number;
  /** A base that takes no part but gives the dtype. */
  readonly silentBase: Checkpoint | undefined;
}

/** A participant's tensor. */
export interface Present extends Participant {
  /** With gathered rows its shape is that of the output's vocabulary. */
  readonly entry: TensorEntry;
  readonly gathered?: GatheredTensor;
}

/** An embedding in the order of the output's vocabulary. */
export interface GatheredTensor extends Pick<GatheredRows, "runs"> {
  /** The model's own matrix, then those of others: where a model's files are, and its tensor. */
  readonly parts: readonly { readonly filesOf: number; readonly entry: TensorEntry }[];
}

/** `output`: name of the output's tensor. */
export function sourceOf({ input, entry, gathered }: Present, output: string): TensorSource {
  if (gathered === undefined) return sourceOfEntry(entry, input.filesOf, output);
  const width = entry.shape.length === 1 ? 1 : entry.elementCount / Math.max(1, entry.shape[0] ?? 1);
  return {
    kind: "rows",
    dtype: "F32",
    tensor: output,
    storedRowLength: entry.shape.at(-1) ?? 1,
    width,
    parts: gathered.parts.map(({ filesOf, entry: part }) => sourceOfEntry(part, filesOf, output)),
    runs: gathered.runs,
  };
}
