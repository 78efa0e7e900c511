import type { Store, StoredFile } from "./store.ts";
import { Turns } from "./turns.ts";

/** The same store, with at most `callsMax` calls under way at once, those on its open files included; more wait for their turn. */
export function boundedStore(store: Store, callsMax: number): Store {
  const turns = new Turns(callsMax);
  const inTurn = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => {
    return (...args: A): Promise<R> => turns.take(() => call(...args));
  };
  return {
    open: async (...args) => boundedFile(await turns.take(() => store.open(...args)), turns),
    identity: inTurn((path) => store.identity(path)),
    list: inTurn((directory) => store.list(directory)),
    rename: inTurn((from, to) => store.rename(from, to)),
    remove: inTurn((path) => store.remove(path)),
    removeDirectory: inTurn((path) => store.removeDirectory(path)),
    makeDirectory: inTurn((path) => store.makeDirectory(path)),
    syncDirectory: inTurn((path) => store.syncDirectory(path)),
    realPath: inTurn((path) => store.realPath(path)),
    lock: inTurn((path, options) => store.lock(path, options)),
  };
}

function boundedFile(file: StoredFile, turns: Turns): StoredFile {
  return {
    path: file.path,
    identity: () => turns.take(() => file.identity()),
    read: (offsetBytes, into) => turns.take(() => file.read(offsetBytes, into)),
    write: (offsetBytes, bytes) => turns.take(() => file.write(offsetBytes, bytes)),
    truncate: (sizeBytes) => turns.take(() => file.truncate(sizeBytes)),
    sync: () => turns.take(() => file.sync()),
    close: () => file.close(),
  };
}
