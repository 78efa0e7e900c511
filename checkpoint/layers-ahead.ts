import { layerCountKey, splitLayer } from "./architecture.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { towersOf } from "./towers.ts";

/** Qwen3-Next, MiMo, Ernie 4.5 and others call them by what they do; DeepSeek and GLM count on after the last layer. */
const namedAhead = /(?:^|\.)(?:mtp|nextn|multi_token_pred\w*)(?:_\w+)?\./;

/**
 * Whether a tensor belongs to layers that predict further tokens: they follow the model's own, its config does not count them among
 * these, and programs that do not use them leave them out when they save.
 */
export function aheadIn({
  config = {},
  tensors,
}: Pick<Checkpoint, "config"> & { readonly tensors: ReadonlyMap<string, unknown> }): (name: string) => boolean {
  const count = layerCountKey(config)?.count ?? 0;
  const towerOf = count === 0 ? undefined : towersOf(tensors.keys());
  return (name) => {
    if (namedAhead.test(name)) return true;
    const split = towerOf && splitLayer(name);
    if (split === undefined || split.layer < count || towerOf?.(name) !== "text") return false;
    return /(?:^|[._])(?:layers?|h|blocks?)$/.test(split.prefix);
  };
}
