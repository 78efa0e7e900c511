import { parsePythonJson, pythonJsonText } from "../../checkpoint/index.ts";
import type { Json } from "../../merge/work/index.ts";
import { type Config, isCount, type LayerRule } from "./layer-rule.ts";

/** One entry a layer; entries beyond the count are of layers that predict further tokens, and stay. A single value is that of every layer. */
export function listRule(key: string): LayerRule {
  return {
    keys: [key],
    at(config, layer, count) {
      const value = config[key];
      if (value === undefined) return undefined;
      if (!Array.isArray(value)) return pythonJsonText(value);
      return value.length >= count && layer < value.length ? pythonJsonText(value[layer]) : undefined;
    },
    solve(config, wanted, [origin]) {
      const old = config[key];
      const before = origin?.count ?? wanted.length;
      const beyond = Array.isArray(old) && origin?.config === config ? (old.slice(before) as Json[]) : [];
      return { [key]: [...wanted.map((entry) => parsePythonJson(entry) as Json), ...beyond] };
    },
  };
}

/** A letter a layer: `M-M*`. */
export function lettersRule(key: string): LayerRule {
  return {
    keys: [key],
    at(config, layer) {
      const letter = typeof config[key] === "string" ? config[key][layer] : undefined;
      return letter === undefined ? undefined : pythonJsonText(letter);
    },
    solve: (_, wanted) => ({ [key]: wanted.map((letter) => parsePythonJson(letter) as string).join("") }),
  };
}

/** The numbers of the layers that are of one kind; `first`: the number of the first layer, 0 or 1. */
export function numbersRule(key: string, first = 0): LayerRule {
  return {
    keys: [key],
    at(config, layer) {
      const numbers = config[key];
      return Array.isArray(numbers) ? String(numbers.includes(layer + first)) : undefined;
    },
    solve: (_, wanted) => ({ [key]: wanted.flatMap((isOne, layer) => (isOne === "true" ? [layer + first] : [])) }),
  };
}

/** Layers by whose outputs something is read or fed: a number stands for the one place where its layer went. */
export function outputsRule(key: string): LayerRule {
  return {
    ...numbersRule(key),
    isRelative: true,
    solve(config, wanted, origins) {
      const places = (config[key] as readonly number[]).map((number) => {
        const [at, ...others] = wanted.flatMap((_, j) => (origins[j]?.layer === number ? [j] : []));
        return others.length === 0 ? at : undefined;
      });
      return places.every((place) => place !== undefined) ? { [key]: places } : undefined;
    },
  };
}

/** A map whose keys are numbers of layers. */
export function numberedRule(key: string): LayerRule {
  return {
    keys: [key],
    at(config, layer) {
      const map = config[key];
      if (typeof map !== "object" || map === null) return undefined;
      const value = (map as Config)[String(layer)];
      return value === undefined ? "none" : pythonJsonText(value);
    },
    solve: (_, wanted) => {
      const entries = wanted.flatMap((value, layer) =>
        value === "none" ? [] : [[layer, parsePythonJson(value) as Json] as const],
      );
      return { [key]: Object.fromEntries(entries) };
    },
  };
}

/** Kinds of layers over and over again, or a list of the whole where the family takes one of any length. */
export function cycleRule(key: string, canList: boolean): LayerRule {
  return {
    keys: [key],
    at(config, layer) {
      const cycle = config[key];
      const length = typeof cycle === "string" || Array.isArray(cycle) ? cycle.length : 0;
      return length === 0 ? undefined : pythonJsonText((cycle as string | readonly unknown[])[layer % length]);
    },
    solve: (_, wanted) => (canList ? { [key]: wanted.map((kind) => parsePythonJson(kind) as Json) } : undefined),
  };
}

/** GPT-Neo: `[[["global", "local"], 12]]`, kinds and how many times they follow each other. */
export const attentionTypesRule: LayerRule = {
  keys: ["attention_types"],
  at({ attention_types: types }, layer) {
    if (!Array.isArray(types)) return undefined;
    const kinds = types.flatMap((run: unknown) => {
      const [names, times] = Array.isArray(run) ? (run as unknown[]) : [];
      return Array.isArray(names) && isCount(times)
        ? Array.from({ length: times }, () => names as unknown[]).flat()
        : [];
    });
    return kinds[layer] === undefined ? undefined : pythonJsonText(kinds[layer]);
  },
  solve: (_, wanted) => ({ attention_types: [[wanted.map((kind) => parsePythonJson(kind) as Json), 1]] }),
};

/** Numbers of layers one entry a layer: whose keys and values a layer uses. The nearest place before it where that layer went. */
export function sourceLayerRule(key: string): LayerRule {
  return {
    keys: [key],
    isRelative: true,
    at(config, layer, count) {
      const sources = config[key];
      if (!Array.isArray(sources) || sources.length < count) return undefined;
      return sources[layer] === layer ? "own" : `${layer - Number(sources[layer])} back`;
    },
    solve(_, wanted, origins) {
      const places = wanted.map((_, j) => {
        const origin = origins[j];
        const from = (origin?.config[key] as readonly number[] | undefined)?.[origin?.layer ?? 0];
        if (from === origin?.layer) return j;
        return origins.findLastIndex((other, k) => k <= j && other.config === origin?.config && other.layer === from);
      });
      return places.includes(-1) ? undefined : { [key]: places };
    },
  };
}
