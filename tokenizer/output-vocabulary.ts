import type { AddedToken } from "../checkpoint/index.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** Where the tokens of the output come from, and how many rows they get. Models are named by index. */
export interface VocabularyRequest {
  /** "own": the tokens of `pattern`. "union": those, then what the other models have besides. */
  readonly extent: "own" | "union";
  /** The model whose tokens keep their ids, and whose tokenizer is the pattern of the output's. */
  readonly pattern: number;
  /** By index of the model; undefined for a model without a tokenizer. */
  readonly vocabularies: readonly (Vocabulary | undefined)[];
  /** The models of a union, in the order of the recipe. */
  readonly order: readonly number[];
  /** Tokens that the recipe lists, in its order; `like`: the token of a model whose properties a new one takes over. */
  readonly listed: readonly { readonly token: string; readonly like?: AddedToken | undefined }[];
  readonly padToMultipleOf: number;
}

/** A token that the pattern's tokenizer lacks. */
export type NewToken =
  | { readonly kind: "normal"; readonly token: string; readonly id: number; readonly model: number }
  | {
      readonly kind: "added";
      readonly token: string;
      readonly id: number;
      readonly properties: Omit<AddedToken, "id" | "content">;
    };

/** The vocabulary of the output: every token has one row, and every model's rows are brought into its order. */
export interface OutputVocabulary {
  readonly pattern: number;
  /** In the order in which tokens were found: the pattern's own, then new ones by id. */
  readonly ids: ReadonlyMap<string, number>;
  /** In order of id. */
  readonly newTokens: readonly NewToken[];
  /** One more than the highest id. */
  readonly size: number;
  /** Of the embeddings: `size`, padded. */
  readonly rows: number;
}

/** An added token that two models define differently; the first counts. */
export interface TokenConflict {
  readonly token: string;
  readonly first: number;
  readonly other: number;
  /** What differs: "special", "lstrip", … */
  readonly properties: readonly string[];
}

const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: false } as const;
const propertyNames = ["single_word", "lstrip", "rstrip", "normalized", "special"] as const;

/** spec: the pattern's tokens with their ids, the others' normal tokens, then their added ones, then those listed. */
export function outputVocabulary(request: VocabularyRequest): {
  readonly vocabulary: OutputVocabulary;
  readonly conflicts: readonly TokenConflict[];
} {
  const { extent, pattern, vocabularies, order, listed, padToMultipleOf } = request;
  const own = vocabularies[pattern];
  if (own === undefined) throw new Error("the pattern of a vocabulary has a tokenizer");
  const ids = new Map(own.ids);
  let size = own.tokens.length;
  const newTokens: NewToken[] = [];
  const conflicts: TokenConflict[] = [];
  const others = (extent === "own" ? [] : order).flatMap((model) => {
    const vocabulary = vocabularies[model];
    return model === pattern || vocabulary === undefined || vocabulary === own ? [] : [{ model, vocabulary }];
  });
  for (const { model, vocabulary } of others) {
    for (const token of vocabulary.tokens) {
      if (token === undefined || ids.has(token) || vocabulary.added.has(token)) continue;
      newTokens.push({ kind: "normal", token, id: size, model });
      ids.set(token, size++);
    }
  }
  const definitions = new Map([...own.added].map(([token, added]) => [token, { added, model: pattern }]));
  for (const { model, vocabulary } of others) {
    for (const [token, added] of vocabulary.added) {
      const known = definitions.get(token);
      if (known === undefined) definitions.set(token, { added, model });
      else {
        const properties = propertyNames.filter((name) => known.added[name] !== added[name]);
        if (properties.length > 0) conflicts.push({ token, first: known.model, other: model, properties });
      }
      if (ids.has(token)) continue;
      newTokens.push({ kind: "added", token, id: size, properties: propertiesOf(added) });
      ids.set(token, size++);
    }
  }
  for (const { token, like } of listed) {
    if (ids.has(token)) continue;
    newTokens.push({ kind: "added", token, id: size, properties: like === undefined ? plain : propertiesOf(like) });
    ids.set(token, size++);
  }
  const rows = Math.ceil(size / padToMultipleOf) * padToMultipleOf;
  return { vocabulary: { pattern, ids, newTokens, size, rows }, conflicts };
}

function propertiesOf({
  single_word,
  lstrip,
  rstrip,
  normalized,
  special,
}: AddedToken): Omit<AddedToken, "id" | "content"> {
  return { single_word, lstrip, rstrip, normalized, special };
}
