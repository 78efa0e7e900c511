/** What the metadata of several files says together, and the keys of which they say different things. */
export interface FilesMetadata {
  readonly metadata: ReadonlyMap<string, string>;
  readonly unclear: readonly string[];
}

/** Lists of names of tensors (torchao) are lists of what a file holds, or of what all do: they are joined. */
const LIST_KEY = "tensor_names";

/** Loaders read the metadata of one file after another into one table: what is said twice must be the same. */
export function metadataOf(headers: readonly ReadonlyMap<string, string>[]): FilesMetadata {
  const metadata = new Map<string, string>();
  const unclear = new Set<string>();
  for (const header of headers) {
    for (const [key, value] of header) {
      const known = metadata.get(key);
      const joined = known === undefined || known === value ? value : maybeJoined(key, known, value);
      if (joined === undefined) unclear.add(key);
      else metadata.set(key, joined);
    }
  }
  return { metadata, unclear: [...unclear] };
}

function maybeJoined(key: string, one: string, other: string): string | undefined {
  const [names, more] = key === LIST_KEY ? [maybeNames(one), maybeNames(other)] : [];
  return names && more && JSON.stringify([...new Set([...names, ...more])]);
}

function maybeNames(text: string): readonly string[] | undefined {
  try {
    const names: unknown = JSON.parse(text);
    return Array.isArray(names) && names.every((name) => typeof name === "string") ? names : undefined;
  } catch {
    return undefined;
  }
}
