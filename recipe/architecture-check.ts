import {
  isAfterLayers,
  isEmbeddingLike,
  isPerception,
  isTiedHead,
  splitLayer,
  vocabularySize,
} from "../checkpoint/index.ts";
import type { Findings } from "./findings.ts";
import type { RecipeModel } from "./model-entry.ts";
import { placeOfModel, type Recipe } from "./recipe.ts";

/**
 * Tensors are merged by their names. Whether the names are those of a language model that is known here is seen by its layers and its
 * input embedding; where they are not, nothing is known of what may be missing or cut.
 */
export function isKnownArchitecture({ checkpoint, ties }: RecipeModel): boolean {
  let hasLayers = false;
  // Of two that are one parameter the head may be what is stored.
  let hasEmbedding = ties?.embedding !== undefined && isTiedHead(ties.embedding);
  for (const [name, { shape }] of checkpoint.tensors) {
    if (splitLayer(name) !== undefined) hasLayers = true;
    else if (shape.length === 2 && isEmbeddingLike(name) && !isAfterLayers(name)) hasEmbedding = true;
    if (hasLayers && hasEmbedding) return true;
  }
  return false;
}

/** Types of models of series of numbers. */
const ofSeries: ReadonlySet<unknown> = new Set([
  ...["autoformer", "informer", "patchtsmixer", "patchtst", "time_series_transformer", "timesfm", "timesfm2_5"],
]);

/** Whether it is a model of pictures, sounds or series, which has layers and no tokens: there is no vocabulary that could be missed. */
export function isWithoutTokens({ checkpoint }: RecipeModel): boolean {
  const { tensors, config = {} } = checkpoint;
  const names = [...tensors.keys()];
  if (!names.some((name) => splitLayer(name) !== undefined)) return false;
  if (ofSeries.has(config.model_type)) return true;
  if (![...tensors].some(([name, { shape }]) => isPerception(name, shape))) return false;
  if (vocabularySize(config) === undefined || typeof config.image_size === "number") return true;
  // What hears and spells (wav2vec2 with CTC) counts its letters.
  return names.some((name) => name.includes("feature_extractor.conv_layers"));
}

/** Warns of a model whose architecture is not known, and of models of different ones. */
export function checkArchitectures(
  recipe: Recipe,
  models: readonly RecipeModel[],
  defining: RecipeModel,
  findings: Findings,
): void {
  const placeOf = (model: RecipeModel) => placeOfModel(recipe, model.reference);
  const type = typeOf(defining);
  // Without a config, a bare state dict does not claim to be a model.
  const claimsToBe = defining.checkpoint.config !== undefined && defining.adapter === undefined;
  if (claimsToBe && !isKnownArchitecture(defining) && !isWithoutTokens(defining)) {
    const message = `the architecture of "${defining.label}"${type === undefined ? "" : ` (${type})`} is not known: no layers or no embedding are recognised, and tensors are merged by their names`;
    const hint = "What a model lacks, it takes no part in; shapes must agree.";
    findings.warning("recipe/unknown-architecture", placeOf(defining), message, hint);
  }
  for (const model of models) {
    const other = typeOf(model);
    if (type === undefined || other === undefined || other === type) continue;
    const message = `"${model.label}" is of type ${other}, "${defining.label}" of type ${type}: tensors are merged by their names`;
    const hint = "Models of different architectures seldom make sense together, even where names and shapes agree.";
    findings.warning("recipe/unknown-architecture", placeOf(model), message, hint);
  }
}

function typeOf({ checkpoint }: RecipeModel): string | undefined {
  const type = checkpoint.config?.model_type;
  return typeof type === "string" ? type : undefined;
}
