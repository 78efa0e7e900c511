import type { Adapter, Checkpoint, FloatDtype, JsonObject, ModelTokenizer, Tokenizer } from "../checkpoint/index.ts";
import type { TextPlace } from "./errors.ts";
import { type ModelReference, sameModel, withoutAdapter } from "./model-reference.ts";
import type { Settings } from "./parameters.ts";
import { type ChatTemplateSetting, modelsInTokenizer, type TokenizerSettings } from "./tokenizer-settings.ts";

/** What to merge, as the recipe says it; nothing of the models is known yet. Plain data. */
export interface Recipe {
  /** The YAML as given. */
  readonly text: string;
  /** As given by the user; faults name it. */
  readonly fileName: string;
  /** The recipe key `merge_method`. */
  readonly method: string;
  readonly methodPlace: TextPlace;
  readonly baseModel?: ModelReference;
  readonly dtype?: FloatDtype;
  readonly outDtype?: FloatDtype;
  readonly tokenizer?: TokenizerSettings;
  readonly chatTemplate?: ChatTemplateSetting;
  readonly parameters: Settings;
  /** "models": whole models, one range over all layers. "slices": ranges that are stacked in order. "modules": either, per module. */
  readonly form: "models" | "slices" | "modules";
  /** The recipe key `slices`, or the one range that `models` stands for; of all modules, in their order. Never empty. */
  readonly layerRanges: readonly LayerRange[];
  /** Documents before this one in the file, in their order: models may be named after them. */
  readonly earlier?: readonly NamedRecipe[];
}

/** A document of a file of several, whose result later ones may name as a model. */
export interface NamedRecipe {
  readonly name: string;
  readonly place: TextPlace;
  readonly recipe: Recipe;
}

/** An entry of the recipe key `modules`: a part of the models, such as the vision tower. */
export interface RecipeModule {
  readonly name: string;
  readonly form: "models" | "slices";
  readonly parameters: Settings;
  readonly place: TextPlace;
}

export interface LayerRange {
  /** Never empty. With `models`, a base that was not listed stands last, if the method appends it or keeps it apart. */
  readonly sources: readonly LayerSource[];
  /** Overrides the recipe's in this range. */
  readonly baseModel?: ModelReference;
  readonly parameters: Settings;
  readonly place: TextPlace;
  /** Which it belongs to, where the recipe has modules. */
  readonly module?: RecipeModule;
}

export interface LayerSource {
  readonly model: ModelReference;
  /** Layers first .. end - 1 of the model; left out: all of them. */
  readonly layers?: { readonly first: number; readonly end: number; readonly place: TextPlace };
  readonly parameters: Settings;
  readonly place: TextPlace;
  /** The base_model that `models` does not list. */
  readonly appended?: true;
}

/** A model or an adapter that the recipe names, opened: files that are an input of the plan. */
export interface RecipeInput {
  /** One of referencedModels: of model+adapter either part is an input of its own. */
  readonly reference: ModelReference;
  /** Short name, for messages: see labelsFor. */
  readonly label: string;
  readonly checkpoint: Checkpoint;
  /** Undefined where it has none, or where it could not be read: then `tokenizerFault` says why. */
  readonly tokenizer?: ModelTokenizer | undefined;
  readonly tokenizerFault?: string | undefined;
  /** Tokens in files for slow tokenizers, by the files' names: read where models without tokenizer.json are to be compared. */
  readonly slowVocabularies?: ReadonlyMap<string, Tokenizer> | undefined;
  /** Files beside the weights that may name ids of tokens, as parsed. */
  readonly idFiles?: ReadonlyMap<string, JsonObject>;
  /** Files beside config.json that tell of its quantisation, as parsed. */
  readonly quantizerFiles?: ReadonlyMap<string, JsonObject>;
  /** Read where the recipe has `chat_template: auto`. */
  readonly chatTemplate?: string | undefined;
  /** Where it is an adapter. */
  readonly adapter?: Adapter;
}

/** The base of one range: its own, else the recipe's. */
export function baseOf(recipe: Recipe, range: LayerRange): ModelReference | undefined {
  return range.baseModel ?? recipe.baseModel;
}

/** The settings that apply, those that count most first. Global parameters skip the source's own. */
export function settingsInOrder(recipe: Recipe, range: LayerRange, source: LayerSource | undefined): Settings[] {
  const shared = [range.parameters, ...(range.module ? [range.module.parameters] : []), recipe.parameters];
  return source === undefined ? shared : [source.parameters, ...shared];
}

/** Where a recipe names a model first, as far as that is known. */
export function placeOfModel(recipe: Recipe, model: ModelReference): TextPlace {
  const sources = recipe.layerRanges.flatMap((range) => range.sources);
  return sources.find((source) => sameModel(source.model, model))?.place ?? recipe.methodPlace;
}

/** Whether a range stands for whole models. */
export function isOfWholeModels(recipe: Recipe, range: LayerRange): boolean {
  return (range.module?.form ?? recipe.form) === "models";
}

/** Whether layer `layer` of a model is among those that some range takes of it. */
export function takesLayer(recipe: Recipe, model: ModelReference, layer: number): boolean {
  return recipe.layerRanges.some((range) =>
    range.sources.some(
      ({ model: own, layers }) =>
        sameModel(own, model) &&
        (isOfWholeModels(recipe, range) || layers === undefined || (layer >= layers.first && layer < layers.end)),
    ),
  );
}

/** What must be opened for a recipe: every model that it names and every adapter, each once, an adapter after its model. */
export function referencedModels(recipe: Recipe): ModelReference[] {
  const found = new Map<string, ModelReference>();
  const earlier = recipe.earlier ?? [];
  for (const one of [recipe, ...earlier.map((named) => named.recipe)]) {
    for (const model of modelReferences(one)) {
      for (const part of [withoutAdapter(model), model.adapter]) {
        if (part === undefined || found.has(part.text) || isEarlier(one, part)) continue;
        found.set(part.text, part);
      }
    }
  }
  return [...found.values()];
}

/** Whether a reference means a document before the recipe's own. */
export function isEarlier(recipe: Recipe, { text }: ModelReference): boolean {
  return recipe.earlier?.some(({ name }) => name === text) === true;
}

/** Every model the recipe names, once: the base first, then in the order of the recipe; those that only give tokens last. */
export function modelReferences(recipe: Recipe): ModelReference[] {
  const models = new Map(mergedModels(recipe).map((model) => [model.text, model]));
  for (const model of modelsInTokenizer(recipe.tokenizer)) if (!models.has(model.text)) models.set(model.text, model);
  return [...models.values()];
}

/** Of these, those that are merged, or that are the base. */
export function mergedModels(recipe: Recipe): ModelReference[] {
  const found = new Map<string, ModelReference>();
  const add = (model: ModelReference | undefined): void => {
    if (model !== undefined && !found.has(model.text)) found.set(model.text, model);
  };
  add(recipe.baseModel);
  for (const range of recipe.layerRanges) {
    for (const source of range.sources) add(source.model);
    add(range.baseModel);
  }
  return [...found.values()];
}

/** The ranges of a recipe with modules, module by module. */
export interface ModuleRanges {
  readonly module: RecipeModule;
  readonly layerRanges: readonly LayerRange[];
}

export function modulesOf(recipe: Recipe): ModuleRanges[] {
  const byModule = new Map<RecipeModule, LayerRange[]>();
  for (const range of recipe.layerRanges) {
    if (range.module === undefined) continue;
    byModule.set(range.module, [...(byModule.get(range.module) ?? []), range]);
  }
  return [...byModule].map(([module, layerRanges]) => ({ module, layerRanges }));
}
