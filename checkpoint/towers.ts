import { type LayerCountKey, layerCountKey, splitLayer } from "./architecture.ts";

/**
 * What a tensor is a part of, in models of several towers. "shared": in a model of encoder and decoder, what belongs to neither.
 * Models of one tower are "text" throughout.
 */
export type Tower = "text" | "vision" | "audio" | "projector" | "encoder" | "decoder" | "shared";

// A component of a name, between dots. The projector comes first: it often lies inside the vision tower (`visual.merger`).
const projector = /project(?:or|ion)|connector|merger|aligner|resampler|abstractor|adaptor|^mm_|_mm_|multi_modal_proj/;
const vision =
  /^(?:vision|visual|video|vit|clip|siglip|image|img|pixtral)(?:_|$)|_vision_|vision_(?:tower|model|encoder)$/;
const audio = /^(?:audio|speech|sound|whisper)(?:_|$)/;

/** Says of every tensor of a model what it is a part of. By names alone, as all else here. `names`: of all its tensors. */
export function towersOf(names: Iterable<string>): (name: string) => Tower {
  const prefixes = new Set<string>();
  for (const name of names) {
    const prefix = splitLayer(name)?.prefix;
    if (prefix !== undefined) prefixes.add(prefix);
  }
  const stacks = [...prefixes].filter((prefix) => modalityOf(prefix) === "text").map((prefix) => prefix.split("."));
  // `encoder` and `decoder` at the same place in the names of two stacks: BERT's `encoder` alone is none of a pair.
  const pairAt = stacks
    .map((stack) => stack.indexOf("encoder"))
    .find((at, k) => {
      const before = stacks[k]?.slice(0, at).join(".");
      return at >= 0 && stacks.some((other) => other[at] === "decoder" && other.slice(0, at).join(".") === before);
    });
  return (name) => {
    const modality = modalityOf(name);
    if (modality !== "text" || pairAt === undefined) return modality;
    const part = name.split(".")[pairAt];
    return part === "encoder" || part === "decoder" ? part : "shared";
  };
}

/** By its name alone. */
export function modalityOf(name: string): "text" | "vision" | "audio" | "projector" {
  const modules = name.split(".");
  // What stands inside a layer says nothing of the tower: `vision_proj` of a layer of the text tower.
  const layerAt = modules.findIndex((module) => /^\d+$/.test(module));
  const outside = layerAt < 0 ? modules : modules.slice(0, layerAt);
  if (outside.some((module) => projector.test(module))) return "projector";
  if (outside.some((module) => vision.test(module))) return "vision";
  return outside.some((module) => audio.test(module)) ? "audio" : "text";
}

type Config = Readonly<Record<string, unknown>>;

export const visionConfigs = ["vision_config", "vision_tower_config", "visual", "vit_config", "vision"];
export const audioConfigs = ["audio_config", "audio_encoder_config", "speech_config"];
const visionKeys = ["num_hidden_layers", "depth", "num_layers", "n_layers", "layers"];

/** Where a config counts the layers of a tower; several keys may say the same. Empty where none is known. */
export function towerLayerKeys(config: Config, tower: Tower): readonly LayerCountKey[] {
  switch (tower) {
    case "vision":
      return nestedKeys(config, visionConfigs, visionKeys);
    case "audio":
      return nestedKeys(config, audioConfigs, [...visionKeys, "encoder_layers"]);
    case "encoder":
      // num_hidden_layers says the same as encoder_layers in BART, and as num_layers in T5.
      return keysAt(config, [], ["encoder_layers", "num_encoder_layers", "num_layers", "num_hidden_layers"]);
    case "decoder":
      return keysAt(config, [], ["decoder_layers", "num_decoder_layers"]);
    case "text": {
      const key = layerCountKey(config);
      return key === undefined ? [] : [key];
    }
    default:
      return [];
  }
}

function nestedKeys(config: Config, parents: readonly string[], keys: readonly string[]): LayerCountKey[] {
  for (const [path, holder] of [[[], config], ...inside(config, "thinker_config")] as const) {
    for (const parent of parents) {
      for (const [nestedPath, nested] of inside(holder, parent)) {
        const [found] = keysAt(nested, [...path, ...nestedPath], keys);
        if (found !== undefined) return [found];
      }
    }
  }
  return [];
}

function inside(config: Config, key: string): [string[], Config][] {
  const value = Object.hasOwn(config, key) ? config[key] : undefined;
  return typeof value === "object" && value !== null && !Array.isArray(value) ? [[[key], value as Config]] : [];
}

function keysAt(config: Config, path: readonly string[], keys: readonly string[]): LayerCountKey[] {
  return keys.flatMap((key) => {
    const count = Object.hasOwn(config, key) ? config[key] : undefined;
    return typeof count === "number" && Number.isSafeInteger(count) ? [{ path: [...path, key], count }] : [];
  });
}
