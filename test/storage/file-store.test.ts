import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { linuxOnly } from "../../scripts/linux-only.mjs";
import {
  FileStore,
  type Files,
  fileVersion,
  placeOf,
  readWhole,
  type StorageError,
  writeWhole,
} from "../../storage/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const disk = vi.hoisted(() => ({ fails: false }));

vi.mock("node:fs", async (original) => {
  const real = await original<typeof fs>();
  const fdatasync = (descriptor: number, done: (error: Error | null) => void) =>
    disk.fails ? done(Object.assign(new Error("EIO: i/o error"), { code: "EIO" })) : real.fdatasync(descriptor, done);
  return { ...real, fdatasync };
});

const bytesOf = (text: string) => new Uint8Array(Buffer.from(text));

describe.each([{ blocking: false }, { blocking: true }])("a file store with blocking $blocking", ({ blocking }) => {
  const store = new FileStore({ blocking });

  test("writes and reads beyond 4 GiB, where an offset of 32 bits would wrap", async () => {
    const file = await store.openForWriting(placeOf(join(temporaryFolder(), "sparse")));
    const far = 5 * 2 ** 32 + 3;
    await file.write(far, bytesOf("far"));
    const into = new Uint8Array(3);
    await file.read(far, into);
    expect(Buffer.from(into).toString()).toBe("far");
    expect((await file.identity()).sizeBytes).toBe(far + 3);
    await file.read(3, into);
    expect([...into]).toEqual([0, 0, 0]);
    await file.close();
  });

  test("says where a file ends that is read past its end", async () => {
    const path = placeOf(join(temporaryFolder(), "a"));
    fs.writeFileSync(path, "0123456789");
    const file = await store.open(path);
    await expect(file.read(6, new Uint8Array(8))).rejects.toMatchObject({
      code: "storage/short-read",
      retryable: false,
      message: expect.stringMatching(/ends at byte 10, 8 bytes from byte 6/),
    });
    await file.close();
  });
});

test("continues after calls that move only part of the bytes, and after interruptions", async () => {
  const path = placeOf(join(temporaryFolder(), "a"));
  const content = Buffer.from("the quick brown fox jumps over the lazy dog");
  const store = new FileStore({ blocking: true });
  const interrupted = () => Object.assign(new Error("interrupted"), { code: "EINTR" });
  const { readSync, writeSync } = await vi.importActual<typeof fs>("node:fs");
  let calls = 0;
  const partly = (transfer: (...values: never[]) => number) =>
    ((descriptor: number, view: Uint8Array, from: number, length: number, position: number) => {
      if (calls++ % 3 === 1) throw interrupted();
      return transfer(...([descriptor, view, from, Math.min(length, 5), position] as never[]));
    }) as never;
  vi.spyOn(fs, "writeSync").mockImplementation(partly(writeSync as never));
  vi.spyOn(fs, "readSync").mockImplementation(partly(readSync as never));
  const file = await store.openForWriting(path);
  await file.write(0, content);
  const into = new Uint8Array(content.length);
  await file.read(0, into);
  vi.restoreAllMocks();
  await file.close();
  expect(calls).toBeGreaterThan(18);
  expect(Buffer.from(into)).toEqual(content);
  expect(fs.readFileSync(path)).toEqual(content);
});

test.each([
  ["ENOSPC", "storage/full", false],
  ["EDQUOT", "storage/over-limit", false],
  ["EFBIG", "storage/over-limit", false],
  ["EROFS", "storage/denied", false],
  ["EACCES", "storage/denied", false],
  ["EIO", "storage/io", true],
])("a write that fails with %s is %s (retryable %s), with path and cause", async (errno, code, retryable) => {
  const store = new FileStore({ blocking: true });
  const file = await store.openForWriting(placeOf(join(temporaryFolder(), "a")));
  const cause = Object.assign(new Error(`${errno}: so it is`), { code: errno });
  vi.spyOn(fs, "writeSync").mockImplementation(() => {
    throw cause;
  });
  const error: StorageError = await file.write(0, new Uint8Array(4)).then(
    () => expect.unreachable(),
    (thrown) => thrown,
  );
  vi.restoreAllMocks();
  expect(error).toMatchObject({ name: "StorageError", code, retryable, cause });
  expect(error.message).toContain(file.place);
  expect(error.hint).not.toBe("");
  await file.close();
});

test("a file that failed to sync stays failed: what the kernel dropped does not come back with the next sync", async () => {
  const store = new FileStore();
  const path = placeOf(join(temporaryFolder(), "a"));
  const file = await store.openForWriting(path);
  await file.write(0, new Uint8Array(4));
  disk.fails = true;
  await expect(file.sync()).rejects.toMatchObject({ code: "storage/io" });
  disk.fails = false;
  await expect(file.sync()).rejects.toMatchObject({ code: "storage/io" });
  await expect(file.write(0, new Uint8Array(4))).rejects.toMatchObject({ code: "storage/io" });
  await file.close();
  const fresh = await store.openForWriting(path);
  await fresh.write(0, new Uint8Array(4));
  await fresh.sync();
  await fresh.close();
});

test("a device that takes nothing is full", async () => {
  const store = new FileStore({ blocking: true });
  const file = await store.openForWriting(placeOf(join(temporaryFolder(), "a")));
  vi.spyOn(fs, "writeSync").mockReturnValue(0);
  await expect(file.write(0, new Uint8Array(4))).rejects.toMatchObject({ code: "storage/full" });
  vi.restoreAllMocks();
  await file.close();
});

describe("a file store", () => {
  const store = new FileStore();

  test("names what is not there, is no file, or is not allowed", async () => {
    const folder = placeOf(temporaryFolder());
    await expect(store.open(placeOf(join(folder, "none")))).rejects.toMatchObject({ code: "storage/not-found" });
    await expect(store.open(folder)).rejects.toMatchObject({ code: "storage/not-a-file" });
    fs.writeFileSync(join(folder, "file"), "");
    await expect(store.list(placeOf(join(folder, "file")))).rejects.toMatchObject({ code: "storage/not-a-directory" });
    await expect(store.list(placeOf(join(folder, "none")))).rejects.toMatchObject({ code: "storage/not-found" });
    await expect(store.realPlace(placeOf(join(folder, "none")))).rejects.toMatchObject({ code: "storage/not-found" });
    await expect(store.makeDirectory(placeOf(join(folder, "file")))).rejects.toMatchObject({ code: "storage/exists" });
  });

  test("does not wait for a writer of a named pipe that stands where a file should", async () => {
    const path = placeOf(join(temporaryFolder(), "pipe"));
    execFileSync("mkfifo", [path]);
    await expect(store.open(path)).rejects.toMatchObject({ code: "storage/not-a-file" });
  });

  test("tells states of a file apart by size, time in nanoseconds and inode, following links", async () => {
    const folder = placeOf(temporaryFolder());
    const path = placeOf(join(folder, "a"));
    fs.writeFileSync(path, "0123");
    fs.symlinkSync("a", join(folder, "link"));
    const identity = await store.identity(path);
    expect(identity).toEqual({
      kind: "file",
      sizeBytes: 4,
      version: expect.stringMatching(/^inode [0-9]+, modified 20[0-9T:-]+\.[0-9]{9}Z$/),
      inode: fs.statSync(path, { bigint: true }).ino,
    });
    const { mtimeNs, ino } = fs.statSync(path, { bigint: true });
    const version = fileVersion({ inode: ino, mtimeNs });
    expect(identity?.version).toBe(version);
    expect(fileVersion({ inode: ino, mtimeNs: mtimeNs + 1n })).not.toBe(version);
    expect(fileVersion({ inode: 3n, mtimeNs: -1n })).toBe("inode 3, modified 1969-12-31T23:59:59.999999999Z");
    expect(await store.identity(placeOf(join(folder, "link")))).toEqual(identity);
    expect(await store.identity(placeOf(join(folder, "none")))).toBeUndefined();
    expect(await store.identity(placeOf(join(path, "below-a-file")))).toBeUndefined();
    expect((await store.identity(folder))?.kind).toBe("directory");
    fs.writeFileSync(join(folder, "b"), "4567");
    fs.renameSync(join(folder, "b"), path);
    expect((await store.identity(path))?.version).not.toBe(version);
  });

  test("makes folders with those above them, and says why one cannot be made", async () => {
    const folder = temporaryFolder();
    const path = placeOf(join(folder, "a", "b", "c"));
    await Promise.all([
      store.makeDirectory(path),
      store.makeDirectory(placeOf(join(path, "d"))),
      store.makeDirectory(path),
    ]);
    await store.makeDirectory(path);
    expect(await store.list(path)).toEqual([{ name: "d", kind: "directory" }]);
    fs.writeFileSync(join(folder, "file"), "");
    await expect(store.makeDirectory(placeOf(join(folder, "file")))).rejects.toMatchObject({ code: "storage/exists" });
    await expect(store.makeDirectory(placeOf(join(folder, "file", "x", "y")))).rejects.toMatchObject({
      code: "storage/not-a-directory",
    });
    fs.symlinkSync("nowhere", join(folder, "dangling"));
    await expect(store.makeDirectory(placeOf(join(folder, "dangling", "x")))).rejects.toMatchObject({
      code: "storage/exists",
    });
  });

  test("does not go round for ever, as Node's recursive mkdir does, where the system makes nothing below a folder of its own", async () => {
    linuxOnly("Such a folder is /proc");
    await expect(store.makeDirectory(placeOf("/proc/none/x"))).rejects.toMatchObject({ code: "storage/not-found" });
  });

  test("gives the identity of the open file, not of what took its name", async () => {
    const path = placeOf(join(temporaryFolder(), "a"));
    fs.writeFileSync(path, "old");
    const file = await store.open(path);
    fs.writeFileSync(`${path}2`, "newer");
    fs.renameSync(`${path}2`, path);
    expect((await file.identity()).sizeBytes).toBe(3);
    await file.close();
  });

  test("lists a folder in the order of code units, with kinds", async () => {
    const folder = placeOf(temporaryFolder());
    for (const name of ["b", "a", "Z", "é", "a10", "a9"]) fs.writeFileSync(join(folder, name), "");
    fs.mkdirSync(join(folder, "folder"));
    fs.symlinkSync("a", join(folder, "link"));
    expect((await store.list(folder)).map(({ name, kind }) => `${name} ${kind}`)).toEqual([
      "Z file",
      "a file",
      "a10 file",
      "a9 file",
      "b file",
      "folder directory",
      "link link",
      "é file",
    ]);
  });

  test("removes a link, not what it leads to", async () => {
    const folder = temporaryFolder();
    fs.writeFileSync(join(folder, "a"), "");
    fs.symlinkSync("a", join(folder, "link"));
    await store.remove(placeOf(join(folder, "link")));
    expect(fs.readdirSync(folder)).toEqual(["a"]);
  });

  test("one that stood still in the middle of a file changes nothing that another has put in place meanwhile", async () => {
    const path = placeOf(join(temporaryFolder(), "a"));
    const truncated = async (truncate: () => Promise<void>) => {
      await writeWhole(store, path, bytesOf("second"), { by: "2" });
      await truncate();
      throw new Error("another leads");
    };
    const first = writeWhole(truncating(store, truncated), path, bytesOf("first"), { by: "1" });
    await expect(first).rejects.toThrow("another leads");
    expect(fs.readFileSync(path, "utf8")).toBe("second");
  });

  test("replaces whole files at once, also after a crash left a longer half-written one", async () => {
    const path = placeOf(join(temporaryFolder(), "a"));
    fs.writeFileSync(`${path}.partial`, "much longer than what comes");
    await writeWhole(store, path, bytesOf("one"));
    expect(fs.readFileSync(path, "utf8")).toBe("one");
    await writeWhole(store, path, bytesOf("two"));
    expect(Buffer.from(await readWhole(store, path, 3)).toString()).toBe("two");
    expect(fs.existsSync(`${path}.partial`)).toBe(false);
    await expect(readWhole(store, path, 2)).rejects.toMatchObject({
      code: "storage/too-large",
      message: expect.stringMatching(/3 bytes, at most 2/),
    });
  });
});

/** The store, but for how its files are truncated. */
function truncating(store: FileStore, how: (truncate: () => Promise<void>) => Promise<void>): Files {
  const openForWriting: Files["openForWriting"] = async (...asked) => {
    const file = await store.openForWriting(...asked);
    const truncate = (sizeBytes: number) => how(() => file.truncate(sizeBytes));
    return {
      place: file.place,
      ...{ truncate, identity: () => file.identity(), sync: () => file.sync(), close: () => file.close() },
      read: (offsetBytes, into) => file.read(offsetBytes, into),
      write: (offsetBytes, bytes) => file.write(offsetBytes, bytes),
    };
  };
  return { openForWriting } as Files;
}
