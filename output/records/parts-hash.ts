import { createHash } from "node:crypto";

/**
 * What is known of a shard that nobody has read from front to back: SHA-256 over the SHA-256s of its parts, as object stores make it of an
 * upload in parts. Parts have one size, but for the last.
 */
export interface PartsHash {
  readonly partBytes: number;
  readonly parts: number;
  /** Hex. */
  readonly sha256: string;
}

export function partsHashOf(sha256s: readonly string[], partBytes: number): PartsHash {
  const hash = createHash("sha256");
  for (const sha256 of sha256s) hash.update(Buffer.from(sha256, "hex"));
  return { partBytes, parts: sha256s.length, sha256: hash.digest("hex") };
}

/** As it stands in records in the place of the SHA-256 of the whole: for nobody to take it for one. */
export function partsHashText({ partBytes, parts, sha256 }: PartsHash): string {
  return `${sha256}-${parts} (parts of ${partBytes})`;
}

/** Undefined of a SHA-256 of the whole. */
export function maybePartsHash(text: string): PartsHash | undefined {
  const [, sha256, parts, partBytes] = /^([0-9a-f]{64})-(\d{1,5}) \(parts of (\d{1,15})\)$/.exec(text) ?? [];
  if (sha256 === undefined || Number(partBytes) === 0) return undefined;
  return { sha256, parts: Number(parts), partBytes: Number(partBytes) };
}
