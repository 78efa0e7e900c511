import { saysTied, splitLayer } from "../checkpoint/index.ts";
import { isKnownArchitecture } from "./architecture-check.ts";
import type { Findings } from "./findings.ts";
import type { RecipeModel } from "./model-entry.ts";
import { sameModel } from "./model-reference.ts";
import { unlayeredRanges } from "./output-head.ts";
import { placeOfModel, type Recipe } from "./recipe.ts";
import { isOfLanguageModel } from "./stored-ties.ts";

/** A module that is called a head, whatever comes after: of several ("lm_heads.0"), of code that nobody knows here ("text_head.dense"). */
const anyHead = /(?:^|[._])heads?(?:\.|$)/;

/**
 * Refuses a model that the output's head would come from, and that has none: its class has one, its config says that it is not the
 * embedding, and nothing in it could be one. Loaders make one up, and so they would for the output. `models`: with equal names.
 */
export function checkMissingHeads(
  recipe: Recipe,
  models: readonly RecipeModel[],
  defining: RecipeModel,
  findings: Findings,
): void {
  const last = unlayeredRanges(recipe, defining).at(-1)?.sources ?? [];
  for (const model of models) {
    if (!last.some((source) => sameModel(source.model, model.reference)) || !lacksHead(model)) continue;
    const message = `"${model.label}" is incomplete: its config says that its output head is not its embedding, and there is no head`;
    const hint =
      "Get the model again. Where embedding and head are one, write tie_word_embeddings: true into its config.json; where it has no head by right, a class without one as its architecture.";
    findings.fault("recipe/missing-tensor", placeOfModel(recipe, model.reference), message, hint);
  }
}

function lacksHead(model: RecipeModel): boolean {
  const { ties, adapter } = model;
  const { config, tensors } = model.checkpoint;
  if (adapter !== undefined || ties?.embedding === undefined || ties.head !== undefined || ties.isTied) return false;
  if (saysTied(config) !== false || isOfLanguageModel(config?.architectures) !== true) return false;
  const rows = tensors.get(ties.embedding)?.shape[0];
  const mayBeHead = (name: string, shape: readonly number[]) =>
    anyHead.test(name) ||
    (name !== ties.embedding && splitLayer(name) === undefined && shape.length === 2 && shape.includes(rows ?? 0));
  return isKnownArchitecture(model) && ![...tensors].some(([name, { shape }]) => mayBeHead(name, shape));
}
