import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { parsePlace, parseRoot, Roots } from "../../service/index.ts";
import { FileStore, placeOf, Stores } from "../../storage/index.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

let folder: string;
let roots: Roots;
const at = (...parts: string[]) => join(folder, ...parts);

beforeEach(async () => {
  folder = temporaryFolder();
  for (const name of ["models/llama", "out", "secret"]) mkdirSync(at(name), { recursive: true });
  writeFileSync(at("models", "llama", "model.safetensors"), "");
  writeFileSync(at("secret", "model.safetensors"), "");
  roots = await Roots.open(new FileStore(), [
    { name: "models", path: placeOf(at("models")) },
    { name: "out", path: placeOf(at("out")) },
  ]);
});

describe("roots", () => {
  test("a place is a root and a relative path, both ways", () => {
    const place = { root: "models", path: "llama/model.safetensors" };
    expect(roots.pathOf(place)).toBe(at("models", "llama", "model.safetensors"));
    expect(roots.placeOf(placeOf(at("models", "llama", "model.safetensors")))).toEqual(place);
  });

  test.each(["..", "a/../../x", "/etc/passwd", "a//b", "./a", ""])("%j is no place below a root", (path) => {
    expect(() => roots.pathOf({ root: "models", path })).toThrow(expect.objectContaining({ code: "service/root" }));
  });

  test("another root is refused, and the roots are named", () => {
    expect(() => roots.pathOf({ root: "secret", path: "x" })).toThrow('there is no root "secret"');
  });

  test("what lies below no root is refused, a neighbour with the root's name at its beginning too", () => {
    mkdirSync(at("models-2"));
    for (const path of [at("secret", "model.safetensors"), at("models-2", "x"), at("models")]) {
      expect(() => roots.placeOf(placeOf(path))).toThrow(expect.objectContaining({ code: "service/outside-roots" }));
    }
  });

  test("models are found by root and path, by an absolute path in a root, and by a path below just one", async () => {
    const expected = { root: at("models", "llama") };
    for (const path of ["models:llama", at("models", "llama"), "llama"]) {
      expect(await roots.findModel({ path })).toEqual(expected);
    }
    mkdirSync(at("out", "llama"));
    await expect(roots.findModel({ path: "llama" })).rejects.toMatchObject({ code: "service/root" });
    await expect(roots.findModel({ path: at("secret") })).rejects.toMatchObject({ code: "service/outside-roots" });
    for (const path of ["https://models.test/a", "s3://bucket/a"])
      await expect(roots.findModel({ path })).rejects.toMatchObject({ code: "service/outside-roots" });
    await expect(roots.findModel({ path: "../secret" })).rejects.toMatchObject({ code: "service/root" });
  });

  test("a link that leads out of a root leads nowhere", async () => {
    symlinkSync(at("secret"), at("models", "inner"));
    const { root } = await roots.findModel({ path: "models:inner" });
    expect(() => roots.placeOf(placeOf(join(root, "model.safetensors")))).toThrow(
      expect.objectContaining({ code: "service/outside-roots" }),
    );
  });

  test("an output is where its links lead, inside its root, and has one name", async () => {
    mkdirSync(at("out", "real"));
    symlinkSync(at("out", "real"), at("out", "link"));
    expect(await roots.outputPath({ root: "out", path: "link/a/b" })).toBe(at("out", "real", "a", "b"));
    expect(await roots.outputPath({ root: "out", path: "new/a" })).toBe(at("out", "new", "a"));
    for (const path of ["link/a", "real/a"]) {
      expect(await roots.placeFor({ root: "out", path })).toEqual({ root: "out", path: "real/a" });
    }
  });

  test.each([
    ["away", "a link out of it"],
    ["away/there/x", "a link out of it, and what lies behind"],
    ["inner/away/x", "a link out of it further in"],
    ["dangling", "a link to nothing"],
    ["dangling/x", "a link to nothing, and what would lie behind"],
    ["up/x", "a link to the folder above"],
    ["neighbour/x", "a link to a folder whose name begins as the root's"],
  ])("%s: no output leaves its root through %s", async (path) => {
    mkdirSync(at("out", "inner"));
    mkdirSync(at("secret", "there"));
    mkdirSync(at("out-2"));
    symlinkSync(at("secret"), at("out", "away"));
    symlinkSync("../../secret", at("out", "inner", "away"));
    symlinkSync(at("secret", "nothing"), at("out", "dangling"));
    symlinkSync("..", at("out", "up"));
    symlinkSync(at("out-2"), at("out", "neighbour"));
    const place = { root: "out", path };
    await expect(roots.outputPath(place)).rejects.toMatchObject({ code: "service/outside-roots" });
    await expect(roots.placeFor(place)).rejects.toMatchObject({ code: "service/outside-roots" });
  });

  test("roots are written NAME=DIRECTORY, and must be there", async () => {
    expect(parseRoot("models=mnt/a=b", placeOf("/srv"))).toEqual({ name: "models", path: "/srv/mnt/a=b" });
    for (const text of ["models", "=x", "Mo=x", "a="]) {
      expect(() => parseRoot(text, placeOf("/"))).toThrow(expect.objectContaining({ code: "service/root" }));
    }
    const missing = { name: "models", path: placeOf(at("nothing")) };
    await expect(Roots.open(new FileStore(), [missing])).rejects.toMatchObject({ code: "service/root" });
  });

  test("a place at an address is a root: models are found below it alone, by name and by address, decoded once", async () => {
    const objects = new MemoryObjects();
    for (const key of ["all/a+1%/model.safetensors", "other/model.safetensors"])
      await objects.put(placeOf(`s3://bucket/${key}`), new Uint8Array(1));
    const store = new Stores(new FileStore(), { s3: async () => objects });
    const placed = await Roots.open(store, [
      parseRoot(`out=${at("out")}`, placeOf("/")),
      parsePlace("models=s3://bucket/all/:ro"),
    ]);
    const expected = { root: "s3://bucket/all/a+1%" };
    for (const path of ["models:a+1%", "s3://bucket/all/a%2B1%25", "s3://bucket/all/a%2B1%25/", "a+1%"])
      expect(await placed.findModel({ path })).toEqual(expected);
    expect(await placed.findModel({ path: "models:a+1%/model.safetensors" })).toEqual({
      ...{ ...expected, file: "model.safetensors" },
    });
    expect(placed.placeOf(placeOf("s3://bucket/all/a+1%/x"))).toEqual({ root: "models", path: "a+1%/x" });
    for (const path of [
      "s3://bucket/other",
      "s3://bucket/all",
      "s3://bucket/all/../other",
      "s3://other/all/x",
      "hf://a/b",
    ])
      await expect(placed.findModel({ path }), path).rejects.toMatchObject({ code: "service/outside-roots" });
    await expect(placed.findModel({ path: "s3://bucket/all/a?canary" })).rejects.toThrow(/^(?!.*canary)/s);
    await expect(placed.findModel({ path: "models:a+1%", revision: "x" })).rejects.toThrow(/no revisions/);
    expect(() => placed.checkWritable({ root: "models", path: "x" })).toThrow(
      expect.objectContaining({ code: "service/root" }),
    );
    expect(placed.placeOfText("models:x")).toEqual({ root: "models", path: "x" });
    expect(placed.placeOfText("s3://bucket/all/x%2By/")).toEqual({ root: "models", path: "x+y" });
  });

  test("places are written NAME=s3://bucket/prefix, and a bucket is no root", () => {
    expect(parsePlace("a=s3://bucket/x%2By")).toEqual({ name: "a", path: "s3://bucket/x+y", writable: true });
    expect(parsePlace("a=s3://bucket:ro")).toEqual({ name: "a", path: "s3://bucket", writable: false });
    for (const text of [
      "a=/mnt",
      "a=https://host/x",
      "s3://bucket",
      "A=s3://b/x",
      "a=s3://b/x?canary",
      "a=s3://u:canary@b/x",
    ])
      expect(() => parsePlace(text)).toThrow(/^(?!.*canary).*is no place/s);
    expect(() => parseRoot("a=s3://bucket/x", placeOf("/"))).toThrow(/is no root/);
  });
});
