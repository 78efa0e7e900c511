import type { ParameterDeclaration } from "../merge/methods/index.ts";
import { described, maybeValue, type ReadingContext, reportUnknownKey, reportUnknownKeys } from "./context.ts";
import type { Condition, PlacedSetting, Setting, Settings } from "./parameters.ts";
import { maybeNumberFromText } from "./scalars.ts";
import { didYouMean, maybeMeant, quotedList } from "./suggestion.ts";
import type { YamlEntry, YamlMap, YamlNode, YamlScalar } from "./yaml.ts";

/** Where a `parameters` map stands: under one source, under one of `slices`, or at the top of the recipe. */
export type Level = "source" | "range" | "recipe";

const faultySetting: Setting = { kind: "faulty" };

/** The `parameters` of one map, each checked against the method's declaration. */
export function parseSettings(holder: YamlMap, level: Level, context: ReadingContext): Settings {
  const settings = new Map<string, PlacedSetting>();
  const node = maybeValue(holder, "parameters");
  if (node === undefined || context.method === undefined) return settings;
  if (node.kind !== "map") {
    const message = `${described(node)} stands where the parameters are expected`;
    context.findings.fault("recipe/wrong-type", node.place, message, "Write a map: parameters: {name: value}.");
    return settings;
  }
  const { name: method, parameters, refused } = context.method;
  for (const entry of node.entries.values()) {
    const { key, place } = entry;
    const declaration = Object.hasOwn(parameters, key) ? parameters[key] : undefined;
    if (Object.hasOwn(refused, key)) {
      const message = `${method} does not take "${key}": ${refused[key]}`;
      context.findings.fault(
        "recipe/refused-parameter",
        place,
        message,
        `${method} takes ${quotedList(Object.keys(parameters))}.`,
      );
    } else if (declaration === undefined) {
      const meant = maybeMeant(key, Object.keys(parameters));
      const hint = `${method} takes ${quotedList(Object.keys(parameters)) || "no parameters"}.`;
      reportUnknownKey(context, place, `unknown key "${key}": no parameter of ${method}${didYouMean(meant)}`, hint);
      // Otherwise a misspelt parameter would be reported twice: once as unknown, once as missing.
      if (meant !== undefined && !context.allowUnknownKeys && !node.entries.has(meant)) {
        settings.set(meant, { setting: faultySetting, place });
      }
    } else if (declaration.scope === "global" && level === "source") {
      const message = `unknown key "${key}": ${method} takes it for the whole merge, not for one model`;
      reportUnknownKey(context, place, message, 'Move it to the "parameters" at the top of the recipe.');
    } else {
      settings.set(key, { setting: parseSetting(entry, entry.value, declaration, context), place });
    }
  }
  return settings;
}

function parseSetting(
  entry: YamlEntry,
  node: YamlNode,
  declaration: ParameterDeclaration,
  context: ReadingContext,
): Setting {
  if (node.kind === "map") return conditions([node], entry, declaration, context);
  if (node.kind === "scalar") return scalar(node, entry, declaration, context);
  const maps = node.items.filter((item) => item.kind === "map");
  const scalars = node.items.filter((item) => item.kind === "scalar");
  if (maps.length > 0 && maps.length === node.items.length) return conditions(maps, entry, declaration, context);
  if (scalars.length > 0 && scalars.length === node.items.length) return series(scalars, entry, declaration, context);
  const message = `"${entry.key}" holds ${node.items.length === 0 ? "an empty list" : "a list of unlike things"}`;
  const hint = "Write a value, a list of values over the layers, or a list of {filter, value}.";
  context.findings.fault("recipe/wrong-type", node.place, message, hint);
  return faultySetting;
}

function conditions(
  maps: readonly YamlMap[],
  entry: YamlEntry,
  declaration: ParameterDeclaration,
  context: ReadingContext,
): Setting {
  return { kind: "conditions", conditions: maps.map((map) => condition(map, entry, declaration, context)) };
}

function condition(
  map: YamlMap,
  entry: YamlEntry,
  declaration: ParameterDeclaration,
  context: ReadingContext,
): Condition {
  const { findings } = context;
  reportUnknownKeys(context, map, ["filter", "value"]);
  const filter = maybeValue(map, "filter");
  const valueNode = maybeValue(map, "value");
  if (valueNode === undefined) {
    const message = `a condition of "${entry.key}" lacks its "value"`;
    findings.fault("recipe/missing-key", map.place, message, "Write {filter: part of a tensor's name, value: ...}.");
  }
  const value = valueNode === undefined ? faultySetting : parseSetting(entry, valueNode, declaration, context);
  if (filter === undefined) return { value };
  if (filter.kind === "scalar" && typeof filter.value === "string")
    return { filter: filter.value, value, place: filter.place };
  const message = `${described(filter)} stands where a filter, a text, is expected`;
  findings.fault(
    "recipe/wrong-type",
    filter.place,
    message,
    "Write part of a tensor's name, in quotes if it is a number.",
  );
  return { value: faultySetting };
}

/** A list over the layers: a gradient of numbers, or words of which each has its stretch. */
function series(
  nodes: readonly YamlScalar[],
  entry: YamlEntry,
  declaration: ParameterDeclaration,
  context: ReadingContext,
): Setting {
  if (declaration.type === "word") {
    const words = nodes.map((node) => maybeWord(node, entry, declaration, context));
    const sound = words.filter((word) => word !== undefined);
    return sound.length === words.length ? { kind: "words", words: sound } : faultySetting;
  }
  const numbers = nodes.map((node) => maybeNumber(node, entry, declaration, context));
  const sound = numbers.filter((number) => number !== undefined);
  return sound.length === numbers.length ? { kind: "gradient", values: sound } : faultySetting;
}

function scalar(
  node: YamlScalar,
  entry: YamlEntry,
  declaration: ParameterDeclaration,
  context: ReadingContext,
): Setting {
  const value =
    declaration.type === "word"
      ? maybeWord(node, entry, declaration, context)
      : maybeNumber(node, entry, declaration, context);
  if (value === undefined) return faultySetting;
  return { kind: "scalar", value: declaration.type === "boolean" ? value !== 0 : value };
}

/** A number, a boolean (true counts 1, false 0), or text that is a number. Reports what is none, or not allowed. */
function maybeNumber(
  node: YamlScalar,
  entry: YamlEntry,
  declaration: ParameterDeclaration,
  { findings }: ReadingContext,
): number | undefined {
  const { value } = node;
  const number = typeof value === "string" ? maybeNumberFromText(value) : value === null ? undefined : Number(value);
  if (number === undefined) {
    const expected = declaration.type === "boolean" ? "true or false" : "a number";
    const message = `"${entry.key}" holds ${described(node)}, ${expected} is expected`;
    findings.fault("recipe/wrong-type", node.place, message, declaration.documentation);
    return undefined;
  }
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = declaration.range ?? {};
  if (Number.isFinite(number) && number >= min && number <= max) return number + 0; // + 0: no negative zero
  const allowed = Number.isFinite(number) ? `allowed is ${rangeText(min, max)}` : "a finite number is expected";
  const hint = `${shareHint(number, min, max)}${declaration.documentation}`;
  findings.fault("recipe/wrong-value", node.place, `"${entry.key}" is ${node.text}, ${allowed}`, hint);
  return undefined;
}

/** A share that is written as a percentage. */
function shareHint(number: number, min: number, max: number): string {
  const share = Number((number / 100).toPrecision(12));
  return number > 1 && share <= max && share >= min && max <= 1 ? `Did you mean ${share}? ` : "";
}

function rangeText(min: number, max: number): string {
  if (max === Number.POSITIVE_INFINITY) return `${min} or more`;
  return min === Number.NEGATIVE_INFINITY ? `${max} or less` : `${min} to ${max}`;
}

function maybeWord(
  node: YamlScalar,
  entry: YamlEntry,
  declaration: ParameterDeclaration,
  { findings }: ReadingContext,
): string | undefined {
  const words = declaration.words ?? [];
  if (typeof node.value === "string" && (words.length === 0 || words.includes(node.value))) return node.value;
  const meant = maybeMeant(node.text, words);
  const message = `"${entry.key}" is ${described(node)}, ${quotedList(words, "or")} is expected${didYouMean(meant)}`;
  findings.fault("recipe/wrong-value", node.place, message, declaration.documentation);
  return undefined;
}
