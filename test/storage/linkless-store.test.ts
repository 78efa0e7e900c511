import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { FileStore, type Files, linkless, placeOf, writeWhole } from "../../storage/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

let out: string;
let secret: string;
const store = linkless(new FileStore());
const refused = { code: "storage/link" };

beforeEach(() => {
  const folder = temporaryFolder();
  [out, secret] = [join(folder, "out"), join(folder, "secret")];
  mkdirSync(join(out, "job"), { recursive: true });
  mkdirSync(secret);
  writeFileSync(join(secret, "file"), "secret");
});

/** Somebody puts a link in the place of the job's folder. */
function swap(): void {
  renameSync(join(out, "job"), join(out, "moved"));
  symlinkSync(secret, join(out, "job"));
}

test("without links it changes files as any other", async () => {
  await store.makeDirectory(placeOf(join(out, "job/a/b")));
  await writeWhole(store, placeOf(join(out, "job/a/b/file")), Buffer.from("x"));
  await store.rename(placeOf(join(out, "job/a/b/file")), placeOf(join(out, "job/file")));
  expect(readFileSync(join(out, "job/file"), "latin1")).toBe("x");
  await store.remove(placeOf(join(out, "job/file")));
  await store.removeDirectory(placeOf(join(out, "job/a/b")));
  const lock = await store.lock(placeOf(join(out, "job/lock")));
  await lock.release();
  expect(readdirSync(join(out, "job"))).toEqual(["a"]);
});

describe("through a folder that became a link", () => {
  test.each<[string, (path: string) => Promise<unknown>]>([
    ["opens no file to write", (path) => store.openForWriting(placeOf(join(path, "file")))],
    ["makes no file", (path) => store.openForWriting(placeOf(join(path, "new")))],
    ["opens no file to rewrite", (path) => store.openForWriting(placeOf(join(path, "file")), { mustExist: true })],
    ["makes no folder", (path) => store.makeDirectory(placeOf(join(path, "new")))],
    ["renames nothing away", (path) => store.rename(placeOf(join(path, "file")), placeOf(join(out, "stolen")))],
    ["renames nothing to there", (path) => store.rename(placeOf(join(out, "own")), placeOf(join(path, "file")))],
    ["removes no file", (path) => store.remove(placeOf(join(path, "file")))],
    ["removes no folder", (path) => store.removeDirectory(placeOf(join(path, "folder")))],
    ["locks nothing", (path) => store.lock(placeOf(join(path, "lock")))],
  ])("it %s", async (_, act) => {
    mkdirSync(join(secret, "folder"));
    writeFileSync(join(out, "own"), "own");
    swap();
    await expect(act(join(out, "job"))).rejects.toMatchObject(refused);
    expect(readdirSync(secret)).toEqual(["file", "folder"]);
    expect(readFileSync(join(secret, "file"), "latin1")).toBe("secret");
  });
});

test("a file that is itself a link is not written", async () => {
  symlinkSync(join(secret, "file"), placeOf(join(out, "job/file")));
  for (const mustExist of [false, true]) {
    await expect(store.openForWriting(placeOf(join(out, "job/file")), { mustExist })).rejects.toMatchObject(refused);
  }
  const plain = await new FileStore().openForWriting(placeOf(join(out, "job/file")), { mustExist: true });
  await plain.close();
});

test("a folder that becomes a link just as a file is opened: nothing is written there", async () => {
  const racing: Files = Object.assign(new FileStore(), {});
  const open = racing.openForWriting.bind(racing);
  racing.openForWriting = (path, options) => {
    swap();
    return open(path, options);
  };
  await expect(linkless(racing).openForWriting(placeOf(join(out, "job/file")))).rejects.toMatchObject(refused);
  expect(readFileSync(join(secret, "file"), "latin1")).toBe("secret");
  expect(existsSync(join(out, "moved/file"))).toBe(false);
});
