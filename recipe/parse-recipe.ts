import { maybeValue } from "./context.ts";
import { type DocumentText, documentsIn } from "./documents.ts";
import type { Fault, TextPlace } from "./errors.ts";
import { Findings } from "./findings.ts";
import { mergedModels, modelReferences, type NamedRecipe, type Recipe } from "./recipe.ts";
import { type ParseOptions, readRecipe } from "./schema.ts";
import { parseYaml, type YamlNode } from "./yaml.ts";

export interface ParsedRecipe {
  /**
   * There where the recipe's structure could be read, even if there are faults besides: bind it as well, and all of
   * its faults can be reported at once. To be merged only if there are none.
   */
  readonly recipe?: Recipe;
  readonly faults: readonly Fault[];
  readonly warnings: readonly Fault[];
}

/**
 * Reads a recipe. `fileName` is what faults call it. Of several documents the last is what is to be merged; the others are named, and
 * later ones may name them as models.
 * The whole text is read before anything is reported: faults come all at once, each with its place.
 */
export function parseRecipe(text: string, fileName: string, options: ParseOptions): ParsedRecipe {
  const findings = new Findings(fileName);
  const documents = documentsIn(text);
  const recipe =
    documents.length > 1
      ? readChain(documents, text, fileName, options, findings)
      : readOne(text, text, fileName, options, findings);
  const { faults, warnings } = findings;
  return recipe === undefined ? { faults, warnings } : { recipe, faults, warnings };
}

function readOne(
  documentText: string,
  text: string,
  fileName: string,
  options: ParseOptions & { readonly isNamed?: boolean },
  findings: Findings,
): Recipe | undefined {
  const root = parseYaml(documentText, findings);
  return root && readRecipe(root, text, fileName, options, findings);
}

interface Named {
  readonly name: string;
  readonly place: TextPlace;
}

function readChain(
  documents: readonly DocumentText[],
  text: string,
  fileName: string,
  options: ParseOptions,
  findings: Findings,
): Recipe | undefined {
  const names: (Named | undefined)[] = [];
  const recipes: (Recipe | undefined)[] = [];
  for (const [k, document] of documents.entries()) {
    const root = parseYaml(document.text, findings);
    const name = root && maybeName(root, k === documents.length - 1, findings);
    const twice = name && names.find((other) => other?.name === name.name);
    if (name !== undefined && twice !== undefined) {
      const message = `two documents are called "${name.name}", the first of them in line ${twice.place.line}`;
      findings.fault("recipe/wrong-value", name.place, message, "Give each a name of its own.");
    }
    names.push(name);
    recipes.push(root && readRecipe(root, text, fileName, { ...options, isNamed: true }, findings));
  }
  const last = recipes.at(-1);
  const earlier: NamedRecipe[] = [];
  for (const [k, recipe] of recipes.entries()) {
    if (recipe === undefined) return undefined;
    checkOrder(recipe, names.slice(k), findings);
    const name = names[k];
    if (k === recipes.length - 1) break;
    if (name === undefined) return undefined;
    earlier.push({ name: name.name, place: name.place, recipe: { ...recipe, earlier: [...earlier] } });
  }
  if (last === undefined) return undefined;
  return { ...last, earlier: reached(last, earlier, findings) };
}

function maybeName(root: YamlNode, isLast: boolean, findings: Findings): Named | undefined {
  const node = root.kind === "map" ? maybeValue(root, "name") : undefined;
  if (node?.kind === "scalar" && node.text !== "") return { name: node.text, place: node.place };
  if (isLast && node === undefined) return undefined;
  const message = "a document that is not the last of its file needs a name";
  findings.fault(
    "recipe/missing-key",
    node?.place ?? root.place,
    message,
    "Write name: and a word by which later documents call its result as a model.",
  );
  return undefined;
}

/** A document builds on those before it; its own name or that of a later one is hardly meant as a path. */
function checkOrder(recipe: Recipe, fromHere: readonly (Named | undefined)[], findings: Findings): void {
  for (const model of modelReferences(recipe)) {
    const named = fromHere.find((other) => other?.name === model.path);
    if (named === undefined) continue;
    const source = recipe.layerRanges.flatMap(({ sources }) => sources).find((one) => one.model.text === model.text);
    const what =
      named === fromHere[0] ? "this document itself" : `the document in line ${named.place.line}, which comes later`;
    const message = `"${model.path}" is ${what}`;
    findings.fault(
      "recipe/model-reference",
      source?.place ?? recipe.methodPlace,
      message,
      "Put documents into the order in which they build on each other; write ./ before a path of the same name.",
    );
  }
}

/** Of the earlier documents those that the last one builds on, in their order; the others are not merged. */
function reached(last: Recipe, earlier: readonly NamedRecipe[], findings: Findings): NamedRecipe[] {
  const wanted = new Set<string>();
  const visit = (recipe: Recipe): void => {
    for (const { path } of mergedModels(recipe)) {
      const named = earlier.find(({ name }) => name === path);
      if (named === undefined || wanted.has(path)) continue;
      wanted.add(path);
      visit(named.recipe);
    }
  };
  visit(last);
  for (const { name, place } of earlier) {
    if (wanted.has(name)) continue;
    const message = `no document that is merged builds on "${name}": it is not merged`;
    findings.warning(
      "recipe/no-effect",
      place,
      message,
      "Name it as a model of a later document, or write it with --keep.",
    );
  }
  return earlier.filter(({ name }) => wanted.has(name));
}

/** The file's text up to and with the document of that name: a recipe whose result is what the document makes. */
export function recipeTextUpTo(text: string, name: string): string | undefined {
  const quiet = new Findings("");
  const document = documentsIn(text).find((one) => {
    const root = parseYaml(one.text, quiet);
    const node = root?.kind === "map" ? maybeValue(root, "name") : undefined;
    return node?.kind === "scalar" && node.text === name;
  });
  return document && text.slice(0, document.endOffset);
}
