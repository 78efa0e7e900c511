import { type Checkpoint, locateModel, openCheckpoint } from "../../checkpoint/index.ts";
import { type Place, placeOf, type Source, schemeOf } from "../../storage/index.ts";

/** A checkpoint to look at: a folder or a .safetensors file, here or at an address, or `owner/name[@revision]` on the Hub or in its cache. */
export async function openPath(store: Source, path: Place): Promise<Checkpoint> {
  const cwd = placeOf(process.cwd());
  const surroundings = { cwd, recipeDirectory: cwd, environment: process.env };
  const at = path.lastIndexOf("@");
  // A folder may have an @ in its name; in an address that is encoded.
  const isThere = at < 0 || (schemeOf(path) === "file" && (await store.identity(path)) !== undefined);
  const reference = isThere ? { path } : { path: path.slice(0, at), revision: path.slice(at + 1) };
  const location = await locateModel(store, reference, surroundings);
  return openCheckpoint(store, location, path, { allowScaledFp8: true });
}
