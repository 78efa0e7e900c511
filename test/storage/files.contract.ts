import { describe, expect, test } from "vitest";
import { type Files, join, type Place, parentOf, readWhole, writeWhole } from "../../storage/index.ts";
import { bytesOf, sourceContract, textOf } from "./source.contract.ts";

export interface FilesRig {
  readonly files: Files;
  /** Of its own, empty. */
  readonly folder: Place;
}

/** What every store of files keeps to: that of a source, and what is written. */
export function filesContract(name: string, begin: () => Promise<FilesRig>): void {
  sourceContract(name, async () => {
    const { files, folder } = await begin();
    const put = async (place: Place, bytes: Uint8Array) => {
      await files.makeDirectory(parentOf(place));
      await writeWhole(files, place, bytes);
    };
    return { source: files, folder, put };
  });

  describe(`${name} keeps the contract of files`, () => {
    test("what is written in any place is read back; holes are zeros", async () => {
      const { files, folder } = await begin();
      const file = await files.openForWriting(join(folder, "a"));
      await file.write(8, bytesOf("89"));
      await Promise.all([file.write(0, bytesOf("01")), file.write(3, bytesOf("34"))]);
      await file.sync();
      await file.close();
      expect(textOf(await readWhole(files, join(folder, "a"), 100))).toBe("01\x0034\0\0\x0089");
    });

    test("a file that is there keeps what it holds, and is cut and extended", async () => {
      const { files, folder } = await begin();
      const place = join(folder, "a");
      await writeWhole(files, place, bytesOf("0123"));
      const file = await files.openForWriting(place);
      expect((await file.identity()).sizeBytes).toBe(4);
      await file.truncate(2);
      await file.truncate(4);
      await file.close();
      await file.close();
      expect(textOf(await readWhole(files, place, 100))).toBe("01\0\0");
      await expect(file.write(0, bytesOf("x"))).rejects.toMatchObject({ code: "storage/io" });
    });

    test("a file that must be there is not made, and one in no folder neither", async () => {
      const { files, folder } = await begin();
      for (const opening of [
        () => files.openForWriting(join(folder, "a"), { mustExist: true }),
        () => files.openForWriting(join(folder, "none", "a")),
      ])
        await expect(opening()).rejects.toMatchObject({ code: "storage/not-found" });
      expect(await files.list(folder)).toEqual([]);
      await files.makeDirectory(join(folder, "sub"));
      await expect(files.openForWriting(join(folder, "sub"))).rejects.toMatchObject({ code: "storage/not-a-file" });
    });

    test("two that have a file open see what the other wrote", async () => {
      const { files, folder } = await begin();
      const [one, two] = [await files.openForWriting(join(folder, "a")), await files.openForWriting(join(folder, "a"))];
      await one.write(0, bytesOf("ab"));
      await two.write(1, bytesOf("c"));
      const into = new Uint8Array(2);
      await one.read(0, into);
      expect(textOf(into)).toBe("ac");
      await one.close();
      await two.close();
    });

    test("renaming takes the place of what is there; who had that open reads on", async () => {
      const { files, folder } = await begin();
      const [from, to] = [join(folder, "a"), join(folder, "b")];
      await writeWhole(files, from, bytesOf("new"));
      await writeWhole(files, to, bytesOf("old"));
      const open = await files.open(to);
      await files.rename(from, to);
      await files.syncDirectory(folder);
      expect(await files.identity(from)).toBeUndefined();
      expect(textOf(await readWhole(files, to, 100))).toBe("new");
      const into = new Uint8Array(3);
      await open.read(0, into);
      expect(textOf(into)).toBe("old");
      await open.close();
      await expect(files.rename(from, to)).rejects.toMatchObject({ code: "storage/not-found" });
    });

    test("folders are made with those above them, by many at once; what is done already counts as done", async () => {
      const { files, folder } = await begin();
      const deep = join(folder, "deep", "er", "still");
      await Promise.all([files.makeDirectory(deep), files.makeDirectory(deep), files.makeDirectory(parentOf(deep))]);
      await files.makeDirectory(deep);
      await expect(files.removeDirectory(parentOf(deep))).rejects.toMatchObject({ code: "storage/not-empty" });
      await files.removeDirectory(deep);
      await files.removeDirectory(deep);
      await writeWhole(files, join(folder, "file"), bytesOf(""));
      await expect(files.makeDirectory(join(folder, "file"))).rejects.toMatchObject({ code: "storage/exists" });
      await expect(files.removeDirectory(join(folder, "file"))).rejects.toMatchObject({
        code: "storage/not-a-directory",
      });
      await files.remove(join(folder, "file"));
      await files.remove(join(folder, "file"));
      expect((await files.list(folder)).map(({ name }) => name)).toEqual(["deep"]);
    });

    test("a lock is held by one; whoever has it for the same owner takes it over", async () => {
      const { files, folder } = await begin();
      const place = join(folder, "lock");
      const lock = await files.lock(place);
      await expect(files.lock(place)).rejects.toMatchObject({ code: "storage/locked" });
      await lock.release();
      await (await files.lock(place, { owner: "job 1" })).release();
      expect(await files.identity(place)).toBeUndefined();
    });

    test("of many that put a whole file at once, one's bytes are there, whole", async () => {
      const { files, folder } = await begin();
      const place = join(folder, "a");
      await Promise.all(["1", "22", "333"].map((text) => writeWhole(files, place, bytesOf(text), { by: text })));
      expect(textOf(await readWhole(files, place, 100))).toMatch(/^(?:1|22|333)$/);
      expect((await files.list(folder)).map(({ name }) => name)).toEqual(["a"]);
    });
  });
}
