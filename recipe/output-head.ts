import {
  headBeside,
  isFlagOfMore,
  isTiedHead,
  otherHeadBias,
  saysTied,
  tiedPaths,
  towersNames,
} from "../checkpoint/index.ts";
import { underName } from "./aligned-models.ts";
import type { ConfigValue } from "./config-value.ts";
import type { Findings } from "./findings.ts";
import type { ModelEntry, RecipeModel } from "./model-entry.ts";
import { sameModel } from "./model-reference.ts";
import { assignModules } from "./modules.ts";
import { type LayerRange, modulesOf, placeOfModel, type Recipe } from "./recipe.ts";
import { isOfLanguageModel, type Ties } from "./stored-ties.ts";

type Config = Readonly<Record<string, unknown>>;

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
  // Towers that share nothing have no name for what others share.
  const unshared = givers.find((model) => isUnshared(model));
  const embeddings = [unshared, defining, ...givers, ...models].flatMap((model) => model?.ties?.embedding ?? []);
  const embedding = embeddings.find((name) => !isTiedHead(name)) ?? embeddings[0];
  if (embedding === undefined) return { models, values: [] };
  const apart = namesApart(givers);
  const alike = models.map((model) => withNamesApart(withEmbeddingCalled(model, embedding), apart));
  const sharing = unshared !== undefined && isShared(config) ? [{ path: [SHARING_FLAG], value: false }] : [];
  const owner = givers.find((model) => model.ties?.head !== undefined);
  const says = saysTied(config) ?? ties.isTied;
  const flag = (isTied: boolean) => (says === isTied || isFlagOfMore(config) ? [] : flagValues(config, isTied));
  if (owner?.ties?.head === undefined) {
    const isTied = givers.some(hasTiedHead);
    // Without a head, the config says whether the towers have embeddings of their own.
    const isApart = givers.some(({ ties, checkpoint }) => ties?.apart.size && saysTied(checkpoint.config) === false);
    if (isApart && !isTied) return { models: alike, values: [...flag(false), ...sharing] };
    const isAnyTied = givers.some((model) => model.ties?.isTied === true);
    return { models: alike, values: [...(isAnyTied ? flag(true) : []), ...sharing] };
  }
  const head = ties.head ?? headBeside(embedding, owner.ties.head, owner.ties.embedding);
  if (isFlagOfMore(config) && ties.isTied) {
    const message = `"${owner.label}" has an output head of its own (${owner.ties.head}), "${defining.label}" has one parameter for head and embedding, and its type (${config.model_type}) cannot be written otherwise`;
    const hint = "Merge models that are both tied or both not.";
    findings.fault("recipe/tied-weights", placeOfModel(recipe, owner.reference), message, hint);
  }
  if (isFlagOfMore(config) && says === true && owner.adapterInput !== undefined) {
    const message = `the adapter of "${owner.label}" trains embedding and head apart, which are one parameter in its model, and its type (${config.model_type}) cannot be written otherwise`;
    const hint = "Train it without them, or with ensure_weight_tying.";
    findings.fault("recipe/tied-weights", placeOfModel(recipe, owner.reference), message, hint);
  }
  // What is no longer tied is read by its names, in every tower.
  const isUntied = says === true && !isFlagOfMore(config);
  const more = new Map(isUntied ? towersNames(embedding, defining.checkpoint.tensors).map((name) => [name, ""]) : []);
  const headed = alike.map((model) => withHeadCalled(withNamesApart(model, more), head));
  const biases = biasesOf(head).filter(
    (name, k) => (isUntied && k === 0) || headed.some(({ checkpoint }) => checkpoint.tensors.has(name)),
  );
  const withHead = headed.map((model) => withBiases(model, head, biases));
  // Where nobody that gives the head has one, tied or not, the output has none either.
  const last = unlayered.at(-1)?.sources ?? [];
  const isWritten = withHead.some(
    ({ reference, checkpoint }) =>
      last.some(({ model }) => sameModel(model, reference)) && checkpoint.tensors.has(head),
  );
  return { models: withHead, values: [...(isWritten ? flag(false) : []), ...sharing] };
}

/** The ranges that embedding and head come from: the first and the last, of the module that takes them. */
export function unlayeredRanges(recipe: Recipe, defining: RecipeModel): LayerRange[] {
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
  if (ties?.embedding === undefined || ties.embedding === name || model.checkpoint.tensors.has(name)) return model;
  return renamed(model, ties.embedding, name, { ...ties, embedding: name });
}

/** Of Marian: one embedding for both towers. */
const SHARING_FLAG = "share_encoder_decoder_embeddings";

function isShared(config: Config): boolean {
  return config[SHARING_FLAG] === true || (config.model_type === "marian" && config[SHARING_FLAG] === undefined);
}

function isUnshared({ ties, checkpoint }: RecipeModel): boolean {
  return checkpoint.config?.[SHARING_FLAG] === false && ties !== undefined && ties.apart.size > 0;
}

/** Names under which any of the models has a parameter of its own, and what these are to others: empty is the embedding. */
function namesApart(models: readonly RecipeModel[]): ReadonlyMap<string, string> {
  return new Map(
    models.flatMap(({ ties }) =>
      [...(ties?.apart ?? [])].flatMap(([name, of]) =>
        of === ties?.embedding ? [[name, ""] as const, [of, ""] as const] : [[name, of] as const],
      ),
    ),
  );
}

/** With what it has once under each of the names that another model has parameters of its own under. */
function withNamesApart(model: RecipeModel, apart: ReadonlyMap<string, string>): RecipeModel {
  const { ties } = model;
  const { tensors } = model.checkpoint;
  if (ties === undefined || apart.size === 0) return model;
  const missing = [...apart].flatMap(([name, of]): [string, ModelEntry][] => {
    const entry = tensors.get(of === "" ? (ties.embedding ?? "") : of);
    return tensors.has(name) || entry === undefined ? [] : [[name, underName(entry, name, model.filesOf)]];
  });
  const copies = new Map([...ties.copies].filter(([name]) => !apart.has(name)));
  const more = new Map<string, ModelEntry>([...tensors, ...missing]);
  return { ...model, ties: { ...ties, copies }, checkpoint: { ...model.checkpoint, tensors: more } };
}

function hasTiedHead({ ties, checkpoint }: RecipeModel): boolean {
  return ties?.isTied === true && isOfLanguageModel(checkpoint.config?.architectures) !== false;
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

/** Of a head that is a layer within a module with a bias: the layer's own and the module's, which are one where the weights are tied. */
function biasesOf(head: string): readonly string[] {
  return head.endsWith(".decoder.weight")
    ? ["decoder.bias", "bias"].map((bias) => head.replace(/decoder\.weight$/, bias))
    : [];
}

/** With these biases of its head: one that it lacks is the other once more. */
function withBiases(model: RecipeModel, head: string, biases: readonly string[]): RecipeModel {
  const { tensors } = model.checkpoint;
  const more = biases.flatMap((name): [string, ModelEntry][] => {
    const entry = tensors.get(otherHeadBias(name) ?? "");
    return entry === undefined || tensors.has(name) || !tensors.has(head)
      ? []
      : [[name, underName(entry, name, model.filesOf)]];
  });
  return more.length === 0
    ? model
    : { ...model, checkpoint: { ...model.checkpoint, tensors: new Map([...tensors, ...more]) } };
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
function flagValues(config: Config, isTied: boolean): ConfigValue[] {
  return tiedPaths(config).map((path) => ({ path, value: isTied }));
}
