import { described, maybeValue, type ReadingContext, reportUnknownKeys } from "./context.ts";
import type { Findings } from "./findings.ts";
import { maybeModelReference } from "./model-reference.ts";
import type { LayerRange, LayerSource } from "./recipe.ts";
import { maybeNumberFromText } from "./scalars.ts";
import { parseSettings } from "./settings.ts";
import type { YamlMap, YamlNode } from "./yaml.ts";

export function isEmptyList(node: YamlNode | undefined): boolean {
  return node === undefined || (node.kind === "list" && node.items.length === 0);
}

export function maybeList(
  node: YamlNode | undefined,
  key: string,
  { findings }: ReadingContext,
): readonly YamlNode[] | undefined {
  if (node?.kind === "list" && node.items.length > 0) return node.items;
  if (node !== undefined) {
    const found = node.kind === "list" ? "an empty list" : described(node);
    findings.fault(
      "recipe/wrong-type",
      node.place,
      `"${key}" holds ${found}, a list is expected`,
      "Begin each entry with a dash.",
    );
  }
  return undefined;
}

/** One entry of `slices`. */
export function maybeRange(node: YamlNode, context: ReadingContext): LayerRange | undefined {
  const { findings } = context;
  if (node.kind !== "map") {
    const message = `${described(node)} stands where an entry of "slices" is expected`;
    findings.fault(
      "recipe/wrong-type",
      node.place,
      message,
      "Write sources: and a list of models with their layer_range.",
    );
    return undefined;
  }
  reportUnknownKeys(context, node, ["sources", "base_model", "parameters", "residual_weight"]);
  const residual = node.entries.get("residual_weight");
  if (residual !== undefined && maybeValue(node, "residual_weight") !== undefined) {
    const message = '"residual_weight" has no effect: mergekit accepts it and does nothing with it';
    findings.warning("recipe/no-effect", residual.place, message, "Remove the key.");
  }
  const parameters = parseSettings(node, "range", context);
  const baseNode = maybeValue(node, "base_model");
  const baseModel = baseNode && maybeModelReference(baseNode, context);
  const sourcesNode = maybeValue(node, "sources");
  if (sourcesNode === undefined) {
    const hint = "List the models and their layer_range under sources:.";
    findings.fault("recipe/missing-key", node.place, 'an entry of "slices" lacks its "sources"', hint);
  }
  const listed = maybeList(sourcesNode, "sources", context)?.map((item) => maybeSource(item, "slices", context));
  const sources = listed?.filter((source) => source !== undefined);
  if (sources === undefined || sources.length !== listed?.length) return undefined;
  if (baseNode !== undefined && baseModel === undefined) return undefined;
  return { sources, parameters, place: node.place, ...(baseModel && { baseModel }) };
}

/** One entry of `models`, or of the `sources` of a slice. */
export function maybeSource(
  node: YamlNode,
  form: "models" | "slices",
  context: ReadingContext,
): LayerSource | undefined {
  const { findings } = context;
  if (node.kind !== "map") {
    const message = `${described(node)} stands where an entry with the key "model" is expected`;
    findings.fault("recipe/wrong-type", node.place, message, "Write - model: and the path of the model.");
    return undefined;
  }
  reportUnknownKeys(
    context,
    node,
    form === "models" ? ["model", "parameters"] : ["model", "layer_range", "parameters"],
  );
  const parameters = parseSettings(node, "source", context);
  const modelNode = maybeValue(node, "model");
  if (modelNode === undefined) {
    findings.fault("recipe/missing-key", node.place, 'the key "model" is missing', "Name the model of this entry.");
  }
  const model = modelNode && maybeModelReference(modelNode, context);
  const layers = form === "slices" ? maybeLayers(node, findings) : undefined;
  if (model === undefined || (form === "slices" && layers === undefined)) return undefined;
  return { model, parameters, place: node.place, ...(layers && { layers }) };
}

function maybeLayers(source: YamlMap, findings: Findings): LayerSource["layers"] | undefined {
  const node = maybeValue(source, "layer_range");
  const hint = "Write layer_range: [first, end], counted from 0; the layer end is not part of the range.";
  if (node === undefined) {
    findings.fault("recipe/missing-key", source.place, 'the key "layer_range" is missing', hint);
    return undefined;
  }
  const ends = node.kind === "list" ? node.items.map(maybeLayerNumber) : [];
  const [first, end] = ends;
  if (ends.length !== 2 || first === undefined || end === undefined) {
    findings.fault("recipe/wrong-type", node.place, '"layer_range" takes two whole numbers, 0 or more', hint);
    return undefined;
  }
  if (end <= first) {
    const what = end === first ? "is empty" : "runs backwards";
    const way =
      end === first
        ? `${hint} Norm and head come with the last slice, the embedding with the first; to weigh their models otherwise than those of its layers, give the weight a condition: weight: [{filter: lm_head, value: 1}, {value: 0.5}].`
        : hint;
    findings.fault("recipe/layer-range", node.place, `layer_range [${first}, ${end}] ${what}`, way);
    return undefined;
  }
  return { first, end, place: node.place };
}

function maybeLayerNumber(node: YamlNode): number | undefined {
  if (node.kind !== "scalar" || typeof node.value === "boolean" || node.value === null) return undefined;
  const number = typeof node.value === "string" ? maybeNumberFromText(node.value) : node.value;
  return number !== undefined && Number.isSafeInteger(number) && number >= 0 ? number : undefined;
}
