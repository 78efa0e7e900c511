import { ObjectOutput } from "../../output/index.ts";
import { join, type Objects, type Place, readWhole, UploadSlots } from "../../storage/index.ts";
import { Crash, crashingObjects, sha256 } from "./fake-output.ts";
import type { OutputRig } from "./output.contract.ts";

/** An output below a place of an object store. */
export function bucketRig(objects: Objects, at: Place): OutputRig {
  const below = async (folder: Place, prefix = ""): Promise<Record<string, Uint8Array>> => {
    const found: Record<string, Uint8Array> = {};
    if ((await objects.identity(folder)) === undefined) return found;
    for (const { name, kind } of await objects.list(folder)) {
      if (name === ".deltaworks") continue;
      const path = `${prefix}${name}`;
      if (kind === "directory") Object.assign(found, await below(join(folder, name), `${path}/`));
      else found[path] = await readWhole(objects, join(folder, name), 1e8);
    }
    return found;
  };
  return {
    layout: "parts",
    open: () => new ObjectOutput(objects, at),
    write: async (slot, offsetBytes, bytes) => {
      await new UploadSlots(objects).put(slot, offsetBytes, bytes, sha256(bytes));
    },
    published: () => below(at),
    crashing: async (change, run) => {
      try {
        await run(new ObjectOutput(crashingObjects(objects, change), at));
        return false;
      } catch (error) {
        if (!(error instanceof Crash)) throw error;
        return true;
      }
    },
  };
}
