import { countHolders, layerCountKey, type Tower, towerLayerKeys, towersOf } from "../checkpoint/index.ts";
import { isKnownArchitecture } from "./architecture-check.ts";
import type { Findings } from "./findings.ts";
import type { RecipeModel } from "./model-entry.ts";
import { placeOfModel, type Recipe, takesLayer } from "./recipe.ts";
import { type LayerStack, layoutOf, missingLayers } from "./tensor-layout.ts";

/** Layers that the config of a model counts and of which there is no tensor. */
export interface MissingLayers {
  readonly tower: Tower;
  readonly prefix: string;
  readonly count: number;
  readonly layers: readonly number[];
  /** Whether it is the only list that may be that of the layers. */
  readonly isSure: boolean;
}

/** Families that count a layer more than once: by its parts, or by how often it is passed. */
export const countsTwice: ReadonlySet<unknown> = new Set(["dory", "hrm_text"]);

/** By tower, where none of its stacks has all layers. Towers of which the config counts nothing are passed over. */
export function missingLayersOf({ checkpoint }: Pick<RecipeModel, "checkpoint">): readonly MissingLayers[] {
  const { config, tensors } = checkpoint;
  // Where groups of layers share their weights, there are fewer than are counted.
  if (config === undefined || config.num_hidden_groups !== undefined || countsTwice.has(config.model_type)) return [];
  const towerOf = towersOf(tensors.keys());
  const { stacks } = layoutOf(tensors.keys());
  const byTower = new Map<Tower, [string, LayerStack][]>();
  for (const stack of stacks) {
    const tower = towerOf(`${stack[0]}.0.weight`);
    byTower.set(tower, [...(byTower.get(tower) ?? []), stack]);
  }
  return [...byTower].flatMap(([tower, ofTower]) => {
    const usual = ofTower.filter(([prefix]) => /(?:^|\.)(?:layers?|blocks?|h)$/.test(prefix));
    const candidates = usual.length > 0 ? usual : ofTower;
    const [prefix, stack] = candidates.reduce((best, other) =>
      other[1].layerCount > best[1].layerCount ? other : best,
    );
    const key = towerLayerKeys(config, tower)[0] ?? (byTower.size === 1 ? layerCountKey(config) : undefined);
    if (key === undefined) return [];
    const isCounted = ([prefix, { layerCount }]: [string, LayerStack]) =>
      countHolders(config, { prefix, tower, isMain: true }, layerCount).length > 0;
    if (ofTower.some((other) => isCounted(other) && missingLayers(other[1], other[1].layerCount).length === 0))
      return [];
    if (ofTower.some(([, other]) => missingLayers(other, key.count).length === 0)) return [];
    const layers = missingLayers(stack, key.count);
    return [{ tower, prefix, count: key.count, layers, isSure: candidates.length === 1 }];
  });
}

/** A model that is not whole cannot be merged whole; ranges may be taken of what is there. */
export function checkMissingLayers(recipe: Recipe, models: readonly RecipeModel[], findings: Findings): void {
  for (const model of models) {
    if (model.adapter !== undefined) continue;
    const place = placeOfModel(recipe, model.reference);
    for (const { tower, prefix, count, layers, isSure } of missingLayersOf(model)) {
      const isUsed = layers.some((layer) => takesLayer(recipe, model.reference, layer));
      const first = layers.slice(0, 6).join(", ");
      const what = `layer${layers.length === 1 ? "" : "s"} ${first}${layers.length > 6 ? ", …" : ""}`;
      const message = `"${model.label}" is incomplete: its config counts ${count} layers, and of ${prefix} it lacks ${what}`;
      const hint = "Fetch the model again; or put the number of layers that it has into its config.json.";
      // Towers that see and hear are often stored without the layers that nobody reads.
      const isFault =
        isUsed &&
        isSure &&
        isKnownArchitecture(model) &&
        (tower === "text" || tower === "encoder" || tower === "decoder");
      if (isFault) findings.fault("recipe/missing-layers", place, message, hint);
      else findings.warning("recipe/missing-layers", place, message, hint);
    }
  }
}
