import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FileStore, type Files, fileVersion, placeOf, type StoredFile } from "../../storage/index.ts";
import { PAGE_BYTES } from "./simulated-disk.ts";
import { type Fault, PowerLoss, SimulatedStore } from "./simulated-store.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const seeds = Array.from({ length: 200 }, (_, seed) => seed);

/** Writes without syncing, at the file's beginning. */
async function put(store: Files, path: string, text: string): Promise<void> {
  const file = await store.openForWriting(placeOf(path));
  await file.write(0, Buffer.from(text));
  await file.close();
}

async function putDurably(store: Files, path: string, bytes: Uint8Array): Promise<void> {
  const file = await store.openForWriting(placeOf(path));
  await file.write(0, bytes);
  await file.sync();
  await file.close();
  await store.syncDirectory(placeOf("/"));
}

function textOf(store: SimulatedStore, path: string): string | undefined {
  const bytes = store.contentOf(path);
  return bytes && Buffer.from(bytes).toString();
}

/** What a crash now can lead to: each outcome once, sorted by its JSON. */
function outcomes(store: SimulatedStore, look: (after: SimulatedStore) => unknown): unknown[] {
  return [...new Set(seeds.map((seed) => JSON.stringify(look(store.crash(seed)))))]
    .sort()
    .map((text) => JSON.parse(text));
}

describe("when the power fails", () => {
  test("unsynced bytes stay, vanish or come partly, and lost pages before kept ones read as zeros", async () => {
    const store = new SimulatedStore();
    await putDurably(store, "/f", new Uint8Array(0));
    await put(store, "/f", "a".repeat(PAGE_BYTES) + "b".repeat(PAGE_BYTES));
    const seen = seeds.map((seed) => textOf(store.crash(seed), "/f") ?? "");
    expect(seen).toContain("");
    expect(seen).toContain("a".repeat(PAGE_BYTES) + "b".repeat(PAGE_BYTES));
    expect(seen).toContain("\0".repeat(PAGE_BYTES) + "b".repeat(PAGE_BYTES));
    // A torn page: some sectors of 512 bytes are there, whole.
    expect(seen.some((text) => /^(\0{512}|a{512})*$/.test(text.slice(0, PAGE_BYTES)) && /a\0/.test(text))).toBe(true);
    expect(seen.some((text) => text.length % PAGE_BYTES !== 0)).toBe(true);
  });

  test("synced bytes are there, whatever was written after them", async () => {
    const store = new SimulatedStore();
    await putDurably(store, "/f", Buffer.from("kept"));
    const file = await store.openForWriting("/f");
    await file.write(4, Buffer.alloc(3 * PAGE_BYTES, 1));
    for (const seed of seeds) expect(textOf(store.crash(seed), "/f")).toMatch(/^kept/);
  });

  test("bytes written while a sync is under way are not covered by it", async () => {
    const store = new SimulatedStore();
    await putDurably(store, "/f", Buffer.from("old"));
    const file = await store.openForWriting("/f");
    await file.write(0, Buffer.from("new"));
    const sync = file.sync();
    await file.write(0, Buffer.from("odd"));
    await sync;
    expect(outcomes(store, (after) => textOf(after, "/f"))).toEqual(["new", "odd"]);
  });

  test("a cut that was not synced may be undone", async () => {
    const store = new SimulatedStore();
    await putDurably(store, "/f", Buffer.from("0123456789"));
    await (await store.openForWriting("/f")).truncate(4);
    const seen = outcomes(store, (after) => textOf(after, "/f"));
    expect(seen).toContain("0123");
    expect(seen).toContain("0123456789");
    expect(seen.every((text) => /^0123(456789|\0{6})?$/.test(String(text)))).toBe(true);
  });

  test("a new name may vanish with its synced bytes until its directory is synced", async () => {
    const store = new SimulatedStore();
    const file = await store.openForWriting("/f");
    await file.write(0, Buffer.from("data"));
    await file.sync();
    const running = store.restart();
    expect(outcomes(store, (after) => textOf(after, "/f") ?? "-")).toEqual(["-", "data"]);
    await running.syncDirectory("/");
    expect(outcomes(running, (after) => textOf(after, "/f") ?? "-")).toEqual(["data"]);
  });

  test.each([
    ["in a directory", "/from", "/to"],
    ["across directories", "/a/from", "/b/to"],
  ])("a rename %s is done or not, never half, and the synced directory decides", async (_, from, to) => {
    const store = new SimulatedStore();
    store.addFile(from, Buffer.from("new"));
    store.addFile(to, Buffer.from("old"));
    await store.rename(from, to);
    const look = (after: SimulatedStore) => [textOf(after, from) ?? "-", textOf(after, to) ?? "-"];
    const running = store.restart();
    expect(outcomes(store, look)).toEqual([
      ["-", "new"],
      ["new", "old"],
    ]);
    await running.syncDirectory(to === "/to" ? "/" : "/b");
    expect(outcomes(running, look)).toEqual([["-", "new"]]);
  });

  test("changes of one name are lost from the last backwards", async () => {
    const store = new SimulatedStore();
    store.addFile("/f", Buffer.from("one"));
    await store.rename("/f", "/g");
    await put(store, "/f", "");
    await store.rename("/f", "/h");
    expect(outcomes(store, (after) => after.paths())).toEqual([["/f", "/g"], ["/f"], ["/g", "/h"], ["/g"]]);
  });

  test("a name made while its directory is being synced is not covered by that sync", async () => {
    const store = new SimulatedStore();
    const sync = store.syncDirectory("/");
    await put(store, "/f", "");
    await sync;
    expect(outcomes(store, (after) => after.paths())).toEqual([["/f"], []]);
  });

  test("a removal may be undone until its directory is synced", async () => {
    const store = new SimulatedStore();
    store.addFile("/d/f", Buffer.from("here"));
    await store.remove("/d/f");
    const running = store.restart();
    expect(outcomes(store, (after) => textOf(after, "/d/f") ?? "-")).toEqual(["-", "here"]);
    await running.syncDirectory("/d");
    expect(outcomes(running, (after) => textOf(after, "/d/f") ?? "-")).toEqual(["-"]);
  });

  test("the same seed gives the same disk", async () => {
    const store = new SimulatedStore();
    await putDurably(store, "/f", new Uint8Array(0));
    await put(store, "/f", "x".repeat(20_000));
    for (const seed of seeds.slice(0, 20))
      expect(store.crash(seed).contentOf("/f")).toEqual(store.crash(seed).contentOf("/f"));
  });

  test("locks end, and the store and its open files answer nothing any more", async () => {
    const store = new SimulatedStore();
    const file = await store.openForWriting("/f");
    await store.lock("/lock");
    await expect(store.lock("/lock")).rejects.toMatchObject({ code: "storage/locked" });
    const after = store.crash(1);
    await expect(file.read(0, new Uint8Array(0))).rejects.toBeInstanceOf(PowerLoss);
    await expect(store.list("/")).rejects.toBeInstanceOf(PowerLoss);
    const lock = await after.lock("/lock");
    await lock.release();
    await (await after.lock("/lock")).release();
    expect(after.paths()).not.toContain("/lock");
  });
});

describe("faults", () => {
  test("the power fails in the n-th operation, whose change may yet come to the disk, and stays off", async () => {
    const store = new SimulatedStore();
    await putDurably(store, "/f", Buffer.from("old"));
    store.failAt(store.operations.length + 2, "power-loss");
    const file = await store.openForWriting("/f");
    await expect(file.write(0, Buffer.from("new"))).rejects.toBeInstanceOf(PowerLoss);
    await expect(store.identity("/f")).rejects.toBeInstanceOf(PowerLoss);
    expect(store.off).toBe(true);
    expect(outcomes(store, (after) => textOf(after, "/f"))).toEqual(["new", "old"]);
  });

  test("a sync that the power failed in proves nothing", async () => {
    const store = new SimulatedStore();
    await putDurably(store, "/f", Buffer.from("old"));
    const file = await store.openForWriting("/f");
    await file.write(0, Buffer.from("new"));
    store.failAt(store.operations.length + 1, "power-loss");
    await expect(file.sync()).rejects.toBeInstanceOf(PowerLoss);
    expect(outcomes(store, (after) => textOf(after, "/f"))).toEqual(["new", "old"]);
  });

  test("a sync that is under way when the power fails elsewhere proves nothing", async () => {
    const store = new SimulatedStore();
    await putDurably(store, "/f", Buffer.from("old"));
    const file = await store.openForWriting("/f");
    await file.write(0, Buffer.from("new"));
    store.failAt(store.operations.length + 2, "power-loss");
    const [sync] = await Promise.allSettled([file.sync(), store.list("/")]);
    expect(sync).toMatchObject({ status: "rejected", reason: { name: "PowerLoss" } });
    expect(outcomes(store, (after) => textOf(after, "/f"))).toEqual(["new", "old"]);
  });

  test.each<[Fault, string]>([
    ["full", "storage/full"],
    ["io", "storage/io"],
  ])("%s fails one write, half-way, and what follows works", async (fault, code) => {
    const store = new SimulatedStore();
    const file = await store.openForWriting("/f");
    store.failAt(1, fault); // the open is past
    await file.identity(); // not a thing this fault happens to
    await expect(file.write(0, Buffer.from("12345678"))).rejects.toMatchObject({ code });
    expect(textOf(store, "/f")).toBe("1234");
    await file.write(0, Buffer.from("abc"));
    expect(textOf(store, "/f")).toBe("abc4");
  });

  test("a read fails once", async () => {
    const store = new SimulatedStore();
    store.addFile("/f", Buffer.from("data"));
    const file = await store.open("/f");
    store.failAt(2, "io");
    await expect(file.read(0, new Uint8Array(4))).rejects.toMatchObject({ code: "storage/io" });
    await file.read(0, new Uint8Array(4));
  });

  test.each(["shown", "dropped"] as const)(
    "bytes of a failed sync are %s, and lost to every later sync",
    async (then) => {
      const store = new SimulatedStore();
      store.afterFailedSync = then;
      await putDurably(store, "/f", Buffer.from("old"));
      const file = await store.openForWriting("/f");
      await file.write(0, Buffer.from("new"));
      store.failAt(store.operations.length + 1, "io");
      await expect(file.sync()).rejects.toMatchObject({ code: "storage/io" });
      await file.sync();
      expect(textOf(store, "/f")).toBe(then === "shown" ? "new" : "old");
      const running = store.restart();
      expect(outcomes(store, (after) => textOf(after, "/f"))).toEqual(["old"]);
      // Written again, they are as good as any.
      const again = await running.openForWriting("/f");
      await again.write(0, Buffer.from("new"));
      await again.sync();
      expect(outcomes(running, (after) => textOf(after, "/f"))).toEqual(["new"]);
    },
  );

  test("a failed sync is told, once, to all that have the file open: what they wrote is lost as well", async () => {
    const store = new SimulatedStore();
    await putDurably(store, "/f", Buffer.from("old"));
    const [one, other] = [await store.openForWriting("/f"), await store.openForWriting("/f")];
    await other.write(0, Buffer.from("new"));
    store.failAt(store.operations.length + 1, "io");
    await expect(one.sync()).rejects.toMatchObject({ code: "storage/io" });
    await expect(other.sync()).rejects.toMatchObject({ code: "storage/io" });
    await other.sync();
    await (await store.openForWriting("/f")).sync();
    expect(outcomes(store, (after) => textOf(after, "/f"))).toEqual(["old"]);
  });
});

test("a killed process leaves what it wrote, still to be synced", async () => {
  const store = new SimulatedStore();
  await putDurably(store, "/f", Buffer.from("old"));
  await put(store, "/f", "new");
  const next = store.restart();
  expect(store.off).toBe(true);
  expect(textOf(next, "/f")).toBe("new");
  expect(outcomes(next, (after) => textOf(after, "/f"))).toEqual(["new", "old"]);
});

test("a copy has the same files, all durable, and is changed alone", async () => {
  const store = new SimulatedStore();
  await put(store, "/f", "unsynced");
  const copy = store.copy();
  await put(copy, "/f", "CH");
  expect(textOf(store, "/f")).toBe("unsynced");
  expect(outcomes(copy, (after) => textOf(after, "/f"))).toEqual(["CHsynced", "unsynced"]);
});

test("operations are numbered from 1 and tell what was done to which path", async () => {
  const store = new SimulatedStore();
  const file = await store.openForWriting("/a");
  await file.write(3, Buffer.from("xyz"));
  await file.sync();
  await file.close();
  await store.rename("/a", "/b");
  await store.syncDirectory("/");
  expect(store.operations).toEqual([
    { number: 1, kind: "create", path: "/a" },
    { number: 2, kind: "write", path: "/a", offsetBytes: 3, sizeBytes: 3 },
    { number: 3, kind: "sync", path: "/a" },
    { number: 4, kind: "rename", path: "/a", to: "/b" },
    { number: 5, kind: "sync-directory", path: "/" },
  ]);
});

test("files of a real directory are there, durable, with their identities", async () => {
  const folder = temporaryFolder();
  await new FileStore().makeDirectory(placeOf(join(folder, "sub")));
  await writeFile(join(folder, "sub", "f"), "x".repeat(5000), { mode: 0o400 });
  const store = (await SimulatedStore.fromDirectory(folder, "/models/m")).crash(1);
  const { ino, mtimeNs } = await stat(join(folder, "sub", "f"), { bigint: true });
  expect(await store.identity("/models/m/sub/f")).toEqual({
    kind: "file",
    sizeBytes: 5000,
    version: fileVersion({ inode: ino, mtimeNs }),
    inode: ino,
  });
  expect(textOf(store, "/models/m/sub/f")).toBe("x".repeat(5000));
  expect(store.operations.map(({ kind }) => kind)).toEqual(["identity"]);
});

// The simulation is worth what it shares with the store it stands for. The seed is fixed: systems differ in rare answers.
test("without faults it answers as the file store does", async () => {
  const name = fc.constantFrom("a", "b", "d", "d/a", "d/e", "d/e/a", "a/b");
  const call = fc.oneof(
    fc.record({ call: fc.constant("write" as const), name, at: fc.nat(9000), length: fc.nat(9000) }),
    fc.record({ call: fc.constant("truncate" as const), name, size: fc.nat(12_000) }),
    fc.record({
      call: fc.constantFrom("read", "remove", "removeDirectory", "makeDirectory", "list", "kind", "realPlace", "lock"),
      name,
    }),
    fc.record({ call: fc.constant("rename" as const), name, to: name }),
  );
  type Call = typeof call extends fc.Arbitrary<infer T> ? T : never;

  async function answer(store: Files, root: string, step: Call): Promise<unknown> {
    const path = placeOf(join(root, step.name));
    if (step.call === "rename") return store.rename(path, placeOf(join(root, (step as { to: string }).to)));
    if (step.call === "remove") return store.remove(path);
    if (step.call === "removeDirectory") return store.removeDirectory(path);
    if (step.call === "makeDirectory") return store.makeDirectory(path);
    if (step.call === "list") return store.list(path);
    if (step.call === "realPlace") return (await store.realPlace(path)).slice(root.length);
    if (step.call === "lock") return (await store.lock(placeOf(`${path}.lock`))).release();
    if (step.call === "kind") return (await store.identity(path))?.kind;
    const file = await (step.call === "read" ? store.open(path) : store.openForWriting(path));
    try {
      if ("write" in file) {
        const written = file as StoredFile;
        if ("at" in step) await written.write(step.at, Buffer.alloc(step.length, 7));
        if ("size" in step) await written.truncate(step.size);
        await written.sync();
      }
      const bytes = Buffer.alloc((await file.identity()).sizeBytes);
      await file.read(0, bytes);
      return bytes.toString("latin1");
    } finally {
      await file.close();
    }
  }
  const settled = (promise: Promise<unknown>) => promise.catch((error: { code: string }) => error.code);

  const folder = temporaryFolder();
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(call, { maxLength: 30 }), async (steps) => {
      const root = placeOf(join(folder, String(run++)));
      const [real, simulated] = [new FileStore(), new SimulatedStore()];
      for (const store of [real, simulated]) await store.makeDirectory(root);
      for (const step of steps) {
        expect(await settled(answer(simulated, root, step))).toEqual(await settled(answer(real, root, step)));
      }
    }),
    { numRuns: 200, seed: 1 },
  );
});
