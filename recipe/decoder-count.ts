import type { ConfigValue } from "./config-value.ts";
import type { RecipeModel } from "./model-entry.ts";

type Config = Readonly<Record<string, unknown>>;

/** In T5 and its kin the decoder has as many layers as the encoder where the config does not say otherwise. */
const KEY = "num_decoder_layers";

function isImplied(config: Config, tensors: ReadonlyMap<string, unknown>): boolean {
  if (typeof config.num_layers !== "number" || (config[KEY] !== undefined && config[KEY] !== null)) return false;
  return [...tensors.keys()].some((name) => name.startsWith("decoder.block."));
}

/** The model with what its config leaves to be understood. */
export function withDecoderCounted(model: RecipeModel): RecipeModel {
  const { config, tensors } = model.checkpoint;
  if (config === undefined || !isImplied(config, tensors)) return model;
  return { ...model, checkpoint: { ...model.checkpoint, config: { ...config, [KEY]: config.num_layers } } };
}

/** Where one of the two numbers changes, both are said. `stored`: the config as it stands; `config`: with what is to be understood. */
export function withDecoderCount(
  stored: Config | undefined,
  config: Config | undefined,
  values: readonly ConfigValue[],
): readonly ConfigValue[] {
  const count = config?.[KEY];
  const isSaid = stored?.[KEY] === count || values.some(({ path }) => path.join(".") === KEY);
  return isSaid || typeof count !== "number" || values.length === 0
    ? values
    : [...values, { path: [KEY], value: count }];
}
