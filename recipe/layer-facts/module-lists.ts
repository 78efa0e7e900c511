import { bareName, quantizationParts, splitLayer } from "../../checkpoint/index.ts";
import type { Json } from "../../merge/work/index.ts";
import type { ConfigValue, FileValue } from "../config-value.ts";
import type { Config } from "./layer-rule.ts";

/** Where a layer of the output came from: its model's config, whole, and its number there. */
interface NamedLayer {
  readonly config: Config;
  readonly layer: number;
}

/** A list of names of modules, or a map by them. */
interface Modules {
  readonly path: readonly string[];
  readonly isMap: boolean;
  readonly entries: readonly (readonly [name: string, value: Json])[];
}

/** A stack whose layers are numbered anew: what its tensors are called before the number, and where each layer came from. */
interface Renumbered<Origin> {
  readonly prefix: string;
  readonly origins: readonly Origin[];
}

/**
 * What a config says of single modules in its words on quantisation (`modules_to_not_convert`, `ignore`, `quantized_layers`), with the
 * layers of stacks as they are numbered in the output. A list may name modules of several stacks: each entry follows its own.
 */
export function movedModules(
  config: Config,
  stacks: readonly Renumbered<NamedLayer>[],
  partsOf: typeof quantizationParts = quantizationParts,
): readonly ConfigValue[] {
  const placeOf = placesIn(stacks.map(({ prefix }) => prefix));
  const known = new Map<Config, readonly Modules[]>();
  const modulesOf = (from: Config) => {
    const found = known.get(from) ?? partsOf(from).flatMap(({ path, part }) => modulesIn(part, path));
    known.set(from, found);
    return found;
  };
  return modulesOf(config).flatMap(({ path, isMap, entries }) => {
    const key = path.join("\n");
    const moved = stacks.flatMap(({ origins }, stack) =>
      origins.flatMap(({ config: from, layer }, j) => {
        const own = modulesOf(from).find((one) => one.path.join("\n") === key && one.isMap === isMap)?.entries ?? [];
        return own.flatMap(([name, value]) => {
          const place = placeOf(name);
          return place?.stack === stack && place.layer === layer ? [[withLayer(name, j), value] as const] : [];
        });
      }),
    );
    const kept = entries.filter(([name]) => placeOf(name) === undefined);
    if (moved.length === 0 && kept.length === entries.length) return [];
    const all = [...kept, ...moved];
    return [{ path, value: isMap ? Object.fromEntries(all) : all.map(([name]) => name) }];
  });
}

/** Of which of the stacks a module is, and of which layer; of names that could be of several the one that is called so to the letter. */
function placesIn(prefixes: readonly string[]) {
  const bare = prefixes.map((prefix) => bareName(`${prefix}.x`));
  return (name: string): { readonly stack: number; readonly layer: number } | undefined => {
    const split = splitLayer(`${name}.weight`);
    if (split === undefined) return undefined;
    const exact = prefixes.indexOf(split.prefix);
    const stack = exact >= 0 ? exact : bare.indexOf(bareName(`${split.prefix}.x`));
    return stack < 0 ? undefined : { stack, layer: split.layer };
  };
}

/** JSON files of a model by their names. */
type Files = ReadonlyMap<string, Config>;

/** The same of files beside config.json that are about quantisation as a whole (ModelOpt's hf_quant_config.json). */
export function movedInFiles(
  files: Files,
  stacks: readonly Renumbered<{ readonly files: Files; readonly layer: number }>[],
): readonly FileValue[] {
  return [...files].flatMap(([file, json]) => {
    const named = stacks.map(({ prefix, origins }) => ({
      prefix,
      origins: origins.map(({ files: own, layer }) => ({ config: own.get(file) ?? {}, layer })),
    }));
    const whole = (from: Config | undefined) => (from === undefined ? [] : [{ path: [], part: from }]);
    return movedModules(json, named, whole).map((value) => ({ ...value, file }));
  });
}

function withLayer(name: string, layer: number): string {
  return name.replace(/^(.*?\.)\d+(?=\.|$)/s, (_, before: string) => `${before}${layer}`);
}

function modulesIn(part: Config, path: readonly string[]): readonly Modules[] {
  return Object.entries(part).flatMap(([key, value]): readonly Modules[] => {
    const at = [...path, key];
    if (typeof value !== "object" || value === null) return [];
    if (Array.isArray(value)) {
      const names = value.filter((name) => typeof name === "string");
      if (names.length < value.length) return [];
      return [{ path: at, isMap: false, entries: names.map((name) => [name, name]) }];
    }
    const map = value as Readonly<Record<string, Json>>;
    // Names of modules have dots, keys of settings have none.
    const isMap = Object.keys(map).some((name) => name.includes("."));
    return isMap ? [{ path: at, isMap, entries: Object.entries(map) }] : modulesIn(map, at);
  });
}
