import type { MethodDeclaration } from "../merge/methods/index.ts";
import type { TextPlace } from "./errors.ts";
import type { Findings } from "./findings.ts";
import { didYouMean, maybeMeant } from "./suggestion.ts";
import type { YamlMap, YamlNode } from "./yaml.ts";

/** What every part of the reading of one recipe needs. */
export interface ReadingContext {
  readonly findings: Findings;
  /** Unknown keys are warnings. */
  readonly allowUnknownKeys: boolean;
  /** See ParseOptions. */
  readonly isPath?: (text: string) => boolean;
  /** Undefined where the recipe names none that we have; parameters are then not looked at. */
  readonly method: MethodDeclaration | undefined;
}

/** A key that means nothing where it stands: a fault, or a warning if the user asked for it. */
export function reportUnknownKey(context: ReadingContext, place: TextPlace, message: string, hint: string): void {
  const { findings, allowUnknownKeys } = context;
  if (allowUnknownKeys) findings.warning("recipe/unknown-key", place, `${message}; ignored`, hint);
  else findings.fault("recipe/unknown-key", place, message, `${hint} --allow-unknown-keys ignores such keys.`);
}

/** Reports every key of `map` that is not in `known`. */
export function reportUnknownKeys(context: ReadingContext, map: YamlMap, known: readonly string[]): void {
  for (const { key, place } of map.entries.values()) {
    if (known.includes(key)) continue;
    const isMisplaced = known.includes("parameters") && Object.hasOwn(context.method?.parameters ?? {}, key);
    if (isMisplaced) {
      const hint = `Write it one level further in: parameters: {${key}: ...}.`;
      reportUnknownKey(
        context,
        place,
        `"${key}" is a parameter of ${context.method?.name}, and stands outside of "parameters"`,
        hint,
      );
      continue;
    }
    const message = `unknown key "${key}"${didYouMean(maybeMeant(key, known))}`;
    reportUnknownKey(context, place, message, `Known here: ${known.join(", ")}.`);
  }
}

/** What a node holds, for messages. */
export function described(node: YamlNode): string {
  if (node.kind !== "scalar") return node.kind === "map" ? "a map" : "a list";
  if (node.value === null) return "nothing";
  return typeof node.value === "string" ? `the text "${node.text}"` : node.text;
}

/** The value of a key; undefined where the key is missing or holds nothing (`key:`, `key: null`), as in mergekit. */
export function maybeValue(map: YamlMap, key: string): YamlNode | undefined {
  const node = map.entries.get(key)?.value;
  return node?.kind === "scalar" && node.value === null ? undefined : node;
}
