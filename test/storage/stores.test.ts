import { join } from "node:path";
import { expect, test } from "vitest";
import { FileStore, placeOf, Stores } from "../../storage/index.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const stores = new Stores(new FileStore(), { mem: async () => new MemoryObjects() });

test("what is read from a scheme without a store is refused, with those that there are", async () => {
  const place = placeOf("attic://box/a");
  const calls = [
    () => stores.open(place),
    () => stores.identity(place),
    () => stores.list(place),
    () => stores.realPlace(place),
  ];
  for (const call of calls) {
    await expect(call()).rejects.toMatchObject({
      code: "storage/scheme",
      message: expect.stringContaining("attic://box/a: attic:// is no store here"),
      hint: "Give a path of this machine, or mem://.",
    });
  }
});

test("what is written elsewhere than to files is refused, before anything is", async () => {
  const place = placeOf("mem://bucket/a");
  const file = placeOf(join(temporaryFolder(), "a"));
  const calls = [
    () => stores.openForWriting(place),
    () => stores.rename(place, file),
    () => stores.rename(file, place),
    () => stores.remove(place),
    () => stores.removeDirectory(place),
    () => stores.makeDirectory(place),
    () => stores.syncDirectory(place),
    () => stores.lock(place),
  ];
  for (const call of calls)
    await expect(call()).rejects.toMatchObject({ code: "storage/scheme", hint: "Give a path of this machine." });
});

test("objects are put through the store of their scheme, where that is an object store", async () => {
  const objects = new MemoryObjects();
  const some = new Stores(new FileStore(), { mem: async () => objects, plain: async () => new FileStore() });
  expect(await some.objects(placeOf("mem://bucket/a"))).toBe(objects);
  for (const text of ["/a", "plain://a"])
    await expect(some.objects(placeOf(text))).rejects.toMatchObject({ code: "storage/scheme" });
});
