import type { MethodDeclaration } from "../merge/methods/index.ts";
import type { TextPlace } from "./errors.ts";
import type { Findings } from "./findings.ts";
import type { Condition, Setting, Settings } from "./parameters.ts";
import { type Recipe, settingsInOrder } from "./recipe.ts";

type Scope = "global" | "tensor";

/** What the settings of one `parameters` map were looked up for. */
type Names = Readonly<Record<Scope, Set<string>>>;

interface Use {
  readonly place: TextPlace;
  readonly parameter: string;
  readonly filter: string;
  readonly example: string | undefined;
  /** Whether it is part of a name, and whether it is the first that is. */
  fits: boolean;
  counts: boolean;
}

/** Which conditions of a recipe fit no tensor: the names that parameters are looked up for are told to it one by one. */
export class ConditionUse {
  readonly #names = new Map<Settings, Names>();
  readonly #hasFilters = new Map<Settings, boolean>();

  add(levels: readonly Settings[], scope: Scope, name: string): void {
    for (const settings of levels) {
      if (!this.#isOfInterest(settings)) continue;
      const names = this.#names.get(settings) ?? { global: new Set(), tensor: new Set() };
      this.#names.set(settings, names);
      names[scope].add(name);
    }
  }

  /** One warning for each condition, however many models it stands for (by an alias). */
  report(recipe: Recipe, method: MethodDeclaration, findings: Findings): void {
    const uses = new Map<string, Use>();
    const all = recipe.layerRanges.flatMap((range) => [
      ...settingsInOrder(recipe, range, undefined),
      ...range.sources.map(({ parameters }) => parameters),
    ]);
    for (const settings of new Set(all)) {
      for (const [parameter, { setting }] of settings) {
        const scope = method.parameters[parameter]?.scope;
        const names = scope && this.#names.get(settings)?.[scope];
        if (names !== undefined && names.size > 0) follow(setting, parameter, [...names], uses);
      }
    }
    for (const { place, parameter, filter, example, fits, counts } of uses.values()) {
      if (counts) continue;
      const what = fits ? "comes after conditions that fit the same tensors" : "is part of no tensor's name";
      const message = `the filter ${JSON.stringify(filter)} of "${parameter}" ${what}: it has no effect`;
      findings.warning("recipe/dead-condition", place, message, hintFor(filter, fits, example));
    }
  }

  #isOfInterest(settings: Settings): boolean {
    const known = this.#hasFilters.get(settings);
    if (known !== undefined) return known;
    const has = [...settings.values()].some(({ setting }) => setting.kind === "conditions");
    this.#hasFilters.set(settings, has);
    return has;
  }
}

/** Of the names that reach a setting, those that each of its conditions takes; the conditions within go on with them. */
function follow(setting: Setting, parameter: string, names: readonly string[], uses: Map<string, Use>): void {
  if (setting.kind !== "conditions") return;
  let left = names;
  for (const condition of setting.conditions) {
    const { filter, place, value } = condition;
    const taken = left.filter((name) => applies(condition, name));
    if (filter !== undefined && filter !== "*" && place !== undefined) {
      const key = `${place.line}:${place.column} ${parameter}`;
      const example = names.find((name) => /\.\d+\./.test(name)) ?? names[0];
      const use = uses.get(key) ?? { place, parameter, filter, example, fits: false, counts: false };
      use.fits ||= names.some((name) => name.includes(filter));
      use.counts ||= taken.length > 0;
      uses.set(key, use);
    }
    follow(value, parameter, taken, uses);
    left = left.filter((name) => !taken.includes(name));
  }
}

export function applies({ filter }: Pick<Condition, "filter">, name: string): boolean {
  return filter === undefined || filter === "*" || name.includes(filter);
}

function hintFor(filter: string, fits: boolean, example: string | undefined): string {
  if (fits) return "The first condition that fits counts: put it before them.";
  const names = example === undefined ? "" : `, such as ${example}`;
  const isPattern = /[*?\\[\](){}^$|+]/.test(filter);
  return isPattern
    ? `A filter is no pattern: it is part of a name as it stands there${names}.`
    : `Names here are those of the models' tensors${names}.`;
}
