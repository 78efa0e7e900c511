import { statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";

/**
 * Bytes that this process may still write to the file system of a path, or of the nearest folder above it that is there. Undefined where
 * the file system does not say.
 */
export async function freeBytes(path: string): Promise<number | undefined> {
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    try {
      const { bavail, bsize, blocks } = await statfs(folder);
      // Some network file systems count nothing.
      return blocks === 0 ? undefined : bavail * bsize;
    } catch (error) {
      const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (!isMissing || folder === dirname(folder)) return undefined;
    }
  }
}
