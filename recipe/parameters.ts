import type { ParameterDeclaration } from "../merge/methods/index.ts";
import type { ParameterValue } from "../merge/work/index.ts";
import { applies } from "./condition-use.ts";
import type { TextPlace } from "./errors.ts";

/** The value of a parameter as the recipe gives it, of the type its declaration asks for. spec: "Parameters". */
export type Setting =
  | { readonly kind: "scalar"; readonly value: ParameterValue }
  | { readonly kind: "gradient"; readonly values: readonly number[] }
  | { readonly kind: "words"; readonly words: readonly string[] }
  | { readonly kind: "conditions"; readonly conditions: readonly Condition[] }
  /** Already reported; stands here so that the parameter is not reported missing as well. */
  | { readonly kind: "faulty" };

export interface Condition {
  /** Part of the tensor's name; left out: every tensor. */
  readonly filter?: string;
  readonly value: Setting;
  /** Of the filter. */
  readonly place?: TextPlace;
}

export interface PlacedSetting {
  readonly setting: Setting;
  /** Of the parameter's name. */
  readonly place: TextPlace;
}

export type Settings = ReadonlyMap<string, PlacedSetting>;

/** Marks a parameter whose setting was already reported as faulty. */
export const faulty: unique symbol = Symbol("faulty");

/**
 * What a setting means for one tensor at position t in [0, 1] of its range of layers; undefined: unset.
 * Gradients are interpolated in float64: s = t (n - 1), i = trunc(s), j = min(n - 1, i + 1), (1 - frac) g[i] + frac g[j].
 */
export function evaluateSetting(
  setting: Setting,
  tensorName: string,
  t: number,
): ParameterValue | typeof faulty | undefined {
  switch (setting.kind) {
    case "faulty":
      return faulty;
    case "scalar":
      return setting.value;
    case "gradient":
      return interpolated(setting.values, t);
    case "words":
      return setting.words[Math.trunc(t * (setting.words.length - 1))];
    case "conditions": {
      const first = setting.conditions.find((condition) => applies(condition, tensorName));
      return first === undefined ? undefined : evaluateSetting(first.value, tensorName, t);
    }
  }
}

function interpolated(values: readonly number[], t: number): number | undefined {
  const s = t * (values.length - 1);
  const i = Math.trunc(s);
  const j = Math.min(values.length - 1, i + 1);
  const frac = s - i;
  const [a, b] = [values[i], values[j]];
  return a === undefined || b === undefined ? undefined : (1 - frac) * a + frac * b;
}

/** One parameter for one tensor: the first level whose setting holds for it, else the default, else undefined. */
export function resolveParameter(
  name: string,
  declaration: ParameterDeclaration,
  levels: readonly Settings[],
  tensorName: string,
  t: number,
): ParameterValue | typeof faulty | undefined {
  for (const level of levels) {
    const placed = level.get(name);
    if (placed === undefined) continue;
    const value = evaluateSetting(placed.setting, tensorName, t);
    if (value === undefined) continue;
    // A gradient of a boolean parameter is a number; every number but 0 is true.
    return declaration.type === "boolean" && typeof value === "number" ? value !== 0 : value;
  }
  return declaration.default;
}
