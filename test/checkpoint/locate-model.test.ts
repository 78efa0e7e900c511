import * as fs from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { locateModel, openCheckpoint, type Surroundings } from "../../checkpoint/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

const store = new FileStore();
const commit = "0123456789abcdef0123456789abcdef01234567";

/** A working directory, a recipe's folder, an empty home. */
function place(more: Partial<Surroundings> = {}): Surroundings & { readonly home: string } {
  const folder = temporaryFolder();
  const [cwd, recipeDirectory, home] = ["cwd", "recipe", "home"].map((name) => join(folder, name));
  for (const made of [cwd, recipeDirectory, home]) fs.mkdirSync(made!);
  return {
    cwd: placeOf(cwd!),
    recipeDirectory: placeOf(recipeDirectory!),
    environment: { HOME: home, HF_HUB_OFFLINE: "1" },
    home: home!,
    ...more,
  };
}

/** A folder with a model; returns it. */
function model(...parts: string[]): string {
  const folder = join(...parts);
  writeSafetensors(join(folder, "model.safetensors"), [
    { name: "a", dtype: "U8", shape: [1], bytes: new Uint8Array(1) },
  ]);
  return folder;
}

/** A repository as `hf download` lays it out; returns its folder. */
function cached(hub: string, id: string, ref = "main"): string {
  const repository = join(hub, `models--${id.replace("/", "--")}`);
  const blobs = model(repository, "blobs");
  fs.renameSync(join(blobs, "model.safetensors"), join(blobs, "b10b"));
  fs.mkdirSync(join(repository, "snapshots", commit), { recursive: true });
  fs.symlinkSync("../../blobs/b10b", join(repository, "snapshots", commit, "model.safetensors"));
  fs.mkdirSync(join(repository, "refs", ref, ".."), { recursive: true });
  fs.writeFileSync(join(repository, "refs", ref), commit);
  return repository;
}

describe("a local path", () => {
  test("counts from the working directory, then from the recipe's folder, or is absolute", async () => {
    const at = place();
    const inCwd = model(at.cwd, "a");
    const inRecipe = model(at.recipeDirectory, "b", "c");
    expect(await locateModel(store, { path: "a" }, at)).toEqual({ root: inCwd });
    expect(await locateModel(store, { path: "./b/c/" }, at)).toEqual({ root: inRecipe });
    expect(await locateModel(store, { path: inRecipe }, at)).toEqual({ root: inRecipe });
  });

  test("found in both is an error, unless both are the same", async () => {
    const at = place();
    const inCwd = model(at.cwd, "a");
    fs.symlinkSync(inCwd, join(at.recipeDirectory, "a"));
    expect(await locateModel(store, { path: "a" }, at)).toEqual({ root: inCwd });
    fs.rmSync(join(at.recipeDirectory, "a"));
    model(at.recipeDirectory, "a");
    await expect(locateModel(store, { path: "a" }, at)).rejects.toMatchObject({
      code: "checkpoint/ambiguous-path",
      message: expect.stringMatching(new RegExp(`${at.cwd}.*${at.recipeDirectory}`)),
    });
  });

  test("may be a single file; a link that the user names is followed", async () => {
    const at = place();
    const folder = model(at.cwd, "a");
    fs.symlinkSync(join(folder, "model.safetensors"), join(at.cwd, "link.safetensors"));
    const expected = { root: folder, file: "model.safetensors" };
    expect(await locateModel(store, { path: "a/model.safetensors" }, at)).toEqual(expected);
    expect(await locateModel(store, { path: "link.safetensors" }, at)).toEqual(expected);
  });

  test.each([
    ["checkpoint/pickle", "x/pytorch_model.bin"],
    ["checkpoint/no-weights", "x/config.json"],
  ])("is refused with %s as %s", async (code, path) => {
    const at = place();
    fs.mkdirSync(join(at.cwd, "x"));
    fs.writeFileSync(join(at.cwd, path), "");
    await expect(locateModel(store, { path }, at)).rejects.toMatchObject({ code });
  });

  test("has no revision", async () => {
    const at = place();
    model(at.cwd, "owner", "name");
    const reference = { path: "owner/name", revision: "main" };
    await expect(locateModel(store, reference, at)).rejects.toMatchObject({ code: "checkpoint/local-revision" });
  });

  test.each([
    ["checkpoint/address", "https://example.org/model?token=canary"],
    ["checkpoint/address", "https://me:canary@example.org/model"],
    ["checkpoint/address", "https://example.org/a%zz"],
    ["checkpoint/address", "https://example.org/a%2fb"],
    ["checkpoint/address", "s3:///model"],
    ["checkpoint/not-found", "../models/none"],
    ["checkpoint/not-found", "/none/at/all"],
  ])("is refused with %s: %s", async (code, path) => {
    await expect(locateModel(store, { path }, place())).rejects.toMatchObject({ code });
  });

  test.each([
    ["https://example.org/a%20b/%40c%2Bd%3F/", { root: "https://example.org/a b/@c+d?/" }],
    ["S3://bucket/model.safetensors", { root: "s3://bucket", file: "model.safetensors" }],
    ["s3://bucket/x@y/z+w", { root: "s3://bucket/x@y/z+w" }],
  ])("is where its address says: %s", async (path, location) => {
    expect(await locateModel(store, { path }, place())).toEqual(location);
  });

  test("at an address has no revision, and no secret of it is shown", async () => {
    const revised = locateModel(store, { path: "s3://bucket/model", revision: "main" }, place());
    await expect(revised).rejects.toMatchObject({ code: "checkpoint/address" });
    const secret = locateModel(store, { path: "https://me:canary@example.org/model?sig=canary" }, place());
    await expect(secret).rejects.not.toThrow("canary");
  });

  test("that is not there is answered with the one that differs by a slip of the hand", async () => {
    const at = place();
    model(at.cwd, "models", "base-7b");
    model(at.recipeDirectory, "tuned-7b");
    const located = (path: string) => locateModel(store, { path }, at);
    for (const path of ["./modles/base-7b", "./models/bsae-7b"])
      await expect(located(path)).rejects.toMatchObject({
        code: "checkpoint/not-found",
        message: expect.stringContaining('did you mean "./models/base-7b"?'),
      });
    await expect(located(`${at.cwd}/modles/base-7b`)).rejects.toThrow(`did you mean "${at.cwd}/models/base-7b"?`);
    await expect(located("./tnued-7b/")).rejects.toThrow('did you mean "./tuned-7b/"?');
    await expect(located("modles/base-7b")).rejects.toMatchObject({
      code: "checkpoint/not-in-cache",
      hint: 'Did you mean the folder "models/base-7b"? Get it: hf download modles/base-7b',
    });
    // What would not be there either is not named.
    for (const path of ["./modles/other", "./elsewhere/x"])
      await expect(located(path)).rejects.not.toThrow("did you mean");
  });

  test("is looked for under modelsRoot first: as it stands, then by its last part", async () => {
    const modelsRoot = temporaryFolder();
    const at = place({ modelsRoot: placeOf(modelsRoot) });
    const [last, whole] = [model(modelsRoot, "name"), model(modelsRoot, "owner", "name")];
    model(at.cwd, "owner", "name");
    expect(await locateModel(store, { path: "owner/name" }, at)).toEqual({ root: whole });
    expect(await locateModel(store, { path: "/moved/from/name" }, at)).toEqual({ root: last });
    expect(await locateModel(store, { path: "../x/name", revision: "main" }, at)).toEqual({ root: last });
  });
});

describe("owner/name", () => {
  test.each<[string, (at: ReturnType<typeof place>) => [string, Record<string, string>]]>([
    ["HF_HUB_CACHE", (at) => [join(at.home, "x"), { HF_HUB_CACHE: join(at.home, "x"), HF_HOME: "/none" }]],
    [
      "HUGGINGFACE_HUB_CACHE",
      (at) => [join(at.home, "x"), { HUGGINGFACE_HUB_CACHE: join(at.home, "x"), HF_HOME: "/none" }],
    ],
    ["HF_HOME", (at) => [join(at.home, "x", "hub"), { HF_HOME: "~/x", XDG_CACHE_HOME: "/none" }]],
    ["XDG_CACHE_HOME", (at) => [join(at.home, "x", "huggingface", "hub"), { XDG_CACHE_HOME: join(at.home, "x") }]],
    ["the home folder", (at) => [join(at.home, ".cache", "huggingface", "hub"), {}]],
  ])("is looked up in the cache that %s names, and its links into blobs/ are followed", async (_name, choose) => {
    const at = place();
    const [hub, environment] = choose(at);
    const repository = cached(hub, "owner/name");
    const surroundings = { ...at, environment: { HOME: at.home, ...environment } };
    const location = await locateModel(store, { path: "owner/name" }, surroundings);
    expect(location).toEqual({
      root: join(repository, "snapshots", commit),
      allowLinksInto: join(repository, "blobs"),
    });
    const checkpoint = await openCheckpoint(store, location, "m");
    expect(checkpoint.files[0]).toMatchObject({ name: "model.safetensors", path: join(repository, "blobs", "b10b") });
  });

  test.each([["main"], ["v1.0"], ["refs/pr/7"]])("is found at the revision %s, and by its commit", async (ref) => {
    const hub = temporaryFolder();
    const at = place({ environment: { HF_HUB_CACHE: hub, HF_HUB_OFFLINE: "1" } });
    const repository = cached(hub, "owner/name", ref);
    const expected = { root: join(repository, "snapshots", commit) };
    expect(await locateModel(store, { path: "owner/name", revision: ref }, at)).toMatchObject(expected);
    expect(await locateModel(store, { path: "owner/name", revision: commit }, at)).toMatchObject(expected);
  });

  test("is the local folder where there is one", async () => {
    const hub = temporaryFolder();
    const at = place({ environment: { HF_HUB_CACHE: hub, HF_HUB_OFFLINE: "1" } });
    cached(hub, "owner/name");
    const folder = model(at.cwd, "owner", "name");
    expect(await locateModel(store, { path: "owner/name" }, at)).toEqual({ root: folder });
  });

  test.each([
    ["owner/none", undefined, "hf download owner/none"],
    ["none", undefined, "hf download none"],
    ["owner/name", "v2", "hf download owner/name --revision v2"],
    ["owner/name", "f".repeat(40), `hf download owner/name --revision ${"f".repeat(40)}`],
  ])("that is not in the cache (%s, %s) comes with the command that gets it", async (path, revision, command) => {
    const hub = temporaryFolder();
    cached(hub, "owner/name");
    const reference = revision === undefined ? { path } : { path, revision };
    await expect(
      locateModel(store, reference, place({ environment: { HF_HUB_CACHE: hub, HF_HUB_OFFLINE: "1" } })),
    ).rejects.toMatchObject({
      code: "checkpoint/not-in-cache",
      hint: expect.stringMatching(new RegExp(`${command}$`)),
    });
  });

  test.each(["../../x", "/etc/passwd", "a//b", "x/..", "$(reboot)", ""])(
    "with the revision %j reads nothing outside of refs/",
    async (revision) => {
      const hub = temporaryFolder();
      const repository = cached(hub, "owner/name");
      fs.writeFileSync(join(repository, "..", "x"), commit);
      const at = place({ environment: { HF_HUB_CACHE: hub, HF_HUB_OFFLINE: "1" } });
      await expect(locateModel(store, { path: "owner/name", revision }, at)).rejects.toMatchObject({
        code: "checkpoint/not-in-cache",
        message: expect.stringContaining("is no name of a revision"),
      });
    },
  );

  test("is refused where the cache leads elsewhere", async () => {
    const hub = temporaryFolder();
    const at = place({ environment: { HF_HUB_CACHE: hub, HF_HUB_OFFLINE: "1" } });
    const repository = cached(hub, "owner/name");
    const ref = join(repository, "refs", "main");
    fs.writeFileSync(ref, "../../../elsewhere");
    await expect(locateModel(store, { path: "owner/name" }, at)).rejects.toMatchObject({
      code: "checkpoint/cache-damaged",
    });
    fs.writeFileSync(ref, `${commit}\n`);
    const snapshot = join(repository, "snapshots", commit);
    fs.rmSync(snapshot, { recursive: true });
    fs.symlinkSync(model(at.cwd, "elsewhere"), snapshot);
    await expect(locateModel(store, { path: "owner/name" }, at)).rejects.toMatchObject({
      code: "checkpoint/cache-damaged",
    });
  });

  test("is followed into the blobs of its own repository only", async () => {
    const hub = temporaryFolder();
    const at = place({ environment: { HF_HUB_CACHE: hub, HF_HUB_OFFLINE: "1" } });
    const [repository, other] = [cached(hub, "owner/name"), cached(hub, "owner/other")];
    const link = join(repository, "snapshots", commit, "model.safetensors");
    fs.rmSync(link);
    fs.symlinkSync(join(other, "blobs", "b10b"), link);
    const location = await locateModel(store, { path: "owner/name" }, at);
    await expect(openCheckpoint(store, location, "m")).rejects.toMatchObject({ code: "checkpoint/link-out" });
    // blobs/ itself may not be a link, or it would be any folder.
    fs.rmSync(join(repository, "blobs"), { recursive: true });
    fs.symlinkSync(join(other, "blobs"), join(repository, "blobs"));
    const again = await locateModel(store, { path: "owner/name" }, at);
    await expect(openCheckpoint(store, again, "m")).rejects.toMatchObject({ code: "checkpoint/link-out" });
  });

  test("may be given as the path of its snapshot, or of a file there, too", async () => {
    const at = place();
    const repository = cached(temporaryFolder(), "owner/name");
    const snapshot = join(repository, "snapshots", commit);
    const location = { root: snapshot, allowLinksInto: join(repository, "blobs") };
    expect(await locateModel(store, { path: snapshot }, at)).toEqual(location);
    const file = join(snapshot, "model.safetensors");
    expect(await locateModel(store, { path: file }, at)).toEqual({ ...location, file: "model.safetensors" });
  });
});

test("where a model was looked for is named once where both folders are one", async () => {
  const two = place();
  const one = { ...two, recipeDirectory: two.cwd };
  const said = async (surroundings: Surroundings) => {
    const error: unknown = await locateModel(store, { path: "./none" }, surroundings).catch(
      (thrown: unknown) => thrown,
    );
    return (error as Error).message;
  };
  expect(await said(two)).toMatch(/nothing is there, neither in .*cwd nor in .*recipe$/);
  expect(await said(one)).toMatch(/nothing is there in [^ ]*cwd$/);
});
