import { isOptional, splitLayer } from "../checkpoint/index.ts";
import type { Findings } from "./findings.ts";
import type { RecipeModel } from "./model-entry.ts";
import { sameModel } from "./model-reference.ts";
import { placeOfModel, type Recipe, takesLayer } from "./recipe.ts";
import { layoutOf } from "./tensor-layout.ts";

/** A layer that lacks what all others of its stack have, in modules that it has a part of. */
export interface MissingParts {
  readonly prefix: string;
  readonly layer: number;
  /** What follows the number of the layer: "mlp.up_proj.weight". */
  readonly parts: readonly string[];
}

/** So many layers are needed to say what all others have. */
const LAYERS_MIN = 4;

/**
 * Holes in layers. What is missing with its whole module, or is missing in a layer that has something of its own, makes a layer of another
 * kind; so may the first, and the last of models whose layers share keys and values.
 */
export function missingPartsOf({ checkpoint }: Pick<RecipeModel, "checkpoint">): readonly MissingParts[] {
  const { config = {}, tensors } = checkpoint;
  const shares = Object.keys(config).some((key) => /shar/.test(key));
  return [...layoutOf(tensors.keys()).stacks].flatMap(([prefix, { layers }]) => {
    if (layers.size < LAYERS_MIN) return [];
    const suffixes = new Map(
      [...layers].map(([layer, names]) => [
        layer,
        new Set(names.map((name) => splitLayer(name)?.suffix ?? "").filter((suffix) => !isOptional(`.${suffix}`))),
      ]),
    );
    const counts = new Map<string, number>();
    for (const own of suffixes.values()) for (const one of own) counts.set(one, (counts.get(one) ?? 0) + 1);
    const last = Math.max(...layers.keys());
    return [...suffixes].flatMap(([layer, own]) => {
      if (layer === 0 || (layer === last && shares)) return [];
      const parts = [...counts].flatMap(([one, count]) => (count === layers.size - 1 && !own.has(one) ? [one] : []));
      const modules = new Set([...own].map(moduleOf));
      const isOfOtherKind =
        [...own].some((one) => counts.get(one) === 1) ||
        parts.some((one) => !/norm/i.test(one) && !modules.has(moduleOf(one)));
      return parts.length === 0 || isOfOtherKind ? [] : [{ prefix, layer, parts }];
    });
  });
}

/** The module that holds the one that a tensor is of: "self_attn" of "self_attn.q_proj.weight". */
function moduleOf(suffix: string): string {
  return suffix.split(".").slice(0, -2).join(".");
}

/** Warns of models with such holes in layers that are merged: loaders make up what is missing. */
export function checkMissingParts(recipe: Recipe, models: readonly RecipeModel[], findings: Findings): void {
  for (const model of models) {
    if (model.adapter !== undefined) continue;
    // What is no source gives its values, or its rows, to all layers.
    const isSource = recipe.layerRanges.some(({ sources }) =>
      sources.some((source) => sameModel(source.model, model.reference)),
    );
    for (const { prefix, layer, parts } of missingPartsOf(model)) {
      if (isSource && !takesLayer(recipe, model.reference, layer)) continue;
      const [first, ...more] = parts;
      const others = more.length === 0 ? "" : ` (and ${more.length} more)`;
      const message = `"${model.label}" is incomplete: ${prefix}.${layer} lacks ${first}${others}, which all other layers have`;
      const hint = "Fetch the model again: what loads the output makes up what is missing.";
      findings.warning("recipe/missing-layers", placeOfModel(recipe, model.reference), message, hint);
    }
  }
}
