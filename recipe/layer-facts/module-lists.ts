import { bareName, quantizationParts, splitLayer } from "../../checkpoint/index.ts";
import type { ConfigValue } from "../config-value.ts";
import type { Config } from "./layer-rule.ts";

/** Where a layer of the output came from: its model's config, whole, and its number there. */
interface NamedLayer {
  readonly config: Config;
  readonly layer: number;
}

interface ModuleList {
  readonly path: readonly string[];
  readonly names: readonly string[];
}

/**
 * Lists of modules in what a config says of quantisation (those that are no codes: `modules_to_not_convert`, `ignore`), with the layers
 * of a stack as they are numbered in the output. `prefix`: of the names of the stack's tensors.
 */
export function movedModules(config: Config, prefix: string, origins: readonly NamedLayer[]): readonly ConfigValue[] {
  const layerOf = (name: string) => {
    const split = splitLayer(`${name}.weight`);
    return split !== undefined && bareName(`${split.prefix}.x`) === bareName(`${prefix}.x`) ? split.layer : undefined;
  };
  const known = new Map<Config, readonly ModuleList[]>();
  const listsOf = (from: Config) => {
    const lists = known.get(from) ?? moduleLists(from);
    known.set(from, lists);
    return lists;
  };
  return listsOf(config).flatMap(({ path, names }) => {
    const key = path.join("\n");
    const moved = origins.flatMap(({ config: from, layer }, j) => {
      const own = listsOf(from).find((list) => list.path.join("\n") === key)?.names ?? [];
      return own.filter((name) => layerOf(name) === layer).map((name) => withLayer(name, j));
    });
    const value = [...names.filter((name) => layerOf(name) === undefined), ...moved];
    const isSame = value.length === names.length && value.every((name) => names.includes(name));
    return isSame ? [] : [{ path, value }];
  });
}

function withLayer(name: string, layer: number): string {
  return name.replace(/^(.*?\.)\d+(?=\.|$)/s, (_, before: string) => `${before}${layer}`);
}

function moduleLists(config: Config): readonly ModuleList[] {
  return quantizationParts(config).flatMap(({ path, part }) => listsIn(part, path));
}

function listsIn(part: Config, path: readonly string[]): readonly ModuleList[] {
  return Object.entries(part).flatMap(([key, value]): readonly ModuleList[] => {
    const at = [...path, key];
    if (Array.isArray(value))
      return value.every((name) => typeof name === "string") ? [{ path: at, names: value }] : [];
    return typeof value === "object" && value !== null ? listsIn(value as Config, at) : [];
  });
}
