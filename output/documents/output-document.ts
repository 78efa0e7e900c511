/** A file of the output that is no shard. */
export interface OutputDocument {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export function textDocument(name: string, text: string): OutputDocument {
  return { name, bytes: Buffer.from(text, "utf8") };
}
