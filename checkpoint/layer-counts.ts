import { nestedConfigs } from "./architecture.ts";
import type { Tower } from "./towers.ts";
import { audioConfigs, visionConfigs } from "./towers.ts";

type Config = Readonly<Record<string, unknown>>;

/** A part of a config that counts the layers of a stack, and the keys with which it does: often several say the same. */
export interface CountHolder {
  /** From the top of the config; empty: the config itself. */
  readonly path: readonly string[];
  readonly keys: readonly string[];
}

const anyLayers = ["num_hidden_layers", "n_layer", "num_layers", "n_layers", "num_transformer_layers", "num_blocks"];
const encoderLayers = ["encoder_layers", "num_encoder_layers", "encoder_num_hidden_layers", "encoder_num_layers"];
const decoderLayers = ["decoder_layers", "num_decoder_layers", "decoder_num_hidden_layers", "decoder_num_layers"];
const encoderConfigs = ["encoder", "encoder_config", "text_encoder", "encoder_text_config"];
const decoderConfigs = ["decoder", "decoder_config"];

/** Every part of a config that counts `count` layers of a tower, from the outside in. */
export function countHolders(config: Config, tower: Tower, count: number): readonly CountHolder[] {
  const found = candidates(config, tower).flatMap(({ path, config: part, keys }) => {
    const counting = keys.filter((key) => Object.hasOwn(part, key) && part[key] === count);
    return counting.length === 0 ? [] : [{ path, keys: counting }];
  });
  const seen = new Set<string>();
  return found.filter(({ path }) => {
    const isNew = !seen.has(path.join("."));
    seen.add(path.join("."));
    return isNew;
  });
}

interface Candidate {
  readonly path: readonly string[];
  readonly config: Config;
  readonly keys: readonly string[];
}

function candidates(config: Config, tower: Tower): readonly Candidate[] {
  const top = (keys: readonly string[]) => [{ path: [], config, keys }];
  switch (tower) {
    case "text":
    case "shared":
    case "projector":
      return withNested(config, [...anyLayers, "depth", "layers", ...decoderLayers, ...encoderLayers], nestedConfigs);
    case "vision":
      return inside(config, visionConfigs, [...anyLayers, "depth", "layers"]);
    case "audio":
      return inside(config, audioConfigs, [...anyLayers, "depth", "layers", ...encoderLayers]);
    case "encoder":
      // num_hidden_layers says the same as encoder_layers in BART, and as num_layers in T5.
      return [
        ...top([...encoderLayers, "num_layers", "num_hidden_layers"]),
        ...inside(config, encoderConfigs, anyLayers),
      ];
    case "decoder":
      return [...top(decoderLayers), ...inside(config, decoderConfigs, anyLayers)];
  }
}

/** The config, and the parts of it under these names, at any depth. */
function withNested(
  config: Config,
  keys: readonly string[],
  names: readonly string[],
  path: readonly string[] = [],
): readonly Candidate[] {
  const nested = names.flatMap((name) => {
    const part = partOf(config, name);
    return part === undefined ? [] : withNested(part, keys, names, [...path, name]);
  });
  return [{ path, config, keys }, ...nested];
}

/** The parts of a config under these names, at the top or in the part of a model that thinks and talks, at any depth. */
function inside(config: Config, names: readonly string[], keys: readonly string[]): readonly Candidate[] {
  const wholes = withNested(config, keys, ["thinker_config"]);
  return wholes.flatMap(({ path, config: whole }) =>
    names.flatMap((name) => {
      const part = partOf(whole, name);
      return part === undefined ? [] : withNested(part, keys, [...names, ...nestedConfigs], [...path, name]);
    }),
  );
}

function partOf(config: Config, key: string): Config | undefined {
  const value = Object.hasOwn(config, key) ? config[key] : undefined;
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Config) : undefined;
}
