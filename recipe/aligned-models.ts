import { type Adapter, alignNames, namesInTarget } from "../checkpoint/index.ts";
import type { Findings } from "./findings.ts";
import { type ModelEntry, type RecipeModel, storedSource } from "./model-entry.ts";
import { placeOfModel, type Recipe } from "./recipe.ts";
import type { Ties } from "./stored-ties.ts";
import { quotedList } from "./suggestion.ts";

/**
 * Every model under the names that the defining model has for the same tensors: files of one architecture differ in what the names
 * begin with. Sources read what is stored. What could be several tensors is reported.
 */
export function alignedModels(
  recipe: Recipe,
  models: readonly RecipeModel[],
  defining: RecipeModel,
  findings: Findings,
): RecipeModel[] {
  return models.map((model) => (model === defining ? model : alignedModel(recipe, model, defining, findings)));
}

function alignedModel(recipe: Recipe, model: RecipeModel, defining: RecipeModel, findings: Findings): RecipeModel {
  const alignment = alignNames(defining.checkpoint.tensors, model.checkpoint.tensors);
  for (const { name, candidates } of alignment.ambiguous) {
    const message = `${name} of "${defining.label}" could be ${quotedList(candidates, "or")} in "${model.label}"`;
    const hint = "Rename the tensors of one of the models, so that equal names mean the same.";
    const place = placeOfModel(recipe, model.reference);
    findings.repeated("fault", model.label, "recipe/ambiguous-name", place, message, hint);
  }
  if ([...alignment.names].every(([name, stored]) => name === stored)) return model;
  const renamed = new Map([...alignment.names].map(([name, stored]) => [stored, name]));
  const otherwise = namesInTarget(alignment);
  const isTaken = (name: string) => defining.checkpoint.tensors.has(name) || model.checkpoint.tensors.has(name);
  const tensors = new Map<string, ModelEntry>();
  const named = new Map<string, string>();
  for (const [stored, entry] of model.checkpoint.tensors) {
    const free = otherwise(stored);
    const name = renamed.get(stored) ?? (tensors.has(free) || isTaken(free) ? stored : free);
    named.set(stored, name);
    tensors.set(name, name === stored ? entry : underName(entry, name, model.filesOf));
  }
  const adapter = model.adapter && alignedAdapter(model.adapter, defining.adapter);
  const ties = model.ties && renamedTies(model.ties, (name) => named.get(name) ?? name);
  const view = { ...model, checkpoint: { ...model.checkpoint, tensors } };
  return { ...view, ...(adapter && { adapter }), ...(ties && { ties }) };
}

function renamedTies({ embedding, head, apart, ...rest }: Ties, nameOf: (name: string) => string): Ties {
  return {
    ...rest,
    apart: new Map([...apart].map(([name, of]) => [nameOf(name), nameOf(of)])),
    ...(embedding !== undefined && { embedding: nameOf(embedding) }),
    ...(head !== undefined && { head: nameOf(head) }),
  };
}

/** An entry called otherwise; it is read from where it is stored. */
export function underName(entry: ModelEntry, name: string, filesOf: number): ModelEntry {
  return { ...entry, name, source: entry.source ?? storedSource(entry, filesOf) };
}

/** An adapter's modules under the names that another has for them. */
export function alignedAdapter(adapter: Adapter, like: Adapter | undefined): Adapter {
  if (like === undefined || adapter === like) return adapter;
  const weights = (pairs: Adapter["pairs"]) => new Map([...pairs.keys()].map((module) => [`${module}.weight`, {}]));
  const alignment = alignNames(weights(like.pairs), weights(adapter.pairs));
  const renamed = new Map([...alignment.names].map(([name, stored]) => [stored, name]));
  const otherwise = namesInTarget(alignment);
  const pairs = new Map(
    [...adapter.pairs].map(([module, pair]) => {
      const weight = `${module}.weight`;
      const name = renamed.get(weight) ?? otherwise(weight);
      return [name.slice(0, -".weight".length), pair];
    }),
  );
  return { ...adapter, pairs };
}
