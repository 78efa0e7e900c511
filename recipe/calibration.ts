import { calibrationKind, isFormatNote, scaledModule, type TensorEntry } from "../checkpoint/index.ts";
import type { MethodDeclaration } from "../merge/methods/index.ts";
import type { Findings } from "./findings.ts";
import type { ModelEntry, RecipeModel } from "./model-entry.ts";
import { sameModel } from "./model-reference.ts";
import { mergedModels, placeOfModel, type Recipe } from "./recipe.ts";

/**
 * Models with what was measured of them (scales of a cache in fp8, of activations) marked, which is copied as it stands where weights are
 * copied. A merge has other keys, values and activations: there it is left out, but for the scales of activations that fp8 codes of the
 * defining model cannot be used without.
 */
export function withCalibration(
  recipe: Recipe,
  models: readonly RecipeModel[],
  method: MethodDeclaration,
  defining: number,
  findings: Findings,
): readonly RecipeModel[] {
  const isCopied = method.name === "passthrough";
  const merged = mergedModels(recipe);
  if (isCopied) reportPartlyMeasured(recipe, models, findings);
  return models.map((model, k) => {
    const { tensors } = model.checkpoint;
    const measured = measuredOf(tensors);
    if (measured.length === 0) return model;
    const isKept = ({ name }: ModelEntry) => isCopied || (k === defining && codesOf(name, tensors) !== undefined);
    const kept = measured.filter(isKept);
    const left = measured.filter((entry) => !isKept(entry));
    // Where codes become values nobody looks for the scales of their activations.
    const told = left.filter(({ name }) => !isFormatNote(name) && codesOf(name, tensors) === undefined);
    if (told.length > 0 && merged.some((reference) => sameModel(reference, model.reference)))
      reportLeft(recipe, model, told, method, findings);
    const marked = new Map<string, ModelEntry>(tensors);
    for (const entry of kept) marked.set(entry.name, { ...entry, isMeasured: true });
    for (const { name } of left) marked.delete(name);
    return { ...model, checkpoint: { ...model.checkpoint, tensors: marked } };
  });
}

function measuredOf(tensors: ReadonlyMap<string, TensorEntry>): readonly ModelEntry[] {
  const has = (name: string) => tensors.has(name);
  return [...tensors.values()].filter((entry: ModelEntry) => calibrationKind(entry, has) !== undefined);
}

/** A stack some of whose layers have scales of a cache: whoever looks for them finds none in the others. */
function reportPartlyMeasured(recipe: Recipe, models: readonly RecipeModel[], findings: Findings): void {
  const stacked = models.filter(({ reference }) =>
    recipe.layerRanges.some(({ sources }) =>
      sources.some(({ model, layers }) => layers !== undefined && sameModel(model, reference)),
    ),
  );
  const hasCache = ({ checkpoint: { tensors } }: RecipeModel) =>
    measuredOf(tensors).some((entry) => codesOf(entry.name, tensors) === undefined);
  const [owner] = stacked.filter(hasCache);
  if (owner === undefined) return;
  for (const { label, reference } of stacked.filter((model) => !hasCache(model))) {
    const message = `"${label}" has no scales of a cache in fp8, "${owner.label}" has: some layers of the stack will lack them`;
    const hint = "Calibrate the output, or stack models that were calibrated alike.";
    findings.warning("recipe/layer-misfit", placeOfModel(recipe, reference), message, hint);
  }
}

/** The fp8 codes whose activations a tensor is about. */
export function codesOf(name: string, tensors: ReadonlyMap<string, TensorEntry>): ModelEntry | undefined {
  const modules = scaledModule(name);
  if (modules.length === 0 && isFormatNote(name))
    return [...tensors.values()].find((entry: ModelEntry) => entry.scaled !== undefined);
  for (const weight of modules) {
    const entry: ModelEntry | undefined = tensors.get(weight);
    if (entry?.scaled !== undefined) return entry;
  }
  return undefined;
}

function reportLeft(
  recipe: Recipe,
  model: RecipeModel,
  left: readonly TensorEntry[],
  { name }: MethodDeclaration,
  findings: Findings,
): void {
  const [first] = left;
  const what = left.length === 1 ? `a scale (${first?.name})` : `${left.length} scales (the first ${first?.name})`;
  const message = `"${model.label}" holds ${what} that ${left.length === 1 ? "was" : "were"} measured of it as it ran: no weights, and left out, as ${name} makes another model`;
  const hint = "Calibrate the output if it is to have a cache or activations in fp8. passthrough copies such scales.";
  findings.warning("recipe/tensor-skipped", placeOfModel(recipe, model.reference), message, hint);
}
