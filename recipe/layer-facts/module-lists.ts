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

/**
 * What a config says of single modules in its words on quantisation (`modules_to_not_convert`, `ignore`, `quantized_layers`), with the
 * layers of a stack as they are numbered in the output. `prefix`: of the names of the stack's tensors.
 */
export function movedModules(
  config: Config,
  prefix: string,
  origins: readonly NamedLayer[],
  partsOf: typeof quantizationParts = quantizationParts,
): readonly ConfigValue[] {
  const layerOf = (name: string) => {
    const split = splitLayer(`${name}.weight`);
    return split !== undefined && bareName(`${split.prefix}.x`) === bareName(`${prefix}.x`) ? split.layer : undefined;
  };
  const known = new Map<Config, readonly Modules[]>();
  const modulesOf = (from: Config) => {
    const found = known.get(from) ?? partsOf(from).flatMap(({ path, part }) => modulesIn(part, path));
    known.set(from, found);
    return found;
  };
  return modulesOf(config).flatMap(({ path, isMap, entries }) => {
    const key = path.join("\n");
    const moved = origins.flatMap(({ config: from, layer }, j) => {
      const own = modulesOf(from).find((one) => one.path.join("\n") === key && one.isMap === isMap)?.entries ?? [];
      return own.flatMap(([name, value]) => (layerOf(name) === layer ? [[withLayer(name, j), value] as const] : []));
    });
    if (moved.length === 0 && entries.every(([name]) => layerOf(name) === undefined)) return [];
    const all = [...entries.filter(([name]) => layerOf(name) === undefined), ...moved];
    return [{ path, value: isMap ? Object.fromEntries(all) : all.map(([name]) => name) }];
  });
}

/** JSON files of a model by their names. */
type Files = ReadonlyMap<string, Config>;

/** The same of files beside config.json that are about quantisation as a whole (ModelOpt's hf_quant_config.json). */
export function movedInFiles(
  files: Files,
  prefix: string,
  origins: readonly { readonly files: Files; readonly layer: number }[],
): readonly FileValue[] {
  return [...files].flatMap(([file, json]) => {
    const named = origins.map(({ files: own, layer }) => ({ config: own.get(file) ?? {}, layer }));
    const whole = (from: Config | undefined) => (from === undefined ? [] : [{ path: [], part: from }]);
    return movedModules(json, prefix, named, whole).map((value) => ({ ...value, file }));
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
