import { StorageError } from "./errors.ts";
import { isNotFound } from "./if-there.ts";
import { type Place, parentOf } from "./place.ts";
import type { Source } from "./port.ts";

/**
 * Whether a folder of a store can be used: it is asked what it holds, so that wrong keys, buckets and addresses are told before anybody
 * needs it. In a bucket a folder that holds nothing yet is one.
 * @throws StorageError `storage/not-a-directory`, `storage/not-found`, `storage/denied`, `storage/network`
 */
export async function checkFolder(store: Source, folder: Place): Promise<void> {
  const there = await store.identity(folder);
  if (there?.kind === "directory") return;
  if (there !== undefined) {
    throw new StorageError("storage/not-a-directory", `${folder} is a file`, {
      hint: "Name the folder that it is in.",
    });
  }
  const topmost = topmostOf(folder);
  // Who may list below a prefix alone may not ask for more: then the prefix was found empty, and that is all there is to know.
  const bucket = await store.identity(topmost).catch((error: unknown) => {
    if (error instanceof StorageError && error.code === "storage/denied") return "unknown";
    if (isNotFound(error)) return undefined;
    throw error;
  });
  if (bucket !== undefined) return;
  throw new StorageError("storage/not-found", `${topmost} is not there`, { hint: "Make it, or check its name." });
}

function topmostOf(place: Place): Place {
  const above = parentOf(place);
  return above === place ? place : topmostOf(above);
}
