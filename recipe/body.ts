import type { MethodDeclaration } from "../merge/methods/index.ts";
import { described, maybeValue, type ReadingContext, reportUnknownKeys } from "./context.ts";
import type { TextPlace } from "./errors.ts";
import { type ModelReference, sameModel } from "./model-reference.ts";
import type { LayerRange, Recipe, RecipeModule } from "./recipe.ts";
import { parseSettings } from "./settings.ts";
import { isEmptyList, maybeList, maybeRange, maybeSource } from "./sources.ts";
import type { YamlEntry, YamlMap } from "./yaml.ts";

/** What is merged: `models`, `slices` or `modules` of a recipe. */
export type Body = Pick<Recipe, "form" | "layerRanges">;

export interface BaseModel {
  readonly model: ModelReference;
  /** Of the key. */
  readonly place: TextPlace;
}

const forms = ["models", "slices", "modules"] as const;

/** Undefined where it is faulty, which is then reported. */
export function readBody(root: YamlMap, base: BaseModel | undefined, context: ReadingContext): Body | undefined {
  const { findings } = context;
  const held = forms.filter((key) => !isEmpty(root, key));
  const [form, second] = held;
  if (form === undefined) {
    const hint = 'List the models to merge under "models", or ranges of their layers under "slices".';
    findings.fault("recipe/missing-key", root.place, 'one of the keys "models" and "slices" is needed', hint);
    return undefined;
  }
  if (second !== undefined) {
    const place = root.entries.get(second)?.place ?? root.place;
    const message = 'exactly one of "models", "slices" and "modules" may stand in a recipe';
    findings.fault("recipe/wrong-value", place, message, "Keep one of them.");
  }
  const body = form === "modules" ? readModules(root, base, context) : readForm(root, form, base, context);
  return second === undefined ? body : undefined;
}

function isEmpty(root: YamlMap, key: (typeof forms)[number]): boolean {
  const node = maybeValue(root, key);
  return isEmptyList(node) || (node?.kind === "map" && node.entries.size === 0);
}

function readForm(
  holder: YamlMap,
  form: "models" | "slices",
  base: BaseModel | undefined,
  context: ReadingContext,
): Body | undefined {
  const node = maybeValue(holder, form);
  const place = holder.entries.get(form)?.place ?? holder.place;
  const list = maybeList(node, form, context);
  if (list === undefined) return undefined;
  if (form === "slices") {
    const ranges = list.map((item) => maybeRange(item, context));
    const sound = ranges.filter((range) => range !== undefined);
    return sound.length === ranges.length ? { form, layerRanges: sound } : undefined;
  }
  const listed = list.map((item) => maybeSource(item, form, context));
  const sources = listed.filter((source) => source !== undefined);
  if (sources.length !== listed.length) return undefined;
  const appended = appendsBase(context.method) && !sources.some(({ model }) => sameModel(model, base?.model));
  if (base !== undefined && appended) {
    sources.push({ model: base.model, parameters: new Map(), place: base.place, appended: true });
  }
  return { form, layerRanges: [{ sources, parameters: new Map(), place }] };
}

/** Whether a base_model that `models` does not list is one of the sources all the same. */
function appendsBase(method: MethodDeclaration | undefined): boolean {
  return method !== undefined && (method.base !== "listed" || method.appendsBase);
}

function readModules(root: YamlMap, base: BaseModel | undefined, context: ReadingContext): Body | undefined {
  const node = maybeValue(root, "modules");
  if (node?.kind !== "map") {
    const message = `"modules" holds ${node === undefined ? "nothing" : described(node)}, a map of modules is expected`;
    const hint = "Write modules: {text_decoder: {models: [...]}, vision_tower: {models: [...]}}.";
    context.findings.fault("recipe/wrong-type", node?.place ?? root.place, message, hint);
    return undefined;
  }
  const modules = [...node.entries.values()].map((entry) => readModule(entry, base, context));
  const sound = modules.filter((ranges) => ranges !== undefined);
  return sound.length === modules.length ? { form: "modules", layerRanges: sound.flat() } : undefined;
}

function readModule(
  { key: name, place, value }: YamlEntry,
  base: BaseModel | undefined,
  context: ReadingContext,
): readonly LayerRange[] | undefined {
  const { findings } = context;
  if (value.kind !== "map") {
    const message = `module "${name}" holds ${described(value)}, a map is expected`;
    findings.fault("recipe/wrong-type", value.place, message, "Write models: or slices: under the module.");
    return undefined;
  }
  reportUnknownKeys(context, value, ["models", "slices", "parameters"]);
  const parameters = parseSettings(value, "range", context);
  const held = (["models", "slices"] as const).filter((key) => !isEmptyList(maybeValue(value, key)));
  const [form] = held;
  if (form === undefined || held.length > 1) {
    const message = `module "${name}" needs one of "models" and "slices", it has ${held.length === 0 ? "neither" : "both"}`;
    findings.fault("recipe/missing-key", place, message, "List models, or ranges of their layers.");
    return undefined;
  }
  const body = readForm(value, form, base, context);
  const module: RecipeModule = { name, form, parameters, place };
  return body?.layerRanges.map((range) => ({ ...range, module }));
}
