import type { MethodDeclaration } from "../merge/methods/index.ts";
import type { Findings } from "./findings.ts";
import { sameModel } from "./model-reference.ts";
import { baseOf, type LayerRange, type Recipe } from "./recipe.ts";

/** What can be said of a range before any model is opened: lengths, base, number of models. */
export function checkRange(recipe: Recipe, range: LayerRange, method: MethodDeclaration, findings: Findings): void {
  const [reference] = range.sources;
  for (const source of range.sources) {
    if (reference?.layers === undefined || source.layers === undefined) continue;
    const expected = reference.layers.end - reference.layers.first;
    const found = source.layers.end - source.layers.first;
    if (found === expected) continue;
    const message = `layer_range [${source.layers.first}, ${source.layers.end}] spans ${layersText(found)}, the first source of this slice spans ${expected}`;
    findings.fault(
      "recipe/layer-range",
      source.layers.place,
      message,
      "All sources of a slice take the same number of layers.",
    );
  }
  const base = baseOf(recipe, range);
  const holdsBase = range.sources.some((source) => sameModel(source.model, base));
  if (needsBase(method) && base !== undefined && !holdsBase) {
    const message = `the base_model "${base.text}" is not among the sources of this slice, and ${method.name} needs it there`;
    findings.fault("recipe/missing-base", range.place, message, "Add it with the layer_range to take as base.");
  }
  checkModelCount(range, method, holdsBase, findings);
}

function checkModelCount(range: LayerRange, method: MethodDeclaration, holdsBase: boolean, findings: Findings): void {
  const apart = method.base !== "listed";
  const count = range.sources.length - (apart && holdsBase ? 1 : 0);
  // A tensor that only one of the two has is taken from that one; the recipe has to name two all the same.
  const min = !apart && method.needsBase ? Math.max(2, method.models.min) : method.models.min;
  const { max } = method.models;
  if (count >= min && count <= max) return;
  const [bound, limit] = min === max ? ["exactly", min] : count < min ? ["at least", min] : ["at most", max];
  const allowed = `${bound} ${limit} ${limit === 1 ? "model" : "models"}${apart ? " besides the base" : ""}`;
  const found = count === 1 ? "here is 1" : `here are ${count}`;
  const hint = count < min ? "Add a model." : 'Remove models, or stack ranges of their layers with "slices".';
  findings.fault("recipe/model-count", range.place, `${method.name} takes ${allowed}, ${found}`, hint);
}

function layersText(count: number): string {
  return count === 1 ? "1 layer" : `${count} layers`;
}

export function needsBase(method: MethodDeclaration): boolean {
  return method.base === "apart" || (method.base === "listed" && method.needsBase);
}
