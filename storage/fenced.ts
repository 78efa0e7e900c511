import type { Files, Objects, StoredFile } from "./port.ts";

/**
 * The store of a coordinator that may not be the only one: before each call that changes anything it asks whether it still leads. One
 * that was stopped in the middle of its work and goes on an hour later must not make a stage, or move files, in a job that ended meanwhile.
 * Between the answer and the call there is a moment left; what can be done in it is a call, not the rest of the work.
 * @throws what `confirm` throws
 */
export function fenced(store: Files, confirm: () => Promise<void>): Files {
  const confirmed = async <T>(call: () => Promise<T>): Promise<T> => {
    await confirm();
    return call();
  };
  return {
    open: (place, options) => store.open(place, options),
    openForWriting: async (place, options) =>
      fencedFile(await confirmed(() => store.openForWriting(place, options)), confirmed),
    identity: (place) => store.identity(place),
    list: (folder) => store.list(folder),
    rename: (from, to) => confirmed(() => store.rename(from, to)),
    remove: (place) => confirmed(() => store.remove(place)),
    removeDirectory: (place) => confirmed(() => store.removeDirectory(place)),
    makeDirectory: (place) => confirmed(() => store.makeDirectory(place)),
    syncDirectory: (place) => store.syncDirectory(place),
    realPlace: (place) => store.realPlace(place),
    lock: (place, options) => store.lock(place, options),
  };
}

function fencedFile(file: StoredFile, confirmed: <T>(call: () => Promise<T>) => Promise<T>): StoredFile {
  return {
    place: file.place,
    identity: () => file.identity(),
    read: (...args) => file.read(...args),
    write: (offsetBytes, bytes) => confirmed(() => file.write(offsetBytes, bytes)),
    truncate: (sizeBytes) => confirmed(() => file.truncate(sizeBytes)),
    sync: () => file.sync(),
    close: () => file.close(),
  };
}

/** The same of an object store. */
export function fencedObjects(objects: Objects, confirm: () => Promise<void>): Objects {
  const confirmed = async <T>(call: () => Promise<T>): Promise<T> => {
    await confirm();
    return call();
  };
  return {
    open: (place, options) => objects.open(place, options),
    identity: (place) => objects.identity(place),
    list: (folder) => objects.list(folder),
    realPlace: (place) => objects.realPlace(place),
    listParts: (...args) => objects.listParts(...args),
    listUploads: (folder) => objects.listUploads(folder),
    partsSha256: (place) => objects.partsSha256(place),
    put: (place, bytes, condition) => confirmed(() => objects.put(place, bytes, condition)),
    remove: (place, condition) => confirmed(() => objects.remove(place, condition)),
    beginUpload: (place, parts) => confirmed(() => objects.beginUpload(place, parts)),
    putPart: (...args) => confirmed(() => objects.putPart(...args)),
    copyPart: (...args) => confirmed(() => objects.copyPart(...args)),
    completeUpload: (...args) => confirmed(() => objects.completeUpload(...args)),
    abortUpload: (place, upload) => confirmed(() => objects.abortUpload(place, upload)),
  };
}
