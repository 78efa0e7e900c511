import type { Checkpoint } from "../../checkpoint/index.ts";
import { type Binding, bindRecipe, labelsFor, type RecipeInput, referencedModels } from "../../recipe/index.ts";
import { methods, parse, summaryOf } from "./parsing.ts";

/** Binds a recipe to made-up models, by the path that names them. Faults of the text count as well. `more`: what stands beside a model. */
export function bindModels(
  text: string,
  models: Record<string, Checkpoint>,
  more: Record<string, Partial<RecipeInput>> = {},
): Binding {
  const { recipe, faults } = parse(text);
  if (recipe === undefined) throw new Error(summaryOf(faults).join("\n"));
  const references = referencedModels(recipe);
  const labels = labelsFor(references);
  const inputs = references.map((reference) => {
    const checkpoint = models[reference.path];
    if (checkpoint === undefined) throw new Error(`no model ${reference.path}`);
    return { reference, label: labels.get(reference.text) ?? "", checkpoint, ...more[reference.path] };
  });
  const binding = bindRecipe(recipe, inputs, { methods });
  return { ...binding, faults: [...faults, ...binding.faults] };
}

/** Layers `first` to `end - 1` of models, one range after another. */
export type StackRange = readonly [model: string, first: number, end: number];

export function stackOf(...ranges: readonly StackRange[]): string {
  const slices = ranges.map(
    ([model, first, end]) => `  - sources: [{ model: ${model}, layer_range: [${first}, ${end}] }]\n`,
  );
  return `merge_method: passthrough\nslices:\n${slices.join("")}`;
}
