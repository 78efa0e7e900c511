/** Tokenizers of a million tokens have some 50 MB. */
export const MAX_COMPANION_BYTES = 1_000_000_000;

/** A file of the output that is no shard. */
export interface OutputDocument {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export function textDocument(name: string, text: string): OutputDocument {
  return { name, bytes: Buffer.from(text, "utf8") };
}
