import type { Store, StoredFile } from "../../storage/index.ts";

/**
 * The store of a coordinator that may not be the only one: before each call that changes anything it asks whether it still leads. One
 * that was stopped in the middle of its work and goes on an hour later must not make a stage, or move files, in a job that ended meanwhile.
 * Between the answer and the call there is a moment left; what can be done in it is a call, not the rest of the work.
 * @throws what `confirm` throws
 */
export function fencedStore(store: Store, confirm: () => Promise<void>): Store {
  const fenced = async <T>(call: () => Promise<T>): Promise<T> => {
    await confirm();
    return call();
  };
  return {
    open: async (path, mode, options) => {
      if (mode === "read") return store.open(path, mode, options);
      return fencedFile(await fenced(() => store.open(path, mode, options)), fenced);
    },
    identity: (path) => store.identity(path),
    list: (directory) => store.list(directory),
    rename: (from, to) => fenced(() => store.rename(from, to)),
    remove: (path) => fenced(() => store.remove(path)),
    removeDirectory: (path) => fenced(() => store.removeDirectory(path)),
    makeDirectory: (path) => fenced(() => store.makeDirectory(path)),
    syncDirectory: (path) => store.syncDirectory(path),
    realPath: (path) => store.realPath(path),
    lock: (path, options) => store.lock(path, options),
  };
}

function fencedFile(file: StoredFile, fenced: <T>(call: () => Promise<T>) => Promise<T>): StoredFile {
  return {
    path: file.path,
    identity: () => file.identity(),
    read: (offsetBytes, into) => file.read(offsetBytes, into),
    write: (offsetBytes, bytes) => fenced(() => file.write(offsetBytes, bytes)),
    truncate: (sizeBytes) => fenced(() => file.truncate(sizeBytes)),
    sync: () => file.sync(),
    close: () => file.close(),
  };
}
