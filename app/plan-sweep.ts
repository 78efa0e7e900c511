import { OptionError, type OptionValues } from "../options/index.ts";
import { type Fetching, type Prepared, readRecipe } from "../prepare/index.ts";
import { checkFaults, type Fault, filledRecipe, parseSweep, type Sweep, type SweepPoint } from "../recipe/index.ts";
import {
  type Files,
  isHubPlace,
  join,
  nameOf,
  type Place,
  parentOf,
  placeFrom,
  placeOf,
  type Source,
  wholePlace,
} from "../storage/index.ts";
import { checkForPlace, outPlaceOf } from "./out-place.ts";
import { prepareHere } from "./prepare-here.ts";

/** What a sweep is started with, as people give it. */
export interface SweepSettings extends OptionValues<"sweep"> {
  /** Path of the sweep. */
  readonly sweep: string;
  /** Directory of the outputs, or a prefix of a bucket. Absent: the sweep says it, or it is called as the sweep is. */
  readonly out?: string | undefined;
}

/** A merge of a sweep: what it will be, and where. */
export interface PlannedMerge {
  readonly point: SweepPoint;
  readonly out: Place;
  readonly prepared: Prepared;
}

export interface PlannedSweep {
  /** Where the outputs go. */
  readonly root: Place;
  readonly merges: readonly PlannedMerge[];
  /** What is the same for several merges is said once. */
  readonly warnings: readonly Fault[];
}

/** Plans every merge before any is begun: a fault in the last of them is told before bytes are computed. @throws RecipeError, InputsError, OptionError */
export async function planSweep(store: Files, settings: SweepSettings, fetching?: Fetching): Promise<PlannedSweep> {
  const path = placeOf(settings.sweep);
  const { sweep, faults, warnings } = parseSweep(await readRecipe(store, path), path);
  checkFaults(faults);
  if (sweep === undefined) throw new Error("a sweep without faults should have been read");
  const root = wholePlace(outPlaceOf(settings.out ?? sweep.out ?? nameOf(path).replace(/\.ya?ml$/i, "")));
  if (isHubPlace(root)) {
    throw new OptionError("options/value", `${root}: a sweep writes into folders of this machine, or into a bucket`, {
      hint: "Give a folder, or s3://bucket/prefix; what is worth it goes to the Hub with `deltaworks publish`.",
    });
  }
  checkForPlace(root, settings);
  const recipes = await recipesOf(store, sweep, path);
  const merges: PlannedMerge[] = [];
  for (const point of sweep.points) {
    const recipe = recipes[point.recipe];
    if (recipe === undefined) throw new Error(`the sweep has no recipe ${point.recipe}`);
    const filled = filledRecipe(recipe.text, point.values);
    checkFaults(placeholderFaults(sweep, path, point, filled));
    const out = join(root, point.name);
    const run = { store, out, settings, fetching };
    const prepared = await prepareHere(store, filled.text, recipe.path, settings, run);
    merges.push({ point, out, prepared });
  }
  const all = [...warnings, ...merges.flatMap(({ prepared }) => prepared.warnings)];
  return {
    root,
    merges,
    warnings: [...new Map(all.map((fault) => [`${fault.code} ${fault.message}`, fault])).values()],
  };
}

/** Those in the sweep itself, and those in files beside it. */
function recipesOf(store: Source, sweep: Sweep, path: Place) {
  const folder = parentOf(wholePlace(path));
  return Promise.all(
    sweep.recipes.map(async (recipe) => {
      if ("text" in recipe) return { text: recipe.text, path };
      const beside = placeFrom(folder, recipe.path);
      return { text: await readRecipe(store, beside), path: beside };
    }),
  );
}

function placeholderFaults(
  sweep: Sweep,
  file: string,
  { recipe, values }: SweepPoint,
  { unknown, unused }: { readonly unknown: readonly string[]; readonly unused: readonly string[] },
): Fault[] {
  const place = sweep.recipes[recipe]?.place ?? { line: 1, column: 1 };
  const known = [...values.keys()].join(", ") || "none";
  return [
    ...unknown.map((name) => ({
      ...place,
      file,
      code: "recipe/wrong-value" as const,
      message: `the recipe asks for \${${name.replace(/,.*/, "")}}, which the sweep does not give${name.replace(/^[^,]*/, "")}`,
      hint: `The sweep gives: ${known}.`,
    })),
    ...unused.map((name) => ({
      ...place,
      file,
      code: "recipe/wrong-value" as const,
      message: `the sweep gives "${name}", and the recipe has no \${${name}}`,
      hint: `Write \${${name}} in the recipe where the value belongs.`,
    })),
  ];
}
