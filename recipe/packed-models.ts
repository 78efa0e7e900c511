import {
  isEmbeddingLike,
  isFloatDtype,
  isOpaqueDtype,
  type PackedWeights,
  packedWeights,
  splitLayer,
  statedPacking,
} from "../checkpoint/index.ts";
import type { MethodDeclaration } from "../merge/methods/index.ts";
import type { TextPlace } from "./errors.ts";
import type { Findings } from "./findings.ts";
import { asBytes, type ModelEntry, type RecipeModel } from "./model-entry.ts";
import { type ModelReference, sameModel, withoutAdapter } from "./model-reference.ts";
import { mergedModels, modelReferences, type Recipe, type RecipeInput } from "./recipe.ts";
import { quotedList } from "./suggestion.ts";

/** A model that the recipe names, before anything is done to it. */
type Named = Pick<RecipeInput, "label" | "checkpoint"> & { readonly reference: ModelReference };

/**
 * Refuses models whose weights are packed as codes: an average of codes means nothing. passthrough may copy them whole, with all that
 * belongs to them, where one config holds for all of the output.
 */
export function checkPacked(
  recipe: Recipe,
  inputs: readonly Pick<RecipeInput, "reference" | "label" | "checkpoint">[],
  made: ReadonlyMap<string, RecipeModel>,
  method: MethodDeclaration,
  definingReference: ModelReference,
  findings: Findings,
): void {
  const named = modelReferences(recipe).flatMap((reference): Named[] => {
    const alone = withoutAdapter(reference);
    const found = made.get(alone.text) ?? inputs.find((input) => sameModel(input.reference, alone));
    return found === undefined ? [] : [{ label: found.label, checkpoint: found.checkpoint, reference }];
  });
  const merged = new Set(mergedModels(recipe).map(({ text }) => text));
  const packed = new Map(named.map((model) => [model, packedWeights(model.checkpoint)]));
  if (![...packed.values()].some((found) => found !== undefined)) return;
  const defining = named.find(({ reference }) => sameModel(reference, definingReference));
  for (const [model, found] of packed) {
    const place = placeOf(recipe, model.reference);
    if (found === undefined) continue;
    const why = merged.has(model.reference.text)
      ? whyNot(recipe, model, found, method, made)
      : rowsArePacked(recipe, found)
        ? "rows of it cannot be gathered for the output's tokenizer"
        : undefined;
    if (why === undefined) continue;
    const message = `${sentenceOf(model, found)}: ${why}`;
    const code = found.isNamed ? "recipe/packed-weights" : "recipe/dtype-mismatch";
    for (let k = 0; k < found.codesCount; k++)
      findings.repeated("fault", model.label, code, place, message, found.hint);
  }
  if (findings.faults.length > 0 || defining === undefined) return;
  checkOneConfig(
    recipe,
    named.filter(({ reference }) => merged.has(reference.text)),
    packed,
    defining,
    findings,
  );
}

function sentenceOf({ label }: Named, { codes, kind, isNamed }: PackedWeights): string {
  const shape = `${codes.dtype} [${codes.shape.join(", ")}]`;
  const what = isOpaqueDtype(codes.dtype)
    ? `${codes.dtype}, of which no values are made here`
    : isFloatDtype(codes.dtype)
      ? "codes, with what stands beside them: of such a kind no values are made here"
      : "integers, not as values";
  return `"${label}" holds ${codes.name} (${shape}) as ${isNamed ? `codes of ${kind}, not as values` : what}`;
}

/** Why a merged model cannot be; undefined where its weights are copied as they stand. */
function whyNot(
  recipe: Recipe,
  { reference, checkpoint }: Named,
  found: PackedWeights,
  method: MethodDeclaration,
  made: ReadonlyMap<string, RecipeModel>,
): string | undefined {
  if (reference.adapter !== undefined) return "an adapter cannot be added to it";
  if (found.needsMetadata && (method.name !== "passthrough" || !isWholeCopy(recipe, made)))
    return "what its codes mean stands in its files' metadata as well, tensor by tensor: passthrough copies it whole, and it cannot be taken apart";
  if (found.needsMetadata && checkpoint.unclearMetadata !== undefined)
    return `its files' metadata says different things of ${quotedList(checkpoint.unclearMetadata.slice(0, 3))}: they are of different models`;
  if (method.name !== "passthrough") return `${method.name} cannot merge it; passthrough without a scale copies it`;
  if (setsScale(recipe)) return "passthrough without a scale copies it, and one with a scale cannot";
  return rowsArePacked(recipe, found)
    ? "its rows cannot be brought into the order of the output's tokenizer"
    : undefined;
}

/** Whether the output is one model as it is stored. */
function isWholeCopy(recipe: Recipe, made: ReadonlyMap<string, RecipeModel>): boolean {
  const [model, other] = mergedModels(recipe);
  return recipe.form === "models" && model !== undefined && other === undefined && !made.has(model.text);
}

/** What the metadata of the output's files says besides their format: that of codes which are copied whole. */
export function carriedMetadata(
  recipe: Recipe,
  { checkpoint }: Pick<RecipeInput, "checkpoint">,
  made: ReadonlyMap<string, RecipeModel>,
): Readonly<Record<string, string>> | undefined {
  const { metadata, unclearMetadata } = checkpoint;
  if (metadata === undefined || unclearMetadata !== undefined || !isWholeCopy(recipe, made)) return undefined;
  if (recipe.method !== "passthrough" || packedWeights(checkpoint) === undefined) return undefined;
  return Object.fromEntries(metadata);
}

function setsScale(recipe: Recipe): boolean {
  const levels = recipe.layerRanges.flatMap((range) => [
    range.parameters,
    ...(range.module ? [range.module.parameters] : []),
    ...range.sources.map(({ parameters }) => parameters),
  ]);
  return [recipe.parameters, ...levels].some((settings) => {
    const setting = settings.get("scale")?.setting;
    return setting !== undefined && !(setting.kind === "scalar" && setting.value === 1);
  });
}

function rowsArePacked(recipe: Recipe, { members }: PackedWeights): boolean {
  if (recipe.tokenizer === undefined) return false;
  return [...members].some((name) => isEmbeddingLike(name.replace(/\.[^.]+$/, ".weight")));
}

/** Of stacks and modules: the output's one config must hold for every part, and must not name layers that move. */
function checkOneConfig(
  recipe: Recipe,
  models: readonly Named[],
  packed: ReadonlyMap<Named, PackedWeights | undefined>,
  defining: Named,
  findings: Findings,
): void {
  const stated = statedPacking(defining.checkpoint.config);
  const kindOf = (model: Named) => packed.get(model)?.kind ?? "not packed";
  for (const model of models) {
    const isLike = statedPacking(model.checkpoint.config) === stated;
    const isPacked = (packed.get(model) === undefined) === (packed.get(defining) === undefined);
    if (isLike && isPacked) continue;
    const message = `"${model.label}" is ${kindOf(model)}, "${defining.label}", whose config the output has, ${kindOf(defining)} or packed otherwise: one config cannot say both`;
    const hint = "Stack models that are packed alike (equal quantization_config), or the models that were packed.";
    findings.repeated("fault", model.label, "recipe/packed-weights", placeOf(recipe, model.reference), message, hint);
  }
  const isStack = recipe.layerRanges.some(({ sources }) => sources.some(({ layers }) => layers !== undefined));
  const layer = stated === undefined ? undefined : /"([^"\\]*\.\d+\.[^"\\]*)"/.exec(stated)?.[1];
  if (!isStack || layer === undefined || splitLayer(layer) === undefined || isWholeInOrder(recipe)) return;
  const message = `the quantization_config of "${defining.label}" names layers (${layer}), which the stack moves`;
  const hint = "Stack the models that were packed, and pack the result.";
  findings.fault("recipe/packed-weights", recipe.methodPlace, message, hint);
}

/** Whether every layer of a stack keeps its number: ranges of one model after another from 0 on. */
function isWholeInOrder({ layerRanges }: Recipe): boolean {
  let next = 0;
  return layerRanges.every(({ sources: [source] }) => {
    const isNext = source?.layers?.first === next;
    next = source?.layers?.end ?? next;
    return isNext;
  });
}

/** The model with its packed tensors marked: they keep their dtype, whatever the recipe says. What is only copied is bytes. */
export function withPackedMarked(model: RecipeModel): RecipeModel {
  const members = packedWeights(model.checkpoint)?.members ?? new Set();
  const isBytes = ({ dtype }: ModelEntry) => isOpaqueDtype(dtype);
  if (members.size === 0 && ![...model.checkpoint.tensors.values()].some(isBytes)) return model;
  const tensors = new Map<string, ModelEntry>(model.checkpoint.tensors);
  for (const [name, entry] of tensors) {
    if (members.has(name)) tensors.set(name, { ...asBytes(entry), isPacked: true });
    else if (isBytes(entry)) tensors.set(name, asBytes(entry));
  }
  return { ...model, checkpoint: { ...model.checkpoint, tensors } };
}

function placeOf(recipe: Recipe, model: ModelReference): TextPlace {
  const sources = recipe.layerRanges.flatMap((range) => range.sources);
  return sources.find((source) => sameModel(source.model, model))?.place ?? recipe.methodPlace;
}
