import { type Checkpoint, layerCount, listedLayers, textConfigs } from "../../../checkpoint/index.ts";
import type { Plan } from "../../../merge/work/index.ts";
import { PublishError } from "../../errors.ts";
import { CONFIG_NAME } from "../../records/file-names.ts";

/**
 * Whether the number of layers can be put into the config. For plan time.
 * @throws PublishError `publish/layer-count`
 */
export function checkLayerCount(plan: Plan, checkpoint: Pick<Checkpoint, "config" | "tensors">): void {
  const { config } = checkpoint;
  const uncounted = plan.stacks?.find(
    ({ layerCount: after, layersBefore, configKeys }) => after !== layersBefore && configKeys.length === 0,
  );
  if (config !== undefined && uncounted !== undefined) {
    throw noLayerKey(plan, `the layers of ${uncounted.prefix}`, uncounted.layersBefore, uncounted.layerCount);
  }
  if (config === undefined || plan.layerCount === undefined) return;
  const listing = textConfigs(config).flatMap((part) => listedLayers(part.config)?.keys ?? []);
  if (isCounted(plan, plan.layerCount, listing)) return;
  const before = layerCount(checkpoint);
  if (before === plan.layerCount) return;
  throw noLayerKey(plan, "layers", before, plan.layerCount);
}

/** Whether the plan sets a key to the number of layers, or makes the list longer that counts them where no number does. */
function isCounted({ configValues = [] }: Plan, count: number, listing: readonly string[]): boolean {
  return configValues.some(({ path, value }) => {
    const isList = listing.includes(path.at(-1) ?? "") && (Array.isArray(value) || typeof value === "string");
    return isList ? value.length === count : value === count;
  });
}

function noLayerKey(plan: Plan, what: string, before: number, after: number): PublishError {
  const label = plan.inputs[plan.definingInput]?.label ?? "";
  return new PublishError(
    "publish/layer-count",
    `${label}: ${CONFIG_NAME} has no key for the number of ${what}, which goes from ${before} to ${after}`,
    { hint: "Add the key of its model type (num_hidden_layers, n_layer, num_layers, n_layers) to that config.json." },
  );
}
