import { expect, test } from "vitest";
import { FileOutput } from "../../output/index.ts";
import { FileStore, type Files, join, type Place, placeOf, readWhole } from "../../storage/index.ts";
import { SimulatedStore } from "../support/simulated-store.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { Crash, crashingStore } from "./fake-output.ts";
import { type OutputRig, outputContract, staged } from "./output.contract.ts";

function rigOf(files: Files, place: Place): OutputRig {
  const below = async (folder: Place, prefix = ""): Promise<Record<string, Uint8Array>> => {
    const found: Record<string, Uint8Array> = {};
    if ((await files.identity(folder)) === undefined) return found;
    for (const { name, kind } of await files.list(folder)) {
      if (name === ".deltaworks") continue;
      const path = `${prefix}${name}`;
      if (kind === "directory") Object.assign(found, await below(join(folder, name), `${path}/`));
      else found[path] = await readWhole(files, join(folder, name), 1e8);
    }
    return found;
  };
  return {
    open: () => new FileOutput(files, place),
    write: async (slot, offsetBytes, bytes) => {
      const file = await files.openForWriting(placeOf(slot), { mustExist: true });
      await file.write(offsetBytes, bytes);
      await file.sync();
      await file.close();
    },
    published: () => below(place),
    crashing: async (change, run) => {
      try {
        await run(new FileOutput(crashingStore(files, change), place));
        return false;
      } catch (error) {
        if (!(error instanceof Crash)) throw error;
        return true;
      }
    },
  };
}

outputContract("a folder", async () => rigOf(new FileStore(), placeOf(`${temporaryFolder()}/out`)));

outputContract("a folder in memory", async () => {
  const store = new SimulatedStore();
  await store.makeDirectory("/own");
  return rigOf(store, placeOf("/own/out"));
});

test("once it is published no stage comes back, whatever a power loss undoes", async () => {
  const store = new SimulatedStore();
  await store.makeDirectory("/own");
  const rig = rigOf(store, placeOf("/own/out"));
  await rig.open().publish(await staged(rig, rig.open()), []);
  for (let seed = 0; seed < 50; seed++) {
    expect(await new FileOutput(store.crash(seed), placeOf("/own/out")).staged()).toBeUndefined();
  }
});
