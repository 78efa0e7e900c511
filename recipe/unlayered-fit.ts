import { isEmbeddingLike, isOptional } from "../checkpoint/index.ts";
import type { Findings } from "./findings.ts";
import type { RecipeModel } from "./model-entry.ts";
import type { LayerRange } from "./recipe.ts";
import { sameShape, shapeText } from "./shapes.ts";

/** What a stack takes from one of its ends. */
export interface StackEnd {
  readonly input: RecipeModel;
  /** Of its tensors. */
  readonly names: readonly string[];
  readonly range: LayerRange;
  readonly slice: number;
}

/**
 * What stands before the layers of a stack and after them against the model whose config the output has: the same tensors, of the same
 * shapes. Rows of embeddings may differ, which the config is told.
 */
export function checkEnd(end: StackEnd, model: RecipeModel, names: readonly string[], findings: Findings): void {
  const { input, range, slice } = end;
  if (input === model || model.adapter !== undefined) return;
  const owner = `"${model.label}", whose config the output has`;
  const own = new Set(end.names);
  for (const name of end.names) {
    const [found, expected] = [input, model].map(({ checkpoint }) => checkpoint.tensors.get(name)?.shape);
    if (found === undefined || (expected === undefined && isOptional(name))) continue;
    if (expected === undefined) {
      const message = `slice ${slice}: "${input.label}" gives the output ${name}, ${shapeText(found)}, which ${owner}, lacks`;
      const hint = "Take the first and the last slice from models of one architecture.";
      findings.repeated("fault", `${slice} has`, "recipe/layer-misfit", range.place, message, hint);
      continue;
    }
    const isSame = isEmbeddingLike(name) ? sameShape(found.slice(1), expected.slice(1)) : sameShape(found, expected);
    if (isSame) continue;
    const message = `slice ${slice}: ${name} would have the shape ${shapeText(found)} ("${input.label}"); in ${owner}, it is ${shapeText(expected)}`;
    const hint = "All slices of a stack must be of models of one size.";
    findings.repeated("fault", `${slice} end`, "recipe/shape-mismatch", range.place, message, hint);
  }
  for (const name of names) {
    if (own.has(name) || isOptional(name)) continue;
    const message = `slice ${slice}: "${input.label}" lacks ${name}, which ${owner}, has`;
    const hint = "Take the first and the last slice from models of one architecture.";
    findings.repeated("fault", `${slice} lacks`, "recipe/layer-misfit", range.place, message, hint);
  }
}

/**
 * Tensors outside of the layers that hold a part for each of them, such as the per-layer embeddings of Gemma 3n. They cannot be cut and
 * joined, so that a stack of other layers is refused.
 */
export function checkPerLayerParts(
  model: RecipeModel,
  names: readonly string[],
  count: number,
  range: LayerRange,
  findings: Findings,
): void {
  const { config, tensors } = model.checkpoint;
  const widths = partWidths(config ?? {});
  for (const name of names) {
    const shape = tensors.get(name)?.shape ?? [];
    const isOfLayers =
      (/per_layer/.test(name) && shape.some((size) => widths.some((width) => size === count * width))) ||
      (/mid_position_embeddings$/.test(name) && shape[0] === count - 1) ||
      (/lambdas?$|layer_weights$|layer_scal(?:ar|e)s?$/.test(name) && (shape[0] === count || shape[0] === count + 1));
    if (!isOfLayers) continue;
    const message = `${name} of "${model.label}", ${shapeText(shape)}, holds a part for each of its ${count} layers, and would not fit the stack`;
    const hint = 'Models of this kind can be merged whole, with "models", but not stacked.';
    findings.fault("recipe/layer-misfit", range.place, message, hint);
  }
}

/** `hidden_size_per_layer_input`, wherever the config has it. */
function partWidths(config: Readonly<Record<string, unknown>>): readonly number[] {
  return Object.entries(config).flatMap(([key, value]) => {
    if (key === "hidden_size_per_layer_input" && typeof value === "number" && value > 0) return [value];
    return typeof value === "object" && value !== null ? partWidths(value as Readonly<Record<string, unknown>>) : [];
  });
}
