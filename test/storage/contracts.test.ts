import { FileStore, openStores, placeOf, Stores } from "../../storage/index.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { SimulatedStore } from "../support/simulated-store.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { filesContract } from "./files.contract.ts";
import { objectsContract } from "./objects.contract.ts";
import { sourceContract } from "./source.contract.ts";

for (const blocking of [false, true]) {
  filesContract(`the file store, blocking ${blocking},`, async () => ({
    files: new FileStore({ blocking }),
    folder: placeOf(temporaryFolder()),
  }));
}

filesContract("the file store in memory", async () => {
  const files = new SimulatedStore();
  await files.makeDirectory("/own");
  return { files, folder: placeOf("/own") };
});

filesContract("the files of all stores", async () => ({ files: openStores(), folder: placeOf(temporaryFolder()) }));

objectsContract("the object store in memory", async () => ({
  objects: new MemoryObjects(),
  folder: placeOf("mem://bucket/own"),
}));

sourceContract("what a scheme names of all stores", async () => {
  const objects = new MemoryObjects();
  const source = new Stores(new FileStore(), { mem: async () => objects });
  return {
    source,
    folder: placeOf("mem://bucket/own"),
    put: async (place, bytes) => void (await objects.put(place, bytes)),
  };
});
