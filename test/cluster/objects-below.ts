import { join, type Objects, type Place, readWhole } from "../../storage/index.ts";
import { sha256 } from "../output/fake-output.ts";

/** SHA-256 of all objects below a prefix, by their names. */
export async function objectsBelow(objects: Objects, folder: Place, prefix = ""): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const { name, kind } of await objects.list(folder)) {
    const path = `${prefix}${name}`;
    if (kind === "directory") Object.assign(found, await objectsBelow(objects, join(folder, name), `${path}/`));
    else found[path] = sha256(await readWhole(objects, join(folder, name), 1e9));
  }
  return found;
}
