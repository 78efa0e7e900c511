import { bareName, quantizationParts, renumbered, splitLayer } from "../../checkpoint/index.ts";
import type { Json } from "../../merge/work/index.ts";
import type { ConfigValue } from "../config-value.ts";
import type { Config } from "./layer-rule.ts";
import { type ModulePattern, maybeNumber, maybePattern, type PatternNumber, writtenName } from "./module-pattern.ts";

/** Where a layer of the output came from: its model's config, whole, its number there, and its modules as they are called there. */
export interface NamedLayer {
  readonly config: Config;
  readonly layer: number;
  readonly modules: readonly Module[];
}

/** A module's name, without what it may be wrapped in, and all that lists may call it. */
export interface Module {
  readonly name: string;
  readonly bare: string;
  readonly forms: readonly string[];
}

/** A stack whose layers are numbered anew: what its tensors are called before the number, and where each layer came from. */
export interface RenumberedStack {
  readonly prefix: string;
  readonly origins: readonly NamedLayer[];
}

/** A list that cannot be made to mean the modules that it meant. */
export interface LostNames {
  readonly path: readonly string[];
  /** One of its patterns. */
  readonly pattern: string;
  /** A module of the output of which the list would say something else than of the module that it came from; undefined: not known. */
  readonly example?: { readonly module: string; readonly from: string } | undefined;
}

export interface MovedModules {
  readonly values: readonly ConfigValue[];
  readonly lost: readonly LostNames[];
}

/** A name in a list, or in a map with what it says of it. */
interface Entry {
  readonly name: string;
  /** In a list nothing but the name. */
  readonly value: Json;
  /** Of a name to the letter that has a number. */
  readonly bare?: string | undefined;
  /** Undefined: it stands to the letter. */
  readonly written?: { readonly number: PatternNumber | undefined; readonly pattern: ModulePattern | undefined };
}

/** A list of names of modules, or a map by them. */
interface Modules {
  readonly path: readonly string[];
  readonly isMap: boolean;
  readonly entries: readonly Entry[];
}

/**
 * What a config says of single modules in its words on quantisation (`modules_to_not_convert`, `ignore`, `quantized_layers`), with the
 * layers of stacks as they are numbered in the output. A list may name modules of several stacks: each entry follows its own.
 * `others`: modules of the model whose config it is that stay what they are.
 */
export function movedModules(
  config: Config,
  stacks: readonly RenumberedStack[],
  others: readonly Module[],
  partsOf: typeof quantizationParts = quantizationParts,
): MovedModules {
  const known = new Map<Config, readonly Modules[]>();
  const modulesOf = (from: Config) => {
    const found = known.get(from) ?? partsOf(from).flatMap(({ path, part }) => modulesIn(part, path));
    known.set(from, found);
    return found;
  };
  const every = [config, ...stacks.flatMap(({ origins }) => origins.map((one) => one.config))];
  const looked = lookedAt(new Set(every), modulesOf, stacks, others);
  const values: ConfigValue[] = [];
  const lost: LostNames[] = [];
  for (const { path, isMap, entries } of modulesOf(config)) {
    const key = path.join("\n");
    // A model of values has no lists, and says nothing; one that has others says that it means none.
    const listOf = (from: Config) =>
      modulesOf(from).length === 0
        ? undefined
        : (modulesOf(from).find((one) => one.path.join("\n") === key && one.isMap === isMap)?.entries ?? []);
    const moved = movedEntries(entries, looked, listOf);
    if (moved !== undefined)
      values.push({
        path,
        value: isMap
          ? Object.fromEntries(moved.map(({ name, value }) => [name, value]))
          : moved.map(({ name }) => name),
      });
    const lists = [entries, ...stacks.flatMap(({ origins }) => origins.map((one) => listOf(one.config) ?? []))];
    const fault = maybeLost(entries, moved ?? entries, looked, listOf) ?? maybePart(lists, stacks);
    if (fault !== undefined) lost.push({ path, ...fault });
  }
  return { values, lost };
}

/** Undefined where a model has no lists at all. */
type ListOf = (config: Config) => readonly Entry[] | undefined;

interface LookedAt {
  readonly stacks: readonly RenumberedStack[];
  readonly others: readonly Module[];
}

/** Experts are alike, and hundreds: the first two are looked at, and those that patterns number. */
function lookedAt(
  configs: ReadonlySet<Config>,
  modulesOf: (config: Config) => readonly Modules[],
  stacks: readonly RenumberedStack[],
  others: readonly Module[],
): LookedAt {
  const entries = [...configs].flatMap((config) => modulesOf(config).flatMap((one) => one.entries));
  const patterns = entries.flatMap(({ name, written }) => (written === undefined ? [] : [name]));
  const afterExperts = patterns.flatMap((pattern) => /experts?\W(.*)/s.exec(pattern)?.[1] ?? []);
  const numbered = afterExperts.flatMap((text) => text.match(/\d+/g) ?? []);
  const numbers = new Set(["0", "1", ...numbered]);
  const few = (modules: readonly Module[]) =>
    modules.filter(({ name }) =>
      [...(splitLayer(`${name}.x`)?.suffix ?? "").matchAll(/(?<=\.)\d+(?=\.)/g)].every(([one]) => numbers.has(one)),
    );
  const fewOf = (origin: NamedLayer) => ({ ...origin, modules: few(origin.modules) });
  return {
    stacks: stacks.map(({ prefix, origins }) => ({ prefix, origins: origins.map(fewOf) })),
    others: few(others),
  };
}

/** The entries for the output; undefined where they stay as they are. */
function movedEntries(
  entries: readonly Entry[],
  { stacks, others }: LookedAt,
  listOf: ListOf,
): readonly Entry[] | undefined {
  const placeOf = placesIn(stacks.map(({ prefix }) => prefix));
  const isOfStack = ({ module }: PatternNumber, prefix: string) =>
    module === undefined || module === prefix.split(".").at(-1);
  const kept = entries.filter((entry) => {
    const { name, written } = entry;
    if (written === undefined) return placeOf(name) === undefined;
    const { number } = written;
    if (number === undefined || !stacks.some(({ prefix }) => isOfStack(number, prefix))) return true;
    const hits = (modules: readonly Module[]) => modules.some((module) => isMeant(entry, module));
    const isOfLayers = stacks.some(({ origins }) => origins.some(({ modules }) => hits(modules)));
    if (isOfLayers) return false;
    if (hits(others)) return true;
    // Of a layer that is gone; it must not be about one that has its number now.
    return !stacks.some(({ origins }) =>
      origins.some(({ modules }, j) => hits(modules.map((one) => renumberedModule(one, j)))),
    );
  });
  const moved = stacks.flatMap(({ prefix, origins }, stack) =>
    origins.flatMap(({ config, layer, modules }, j) =>
      (listOf(config) ?? []).flatMap((entry): readonly Entry[] => {
        const { name, value, written } = entry;
        if (written === undefined) {
          const place = placeOf(name);
          return place?.stack === stack && place.layer === layer ? [entryOf(withLayer(name, j), value)] : [];
        }
        const { number } = written;
        if (number === undefined || !isOfStack(number, prefix) || !modules.some((one) => isMeant(entry, one)))
          return [];
        return number.renumbered(j, origins.length).map((one) => entryOf(one, value));
      }),
    ),
  );
  if (moved.length === 0 && kept.length === entries.length) return undefined;
  const names = new Set<string>();
  return [...kept, ...moved].filter(({ name }) => !names.has(name) && names.add(name));
}

/** Where patterns take part: whether the entries say of every module of the output what was said of the one that it came from. */
function maybeLost(
  before: readonly Entry[],
  after: readonly Entry[],
  { stacks, others }: LookedAt,
  listOf: ListOf,
): Omit<LostNames, "path"> | undefined {
  const lists = new Set([
    before,
    ...stacks.flatMap(({ origins }) => origins.map(({ config }) => listOf(config) ?? before)),
  ]);
  const patterns = [...lists].flatMap((list) => list.filter(({ written }) => written !== undefined));
  const [pattern] = patterns;
  if (pattern === undefined) return undefined;
  // What is not understood may be kept where it names no layer, and all models have it.
  const isKept = ({ name }: Entry) => [...lists].every((list) => list.some((one) => one.name === name));
  const dark = patterns.find((one) => one.written?.pattern === undefined && (/\d/.test(one.name) || !isKept(one)));
  if (dark !== undefined) return { pattern: dark.name };
  const pairs = [
    ...others.map((module) => ({ module, from: module, list: before })),
    ...stacks.flatMap(({ origins }) =>
      origins.flatMap(({ config, modules }, j) =>
        modules.map((from) => ({ module: renumberedModule(from, j), from, list: listOf(config) })),
      ),
    ),
  ];
  const example = pairs.find(
    ({ module, from, list }) => list !== undefined && said(after, module) !== said(list, from),
  );
  if (example === undefined) return undefined;
  const { module, from, list = [] } = example;
  const culprit = [...list, ...after].find(
    (one) => one.written !== undefined && (isMeant(one, from) || isMeant(one, module)),
  );
  return { pattern: (culprit ?? pattern).name, example: { module: module.name, from: from.name } };
}

/** A name such as "layers.1.fc1", which is a part of those of modules of a stack, and may be one of others: where layer 1 is another now. */
function maybePart(
  lists: readonly (readonly Entry[])[],
  stacks: readonly RenumberedStack[],
): Omit<LostNames, "path"> | undefined {
  const placeOf = placesIn(stacks.map(({ prefix }) => prefix));
  const isPart = ({ name, written }: Entry) => {
    const split = written === undefined && placeOf(name) === undefined ? splitLayer(`${name}.x`) : undefined;
    return (
      split !== undefined &&
      stacks.some(
        ({ prefix, origins }) =>
          prefix.endsWith(`.${split.prefix}`) &&
          origins.some(({ layer }, j) => (layer === split.layer) !== (j === split.layer)),
      )
    );
  };
  const entry = [...new Set(lists)].flat().find(isPart);
  return entry && { pattern: entry.name };
}

/** What entries say of a module. */
function said(entries: readonly Entry[], module: Module): string {
  const found = entries.flatMap((entry) => (isMeant(entry, module) ? [JSON.stringify(entry.value)] : []));
  return [...new Set(found)].sort().join("\n");
}

function isMeant({ name, bare, written }: Entry, module: Module): boolean {
  if (written !== undefined) return module.forms.some((form) => written.pattern?.matches(form) === true);
  // "gate" is one in every layer; what has a number is one module, and all that it holds.
  return bare === undefined ? `.${module.name}.`.includes(`.${name}.`) : `${module.bare}.`.startsWith(`${bare}.`);
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

/** The modules that tensors are of, and those that these lie in: within a layer as far as that. */
export function modulesOfTensors(tensors: Iterable<string>): readonly Module[] {
  const names = new Set<string>();
  for (const tensor of tensors) {
    const split = splitLayer(tensor);
    const outer = split === undefined ? "" : `${split.prefix}.${split.layer}`;
    for (let end = tensor.lastIndexOf("."); end > 0 && end >= outer.length; end = tensor.lastIndexOf(".", end - 1))
      names.add(tensor.slice(0, end));
  }
  return [...names].map(moduleOf);
}

/** What files and lists call the language model: with or without what it lies in. */
const wrappings = ["", "model.", "language_model.", "language_model.model.", "model.language_model."];

function moduleOf(name: string): Module {
  const bare = bareModule(name);
  return { name, bare, forms: [...new Set([name, ...wrappings.map((one) => `${one}${bare}`)])] };
}

function bareModule(name: string): string {
  return bareName(`${name}.x`).slice(0, -2);
}

function renumberedModule({ name }: Module, layer: number): Module {
  return moduleOf(renumbered(`${name}.x`, layer).slice(0, -2));
}

function withLayer(name: string, layer: number): string {
  return name.replace(/^(.*?\.)\d+(?=\.|$)/s, (_, before: string) => `${before}${layer}`);
}

function entryOf(name: string, value: Json): Entry {
  const written = writtenName(name);
  if (written.kind !== "literal")
    return { name, value, written: { number: maybeNumber(written), pattern: maybePattern(written) } };
  return { name, value, bare: splitLayer(`${name}.x`) === undefined ? undefined : bareModule(name) };
}

function modulesIn(part: Config, path: readonly string[]): readonly Modules[] {
  // Names of modules have dots, keys of settings have none; mlx has both side by side.
  const isMap = Object.keys(part).some((name) => name.includes("."));
  const entries = isMap ? Object.entries(part).map(([name, value]) => entryOf(name, value as Json)) : [];
  const inside = Object.entries(part).flatMap(([key, value]): readonly Modules[] => {
    const at = [...path, key];
    if (typeof value !== "object" || value === null || key.includes(".")) return [];
    if (!Array.isArray(value)) return modulesIn(value as Config, at);
    const names = value.filter((name) => typeof name === "string");
    if (names.length < value.length) return [];
    return [{ path: at, isMap: false, entries: names.map((name) => entryOf(name, null)) }];
  });
  return isMap ? [{ path, isMap, entries }, ...inside] : inside;
}
