import { type Files, type Place, StorageError } from "../storage/index.ts";

export async function removeIfEmpty(store: Files, directory: Place): Promise<void> {
  try {
    await store.removeDirectory(directory);
  } catch (error) {
    if (!(error instanceof StorageError && error.code === "storage/not-empty")) throw error;
  }
}
