import { expect, test } from "vitest";
import { twiceNamed } from "../../prepare/twice-named.ts";
import { referencedModels } from "../../recipe/index.ts";
import { placeOf } from "../../storage/index.ts";
import { checkpointOf, tinyLlama } from "../recipe/checkpoints.ts";
import { recipeOf } from "../recipe/parsing.ts";

/** Folders by what the recipe calls them. */
function named(text: string, folders: Readonly<Record<string, string>>) {
  const recipe = recipeOf(text);
  const inputs = referencedModels(recipe).map((reference) => {
    const checkpoint = checkpointOf(tinyLlama(1));
    const files = checkpoint.files.map((file) => ({
      ...file,
      path: placeOf(`${folders[reference.text]}/${file.name}`),
    }));
    return { reference, checkpoint: { ...checkpoint, files } };
  });
  return twiceNamed(recipe, inputs).map(({ code, message, line }) => `${line} ${code} ${message}`);
}

const text =
  "merge_method: task_arithmetic\nbase_model: ./a\nparameters: {weight: 1}\nmodels:\n  - model: a\n  - model: b\n";

test("one folder under two names is told where the second stands; two folders are not, nor is a name that stands twice", () => {
  expect(named(text, { "./a": "/m/a", a: "/m/a", b: "/m/b" })).toEqual([
    '5 recipe/model-twice "./a" and "a" are the same files, and are taken for two models',
  ]);
  expect(named(text, { "./a": "/n/a", a: "/m/a", b: "/m/b" })).toEqual([]);
  expect(named(text.replace("./a", "a"), { a: "/m/a", b: "/m/b" })).toEqual([]);
});
