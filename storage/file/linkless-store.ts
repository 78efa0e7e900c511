import { dirname } from "node:path";
import { StorageError } from "../errors.ts";
import type { Store } from "../store.ts";

/**
 * A store that changes nothing through a link: for paths whose links were resolved, and checked, before. Somebody who may write there
 * could put one in the way since, and have files made where he may not. Looked at before a call and, where a file is opened, after it;
 * what is left is an empty file or folder made in the moment between.
 * @throws StorageError `storage/link`
 */
export function linkless(store: Store): Store {
  const inPlace = async (path: string) => {
    const real = await store.realPath(path);
    if (real !== path) throw throughLink(path, real);
  };
  const unlinked = async <T>(paths: readonly string[], call: () => Promise<T>): Promise<T> => {
    for (const path of paths) await inPlace(dirname(path));
    return call();
  };
  return {
    open: async (path, mode, options) => {
      if (mode === "read") return store.open(path, mode, options);
      const file = await unlinked([path], () => store.open(path, mode, { ...options, links: "refuse" }));
      try {
        await inPlace(path);
        if ((await store.identity(path))?.inode !== (await file.identity()).inode)
          throw throughLink(path, "another file");
        return file;
      } catch (error) {
        await file.close();
        throw error;
      }
    },
    identity: (path) => store.identity(path),
    list: (directory) => store.list(directory),
    rename: (from, to) => unlinked([from, to], () => store.rename(from, to)),
    remove: (path) => unlinked([path], () => store.remove(path)),
    removeDirectory: (path) => unlinked([path], () => store.removeDirectory(path)),
    makeDirectory: async (path) => {
      await inPlace(await nearestThere(store, path));
      await store.makeDirectory(path);
      await inPlace(path);
    },
    syncDirectory: (path) => store.syncDirectory(path),
    realPath: (path) => store.realPath(path),
    lock: (path, options) => unlinked([path], () => store.lock(path, options)),
  };
}

async function nearestThere(store: Store, path: string): Promise<string> {
  let there = path;
  while ((await store.identity(there)) === undefined && dirname(there) !== there) there = dirname(there);
  return there;
}

function throughLink(path: string, real: string): StorageError {
  return new StorageError("storage/link", `cannot change ${path}: a link on the way there leads to ${real}`, {
    hint: "It was no link when the output was looked at: find out who put it there, and remove it.",
  });
}
