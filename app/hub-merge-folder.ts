import { checkHubTarget, maybeOutputFiles } from "../output/index.ts";
import { join, maybePlaceOf, openHubRepository, openStores, type Place, placeOf } from "../storage/index.ts";
import { journalFolder } from "./job-here.ts";

export interface HubMergeSettings {
  /** `hf://owner/name`, or `hf://owner/name@branch`. */
  readonly out: string;
  readonly state?: string | undefined;
  readonly overwrite: boolean;
}

/**
 * The folder in which a merge is made that is then published on the Hub, which wants to know of a file what all of it holds before it takes
 * any of it. What would be refused there is told before anything is merged: the token, and what would have to be replaced.
 * @throws PublishError `publish/target`, `publish/not-empty`; StorageError of the Hub
 */
export async function hubMergeFolder({ out, state, overwrite }: HubMergeSettings): Promise<Place> {
  const [store, to] = [openStores(), placeOf(out)];
  const folder = join(journalFolder(store, to, maybePlaceOf(state)), "out");
  // Of a merge that has ended it may be there, or on its way.
  const isMade = (await maybeOutputFiles(store, folder)) !== undefined;
  await checkHubTarget(await openHubRepository(to), to, overwrite || isMade);
  return folder;
}
