/** How tests of this room read recipes. */
import { methodDeclarations } from "../../merge/methods/index.ts";
import { type Fault, type ParsedRecipe, parseRecipe, type Recipe } from "../../recipe/index.ts";

export const methods = methodDeclarations();

export function parse(text: string, allowUnknownKeys = false): ParsedRecipe {
  return parseRecipe(text, "recipe.yml", { methods, allowUnknownKeys });
}

/** A recipe that has no faults. */
export function recipeOf(text: string): Recipe {
  const { recipe, faults } = parse(text);
  if (recipe === undefined || faults.length > 0) throw new Error(faults.map(({ message }) => message).join("\n"));
  return recipe;
}

/** `code line:column message` of each. */
export function summaryOf(faults: readonly Fault[]): string[] {
  return faults.map(({ code, line, column, message }) => `${code.replace("recipe/", "")} ${line}:${column} ${message}`);
}
