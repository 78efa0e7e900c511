import { StorageError } from "./errors.ts";
import { type Place, parentOf } from "./place.ts";
import type { Files } from "./port.ts";

/** Makes a directory, with its parents, whose names survive a power loss: without that all that is put there would not. */
export async function makeDurableDirectory(store: Files, directory: Place): Promise<void> {
  const parents = [parentOf(directory)];
  for (let parent = parentOf(directory); (await store.identity(parent)) === undefined; parent = parentOf(parent)) {
    parents.push(parentOf(parent));
  }
  await store.makeDirectory(directory);
  // The nearest parent also where the directory is there: a run that was killed may have made it and no more.
  for (const parent of parents) {
    try {
      await store.syncDirectory(parent);
    } catch (error) {
      // One may be allowed to pass through a folder and not to open it; whoever made it that way has seen to it.
      if (!(error instanceof StorageError && error.code === "storage/denied")) throw error;
    }
  }
}
