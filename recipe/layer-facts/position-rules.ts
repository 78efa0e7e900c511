import type { Json } from "../../merge/work/index.ts";
import { type Config, type LayerRule, maybeCount } from "./layer-rule.ts";

/** What follows from where a layer stands: a yes or no, and the numbers of the config that decide it. */
interface PositionRule {
  readonly keys: readonly string[];
  readonly is: (config: Config, layer: number, count: number) => boolean | undefined;
  /** Values of the keys to try, in order, for so many layers. */
  readonly trials: (config: Config, count: number) => Iterable<Readonly<Record<string, Json>>>;
}

export function positionRule({ keys, is, trials }: PositionRule): LayerRule {
  const at: LayerRule["at"] = (config, layer, count) => {
    const value = is(config, layer, count);
    return value === undefined ? undefined : String(value);
  };
  return {
    keys,
    at,
    solve(config, wanted) {
      for (const trial of trials(config, wanted.length)) {
        const edited = { ...config, ...trial };
        if (wanted.every((value, j) => at(edited, j, wanted.length) === value)) return trial;
      }
      return undefined;
    },
  };
}

/** Every `period`th layer, from `offset` on. */
export function periodRule(periodKey: string, offsetKey: string): LayerRule {
  return positionRule({
    keys: [periodKey, offsetKey],
    is(config, layer) {
      const [period, offset] = [maybeCount(config, periodKey), maybeCount(config, offsetKey)];
      return period === undefined || offset === undefined || period === 0 ? undefined : layer % period === offset;
    },
    *trials(_, count) {
      for (let period = 1; period <= count + 1; period++) {
        for (let offset = 0; offset < period; offset++) yield { [periodKey]: period, [offsetKey]: offset };
      }
    },
  });
}

/** Every nth layer, counted from 0 or 1: layer where (layer + shift) % n is 0. `fallback`: n where the key is missing. */
export function everyRule(key: string, shift: number, fallback?: number): LayerRule {
  return positionRule({
    keys: [key],
    is(config, layer) {
      const every = maybeCount(config, key) ?? fallback;
      return every === undefined || every === 0 ? undefined : (layer + shift) % every === 0;
    },
    *trials(_, count) {
      for (let every = 1; every <= count + 1; every++) yield { [key]: every };
    },
  });
}

/** Layers before the number that the key holds are of one kind, those from it on of another. */
export function thresholdRule(key: string): LayerRule {
  return positionRule({
    keys: [key],
    is(config, layer) {
      const threshold = maybeCount(config, key);
      return threshold === undefined ? undefined : layer < threshold;
    },
    *trials(_, count) {
      for (let threshold = 0; threshold <= count; threshold++) yield { [key]: threshold };
    },
  });
}

/** The last layers, as many as the key says, are of another kind. */
export function lastRule(key: string): LayerRule {
  return positionRule({
    keys: [key],
    is(config, layer, count) {
      const last = maybeCount(config, key);
      return last === undefined ? undefined : layer >= count - last;
    },
    *trials(_, count) {
      for (let last = 0; last <= count; last++) yield { [key]: last };
    },
  });
}

/** The layers from one number on, and before another, are of a kind of their own. */
export function withinRule(startKey: string, endKey: string): LayerRule {
  return positionRule({
    keys: [startKey, endKey],
    is(config, layer) {
      const [start, end] = [maybeCount(config, startKey), maybeCount(config, endKey)];
      return start === undefined || end === undefined ? undefined : layer >= start && layer < end;
    },
    *trials(_, count) {
      for (let start = 0; start <= count; start++)
        for (let end = start; end <= count; end++) yield { [startKey]: start, [endKey]: end };
    },
  });
}

/** A period of which it is not known what it counts from: it holds where every layer keeps its place in it. */
export function phaseRule(key: string): LayerRule {
  return {
    keys: [key],
    at(config, layer) {
      const period = maybeCount(config, key);
      return period === undefined || period === 0 ? undefined : `${layer % period} of ${period}`;
    },
    solve: () => undefined,
  };
}

/** Whatever depends on the place itself, in models that are so: named by the key that makes them so, or by their type; `ofCount`: and on how many there are. */
export function placeRule(
  key: string,
  isSo: (config: Config) => boolean = (config) => config[key] === true,
  ofCount = false,
): LayerRule {
  return {
    keys: [key],
    isOfPlace: true,
    at: (config, layer, count) => (isSo(config) ? `${layer}${ofCount ? ` of ${count}` : ""}` : undefined),
    solve: () => undefined,
  };
}

/** Whatever depends on how many layers there are. */
export function countRule(key: string): LayerRule {
  return {
    keys: [key],
    isOfPlace: true,
    at: (config, _, count) => (config[key] === undefined || config[key] === null ? undefined : `of ${count}`),
    solve: () => undefined,
  };
}

/** A rule of which no other numbers are tried. */
export function unsolved(rule: LayerRule): LayerRule {
  return { ...rule, solve: () => undefined };
}
