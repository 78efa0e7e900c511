import { otherHeadBias } from "../checkpoint/index.ts";
import type { MethodDeclaration } from "../merge/methods/index.ts";
import { alignedModels, underName } from "./aligned-models.ts";
import { withCalibration } from "./calibration.ts";
import type { ConfigValue } from "./config-value.ts";
import { withExpertsLike } from "./expert-layout.ts";
import type { Findings } from "./findings.ts";
import type { ModelEntry, RecipeModel } from "./model-entry.ts";
import { type ModelReference, sameModel } from "./model-reference.ts";
import { withOneHead } from "./output-head.ts";
import { withPackedMarked } from "./packed-models.ts";
import type { Recipe, RecipeInput } from "./recipe.ts";
import { recipeModels } from "./recipe-models.ts";

/** Every model of a recipe, such that equal names mean the same tensor. */
export interface ComparableModels {
  readonly models: readonly RecipeModel[];
  /** Index of the model whose config the output has. */
  readonly defining: number;
  /** What the output's config says otherwise than that of the defining model. */
  readonly values: readonly ConfigValue[];
}

/**
 * Models as views of what is stored: every parameter once, adapters applied, names and experts' layout those of the defining model,
 * heads that are tied under the name of those that are not.
 */
export function comparableModels(
  recipe: Recipe,
  inputs: readonly RecipeInput[],
  made: ReadonlyMap<string, RecipeModel>,
  definingReference: ModelReference,
  method: MethodDeclaration,
  findings: Findings,
): ComparableModels {
  const unmarked = recipeModels(recipe, inputs, made, findings);
  const at = unmarked.findIndex(({ reference }) => sameModel(reference, definingReference));
  const asStored = withCalibration(recipe, unmarked, method, at, findings);
  const defining = asStored[at];
  if (defining === undefined) throw new Error("the defining model is among the models");
  const aligned = alignedModels(recipe, asStored, defining, findings).map((model) => underStoredNames(model, defining));
  const { models, values } = withOneHead(recipe, aligned, defining, findings);
  const like = models[at] ?? defining;
  return { models: models.map((model) => withPackedMarked(withExpertsLike(model, like))), defining: at, values };
}

/** What the defining model stores under one of two names, another may store under the other. */
function underStoredNames(model: RecipeModel, { ties, checkpoint }: RecipeModel): RecipeModel {
  const { tensors } = model.checkpoint;
  // A head that a tied model gets has a bias of its own, which is read by its name.
  const isToUntie = model.ties?.head !== undefined && ties?.isTied === true;
  const biases = (isToUntie ? [] : [...checkpoint.tensors.keys()]).flatMap((stored) => {
    const other = otherHeadBias(stored);
    return other === undefined || checkpoint.tensors.has(other) ? [] : [[other, stored] as const];
  });
  const names = [...(ties?.copies ?? []), ...biases];
  const turned = names.filter(([copy, stored]) => tensors.has(copy) && !tensors.has(stored));
  if (turned.length === 0) return model;
  const storedAs = new Map(turned);
  const renamed = [...tensors].map(([name, entry]): [string, ModelEntry] => {
    const stored = storedAs.get(name);
    return stored === undefined ? [name, entry] : [stored, underName(entry, stored, model.filesOf)];
  });
  return { ...model, checkpoint: { ...model.checkpoint, tensors: new Map(renamed) } };
}
