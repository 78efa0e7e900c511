import type { OptionValues } from "../options/index.ts";
import { type Fetching, type Prepared, prepareText } from "../prepare/index.ts";
import { type Files, maybePlaceOf, type Place, placeOf, type Source, schemeOf } from "../storage/index.ts";
import { journalFolder } from "./job-here.ts";
import { recordedFolders } from "./recorded-folders.ts";

/** A merge that is planned to be made: where an earlier run left it, it goes on with what that run read. */
export interface PlannedRun {
  readonly store: Files;
  readonly out: Place;
  readonly state?: Place | undefined;
  readonly settings: Pick<OptionValues<"merge">, "restart" | "overwrite" | "fillHubCache">;
  /** Told of each file that is fetched into the Hub's cache, if the settings say so. */
  readonly fetching?: Fetching | undefined;
}

/** Plans a recipe with the models that this process finds. @throws what `prepareText` throws */
export function prepareHere(
  store: Source,
  recipeText: string,
  recipePath: Place,
  settings: OptionValues<"plan">,
  run?: PlannedRun,
): Promise<Prepared> {
  return prepareText(store, recipeText, recipePath, {
    ...settings,
    modelsRoot: maybePlaceOf(settings.modelsRoot),
    cwd: placeOf(process.cwd()),
    environment: process.env,
    layout: run !== undefined && schemeOf(run.out) !== "file" ? "parts" : undefined,
    recordedFolders: run && (() => foldersOf(run)),
    fillHubCache: run?.settings.fillHubCache === true ? (run.fetching ?? (() => {})) : undefined,
  });
}

/** What is begun anew is read as it is now; so is what takes the place of a merge that has ended. */
async function foldersOf({ store, out, state, settings }: PlannedRun): Promise<readonly Place[]> {
  const { restart, overwrite } = settings;
  return restart ? [] : recordedFolders(store, journalFolder(store, out, state), { unfinishedOnly: overwrite });
}
