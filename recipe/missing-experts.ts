import { splitLayer, textConfigs } from "../checkpoint/index.ts";
import type { Findings } from "./findings.ts";
import type { RecipeModel } from "./model-entry.ts";
import { placeOfModel, type Recipe, takesLayer } from "./recipe.ts";

const expertPattern = /^(.*\.experts)\.(?:expert_)?(\d{1,9})\.(.+)$/s;

const countKeys = ["num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"];

/** A list of experts, a tensor each, of which some are missing or lack a part that the others have. */
export interface MissingExperts {
  /** The module that holds the list. */
  readonly module: string;
  /** What is missing: "4", "2.w1". */
  readonly parts: readonly string[];
  readonly count: number;
}

/** The lists in a model that are not whole: by their numbers, by the parts of each other, and by the config where no list has as many as it counts. */
export function missingExpertsOf({ checkpoint }: Pick<RecipeModel, "checkpoint">): readonly MissingExperts[] {
  const lists = new Map<string, Map<number, Set<string>>>();
  for (const name of checkpoint.tensors.keys()) {
    const [, module, number, part] = expertPattern.exec(name) ?? [];
    if (module === undefined || part === undefined) continue;
    const experts = lists.get(module) ?? new Map<number, Set<string>>();
    lists.set(module, experts);
    // Of codes and values in one list the modules are the same, and not what they hold.
    const own = part.replace(/\.?[^.]+$/, "");
    experts.set(Number(number), (experts.get(Number(number)) ?? new Set()).add(own));
  }
  const sizes = [...lists.values()].map((experts) => [...experts.keys()].reduce((a, b) => Math.max(a, b), -1) + 1);
  const counted = countedExperts(checkpoint.config) ?? 0;
  const isFewer = sizes.every((size) => size < counted);
  return [...lists].flatMap(([module, experts], k) => {
    const count = isFewer ? counted : (sizes[k] ?? 0);
    const parts = [...new Set([...experts.values()].flatMap((own) => [...own]))];
    const missing: string[] = [];
    // Numbers of a list are small, but what a file says they are need not be.
    for (let expert = 0; expert < count && missing.length < MOST_NAMED; expert++) {
      const own = experts.get(expert);
      if (own === undefined) missing.push(String(expert));
      else missing.push(...parts.filter((part) => !own.has(part)).map((part) => `${expert}.${part}`));
    }
    return missing.length === 0 ? [] : [{ module, parts: missing, count }];
  });
}

const MOST_NAMED = 7;

function countedExperts(config: Readonly<Record<string, unknown>> = {}): number | undefined {
  const counts = textConfigs(config).flatMap((part) => countKeys.map((key) => part.config[key]));
  return counts.find((count) => typeof count === "number");
}

/** Refuses models that lack experts in layers that are merged: loaders make them up. */
export function checkMissingExperts(recipe: Recipe, models: readonly RecipeModel[], findings: Findings): void {
  for (const model of models) {
    if (model.adapter !== undefined) continue;
    const missing = missingExpertsOf(model).filter(({ module }) =>
      takesLayer(recipe, model.reference, splitLayer(`${module}.weight`)?.layer ?? 0),
    );
    const [first] = missing;
    if (first === undefined) continue;
    const listed = first.parts.slice(0, MOST_NAMED - 1).join(", ") + (first.parts.length >= MOST_NAMED ? ", …" : "");
    const more = missing.length === 1 ? "" : ` (and ${missing.length - 1} more such lists)`;
    const message = `"${model.label}" is incomplete: of the ${first.count} experts of ${first.module} it lacks ${listed}${more}`;
    const hint = "Fetch the model again; or put the number of experts that it has into its config.json.";
    findings.fault("recipe/missing-tensor", placeOfModel(recipe, model.reference), message, hint);
  }
}
