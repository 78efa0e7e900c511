import { randomBytes } from "node:crypto";
import { closeSync, openSync, unlinkSync } from "node:fs";
import { storageError } from "../errors.ts";
import { join, type Place, placeOf } from "../place.ts";
import type { StoredFile } from "../port.ts";
import { DescriptorFile } from "./stored-file.ts";

/** A file that has lost its name as soon as it had it: all threads of this process may use it, and it is gone with the process, however that ends. */
export interface UnnamedFile {
  /** Its descriptor, for `unnamedFileAt` in another thread. */
  readonly descriptor: number;
  /** Once no thread uses it any more. */
  close(): void;
}

/** In a folder that is there. @throws StorageError */
export function makeUnnamedFile(folder: Place): UnnamedFile {
  const path = join(folder, `unnamed-${process.pid}-${randomBytes(6).toString("hex")}`);
  try {
    const descriptor = openSync(path, "wx+", 0o600);
    unlinkSync(path);
    return { descriptor, close: () => closeSync(descriptor) };
  } catch (cause) {
    throw storageError(cause, "make", path);
  }
}

/** The same file, in whatever thread; calls block the thread. */
export function unnamedFileAt(descriptor: number): Pick<StoredFile, "read" | "write"> {
  return new DescriptorFile(placeOf("/the cache of ranges"), descriptor, true);
}
