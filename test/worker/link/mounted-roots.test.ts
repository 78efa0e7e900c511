import { mkdirSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FileStore, placeOf, Stores } from "../../../storage/index.ts";
import { checkMountedRoots, MountedRoots, parseMountedPlace, parseMountedRoot } from "../../../worker/link/index.ts";
import { MemoryObjects } from "../../support/memory-objects.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

function folder() {
  const path = realpathSync(temporaryFolder());
  mkdirSync(join(path, "root", "snapshots"), { recursive: true });
  mkdirSync(join(path, "root", "blobs"));
  mkdirSync(join(path, "root-beside"));
  for (const file of ["root/blobs/b", "root/a", "root-beside/secret"]) writeFileSync(join(path, file), "x");
  symlinkSync("../blobs/b", join(path, "root", "snapshots", "model"));
  symlinkSync("../root-beside/secret", join(path, "root", "out"));
  symlinkSync("../root-beside", join(path, "root", "way-out"));
  const readOnly = { name: "r", path: placeOf(join(path, "root")), writable: false };
  return { path, roots: new MountedRoots(new FileStore(), [readOnly, { ...readOnly, name: "w", writable: true }]) };
}

test("a path is found in its root, and links inside of it are followed, as the Hub's cache needs", async () => {
  const { path, roots } = folder();
  expect(await roots.resolve({ root: "r", path: "a" }, "read")).toBe(join(path, "root", "a"));
  expect(await roots.resolve({ root: "w", path: "snapshots/model" }, "write")).toBe(join(path, "root", "blobs", "b"));
});

test.each([
  ["another root", { root: "x", path: "a" }, "read"],
  ["a step up", { root: "r", path: "../root-beside/secret" }, "read"],
  ["a step up in the middle", { root: "r", path: "blobs/../../root-beside/secret" }, "read"],
  ["an absolute path", { root: "r", path: "/etc/passwd" }, "read"],
  ["the root itself", { root: "r", path: "." }, "read"],
  ["an empty part", { root: "r", path: "blobs//b" }, "read"],
  ["a link out", { root: "r", path: "out" }, "read"],
  ["a folder that is a link out", { root: "r", path: "way-out/secret" }, "read"],
  ["writing where only reading is allowed", { root: "r", path: "a" }, "write"],
] as const)("%s is refused", async (_, place, mode) => {
  const { roots } = folder();
  await expect(roots.resolve({ ...place }, mode)).rejects.toMatchObject({ code: "worker/root" });
});

test("roots are given as NAME=PATH, with :ro to read only, each name once", () => {
  expect(parseMountedRoot("models=/mnt/a:ro")).toEqual({ name: "models", path: "/mnt/a", writable: false });
  expect(parseMountedRoot("out=/mnt/b=c")).toEqual({ name: "out", path: "/mnt/b=c", writable: true });
  for (const wrong of ["models", "=/mnt", "models=", "models=:ro", "a b=/mnt"])
    expect(() => parseMountedRoot(wrong)).toThrow(/is no root/);
  expect(() => checkMountedRoots([parseMountedRoot("a=/x"), parseMountedRoot("a=/y")])).toThrow(/given twice/);
});

test("a place at an address is touched below its prefix alone, and written to unless it is only read", async () => {
  const store = new Stores(new FileStore(), { s3: async () => new MemoryObjects() });
  const places = ["m=s3://bucket/a:ro", "o=s3://bucket/b%2Bc/"].map(parseMountedPlace);
  const roots = new MountedRoots(store, places);
  expect(await roots.resolve({ root: "m", path: "x/y" }, "read")).toBe("s3://bucket/a/x/y");
  expect(await roots.resolve({ root: "o", path: "x" }, "write")).toBe("s3://bucket/b+c/x");
  for (const [root, path, mode] of [
    ["m", "x", "write"],
    ["m", "../b", "read"],
    ["o", ".", "read"],
  ] as const)
    await expect(roots.resolve({ root, path }, mode)).rejects.toMatchObject({ code: "worker/root" });
  for (const wrong of ["m=/mnt", "m=https://h/x", "m=s3://b?canary"])
    expect(() => parseMountedPlace(wrong)).toThrow(/^(?!.*canary).*is no place/s);
  expect(() => parseMountedRoot("m=s3://bucket")).toThrow(/is no root/);
});
