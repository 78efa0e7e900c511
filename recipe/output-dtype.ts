import { type Dtype, isFloatDtype } from "../checkpoint/index.ts";
import { dtypeOf, type ModelEntry } from "./model-entry.ts";
import type { TensorPlace } from "./participant.ts";
import type { Recipe } from "./recipe.ts";

/** The dtype of an output tensor that takes after `entry`: what the recipe says, else that of the base or first model. */
export function outputDtype(
  recipe: Recipe,
  name: string,
  entry: ModelEntry,
  { silentBase, defining }: Pick<TensorPlace, "silentBase" | "defining">,
): Dtype {
  if (!isFloatDtype(entry.dtype) || entry.isPacked === true || entry.isMeasured === true) return dtypeOf(entry);
  const silent: ModelEntry | undefined = silentBase?.tensors.get(name);
  const isSilent = silent !== undefined && silent.scaled === undefined && isFloatDtype(silent.dtype);
  const unchanged = isSilent ? silent.dtype : dtypeOf(entry);
  const wanted = recipe.outDtype ?? recipe.dtype ?? unchanged;
  // In a model of codes with scales, what has no scales is not meant to be fp8: norms, router, head.
  const isPlain = defining.input.isScaled === true && entry.scaled === undefined;
  return isPlain && (wanted === "F8_E4M3" || wanted === "F8_E5M2") ? dtypeOf(entry) : wanted;
}
