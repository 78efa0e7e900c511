import {
  type Checkpoint,
  isAfterLayers,
  isEmbeddingLike,
  layerCountKey,
  vocabularySizeKeys,
} from "../../../checkpoint/index.ts";
import type { Plan } from "../../../merge/work/index.ts";
import { staleQuantization } from "../../../recipe/index.ts";
import { withJsonValue, withoutJsonKey } from "../json-text.ts";
import { type Config, has, valueAt } from "./config-part.ts";
import { withDtype } from "./dtype.ts";

/**
 * The defining input's config for the output: what the plan says of its layers, dtype and vocabulary size set, all else as it stands.
 * `tensors`: of the defining input.
 */
export function outputConfig(text: string, defining: Pick<Checkpoint, "config" | "tensors">, plan: Plan): string {
  const { config = {}, tensors } = defining;
  const key = layerCountKey(config);
  let edited = text;
  for (const { path, value } of plan.configValues ?? []) edited = withJsonValue(edited, path, value);
  // The language model's part of a config of several towers, or the config itself.
  const nested = key === undefined || key.path.length === 1 ? undefined : key.path.slice(0, -1);
  edited = withDtype(edited, config, nested, plan);
  for (const { path, value } of staleQuantization(plan.tasks, defining).edits)
    edited = value === undefined ? withoutJsonKey(edited, path) : withJsonValue(edited, path, value);
  for (const { path, value } of rowValues(config, tensors, plan)) edited = withJsonValue(edited, path, value);
  return edited;
}

/** How many tokens there are, wherever the config counts them; a table of its own for each layer (Gemma 3n) has its own count. */
function rowValues(
  config: Config,
  tensors: Checkpoint["tensors"],
  { embeddingRows, tasks }: Plan,
): readonly { path: readonly string[]; value: number }[] {
  if (embeddingRows === undefined) return [];
  const perLayer = tasks.find(({ name }) => /(?:^|\.)embed_tokens_per_layer\.weight$/.test(name))?.shape[0];
  const keys = vocabularySizeKeys(config);
  // What is no number stands for what its class takes.
  const isAsBefore = rowsBefore(tensors) === embeddingRows;
  const stays = (path: readonly string[]) =>
    isAsBefore && has(config, path) && typeof valueAt(config, path) !== "number";
  const ofTables = keys
    .map((path) => [...path.slice(0, -1), "vocab_size_per_layer_input"])
    .filter((path) => perLayer !== undefined && has(config, path));
  return [
    ...keys.flatMap((path) => (stays(path) ? [] : [{ path, value: embeddingRows }])),
    ...ofTables.map((path) => ({ path, value: perLayer ?? embeddingRows })),
  ];
}

function rowsBefore(tensors: Checkpoint["tensors"]): number | undefined {
  for (const { name, shape } of tensors.values())
    if (shape.length === 2 && isEmbeddingLike(name) && !isAfterLayers(name)) return shape[0];
  return undefined;
}
