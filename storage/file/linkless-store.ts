import { StorageError } from "../errors.ts";
import { type Place, parentOf } from "../place.ts";
import type { Files } from "../port.ts";

/**
 * A store that changes nothing through a link: for places whose links were resolved, and checked, before. Somebody who may write there
 * could put one in the way since, and have files made where he may not. Looked at before a call and, where a file is opened, after it;
 * what is left is an empty file or folder made in the moment between.
 * @throws StorageError `storage/link`
 */
export function linkless(store: Files): Files {
  const inPlace = async (place: Place) => {
    const real = await store.realPlace(place);
    if (real !== place) throw throughLink(place, real);
  };
  const unlinked = async <T>(places: readonly Place[], call: () => Promise<T>): Promise<T> => {
    for (const place of places) await inPlace(parentOf(place));
    return call();
  };
  return {
    open: (place, options) => store.open(place, options),
    openForWriting: async (place, options) => {
      const file = await unlinked([place], () => store.openForWriting(place, { ...options, links: "refuse" }));
      try {
        await inPlace(place);
        if ((await store.identity(place))?.inode !== (await file.identity()).inode)
          throw throughLink(place, "another file");
        return file;
      } catch (error) {
        await file.close();
        throw error;
      }
    },
    identity: (place) => store.identity(place),
    list: (folder) => store.list(folder),
    rename: (from, to) => unlinked([from, to], () => store.rename(from, to)),
    remove: (place) => unlinked([place], () => store.remove(place)),
    removeDirectory: (place) => unlinked([place], () => store.removeDirectory(place)),
    makeDirectory: async (place) => {
      await inPlace(await nearestThere(store, place));
      await store.makeDirectory(place);
      await inPlace(place);
    },
    syncDirectory: (place) => store.syncDirectory(place),
    realPlace: (place) => store.realPlace(place),
    lock: (place, options) => unlinked([place], () => store.lock(place, options)),
  };
}

async function nearestThere(store: Files, place: Place): Promise<Place> {
  let there = place;
  while ((await store.identity(there)) === undefined && parentOf(there) !== there) there = parentOf(there);
  return there;
}

function throughLink(place: Place, real: string): StorageError {
  return new StorageError("storage/link", `cannot change ${place}: a link on the way there leads to ${real}`, {
    hint: "It was no link when the output was looked at: find out who put it there, and remove it.",
  });
}
