import { expect, test } from "vitest";
import { fenced as fencedFiles, placeOf } from "../../storage/index.ts";
import { SimulatedStore } from "../support/simulated-store.ts";

/** A store whose coordinator leads until it is told otherwise. */
async function leading() {
  const store = new SimulatedStore();
  store.addFile("/out/a", new Uint8Array([1, 2]));
  let leads = true;
  const confirm = async () => {
    if (!leads) throw new Error("another leads");
  };
  const fenced = fencedFiles(store, confirm);
  const file = await fenced.openForWriting(placeOf("/out/a"));
  return { store, fenced, file, lose: () => (leads = false) };
}

test("a coordinator that leads no more changes nothing: no name, no byte", async () => {
  const { store, fenced, file, lose } = await leading();
  await file.write(0, new Uint8Array([3]));
  lose();
  const calls: (() => Promise<unknown>)[] = [
    () => file.write(0, new Uint8Array([4])),
    () => file.truncate(1),
    () => fenced.openForWriting(placeOf("/out/b")),
    () => fenced.rename(placeOf("/out/a"), placeOf("/out/c")),
    () => fenced.remove(placeOf("/out/a")),
    () => fenced.removeDirectory(placeOf("/out")),
    () => fenced.makeDirectory(placeOf("/out/d")),
  ];
  for (const call of calls) await expect(call()).rejects.toThrow("another leads");
  expect(store.paths("/")).toEqual(["/out/a"]);
  expect([...store.contentOf("/out/a")!]).toEqual([3, 2]);
});

test("it may look as before", async () => {
  const { fenced, lose } = await leading();
  lose();
  const bytes = new Uint8Array(2);
  await (await fenced.open(placeOf("/out/a"))).read(0, bytes);
  expect([...bytes]).toEqual([1, 2]);
  expect(await fenced.list(placeOf("/out"))).toHaveLength(1);
  expect(await fenced.identity(placeOf("/out/b"))).toBeUndefined();
});
