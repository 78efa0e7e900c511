import type { OptionValues } from "../options/index.ts";
import { type Prepared, prepareText } from "../prepare/index.ts";
import { type Files, maybePlaceOf, type Place, placeOf, type Source } from "../storage/index.ts";
import { journalFolder } from "./job-here.ts";
import { recordedFolders } from "./recorded-folders.ts";

/** A merge that goes on where an earlier run left it is planned with what that run read. */
export interface EarlierRun {
  readonly store: Files;
  readonly out: Place;
  readonly state?: Place | undefined;
  readonly settings: Pick<OptionValues<"merge">, "restart" | "overwrite">;
}

/** Plans a recipe with the models that this process finds. @throws what `prepareText` throws */
export function prepareHere(
  store: Source,
  recipeText: string,
  recipePath: Place,
  settings: OptionValues<"plan">,
  earlier?: EarlierRun,
): Promise<Prepared> {
  return prepareText(store, recipeText, recipePath, {
    ...settings,
    modelsRoot: maybePlaceOf(settings.modelsRoot),
    cwd: placeOf(process.cwd()),
    environment: process.env,
    recordedFolders: earlier && (() => foldersOf(earlier)),
  });
}

/** What is begun anew is read as it is now; so is what takes the place of a merge that has ended. */
async function foldersOf({ store, out, state, settings }: EarlierRun): Promise<readonly Place[]> {
  const { restart, overwrite } = settings;
  return restart ? [] : recordedFolders(store, journalFolder(store, out, state), { unfinishedOnly: overwrite });
}
