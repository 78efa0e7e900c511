import { StorageError } from "./errors.ts";

/** What is looked for, or undefined where nothing is there. @throws all else that `look` throws */
export async function ifThere<T>(look: () => Promise<T>): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Whether a store says that nothing is there. */
export function isNotFound(error: unknown): boolean {
  return error instanceof StorageError && error.code === "storage/not-found";
}

/** Whether a store says that a condition of a call did not hold: something is there, or another than was seen. */
export function isTaken(error: unknown): error is StorageError {
  return error instanceof StorageError && (error.code === "storage/exists" || error.code === "storage/changed");
}
