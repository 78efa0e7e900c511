import { type Fault, type ModelReference, placeOfModel, type Recipe, type RecipeInput } from "../recipe/index.ts";

/** Warns of a model that the recipe names in two ways, and that is taken for two: as a base it is not known among the models. */
export function twiceNamed(
  recipe: Recipe,
  inputs: readonly Pick<RecipeInput, "reference" | "checkpoint">[],
): readonly Fault[] {
  const first = new Map<string, ModelReference>();
  return inputs.flatMap(({ reference, checkpoint: { files } }): Fault[] => {
    const stored = files.map(({ path }) => path).join("\0");
    const known = first.get(stored);
    if (known === undefined) first.set(stored, reference);
    if (known === undefined || known.text === reference.text) return [];
    const [one, other] = [known, reference].map(({ text }) => text.replace(/^\+/, ""));
    return [
      {
        code: "recipe/model-twice",
        message: `"${one}" and "${other}" are the same files, and are taken for two models`,
        hint: "Write both alike: a base that stands among the models is known by what it is called.",
        file: recipe.fileName,
        ...placeOfModel(recipe, reference),
      },
    ];
  });
}
