import { describe, expect, test } from "vitest";
import {
  isWhole,
  join,
  type Place,
  type Readable,
  readWhole,
  readWithVersion,
  type Source,
} from "../../storage/index.ts";

/** A store with a folder of its own, empty, and a way to put files there from outside: whole, in place of what is there. */
export interface SourceRig {
  readonly source: Source;
  readonly folder: Place;
  put(place: Place, bytes: Uint8Array): Promise<void>;
  /** False of a store that cannot be asked what is in a folder, and knows one by a config.json in it: what is no file is not found there. */
  readonly isListed?: boolean;
  /** False of a store that knows no links, and looks for none. */
  readonly hasLinks?: boolean;
}

/** What every store keeps to that is read from. */
export function sourceContract(name: string, begin: () => Promise<SourceRig>): void {
  describe(`${name} keeps the contract of a source`, () => {
    test("ranges are read from any place into a view of a larger buffer, several at once", async () => {
      const { source, place } = await withFile(begin, "0123456789");
      const file = await source.open(place);
      expect(file.place).toBe(place);
      const whole = new Uint8Array(new WebAssembly.Memory({ initial: 1 }).buffer).fill(1);
      await Promise.all([
        file.read(3, whole.subarray(10, 15)),
        file.read(0, whole.subarray(20, 22)),
        file.read(10, whole.subarray(30, 30)),
      ]);
      expect(textOf(whole.subarray(9, 23))).toBe("\x0134567\x01\x01\x01\x01\x0101\x01");
      await file.close();
    });

    test.each([0, 4, 10, 1000])(
      "what is read is the same whether %s bytes are asked for with the opening",
      async (firstBytes) => {
        const { source, place } = await withFile(begin, "0123456789");
        const file = await source.open(place, { firstBytes });
        const into = new Uint8Array(5);
        await file.read(2, into);
        expect(textOf(into)).toBe("23456");
        await file.read(5, into);
        expect(textOf(into)).toBe("56789");
        await file.close();
      },
    );

    test("a file that ends before what is asked for is said to, with its place", async () => {
      const { source, place } = await withFile(begin, "0123456789");
      const file = await source.open(place);
      await expect(file.read(6, new Uint8Array(8))).rejects.toMatchObject({
        code: "storage/short-read",
        retryable: false,
        message: expect.stringContaining(place),
      });
      await file.close();
      const empty = await withFile(begin, "");
      expect(await readWhole(empty.source, empty.place, 10)).toHaveLength(0);
    });

    test("what was closed is not read, and may be closed again", async () => {
      const { source, place } = await withFile(begin, "0123456789");
      const file = await source.open(place);
      await file.close();
      await file.close();
      await expect(file.read(0, new Uint8Array(1))).rejects.toMatchObject({ code: "storage/io" });
    });

    test("nothing there, a folder and a file are told apart, by place", async () => {
      const { source, folder, place, isListed = true, hasLinks = true } = await withFile(begin, "x", "sub/config.json");
      const none = join(folder, "none");
      const calls = [() => source.open(none), () => source.list(none), () => source.realPlace(none)];
      for (const call of hasLinks ? calls : calls.slice(0, 2)) {
        await expect(call()).rejects.toMatchObject({
          code: "storage/not-found",
          hint: expect.stringMatching(/./),
          message: expect.stringContaining(none),
        });
      }
      expect(await source.identity(none)).toBeUndefined();
      expect(await source.identity(join(place, "below-a-file"))).toBeUndefined();
      await expect(source.open(join(folder, "sub"))).rejects.toMatchObject({
        code: isListed ? "storage/not-a-file" : "storage/not-found",
      });
      await expect(source.list(place)).rejects.toMatchObject({
        code: isListed ? "storage/not-a-directory" : "storage/not-found",
      });
      expect(await source.identity(join(folder, "sub"))).toMatchObject({ kind: "directory" });
      expect(await source.identity(place)).toMatchObject({ kind: "file", sizeBytes: 1 });
    });

    test("a state has one version, by its place and by what was opened; another state has another", async () => {
      const { source, place, put } = await withFile(begin, "0123");
      const before = await source.identity(place);
      expect(before?.version).toMatch(/./);
      expect(await source.identity(place)).toEqual(before);
      const file = await source.open(place);
      expect(await file.identity()).toEqual(before);
      await file.close();
      expect((await readWithVersion(source, place, 10)).version).toBe(before?.version);
      await put(place, bytesOf("4567"));
      const after = await source.identity(place);
      expect(after?.sizeBytes).toBe(4);
      expect(after?.version).not.toBe(before?.version);
    });

    test("what was opened is what is read: never bytes of what took its place", async () => {
      const { source, place, put } = await withFile(begin, "old bytes");
      const file = await source.open(place);
      const { sizeBytes } = await file.identity();
      await put(place, bytesOf("newer bytes"));
      expect((await file.identity()).sizeBytes).toBe(sizeBytes);
      expect(await textOrCode(file)).toMatch(/^(?:old|storage\/changed)$/);
      await file.close();
      expect(textOf(await readWhole(source, place, 100))).toBe("newer bytes");
    });

    test("a folder is listed in the order of code units, with kinds, and no deeper", async () => {
      const { source, folder, put, isListed = true } = await begin();
      if (!isListed) return listsKnownNames(source, folder, put);
      for (const name of ["b", "a", "Z", "é", "a10", "a9", "folder/x", "folder/y/z"])
        await put(join(folder, name), bytesOf(""));
      expect((await source.list(folder)).map(({ name, kind }) => `${name} ${kind}`)).toEqual([
        "Z file",
        "a file",
        "a10 file",
        "a9 file",
        "b file",
        "folder directory",
        "é file",
      ]);
      expect((await source.list(join(folder, "folder"))).map(({ name }) => name)).toEqual(["x", "y"]);
    });

    test.each(["with space", "%41", "a+b", "a#b", "a?b=c", "a&b", "ü😀", "a:b", "~", "'\"", "a=b;c"])(
      "a file may be called %s",
      async (name) => {
        const { source, folder, place, isListed = true } = await withFile(begin, "x", name);
        if (isListed) expect((await source.list(folder)).map((entry) => entry.name)).toEqual([name]);
        expect(textOf(await readWhole(source, place, 10))).toBe("x");
        expect((await source.identity(place))?.kind).toBe("file");
      },
    );

    test("the real place of what is no link names it by itself, and is its own real place", async () => {
      const { source, place } = await withFile(begin, "x");
      const real = await source.realPlace(place);
      expect(isWhole(real)).toBe(true);
      expect(await source.realPlace(real)).toBe(real);
      expect(await source.identity(real)).toEqual(await source.identity(place));
    });
  });
}

async function listsKnownNames(source: Source, folder: Place, put: SourceRig["put"]): Promise<void> {
  for (const name of ["tokenizer.json", "config.json", "other.json", "sub/config.json"])
    await put(join(folder, name), bytesOf(""));
  expect(await source.list(folder)).toEqual([
    { name: "config.json", kind: "file" },
    { name: "tokenizer.json", kind: "file" },
  ]);
}

async function withFile(begin: () => Promise<SourceRig>, text: string, name = "a") {
  const rig = await begin();
  const place = join(rig.folder, name);
  await rig.put(place, bytesOf(text));
  return { ...rig, put: (at: Place, bytes: Uint8Array) => rig.put(at, bytes), place };
}

async function textOrCode(file: Readable): Promise<string> {
  const into = new Uint8Array(3);
  return file.read(0, into).then(
    () => textOf(into),
    ({ code }) => code,
  );
}

export const bytesOf = (text: string) => new Uint8Array(Buffer.from(text));
export const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("utf8");
