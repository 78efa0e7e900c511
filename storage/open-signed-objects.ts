import { FileStore } from "./file/file-store.ts";
import type { FarOptions } from "./http/open-ranges.ts";
import type { SignedObjects } from "./http/signed-objects.ts";

/** Objects by addresses that others sign, over connections of their own. Loaded when it is asked for. @throws StorageError `storage/authorities` */
export async function openSignedObjects(options: FarOptions = {}): Promise<SignedObjects> {
  const [{ SignedObjects }, { openRanges }] = await Promise.all([
    import("./http/signed-objects.ts"),
    import("./http/open-ranges.ts"),
  ]);
  return new SignedObjects(await openRanges(new FileStore(), options));
}
