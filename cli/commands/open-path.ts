import { type Checkpoint, locateModel, openCheckpoint } from "../../checkpoint/index.ts";
import { type Place, placeOf, type Source } from "../../storage/index.ts";

/** A checkpoint to look at: a folder, a .safetensors file, or `owner/name[@revision]` in the Hub's cache. */
export async function openPath(store: Source, path: Place): Promise<Checkpoint> {
  const cwd = placeOf(process.cwd());
  const surroundings = { cwd, recipeDirectory: cwd, environment: process.env };
  const at = path.lastIndexOf("@");
  // A folder may have an @ in its name.
  const isThere = at < 0 || (await store.identity(path)) !== undefined;
  const reference = isThere ? { path } : { path: path.slice(0, at), revision: path.slice(at + 1) };
  const location = await locateModel(store, reference, surroundings);
  return openCheckpoint(store, location, path, { allowScaledFp8: true });
}
