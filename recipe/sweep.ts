import { described, maybeValue, type ReadingContext, reportUnknownKeys } from "./context.ts";
import type { Fault, TextPlace } from "./errors.ts";
import { Findings } from "./findings.ts";
import { didYouMean, maybeMeant } from "./suggestion.ts";
import { parseYaml, type YamlMap, type YamlNode, type YamlScalar } from "./yaml.ts";

/** One recipe of a sweep: a text with its placeholders filled. */
export interface SweepPoint {
  /** Names its output directory: "density=0.3,weight=0.5", after the recipe's name where there are several. Unique in the sweep. */
  readonly name: string;
  /** Index into `recipes`. */
  readonly recipe: number;
  readonly values: ReadonlyMap<string, string>;
}

export interface Sweep {
  /** Paths of recipe files, as written, or a recipe that stands in the sweep itself. */
  readonly recipes: readonly SweepRecipe[];
  /** Output directory of the whole, as written; undefined: the command says. */
  readonly out?: string;
  readonly points: readonly SweepPoint[];
}

export type SweepRecipe =
  | { readonly path: string; readonly place: TextPlace }
  | { readonly text: string; readonly place: TextPlace };

export interface ParsedSweep {
  readonly sweep?: Sweep;
  readonly faults: readonly Fault[];
  readonly warnings: readonly Fault[];
}

const sweepKeys = ["recipe", "recipes", "grid", "points", "out"];
/** More merges than this in one file are a mistake of the grid. */
const POINTS_MAX = 10_000;
const DIRECTORY_NAME_MAX = 120;

/**
 * Reads a sweep: recipes with placeholders `${name}`, and the values that take their place. `grid` makes every combination
 * of its lists; `points` lists combinations one by one; both may stand. Values are put in as they are written.
 */
export function parseSweep(text: string, fileName: string): ParsedSweep {
  const findings = new Findings(fileName);
  const root = parseYaml(text, findings);
  const sweep = root === undefined ? undefined : readSweep(root, findings);
  const { faults, warnings } = findings;
  return sweep === undefined || faults.length > 0 ? { faults, warnings } : { sweep, faults, warnings };
}

function readSweep(root: YamlNode, findings: Findings): Sweep | undefined {
  if (root.kind !== "map") {
    const message = `the sweep is ${described(root)}, a map of keys is expected`;
    findings.fault("recipe/wrong-type", root.place, message, 'Write at least "recipe" and "grid".');
    return undefined;
  }
  const context: ReadingContext = { findings, allowUnknownKeys: false, method: undefined };
  reportUnknownKeys(context, root, sweepKeys);
  const recipes = readRecipes(root, findings);
  const combinations = [...gridOf(root, findings), ...pointsOf(root, findings)];
  if (combinations.length === 0 && recipes.length > 1) combinations.push(new Map());
  if (combinations.length === 0 && recipes.length === 1) {
    const hint = `Write grid: and lists of values, such as density: [0.3, 0.5], and "\${density}" in the recipe.`;
    findings.fault("recipe/missing-key", root.place, 'neither "grid" nor "points" is there, and only one recipe', hint);
  }
  if (combinations.length * recipes.length > POINTS_MAX) {
    const message = `the sweep makes ${combinations.length * recipes.length} merges, ${POINTS_MAX} are allowed`;
    findings.fault("recipe/too-large", root.place, message, "Make the grid smaller, or several sweeps of it.");
    return undefined;
  }
  const out = maybeValue(root, "out");
  const points = recipes.flatMap((recipe, k) =>
    combinations.map((values) => ({ name: pointName(recipe, recipes.length, values), recipe: k, values })),
  );
  checkNames(points, root.place, findings);
  return { recipes, points, ...(out?.kind === "scalar" ? { out: out.text } : {}) };
}

function readRecipes(root: YamlMap, findings: Findings): SweepRecipe[] {
  const one = maybeValue(root, "recipe");
  const many = maybeValue(root, "recipes");
  const nodes = [
    ...(one === undefined ? [] : [one]),
    ...(many?.kind === "list" ? many.items : many === undefined ? [] : [many]),
  ];
  if (nodes.length === 0) {
    const hint = "Name the file of a recipe, or write one as text: recipe: | and the recipe, indented.";
    findings.fault("recipe/missing-key", root.place, 'the key "recipe" is missing', hint);
  }
  return nodes.flatMap((node): SweepRecipe[] => {
    if (node.kind === "scalar" && typeof node.value === "string") {
      return [
        node.value.includes("\n") ? { text: node.value, place: node.place } : { path: node.value, place: node.place },
      ];
    }
    const message = `${described(node)} stands where a recipe is expected`;
    findings.fault(
      "recipe/wrong-type",
      node.place,
      message,
      "Name its file, or write it as text: recipe: | and the recipe, indented.",
    );
    return [];
  });
}

type Values = ReadonlyMap<string, string>;

function gridOf(root: YamlMap, findings: Findings): Values[] {
  const grid = maybeValue(root, "grid");
  if (grid === undefined) return [];
  if (grid.kind !== "map") {
    findings.fault(
      "recipe/wrong-type",
      grid.place,
      `"grid" holds ${described(grid)}, a map is expected`,
      "Write a list of values under each name.",
    );
    return [];
  }
  let combinations: Values[] = [new Map()];
  for (const { key, value, place } of grid.entries.values()) {
    const items = value.kind === "list" ? value.items : [value];
    if (items.length === 0) findings.fault("recipe/wrong-value", place, `"${key}" has no values`, "List one at least.");
    const texts = items.flatMap((item) => valueText(item, key, findings));
    if (combinations.length * texts.length > POINTS_MAX) {
      findings.fault("recipe/too-large", place, `the grid has more than ${POINTS_MAX} points`, "Make it smaller.");
      return [];
    }
    combinations = combinations.flatMap((values) => texts.map((text) => new Map([...values, [key, text]])));
  }
  return grid.entries.size === 0 ? [] : combinations;
}

function pointsOf(root: YamlMap, findings: Findings): Values[] {
  const points = maybeValue(root, "points");
  if (points === undefined) return [];
  if (points.kind !== "list") {
    findings.fault(
      "recipe/wrong-type",
      points.place,
      `"points" holds ${described(points)}, a list is expected`,
      "Begin each point with a dash.",
    );
    return [];
  }
  return points.items.flatMap((point): Values[] => {
    if (point.kind === "map") {
      const values = [...point.entries.values()].flatMap(({ key, value }) =>
        valueText(value, key, findings).map((text) => [key, text] as const),
      );
      return [new Map(values)];
    }
    findings.fault(
      "recipe/wrong-type",
      point.place,
      `${described(point)} stands where a point is expected`,
      "Write {density: 0.3, weight: 0.5}.",
    );
    return [];
  });
}

/** A value as it is written; lists as flow, so that a gradient may be one. */
function valueText(node: YamlNode, key: string, findings: Findings): string[] {
  if (node.kind === "scalar") return [node.text];
  if (node.kind === "list" && node.items.every((item): item is YamlScalar => item.kind === "scalar")) {
    return [`[${node.items.map(({ text }) => text).join(", ")}]`];
  }
  const message = `"${key}" holds ${described(node)}, a value or a list of numbers is expected`;
  findings.fault(
    "recipe/wrong-type",
    node.place,
    message,
    "Write a number, a word, or a gradient such as [0, 0.5, 1].",
  );
  return [];
}

function pointName(recipe: SweepRecipe, recipes: number, values: Values): string {
  const base = "path" in recipe ? (recipe.path.split(/[/\\]/).at(-1) ?? "").replace(/\.ya?ml$/i, "") : "recipe";
  const assignments = [...values].map(([name, value]) => `${name}=${value}`).join(",");
  const name =
    recipes > 1 || assignments === "" ? [base, assignments].filter((part) => part !== "").join("-") : assignments;
  return name.replaceAll(/[^\w.=,+-]+/g, "_").slice(0, DIRECTORY_NAME_MAX);
}

function checkNames(points: readonly SweepPoint[], place: TextPlace, findings: Findings): void {
  const seen = new Set<string>();
  for (const { name } of points) {
    if (seen.has(name)) {
      findings.fault(
        "recipe/wrong-value",
        place,
        `two merges of the sweep would be called "${name}"`,
        "Remove the point that stands twice, or give their values other names.",
      );
      return;
    }
    seen.add(name);
  }
}

const placeholder = /\$\{([^}]*)\}/g;

/** The recipe of a point. Placeholders without a value and values without a placeholder are faults of the sweep. */
export function filledRecipe(
  text: string,
  values: Values,
): { readonly text: string; readonly unknown: readonly string[]; readonly unused: readonly string[] } {
  const used = new Set<string>();
  const unknown = new Set<string>();
  const filled = text.replaceAll(placeholder, (whole, written: string) => {
    const name = written.trim();
    const value = values.get(name);
    if (value === undefined) {
      unknown.add(`${name}${didYouMean(maybeMeant(name, values.keys()))}`);
      return whole;
    }
    used.add(name);
    return value;
  });
  return { text: filled, unknown: [...unknown], unused: [...values.keys()].filter((name) => !used.has(name)) };
}
