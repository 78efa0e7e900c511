import { parsePythonJson, pythonJsonText } from "../../checkpoint/index.ts";
import type { Json } from "../../merge/work/index.ts";
import { type Config, type LayerRule, maybeCount } from "./layer-rule.ts";

/** What a layer is where a config has no list; undefined: what the family does then is not known. */
export type Derivation = (config: Config, layer: number, count: number) => Json | undefined;

/**
 * A list of one entry a layer that a family reads, and makes by itself from other keys where the config lacks it. `last`: what it takes
 * the last layer for, whatever the list says.
 */
export function derivedRule(list: string, from: readonly string[], derive: Derivation, last?: Json): LayerRule {
  return {
    keys: [list, ...from],
    at(config, layer, count) {
      if (last !== undefined && layer === count - 1) return pythonJsonText(last);
      const entries = config[list];
      const value =
        Array.isArray(entries) && entries.length >= count ? (entries[layer] as Json) : derive(config, layer, count);
      return value === undefined ? undefined : pythonJsonText(value);
    },
    solve(config, wanted, [origin]) {
      const old = config[list];
      const beyond = Array.isArray(old) && origin?.config === config ? (old.slice(origin.count) as Json[]) : [];
      return { [list]: [...wanted.map((kind) => parsePythonJson(kind) as Json), ...beyond] };
    },
  };
}

/** With the numbers of layers that a config lists besides, for who reads these: they say the same of the output. */
export function withNumbers(
  rule: LayerRule,
  also: (config: Config, numbersOf: (kind: Json) => number[]) => Readonly<Record<string, Json>>,
): LayerRule {
  return {
    ...rule,
    solve(config, wanted, origins) {
      const numbersOf = (kind: Json) =>
        wanted.flatMap((value, layer) => (value === pythonJsonText(kind) ? [layer] : []));
      const solved = rule.solve(config, wanted, origins);
      return solved && { ...solved, ...also(config, numbersOf) };
    },
  };
}

/** A list of the numbers of layers that a family reads, and makes by itself where the config lacks it. */
export function derivedNumbersRule(
  list: string,
  from: readonly string[],
  is: (config: Config, layer: number, count: number) => boolean,
): LayerRule {
  return {
    keys: [list, ...from],
    at(config, layer, count) {
      const numbers = config[list];
      return String(Array.isArray(numbers) ? numbers.includes(layer) : is(config, layer, count));
    },
    solve: (_, wanted) => ({ [list]: wanted.flatMap((value, layer) => (value === "true" ? [layer] : [])) }),
  };
}

/** `kind` for each layer where (layer + shift) % every is 0, `other` for the rest. */
export function each(every: number | string, fallback: number, kind: Json, other: Json, shift = 1): Derivation {
  return (config, layer) => {
    const period = typeof every === "number" ? every : (maybeCount(config, every) ?? fallback);
    return period > 0 && (layer + shift) % period === 0 ? kind : other;
  };
}

/** `kind` for the first layers, as many as the key says, `other` for the rest. */
export function firstOf(key: string, fallback: number, kind: Json, other: Json): Derivation {
  return (config, layer) => (layer < (maybeCount(config, key) ?? fallback) ? kind : other);
}
