import { listedLayers, nestedConfigs } from "./architecture.ts";
import type { Tower } from "./towers.ts";
import { audioConfigs, visionConfigs } from "./towers.ts";

type Config = Readonly<Record<string, unknown>>;

/** A part of a config that counts the layers of a stack, and the keys with which it does: often several say the same. */
export interface CountHolder {
  /** From the top of the config; empty: the config itself. */
  readonly path: readonly string[];
  readonly keys: readonly string[];
  /** Where no key does: those that list a kind for each layer. */
  readonly lists?: readonly string[];
}

const anyLayers = ["num_hidden_layers", "n_layer", "num_layers", "n_layers", "num_transformer_layers", "num_blocks"];
const encoderLayers = ["encoder_layers", "num_encoder_layers", "encoder_num_hidden_layers", "encoder_num_layers"];
const decoderLayers = ["decoder_layers", "num_decoder_layers", "decoder_num_hidden_layers", "decoder_num_layers"];
const encoderConfigs = ["encoder", "encoder_config", "text_encoder", "encoder_text_config"];
const decoderConfigs = ["decoder", "decoder_config"];

/** Which stack of a model is meant. */
export interface StackPlace {
  /** Of the names of its tensors, before the number of the layer. */
  readonly prefix: string;
  readonly tower: Tower;
  /** Of several stacks of one tower, or one part, the one that the config's number is about. */
  readonly isMain: boolean;
}

/**
 * Every part of a config that counts `count` layers of a stack, from the outside in: a part that is called as one of the modules on the
 * way to the stack (`qformer_config`, `protein_encoder_config`), else those of its tower.
 */
export function countHolders(config: Config, place: StackPlace, count: number): readonly CountHolder[] {
  const parts = partsFor(config, place);
  const found = parts.flatMap(({ path, config: part, keys }) => {
    const counting = keys.filter((key) => Object.hasOwn(part, key) && part[key] === count);
    return counting.length === 0 ? [] : [{ path, keys: counting }];
  });
  if (found.length === 0 && countedByNumber(parts) === undefined) {
    const listing = parts.find(({ config: part }) => listedLayers(part)?.count === count);
    const lists = listing && listedLayers(listing.config);
    return listing && lists ? [{ path: listing.path, keys: [], lists: lists.keys }] : [];
  }
  const seen = new Set<string>();
  return found.filter(({ path }) => {
    const isNew = !seen.has(path.join("."));
    seen.add(path.join("."));
    return isNew;
  });
}

/** How many layers a config counts of a stack, by the first key that counts any; where none does, `stored`, if it lists a kind for each. */
export function countedInConfig(config: Config, place: StackPlace, stored: number): number | undefined {
  const parts = partsFor(config, place);
  const counted = countedByNumber(parts);
  if (counted !== undefined) return counted;
  return parts.some((part) => listedLayers(part.config)?.count === stored) ? stored : undefined;
}

function countedByNumber(parts: readonly Candidate[]): number | undefined {
  for (const { config: part, keys } of parts) {
    for (const key of keys) {
      const count = Object.hasOwn(part, key) ? part[key] : undefined;
      if (typeof count === "number" && Number.isSafeInteger(count) && count >= 0) return count;
    }
  }
  return undefined;
}

const knownParts = new Set([...nestedConfigs, ...encoderConfigs, ...decoderConfigs]);
const sensesParts = new Set([...visionConfigs, ...audioConfigs]);

/** Every part of a config, at any depth, that counts `count` layers and whose name says nothing of what tower it is about. */
export function partsCounting(config: Config, count: number, path: readonly string[] = []): readonly CountHolder[] {
  return Object.keys(config).flatMap((key): CountHolder[] => {
    const part = partOf(config, key);
    if (part === undefined || sensesParts.has(key)) return [];
    const at = [...path, key];
    const keys = knownParts.has(key) ? [] : anyLayers.filter((name) => part[name] === count);
    return [...(keys.length > 0 ? [{ path: at, keys }] : []), ...partsCounting(part, count, at)];
  });
}

/** The part of a config that is called as one of the modules on the way to a stack, and counts layers. */
export function ownPart(config: Config, prefix: string): readonly string[] | undefined {
  return namedParts(config, prefix)[0]?.path;
}

function partsFor(config: Config, { prefix, tower, isMain }: StackPlace): readonly Candidate[] {
  if (!isMain) return [];
  const named = namedParts(config, prefix);
  if (named.length > 0) return named;
  const isSeeing = seesAndTells(config, prefix);
  const found =
    isSeeing && (tower === "encoder" || tower === "decoder")
      ? candidates(config, tower === "encoder" ? "vision" : "text")
      : candidates(config, tower);
  // ViT's own config counts the layers of `vit`, as it has no part for them.
  if (found.length === 0 && isCalledAfter(config, prefix)) return [{ path: [], config, keys: anyLayers }];
  if (isSeeing) return found;
  // Beside an encoder that the same part counts, a decoder has keys of its own.
  const isDecoder = tower === "text" && /(?:^|\.)decoder(?:\.|$)/.test(prefix);
  const own = isDecoder ? found.map((part) => ({ ...part, keys: decoderLayers })) : [];
  return own.some(({ config: part, keys }) => keys.some((key) => typeof part[key] === "number")) ? own : found;
}

/** An encoder of pictures and a decoder of words, each with a part of the config that is called otherwise (Pix2Struct). */
function seesAndTells(config: Config, prefix: string): boolean {
  const counts = (found: readonly Candidate[], keys: readonly string[]) =>
    found.some(({ config: part }) => keys.some((key) => typeof part[key] === "number"));
  return (
    /^(?:model\.)?(?:encoder|decoder)\./.test(prefix) &&
    !counts(candidates(config, "text"), [...encoderLayers, ...decoderLayers]) &&
    !counts([{ path: [], config, keys: [] }], anyLayers) &&
    counts(candidates(config, "text"), anyLayers) &&
    counts(candidates(config, "vision"), [...anyLayers, "depth", "layers"])
  );
}

function isCalledAfter({ model_type: type }: Config, prefix: string): boolean {
  const [module = ""] = prefix.split(".");
  return typeof type === "string" && (type === module || type.startsWith(`${module}_`));
}

/** Of parts that are called as different modules those of the outermost. */
function namedParts(config: Config, prefix: string): readonly Candidate[] {
  const modules = prefix.split(".");
  const keys = [...anyLayers, "depth", "layers", ...encoderLayers, ...decoderLayers];
  const search = (part: Config, path: readonly string[]): readonly (Candidate & { readonly at: number })[] =>
    Object.keys(part).flatMap((key) => {
      const inner = partOf(part, key);
      if (inner === undefined) return [];
      const name = key.replace(/_(?:config|cfg)$/, "");
      const isNamed = name.length > 3 && keys.some((count) => typeof inner[count] === "number");
      const at = isNamed ? modules.findIndex((module) => module.startsWith(name)) : -1;
      const own = { path: [...path, key], config: inner, keys, at };
      return [...(at >= 0 ? [own] : []), ...search(inner, own.path)];
    });
  const found = search(config, []);
  const outermost = Math.min(...found.map(({ at }) => at));
  return found.filter(({ at }) => at === outermost);
}

interface Candidate {
  readonly path: readonly string[];
  readonly config: Config;
  readonly keys: readonly string[];
}

function candidates(config: Config, tower: Tower): readonly Candidate[] {
  switch (tower) {
    case "shared":
    case "projector":
      return [];
    case "text":
      return withNested(config, [...anyLayers, "depth", "layers", ...decoderLayers, ...encoderLayers], nestedConfigs);
    case "vision":
      return inside(config, visionConfigs, [...anyLayers, "depth", "layers"]);
    case "audio":
      return inside(config, audioConfigs, [...anyLayers, "depth", "layers", ...encoderLayers]);
    case "encoder":
      // num_hidden_layers says the same as encoder_layers in BART, and as num_layers in T5.
      return [...ownEncoders(config), ...inside(config, encoderConfigs, anyLayers)];
    case "decoder":
      return [...withNested(config, decoderLayers, nestedConfigs), ...inside(config, decoderConfigs, anyLayers)];
  }
}

/** Where the top counts an encoder by name, what a part says of layers without one is about its own: the words of Grounding DINO. */
function ownEncoders(config: Config): readonly Candidate[] {
  const found = withNested(config, [...encoderLayers, "num_layers", "num_hidden_layers"], nestedConfigs);
  const isNamed = encoderLayers.some((key) => typeof config[key] === "number");
  return isNamed ? found.map((part) => (part.path.length === 0 ? part : { ...part, keys: encoderLayers })) : found;
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
  const wholes = withNested(config, keys, ["thinker_config", "vlm_config"]);
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
