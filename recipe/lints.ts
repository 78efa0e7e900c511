import type { MethodDeclaration } from "../merge/methods/index.ts";
import type { Findings } from "./findings.ts";
import { sameModel } from "./model-reference.ts";
import type { PlacedSetting, Setting } from "./parameters.ts";
import { baseOf, isOfWholeModels, type LayerRange, type LayerSource, type Recipe, settingsInOrder } from "./recipe.ts";

/** Parameters that say how much to prune; one of them is enough. */
const densityNames = ["density", "drop_smallest", "drop_largest"];

/** Recipes that can be merged, but hardly mean what they say. */
export function lintRecipe(recipe: Recipe, method: MethodDeclaration, findings: Findings): void {
  lintUnusedBase(recipe, method, findings);
  for (const range of recipe.layerRanges) {
    lintBaseListed(recipe, range, method, findings);
    lintDensity(recipe, range, method, findings);
    lintWeights(recipe, range, method, findings);
    for (const source of range.sources) lintGamma(source.parameters.get("gamma"), findings);
    lintGamma(range.parameters.get("gamma"), findings);
    lintT(range.parameters.get("t"), method, findings);
    lintT(range.module?.parameters.get("t"), method, findings);
  }
  lintT(recipe.parameters.get("t"), method, findings);
  lintGamma(recipe.parameters.get("gamma"), findings);
}

function lintUnusedBase(recipe: Recipe, method: MethodDeclaration, findings: Findings): void {
  const { baseModel } = recipe;
  if (method.base !== "listed" || baseModel === undefined) return;
  if (recipe.layerRanges.some(({ sources }) => sources.some((source) => sameModel(source.model, baseModel)))) return;
  const forAll = recipe.parameters.get("weight");
  if (method.name === "linear" && forAll !== undefined) {
    const message = `base_model "${baseModel.text}" is not among the models, and "weight" is given for all: it is not clear whether the base is merged`;
    const hint = "List the base among the models to merge it; to leave it out, give each model its own weight.";
    findings.fault("recipe/base-unlisted", forAll.place, message, hint);
    return;
  }
  const message = `base_model "${baseModel.text}" is not among the models, and takes no part in ${method.name}`;
  const hint = "It gives config and tokenizer only. List it among the models if it should be merged.";
  findings.warning("recipe/no-effect", recipe.methodPlace, message, hint);
}

/** The sources that are merged as deltas: all but the first that is the base. */
function modelsOf(recipe: Recipe, range: LayerRange, method: MethodDeclaration): readonly LayerSource[] {
  if (method.base === "listed") return range.sources;
  const base = range.sources.findIndex((source) => sameModel(source.model, baseOf(recipe, range)));
  return range.sources.filter((_, i) => i !== base);
}

/** In `slices` the base has to stand among the sources; among `models` its entry does nothing, twice it is a zero delta. */
function lintBaseListed(recipe: Recipe, range: LayerRange, method: MethodDeclaration, findings: Findings): void {
  if (method.base === "listed") return;
  const base = baseOf(recipe, range);
  const entries = range.sources.filter((source) => sameModel(source.model, base));
  const [first, ...others] = entries;
  if (isOfWholeModels(recipe, range) && first !== undefined && first.appended === undefined) {
    const message = `"${first.model.text}" is the base_model: its entry among the models adds nothing to ${method.name}`;
    findings.warning("recipe/base-listed", first.place, message, "Remove the entry.");
  }
  for (const entry of others) {
    const message = `"${entry.model.text}" is the base_model: as one of the models its delta is zero`;
    findings.warning("recipe/base-listed", entry.place, message, "Remove the entry, or name the model that was meant.");
  }
}

function lintDensity(recipe: Recipe, range: LayerRange, method: MethodDeclaration, findings: Findings): void {
  if (!method.prunes) return;
  const lacking = modelsOf(recipe, range, method).filter((source) =>
    settingsInOrder(recipe, range, source).every((level) => !densityNames.some((name) => level.has(name))),
  );
  const [first, ...others] = lacking;
  if (first === undefined) return;
  const more = others.length === 0 ? "" : ` and ${others.length} more of the models`;
  const message = `no density for "${first.model.text}"${more}: ${method.name} prunes nothing there`;
  const hint = "Give a density below 1, or density: 1 if everything is to be kept.";
  findings.warning("recipe/prunes-nothing", first.place, message, hint);
}

function lintWeights(recipe: Recipe, range: LayerRange, method: MethodDeclaration, findings: Findings): void {
  const { normalize, weight } = method.parameters;
  if (normalize === undefined || weight === undefined) return;
  const setting = settingsInOrder(recipe, range, undefined)
    .find((level) => level.has("normalize"))
    ?.get("normalize");
  const normalizes =
    setting === undefined ? normalize.default === true : valuesOf(setting.setting).some((value) => !!value);
  if (!normalizes) return;
  const weights = modelsOf(recipe, range, method).flatMap((source) => {
    const level = settingsInOrder(recipe, range, source).find((settings) => settings.has("weight"));
    const placed = level?.get("weight");
    return placed === undefined
      ? []
      : valuesOf(placed.setting).map((value) => ({ value: Number(value), place: placed.place }));
  });
  const negative = weights.find(({ value }) => value < 0);
  if (negative === undefined || !weights.some(({ value }) => value > 0)) return;
  const message = `weights of both signs with normalize: their sum, which divides the result, may come near 0`;
  const hint = `Set normalize: false${setting === undefined ? ` (${method.name} takes true by default)` : ""}, or see that the sum is what you want.`;
  findings.warning("recipe/opposed-weights", negative.place, message, hint);
}

/** Slerp goes on along the arc beyond its ends; whoever writes such a t mostly meant a share, or a percentage. */
function lintT(placed: PlacedSetting | undefined, method: MethodDeclaration, findings: Findings): void {
  if (placed === undefined || method.name !== "slerp") return;
  const value = valuesOf(placed.setting).find((t) => typeof t === "number" && (t < 0 || t > 1));
  if (typeof value !== "number") return;
  const message = `t is ${value}: the result lies beyond the two models, outside of the arc between them`;
  findings.warning("recipe/extrapolates", placed.place, message, "0 is base_model, 1 the other model.");
}

function lintGamma(placed: PlacedSetting | undefined, findings: Findings): void {
  if (placed === undefined) return;
  const value = valuesOf(placed.setting).find((gamma) => typeof gamma === "number" && gamma > 0.5);
  if (typeof value !== "number") return;
  const message = `gamma is ${value}: it is the share of largest deltas to drop, did you mean 1 - gamma (${Number((1 - value).toPrecision(12))})?`;
  findings.warning(
    "recipe/large-gamma",
    placed.place,
    message,
    "The authors' code counts what is kept; here and in mergekit it is what is dropped.",
  );
}

/** Every value that a setting names. */
function valuesOf(setting: Setting): readonly (number | string | boolean)[] {
  switch (setting.kind) {
    case "faulty":
      return [];
    case "scalar":
      return [setting.value];
    case "gradient":
      return setting.values;
    case "words":
      return setting.words;
    case "conditions":
      return setting.conditions.flatMap(({ value }) => valuesOf(value));
  }
}
