import { sha256Hex } from "../checkpoint/index.ts";
import { join, type Objects, type Place, StorageError } from "../storage/index.ts";

const GIVEN = Buffer.from("these bytes");
const SHA256_OF_OTHERS = sha256Hex(Buffer.from("others"));

/**
 * Whether a store refuses bytes that are not those of the SHA-256 that comes with them: it is given some, in an upload below `folder` that is
 * given up. One that takes them takes what is damaged on its way, too, and says of it whatever it was told. @throws StorageError
 */
export async function refusesOtherBytes(objects: Objects, folder: Place): Promise<boolean> {
  const place = join(folder, PROBE_NAME);
  const upload = await objects.beginUpload(place);
  try {
    await objects.putPart(place, upload, 1, GIVEN, SHA256_OF_OTHERS);
    return false;
  } catch (error) {
    if (error instanceof StorageError && error.code === "storage/hash") return true;
    throw error;
  } finally {
    await objects.abortUpload(place, upload);
  }
}

const PROBE_NAME = ".probe";
