import { pythonJsonText } from "../../checkpoint/index.ts";
import type { Json } from "../../merge/work/index.ts";
import { familyRules } from "./families.ts";
import type { Config, LayerRule, Origin } from "./layer-rule.ts";
import { lookRules, unreadKeys } from "./look-rules.ts";

/** A stack of layers of the output, and the part of its config that counts them. */
export interface StackInConfig {
  /** Keys of other towers, which count their layers in the same part, are not about this one. */
  readonly isOther: (key: string) => boolean;
  /** Of the model whose config the output has. */
  readonly config: Config;
  readonly count: number;
  /** Where its layers came from, in order. */
  readonly origins: readonly Origin[];
}

export interface FollowedConfig {
  /** New values of keys of the part. */
  readonly values: Readonly<Record<string, Json>>;
  /** What the config says now of layers that came from elsewhere, and cannot be made to say otherwise. */
  readonly lost: readonly LostFact[];
  /** Keys that would not say in another config what they say in this one: where another stack had its way with it. */
  readonly brokenIn: (other: Config) => readonly string[];
  /** Of a layer of the output, what the config says of it, as text that can be compared with that of `before`. */
  readonly kindOf: (layer: number) => string;
  /** The same of a layer of the model whose config it is. */
  readonly kindBefore: (layer: number) => string;
}

export interface LostFact {
  readonly keys: readonly string[];
  /** Of the output, of which the config says something else than of the layers that they came from; empty: not known. */
  readonly layers: readonly number[];
}

/**
 * What a config says of single layers, made to say it of the layers where they stand now: lists of one entry a layer, letters, lists
 * of numbers of layers, periods and beginnings.
 */
export function followLayers(stack: StackInConfig): FollowedConfig {
  const { config, count, origins, isOther } = stack;
  const rules = rulesOf(stack).filter(({ keys }) => !keys.some(isOther));
  let edited: Config = config;
  const lost: LostFact[] = [];
  const held: { readonly keys: readonly string[]; readonly isIn: (other: Config) => boolean }[] = [];
  for (const rule of rules) {
    const wanted = origins.map(({ config: from, layer, count: of }) => rule.at(from, layer, of));
    const missesIn = (from: Config) =>
      wanted.flatMap((value, j) => (value === rule.at(from, j, origins.length) ? [] : [j]));
    const misses = () => missesIn(edited);
    const keep = (isIn: (other: Config) => boolean) => held.push({ keys: namedKeys(rule, config), isIn });
    const isWhole = wanted.every((value) => value !== undefined);
    // A list is written anew wherever its length has changed, a fact that still holds stays as it is said.
    if (misses().length === 0 && !isOfAnotherLength(edited[rule.keys[0] ?? ""], count, origins.length)) {
      keep((other) => missesIn(other).length === 0);
      continue;
    }
    const values = isWhole ? rule.solve(config, wanted, origins) : undefined;
    if (values !== undefined) edited = { ...edited, ...values };
    // Not even what is written need hold: some families make their last layer what they like.
    const layers = misses();
    if (layers.length === 0) keep((other) => missesIn(other).length === 0);
    else if (rule.isRelative && values !== undefined) keep((other) => isSaid(values, other));
    else lost.push({ keys: namedKeys(rule, config), layers });
  }
  const claimed = new Set(rules.flatMap(({ keys }) => keys));
  lost.push(...unreadKeys(config, count, claimed).map((key) => ({ keys: [key], layers: [] })));
  const kinds = rules.filter(({ isOfPlace }) => isOfPlace !== true);
  const kind = (from: Config, layer: number, of: number) =>
    pythonJsonText(kinds.map((rule) => rule.at(from, layer, of) ?? null));
  return {
    values: Object.fromEntries(Object.entries(edited).filter(([key, value]) => value !== config[key])) as Record<
      string,
      Json
    >,
    lost,
    brokenIn: (other) => [...new Set(held.flatMap(({ keys, isIn }) => (isIn(other) ? [] : keys)))],
    kindOf: (layer) => kind(edited, layer, origins.length),
    kindBefore: (layer) => kind(config, layer, count),
  };
}

/** Keys by which two layers are of different kinds, as far as both configs say what kind they are of. */
export function differingKeys(one: Origin, other: Origin): readonly string[] {
  const rules = rulesOf({ config: one.config, count: one.count, origins: [one, other] });
  const differing = rules.filter(({ isOfPlace, at }) => {
    const [a, b] = [one, other].map(({ config, layer, count }) => at(config, layer, count));
    return isOfPlace !== true && a !== undefined && b !== undefined && a !== b;
  });
  return [...new Set(differing.flatMap((rule) => namedKeys(rule, one.config)))];
}

/** Those of the family, then those that can be seen; of keys that only the models of the layers have, too. */
function rulesOf({ config, count, origins }: Omit<StackInConfig, "isOther">): readonly LayerRule[] {
  const family = familyRules(config.model_type);
  const claimed = new Set(family.flatMap(({ keys }) => keys));
  const own = lookRules(config, count, claimed);
  for (const { keys } of own) for (const key of keys) claimed.add(key);
  const others = new Map<string, LayerRule>();
  const seen = new Set<Config>([config]);
  for (const origin of origins) {
    if (seen.has(origin.config)) continue;
    seen.add(origin.config);
    for (const rule of lookRules(origin.config, origin.count, claimed)) {
      const [key = ""] = rule.keys;
      // What is the same for every layer is the model's, and compared as such.
      if (!others.has(key)) others.set(key, rule);
    }
  }
  return [...family, ...own, ...[...others.values()].filter((rule) => differs(rule, origins)).map(lostRule)];
}

/** Those that the config has; where it has none, the one that it lacks. */
function namedKeys({ keys }: LayerRule, config: Config): readonly string[] {
  const own = keys.filter((key) => Object.hasOwn(config, key));
  return own.length > 0 ? own : keys.slice(0, 1);
}

/** Whether the layers of the output are of different kinds by a rule. */
function differs(rule: LayerRule, origins: readonly Origin[]): boolean {
  return new Set(origins.map(({ config, layer, count }) => rule.at(config, layer, count))).size > 1;
}

/** Of a key that the output's config lacks: what it would say cannot be said. */
function lostRule(rule: LayerRule): LayerRule {
  return { ...rule, solve: () => undefined };
}

function isSaid(values: Config, other: Config): boolean {
  return Object.entries(values).every(([key, value]) => pythonJsonText(value) === pythonJsonText(other[key] ?? null));
}

function isOfAnotherLength(value: unknown, before: number, after: number): boolean {
  const isOfLayers = (Array.isArray(value) || typeof value === "string") && value.length >= before;
  return isOfLayers && before !== after;
}
