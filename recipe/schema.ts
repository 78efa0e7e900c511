import type { MethodDeclaration } from "../merge/methods/index.ts";
import { readBody } from "./body.ts";
import { described, maybeValue, type ReadingContext, reportUnknownKeys } from "./context.ts";
import { maybeDtype } from "./dtype-names.ts";
import type { Findings } from "./findings.ts";
import { lintRecipe } from "./lints.ts";
import { maybeModelReference } from "./model-reference.ts";
import { isForOther } from "./other-programs.ts";
import { checkRange, needsBase } from "./range-checks.ts";
import type { Recipe } from "./recipe.ts";
import { parseSettings } from "./settings.ts";
import { didYouMean, maybeMeant } from "./suggestion.ts";
import { maybeChatTemplateSetting, maybeTokenizerSettings } from "./tokenizer-settings.ts";
import type { YamlMap, YamlNode } from "./yaml.ts";

export interface ParseOptions {
  readonly methods: ReadonlyMap<string, MethodDeclaration>;
  /** Keys and parameters that mean nothing are warnings instead of faults. */
  readonly allowUnknownKeys: boolean;
  /** Whether a text with "+" or "@" is the path of something that is there, and not a model with an adapter or a revision. */
  readonly isPath?: (text: string) => boolean;
}

const recipeKeys = [
  ...["merge_method", "base_model", "models", "slices", "modules", "dtype", "out_dtype", "parameters", "name"],
  ...["tokenizer_source", "tokenizer", "chat_template"],
];

/** One document. `text`: of the whole file. */
export function readRecipe(
  root: YamlNode,
  text: string,
  fileName: string,
  options: ParseOptions & { readonly isNamed?: boolean },
  findings: Findings,
): Recipe | undefined {
  if (root.kind !== "map") {
    const hint = 'Write at least "merge_method" and "models".';
    findings.fault(
      "recipe/wrong-type",
      root.place,
      `the recipe is ${described(root)}, a map of keys is expected`,
      hint,
    );
    return undefined;
  }
  if (isForOther(root, findings)) return undefined;
  const method = maybeMethod(root, options.methods, findings);
  const { allowUnknownKeys, isPath } = options;
  const context: ReadingContext = { findings, allowUnknownKeys, method, ...(isPath && { isPath }) };
  reportUnknownKeys(context, root, recipeKeys);
  if (options.isNamed !== true) reportName(root, findings);
  const baseNode = maybeValue(root, "base_model");
  const baseModel = baseNode && maybeModelReference(baseNode, context);
  const dtypeNode = maybeValue(root, "dtype");
  const outDtypeNode = maybeValue(root, "out_dtype");
  const dtype = dtypeNode && maybeDtype(dtypeNode, context);
  const outDtype = outDtypeNode && maybeDtype(outDtypeNode, context);
  const tokenizer = maybeTokenizerSettings(root, context);
  const chatTemplate = maybeChatTemplateSetting(root, context);
  const parameters = parseSettings(root, "recipe", context);
  const basePlace = root.entries.get("base_model")?.place ?? root.place;
  const body = readBody(root, baseModel && { model: baseModel, place: basePlace }, context);
  const methodPlace = root.entries.get("merge_method")?.place ?? root.place;
  if (method !== undefined && baseNode === undefined && needsBase(method)) {
    // Slices may each name their own; where they could not be read, that is not known.
    const lacking =
      body === undefined
        ? maybeValue(root, "slices") === undefined && maybeValue(root, "modules") === undefined
        : body.layerRanges.some((range) => range.baseModel === undefined);
    if (lacking) {
      const message = `${method.name} needs "base_model", which is not there`;
      findings.fault("recipe/missing-base", methodPlace, message, "Name the model that the others were made from.");
    }
  }
  const baseUnread = baseNode !== undefined && baseModel === undefined;
  if (method === undefined || body === undefined || baseUnread) return undefined;
  const recipe: Recipe = {
    text,
    fileName,
    method: method.name,
    methodPlace,
    ...(baseModel && { baseModel }),
    ...(dtype && { dtype }),
    ...(outDtype && { outDtype }),
    ...(tokenizer && { tokenizer }),
    ...(chatTemplate && { chatTemplate }),
    parameters,
    ...body,
  };
  for (const range of recipe.layerRanges) checkRange(recipe, range, method, findings);
  lintRecipe(recipe, method, findings);
  return recipe;
}

function maybeMethod(
  root: YamlMap,
  methods: ReadonlyMap<string, MethodDeclaration>,
  findings: Findings,
): MethodDeclaration | undefined {
  const node = maybeValue(root, "merge_method");
  const known = `Known: ${[...methods.keys()].join(", ")}.`;
  if (node === undefined) {
    findings.fault("recipe/missing-key", root.place, 'the key "merge_method" is missing', known);
    return undefined;
  }
  if (node.kind !== "scalar" || typeof node.value !== "string") {
    findings.fault(
      "recipe/wrong-type",
      node.place,
      `${described(node)} stands where a merge method is expected`,
      known,
    );
    return undefined;
  }
  const name = node.value;
  const method = methods.get(name);
  if (method !== undefined) return method;
  const meant = maybeMeant(name, methods.keys());
  findings.fault("recipe/unknown-method", node.place, `unknown merge method "${name}"${didYouMean(meant)}`, known);
  return undefined;
}

function reportName(root: YamlMap, findings: Findings): void {
  const name = root.entries.get("name");
  if (name !== undefined && maybeValue(root, "name") !== undefined) {
    const message = '"name" has no effect in a file of one document';
    findings.warning("recipe/no-effect", name.place, message, "Remove the key, or make it a comment.");
  }
}
