import { labelOf, type ModelReference, withoutAdapter } from "./model-reference.ts";
import type { PlacedSetting, Setting, Settings } from "./parameters.ts";
import { type LayerRange, type LayerSource, type ModuleRanges, modulesOf, type Recipe } from "./recipe.ts";
import type { TokenizerSettings, TokenSetting } from "./tokenizer-settings.ts";

/** Plain data for JSON; keys in a fixed order. */
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/**
 * What a recipe means, without how it is written: texts that differ in key order, comments, quotes, aliases or in the
 * paths of their models give the same. `labels`: of labelsFor, by the text of the reference; they stand for the models.
 */
export function canonicalRecipe(recipe: Recipe, labels: ReadonlyMap<string, string>): JsonValue {
  // Documents are told from models by what stands before their names: no model's label holds a slash.
  const known = new Map([...labels, ...(recipe.earlier ?? []).map(({ name }) => [name, `document/${name}`] as const)]);
  const label = (model: ModelReference): string => {
    for (const { text } of model.adapter === undefined ? [model] : [withoutAdapter(model), model.adapter]) {
      if (!known.has(text)) throw new Error(`the recipe's model "${text}" has no label`);
    }
    return labelOf(model, known);
  };
  const source = ({ model, layers, parameters }: LayerSource): JsonValue => ({
    model: label(model),
    ...(layers && { layers: [layers.first, layers.end] }),
    parameters: settings(parameters),
  });
  const range = ({ baseModel, parameters, sources }: LayerRange): JsonValue => ({
    ...(baseModel && { baseModel: label(baseModel) }),
    parameters: settings(parameters),
    sources: sources.map(source),
  });
  const module = ({ module: { name, form, parameters }, layerRanges }: ModuleRanges): JsonValue => ({
    name,
    form,
    parameters: settings(parameters),
    layerRanges: layerRanges.map(range),
  });
  return {
    method: recipe.method,
    ...(recipe.baseModel && { baseModel: label(recipe.baseModel) }),
    ...(recipe.dtype && { dtype: recipe.dtype }),
    ...(recipe.outDtype && { outDtype: recipe.outDtype }),
    ...(recipe.tokenizer && { tokenizer: tokenizerValue(recipe.tokenizer, label) }),
    ...(recipe.chatTemplate && {
      chatTemplate: recipe.chatTemplate.kind === "auto" ? "auto" : recipe.chatTemplate.text,
    }),
    parameters: settings(recipe.parameters),
    ...(recipe.form === "modules"
      ? { modules: modulesOf(recipe).map(module) }
      : { layerRanges: recipe.layerRanges.map(range) }),
    ...(recipe.earlier && {
      earlier: recipe.earlier.map(({ name, recipe: one }) => ({ name, recipe: withoutEarlier(one, known) })),
    }),
  };
}

/** A document as part of a chain: what it builds on stands beside it. */
function withoutEarlier({ earlier: _, ...recipe }: Recipe, known: ReadonlyMap<string, string>): JsonValue {
  return canonicalRecipe(recipe, known);
}

function tokenizerValue(
  { source, tokens, padToMultipleOf }: TokenizerSettings,
  labelOf: (model: ModelReference) => string,
): JsonValue {
  const sourceOf = ({ source }: TokenSetting): JsonValue => {
    if (source === undefined) return null;
    if (source.kind === "zero") return { kind: "zero" };
    const model = labelOf(source.model);
    return source.kind === "model" ? { kind: "model", model } : { kind: "model_token", model, token: source.token };
  };
  return {
    source: typeof source === "string" ? source : { model: labelOf(source) },
    // A list: the order of new tokens is that of their ids.
    tokens: [...tokens].map(([token, setting]) => ({ token, source: sourceOf(setting), force: setting.force })),
    padToMultipleOf,
  };
}

function settings(parameters: Settings): JsonValue {
  const byName = ([a]: [string, PlacedSetting], [b]: [string, PlacedSetting]) => (a < b ? -1 : 1);
  return Object.fromEntries([...parameters].sort(byName).map(([name, { setting }]) => [name, settingValue(setting)]));
}

function settingValue(setting: Setting): JsonValue {
  switch (setting.kind) {
    case "faulty":
      return null;
    case "scalar":
      return setting.value;
    case "gradient":
      return setting.values;
    case "words":
      return setting.words;
    case "conditions":
      // A filter of "*" is no filter.
      return setting.conditions.map(({ filter, value }) => ({
        ...(filter !== undefined && filter !== "*" && { filter }),
        value: settingValue(value),
      }));
  }
}
