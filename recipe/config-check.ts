import { isFlagOfMore } from "../checkpoint/index.ts";
import { type ConfigFact, configFacts } from "./config-facts.ts";
import type { Findings } from "./findings.ts";
import type { RecipeModel } from "./model-entry.ts";
import { type ModelReference, sameModel } from "./model-reference.ts";
import { mergedModels, placeOfModel, type Recipe, type RecipeInput } from "./recipe.ts";

/** Warns of models whose configs say that equal shapes mean different things: heads, rope, activations, norms, … */
export function checkConfigs(
  recipe: Recipe,
  models: readonly RecipeModel[],
  defining: RecipeModel,
  findings: Findings,
): void {
  const { config } = defining.checkpoint;
  if (config === undefined || defining.adapter !== undefined) return;
  const expected = configFacts(config);
  const merged = mergedModels(recipe);
  for (const model of models) {
    const { config: own } = model.checkpoint;
    if (own === undefined || own === config || model.adapter !== undefined) continue;
    if (!merged.some((one) => sameModel(one, model.reference))) continue;
    const differences = disagreements(expected, configFacts(own)).filter(({ key }) => !isDecided(key, defining));
    if (differences.length === 0) continue;
    const listed = differences.map(
      ({ key, found, expected: wanted }) => `${key} ${text(found)} instead of ${text(wanted)}`,
    );
    const message = `the config of "${model.label}" disagrees with that of "${defining.label}": ${listed.join(", ")}`;
    const hint = `Equal shapes mean different things there. The output has these from the config of "${defining.label}".`;
    findings.warning("recipe/configs-disagree", placeOfModel(recipe, model.reference), message, hint);
  }
}

/** Warns of models whose files are in different formats by their metadata ("pt", "mlx"): equal shapes may lie otherwise in them. */
export function checkFormats(
  recipe: Recipe,
  models: readonly RecipeModel[],
  defining: RecipeModel,
  findings: Findings,
): void {
  const expected = formatOf(defining);
  const merged = mergedModels(recipe);
  for (const model of models) {
    const found = formatOf(model);
    if (expected === undefined || found === undefined || found === expected) continue;
    if (!merged.some((one) => sameModel(one, model.reference))) continue;
    const message = `the files of "${model.label}" are in the format "${found}", those of "${defining.label}" in "${expected}"`;
    const hint = [found, expected].includes("mlx")
      ? "MLX stores convolutions in another order of their dimensions, and norms of some families with an offset: convert the models to one format first."
      : "Programs store convolutions and norms in ways of their own: convert the models to one format first.";
    findings.warning("recipe/configs-disagree", placeOfModel(recipe, model.reference), message, hint);
  }
}

function formatOf({ checkpoint: { metadata, unclearMetadata = [] } }: RecipeModel): string | undefined {
  return unclearMetadata.includes("format") ? undefined : metadata?.get("format");
}

/** Whether the output has a head of its own follows from its models, and its config is made to say so. */
function isDecided(key: string, { ties, checkpoint }: RecipeModel): boolean {
  return key === "tie_word_embeddings" && ties !== undefined && !isFlagOfMore(checkpoint.config ?? {});
}

export interface Disagreement {
  readonly key: string;
  readonly found: unknown;
  readonly expected: unknown;
}

/** Facts that both know, and that are not the same. Pure. */
export function disagreements(
  expected: ReadonlyMap<string, ConfigFact>,
  found: ReadonlyMap<string, ConfigFact>,
): Disagreement[] {
  return [...expected].flatMap(([id, { key, value, isAssumed }]) => {
    const other = found.get(id);
    if (other === undefined || isSame(value, other.value) || (isAssumed && other.isAssumed)) return [];
    // Stacks are made of models of different depths.
    if (Array.isArray(value) && Array.isArray(other.value) && value.length !== other.value.length) return [];
    return [{ key: other.key === id ? key : other.key, found: other.value, expected: value }];
  });
}

/** Of adapters that are merged with each other: what each was trained on. */
export function checkAdapterBases(recipe: Recipe, adapters: readonly RecipeInput[], findings: Findings): void {
  const named = adapters.flatMap((adapter) => {
    const base = baseNameOf(adapter);
    return base === undefined ? [] : [{ adapter, base }];
  });
  const [first, ...others] = named;
  for (const { adapter, base } of others) {
    if (first === undefined || isSameName(base, first.base)) continue;
    const message = `"${adapter.label}" was trained on ${base}, "${first.adapter.label}" on ${first.base}`;
    const hint = "Adapters add to the model that they were trained on; those of different models seldom go together.";
    findings.warning("recipe/configs-disagree", placeOfModel(recipe, adapter.reference), message, hint);
  }
}

/** Of an adapter on a model: whether it was trained on one of that name. */
export function checkAdapterBase(
  recipe: Recipe,
  reference: ModelReference,
  model: RecipeModel,
  adapter: RecipeInput,
  findings: Findings,
): void {
  const base = baseNameOf(adapter);
  if (base === undefined) return;
  const { config, root, origin } = model.checkpoint;
  const path = config?._name_or_path;
  // In the Hub's cache a snapshot stands in a folder that is named after the model.
  const cached = origin?.hubId ?? /models--([^/]+)--([^/]+)/.exec(root)?.[2];
  const stated = [cached, path].filter((name) => typeof name === "string" && name !== "") as string[];
  const own = [model.reference.path, model.reference.text, model.label, root];
  if ([...own, ...stated].some((name) => isSameName(name, base))) return;
  // What somebody has called a folder of his own says nothing of what lies in it.
  if (stated.length === 0 && ![model.reference.path, root].some(isPublishedName)) return;
  const message = `"${adapter.label}" was trained on ${base}, and is put on "${model.label}"`;
  const hint = "That is right where it is the same model under another name.";
  findings.repeated(
    "warning",
    `${adapter.label} ${model.label}`,
    "recipe/configs-disagree",
    placeOfModel(recipe, reference),
    message,
    hint,
  );
}

function baseNameOf({ adapter, checkpoint }: RecipeInput): string | undefined {
  const name = adapter === undefined ? undefined : checkpoint.config?.base_model_name_or_path;
  return typeof name === "string" && name !== "" ? name : undefined;
}

/** By the last part of name or path: trainers write where the model was on their machine, and train on quantised copies of it. */
function isSameName(a: string, b: string): boolean {
  return plainName(a) === plainName(b);
}

function plainName(name: string): string {
  const last = name
    .replace(/@[^/]*$/, "")
    .replace(/\/+$/, "")
    .replace(/^.*\//, "")
    .toLowerCase();
  const bare = last.replace(/[\s_]+/g, "-").replace(/^meta-/, "");
  return bare.replace(/(?:-(?:bnb|unsloth|hf|gptq|awq|fp8|fp16|bf16|f16|[48]bit|int[48]|w\d+a\d+))+$/, "");
}

/** "Llama-3.2-1B": models are published under names that tell their size. */
function isPublishedName(path: string): boolean {
  return /\d(?:\.\d+)?[bm](?![a-z\d])/.test(plainName(path));
}

function isSame(a: unknown, b: unknown): boolean {
  return stable(a) === stable(b);
}

/** As JSON, whatever the order of keys. */
function stable(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    typeof item === "object" && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
}

const SHOWN = 80;

function text(value: unknown): string {
  const isSmall = typeof value === "number" && value !== 0 && Math.abs(value) < 1e-3;
  const json = isSmall ? value.toExponential() : stable(value);
  return json.length <= SHOWN ? json : `${json.slice(0, SHOWN)}…`;
}
