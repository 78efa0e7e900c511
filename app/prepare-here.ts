import type { OptionValues } from "../options/index.ts";
import { type Prepared, prepareText } from "../prepare/index.ts";
import { maybePlaceOf, type Place, placeOf, type Source } from "../storage/index.ts";

/** Plans a recipe with the models that this process finds. @throws what `prepareText` throws */
export function prepareHere(
  store: Source,
  recipeText: string,
  recipePath: Place,
  settings: OptionValues<"plan">,
): Promise<Prepared> {
  return prepareText(store, recipeText, recipePath, {
    ...settings,
    modelsRoot: maybePlaceOf(settings.modelsRoot),
    cwd: placeOf(process.cwd()),
    environment: process.env,
  });
}
