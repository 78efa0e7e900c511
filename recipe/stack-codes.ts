import { splitLayer } from "../checkpoint/index.ts";
import type { Findings } from "./findings.ts";
import type { ModelEntry, RecipeModel } from "./model-entry.ts";
import type { Recipe } from "./recipe.ts";
import type { LayerOrigin } from "./stack-follower.ts";
import type { LayerStack } from "./tensor-layout.ts";

/**
 * Whether a stack that keeps fp8 codes has them where its config says so: a tensor of a layer is codes with scales after one custom, or
 * values, as it is in some layer of `model`, whose config the output has. Where values are written for all layers nothing can differ.
 */
export function checkStackCodes(
  { outDtype, dtype }: Recipe,
  model: RecipeModel,
  layers: LayerStack,
  origins: readonly LayerOrigin[],
  findings: Findings,
): void {
  const wanted = outDtype ?? dtype;
  if (wanted !== undefined && wanted !== "F8_E4M3" && wanted !== "F8_E5M2") return;
  if (model.isScaled !== true && !origins.some(({ input }) => input.isScaled === true)) return;
  const usual = new Map<string, Set<string>>();
  for (const name of [...layers.layers.values()].flat()) {
    const [suffix, custom] = formOf(model, name);
    usual.set(suffix, (usual.get(suffix) ?? new Set()).add(custom));
  }
  for (const { input, layers: own, layer, range, slice } of origins) {
    for (const name of own.layers.get(layer) ?? []) {
      const [suffix, custom] = formOf(input, name);
      const expected = usual.get(suffix);
      if (expected === undefined || expected.has(custom)) continue;
      const message = `slice ${slice}: "${input.label}" holds ${name} as ${custom}, "${model.label}", whose config the output has, as ${[...expected].join(" or ")}: one config cannot say both`;
      const hint = "dtype: bfloat16 writes values for all layers. Codes can be kept where all models have them alike.";
      findings.repeated("fault", `codes of ${input.label}`, "recipe/packed-weights", range.place, message, hint);
    }
  }
}

/** The name within a layer, and how the tensor is stored there, in words. */
function formOf({ checkpoint }: RecipeModel, name: string): [suffix: string, custom: string] {
  const suffix = splitLayer(name)?.suffix ?? name;
  const entry: ModelEntry | undefined = checkpoint.tensors.get(name);
  if (entry?.scaled === undefined) return [suffix, "values"];
  const { codes, scales, blockRows, blockColumns } = entry.scaled;
  const module = codes.name.slice(0, codes.name.lastIndexOf(".") + 1);
  const measured = ["input_scale", "scale_input", "input_activation_scale"].filter((leaf) =>
    checkpoint.tensors.has(`${module}${leaf}`),
  );
  const beside = [scales.name.slice(module.length), ...measured].join(" and ");
  return [suffix, `fp8 codes with ${beside} for blocks of ${blockRows} x ${blockColumns}`];
}
