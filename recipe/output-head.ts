import { headBeside, isFlagOfScaling, isTiedHead, saysTied, tiedPaths } from "../checkpoint/index.ts";
import { underName } from "./aligned-models.ts";
import type { ConfigValue } from "./config-value.ts";
import type { Findings } from "./findings.ts";
import type { ModelEntry, RecipeModel } from "./model-entry.ts";
import { sameModel } from "./model-reference.ts";
import { assignModules } from "./modules.ts";
import { type LayerRange, modulesOf, placeOfModel, type Recipe } from "./recipe.ts";
import type { Ties } from "./stored-ties.ts";

/** Models in which embedding and head are called alike, and what the output's config has to say of them. */
export interface OutputHead {
  readonly models: readonly RecipeModel[];
  readonly values: readonly ConfigValue[];
}

/**
 * Whether the output has a head of its own: if any of the models that embedding and head come from has one. Those that are tied then take
 * part in it with their embedding. Otherwise it is tied. The config says which, wherever it says it.
 */
export function withOneHead(
  recipe: Recipe,
  models: readonly RecipeModel[],
  defining: RecipeModel,
  findings: Findings,
): OutputHead {
  const { ties } = defining;
  const { config } = defining.checkpoint;
  if (ties === undefined || config === undefined) return { models, values: [] };
  const unlayered = unlayeredRanges(recipe, defining);
  const givers = models.filter(({ reference }) =>
    unlayered.some((range) => range.sources.some(({ model }) => sameModel(model, reference))),
  );
  const embeddings = [defining, ...givers, ...models].flatMap((model) => model.ties?.embedding ?? []);
  const embedding = embeddings.find((name) => !isTiedHead(name)) ?? embeddings[0];
  if (embedding === undefined) return { models, values: [] };
  const alike = models.map((model) => withEmbeddingCalled(model, embedding));
  const owner = givers.find((model) => model.ties?.head !== undefined);
  const says = saysTied(config) ?? ties.isTied;
  const flag = (isTied: boolean) => (says === isTied || isFlagOfScaling(config) ? [] : flagValues(config, isTied));
  if (owner?.ties?.head === undefined) {
    return { models: alike, values: givers.some((model) => model.ties?.isTied === true) ? flag(true) : [] };
  }
  const head = ties.head ?? headBeside(embedding, owner.ties.head);
  if (isFlagOfScaling(config) && ties.isTied) {
    const message = `"${owner.label}" has an output head of its own (${owner.ties.head}), "${defining.label}" has one parameter for head and embedding, and its type (${config.model_type}) cannot be written otherwise`;
    const hint = "Merge models that are both tied or both not.";
    findings.fault("recipe/tied-weights", placeOfModel(recipe, owner.reference), message, hint);
  }
  const ownersBias = biasOf(owner.ties.head);
  const hasBias = ownersBias !== undefined && owner.checkpoint.tensors.has(ownersBias);
  const withHead = alike.map((model) => {
    const headed = withHeadCalled(model, head);
    return hasBias ? withBiasOfHead(headed, head) : headed;
  });
  // Where nobody that gives the head has one, tied or not, the output has none either.
  const last = unlayered.at(-1)?.sources ?? [];
  const isWritten = withHead.some(
    ({ reference, checkpoint }) =>
      last.some(({ model }) => sameModel(model, reference)) && checkpoint.tensors.has(head),
  );
  return { models: withHead, values: isWritten ? flag(false) : [] };
}

/** The ranges that embedding and head come from: the first and the last, of the module that takes them. */
function unlayeredRanges(recipe: Recipe, defining: RecipeModel): LayerRange[] {
  const endsOf = (ranges: readonly LayerRange[]) => ranges.filter((_, k) => k === 0 || k === ranges.length - 1);
  if (recipe.form !== "modules") return endsOf(recipe.layerRanges);
  const modules = modulesOf(recipe);
  const names = [...defining.checkpoint.tensors.keys()];
  const { moduleOf } = assignModules(
    modules.map(({ module }) => module.name),
    names,
  );
  const { embedding, head } = defining.ties ?? {};
  const taking = [embedding, head].map((name) => (name === undefined ? undefined : moduleOf(name)));
  return modules.filter((_, k) => taking.includes(k)).flatMap(({ layerRanges }) => endsOf(layerRanges));
}

function withEmbeddingCalled(model: RecipeModel, name: string): RecipeModel {
  const { ties } = model;
  if (ties?.embedding === undefined || ties.embedding === name) return model;
  return renamed(model, ties.embedding, name, { ...ties, embedding: name });
}

/** With a head under this name: its own, or its embedding once more. */
function withHeadCalled(model: RecipeModel, name: string): RecipeModel {
  const { ties } = model;
  const { tensors } = model.checkpoint;
  if (ties === undefined || tensors.has(name)) return model;
  if (ties.head !== undefined) return renamed(model, ties.head, name, { ...ties, head: name });
  const entry = ties.isTied && ties.embedding !== undefined ? tensors.get(ties.embedding) : undefined;
  if (entry === undefined) return model;
  const more = new Map<string, ModelEntry>([...tensors, [name, underName(entry, name, model.filesOf)]]);
  return { ...model, ties: { ...ties, head: name, isTied: false }, checkpoint: { ...model.checkpoint, tensors: more } };
}

/** Of a head that is a layer within a module with a bias: the layer's own, which is tied to the module's where the weights are tied. */
function biasOf(head: string): string | undefined {
  return head.endsWith(".decoder.weight") ? head.replace(/weight$/, "bias") : undefined;
}

/** With a bias of the head's own: what it is tied to, once more. */
function withBiasOfHead(model: RecipeModel, head: string): RecipeModel {
  const { tensors } = model.checkpoint;
  const name = biasOf(head);
  const entry = name && tensors.get(name.replace(/\.decoder\.bias$/, ".bias"));
  if (!name || !entry || tensors.has(name) || !tensors.has(head)) return model;
  const more = new Map<string, ModelEntry>([...tensors, [name, underName(entry, name, model.filesOf)]]);
  return { ...model, checkpoint: { ...model.checkpoint, tensors: more } };
}

function renamed(model: RecipeModel, from: string, to: string, ties: Ties): RecipeModel {
  const tensors = new Map<string, ModelEntry>();
  for (const [name, entry] of model.checkpoint.tensors) {
    if (name === from) tensors.set(to, underName(entry, to, model.filesOf));
    else tensors.set(name, entry);
  }
  return { ...model, ties, checkpoint: { ...model.checkpoint, tensors } };
}

/** At the top and in the parts of the language model: transformers 5 reads the one, 4 the other. */
function flagValues(config: Readonly<Record<string, unknown>>, isTied: boolean): ConfigValue[] {
  return tiedPaths(config).map((path) => ({ path, value: isTied }));
}
