import { isAfterLayers, isComputed, isEmbeddingLike, isOptional, modalityOf, splitLayer } from "../checkpoint/index.ts";
import type { Findings } from "./findings.ts";
import type { RecipeModel } from "./model-entry.ts";
import type { LayerRange } from "./recipe.ts";
import { sameShape, shapeText } from "./shapes.ts";
import type { LayerStack } from "./tensor-layout.ts";

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
    if (found === undefined || (expected === undefined && isOptional(name, model.checkpoint.config))) continue;
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
    if (own.has(name) || isOptional(name, model.checkpoint.config)) continue;
    const message = `slice ${slice}: "${input.label}" lacks ${name}, which ${owner}, has`;
    const hint = "Take the first and the last slice from models of one architecture.";
    findings.repeated("fault", `${slice} lacks`, "recipe/layer-misfit", range.place, message, hint);
  }
}

/** A stack of a model, and how many of its layers the model counts. */
interface CountedStack {
  readonly input: RecipeModel;
  readonly layers: LayerStack;
  readonly count: number;
}

/**
 * Layers beyond the count, which predict further tokens, against those of the model whose config the output has: of one shape. Where there
 * are more of them, or fewer, loaders that use none of them do not care.
 */
export function checkLayersBeyond(
  given: CountedStack,
  model: CountedStack,
  { range, slice }: Pick<StackEnd, "range" | "slice">,
  findings: Findings,
): void {
  const [found, expected] = [given, model].map(beyond) as [ReturnType<typeof beyond>, ReturnType<typeof beyond>];
  const owner = `"${model.input.label}", whose config the output has`;
  const from = `slice ${slice}: "${given.input.label}"`;
  for (const [name, [stored, shape]] of found) {
    const wanted = expected.get(name)?.[1];
    if (wanted === undefined) {
      const message = `${from} gives the output ${stored}, ${shapeText(shape)}, of a layer beyond those that are counted, which ${owner}, lacks`;
      const hint = "What loads the output may ignore it. End the stack with a slice of a model without such layers.";
      findings.repeated("warning", `${slice} beyond`, "recipe/layer-misfit", range.place, message, hint);
    } else if (!sameShape(ofRows(name) ? shape.slice(1) : shape, ofRows(name) ? wanted.slice(1) : wanted)) {
      const message = `slice ${slice}: ${stored} would have the shape ${shapeText(shape)} ("${given.input.label}"); in ${owner}, it is ${shapeText(wanted)}`;
      const hint = "All slices of a stack must be of models of one size.";
      findings.repeated("fault", `${slice} beyond shape`, "recipe/shape-mismatch", range.place, message, hint);
    }
  }
  for (const [name, [stored]] of expected) {
    if (found.has(name)) continue;
    const message = `${from} lacks ${stored}, of a layer beyond those that are counted, which ${owner}, has`;
    const hint = "What predicts further tokens with the output will miss it. End the stack with a slice of that model.";
    findings.repeated("warning", `${slice} lacks beyond`, "recipe/layer-misfit", range.place, message, hint);
  }
}

/** Copies of embedding and head, of a row a token. */
const ofRows = (name: string) => isEmbeddingLike(name) || /shared_head\.head\.weight$/.test(name);

/** By how far beyond, and the rest of the name: the name as stored, and the shape. */
function beyond({ input, layers, count }: CountedStack): ReadonlyMap<string, readonly [string, readonly number[]]> {
  const numbers = [...layers.layers.keys()].filter((layer) => layer >= count);
  return new Map(
    numbers.flatMap((layer) =>
      (layers.layers.get(layer) ?? []).flatMap((name) => {
        const shape = input.checkpoint.tensors.get(name)?.shape ?? [];
        const key = `${layer - count}.${splitLayer(name)?.suffix}`;
        return isComputed(name, shape, input.checkpoint.config) ? [] : [[key, [name, shape]] as const];
      }),
    ),
  );
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
  const isWidth = names.some((name) => isEmbeddingLike(name) && tensors.get(name)?.shape.at(-1) === count);
  for (const name of names) {
    const shape = tensors.get(name)?.shape ?? [];
    const isOfLayers =
      (/per_layer/.test(name) && shape.some((size) => widths.some((width) => size === count * width))) ||
      (/mid_position_embeddings$/.test(name) && shape[0] === count - 1) ||
      (/lambdas?$|layer_weights$|layer_scal(?:ar|e)s?$/.test(name) && (shape[0] === count || shape[0] === count + 1));
    if (!isOfLayers) {
      if (isWidth || !mayBeOfLayers(name, shape, count, config ?? {})) continue;
      const message = `${name} of "${model.label}", ${shapeText(shape)}, may hold a part for each of its ${count} layers, and stays as it is`;
      const hint =
        "Look whether what loads the output expects another shape there, or other parts for the layers that moved.";
      findings.repeated("warning", "of layers", "recipe/layer-misfit", range.place, message, hint);
      continue;
    }
    const message = `${name} of "${model.label}", ${shapeText(shape)}, holds a part for each of its ${count} layers, and would not fit the stack`;
    const hint = 'Models of this kind can be merged whole, with "models", but not stacked.';
    findings.fault("recipe/layer-misfit", range.place, message, hint);
  }
}

/** As many parts as there are layers, and nothing else in the config, nor the model's width, is so much. */
function mayBeOfLayers(name: string, shape: readonly number[], count: number, config: object): boolean {
  if (shape[0] !== count || count < 4 || isEmbeddingLike(name) || isAfterLayers(name) || modalityOf(name) !== "text")
    return false;
  return !hasOtherNumber(config, count);
}

function hasOtherNumber(config: object, count: number): boolean {
  return Object.entries(config).some(([key, value]: [string, unknown]) =>
    typeof value === "object" && value !== null
      ? hasOtherNumber(value, count)
      : value === count && !/layers?$|^depth$|^num_blocks$/.test(key),
  );
}

/** `hidden_size_per_layer_input`, wherever the config has it. */
function partWidths(config: Readonly<Record<string, unknown>>): readonly number[] {
  return Object.entries(config).flatMap(([key, value]) => {
    if (key === "hidden_size_per_layer_input" && typeof value === "number" && value > 0) return [value];
    return typeof value === "object" && value !== null ? partWidths(value as Readonly<Record<string, unknown>>) : [];
  });
}
