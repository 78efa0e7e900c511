import type { OutputVocabulary } from "./output-vocabulary.ts";
import type { Vocabulary } from "./vocabulary.ts";

type Merge = readonly [string, string];

/**
 * The merges of a byte-pair tokenizer whose vocabulary changed. `kept`: the pattern's own, without those that need a token that is
 * gone. `brought`: those by which new tokens are made in the models that they come from, in their order, after all own ones: what
 * the pattern's text is cut into changes only where a new token is made of its tokens.
 */
export function newMerges(
  output: OutputVocabulary,
  vocabularies: readonly (Vocabulary | undefined)[],
  own: readonly unknown[],
  normal: ReadonlyMap<string, number>,
): { readonly kept: readonly Merge[]; readonly brought: readonly Merge[] } {
  const isThere = ([a, b]: Merge) => normal.has(a) && normal.has(b) && normal.has(a + b);
  const parsed = own.flatMap(mergeFrom);
  const prefixed = typeof continuingPrefixOf(vocabularies[output.pattern]) === "string";
  const kept = prefixed ? parsed : parsed.filter(isThere);
  const fresh = new Map<number, Set<string>>();
  for (const token of output.newTokens) {
    if (token.kind !== "normal") continue;
    const ofModel = fresh.get(token.model) ?? new Set();
    fresh.set(token.model, ofModel.add(token.token));
  }
  const brought: Merge[] = [];
  for (const [model, tokens] of fresh) {
    const { tokenizer } = vocabularies[model] ?? {};
    if (tokenizer?.kind !== "BPE" || prefixed) continue;
    const { merges } = tokenizer.json.model as { readonly merges?: readonly unknown[] };
    for (const merge of (merges ?? []).flatMap(mergeFrom)) {
      if (tokens.has(merge[0] + merge[1]) && isThere(merge)) brought.push(merge);
    }
  }
  return { kept, brought };
}

function continuingPrefixOf(vocabulary: Vocabulary | undefined): unknown {
  const model = vocabulary?.tokenizer.json.model as { readonly continuing_subword_prefix?: unknown } | undefined;
  return model?.continuing_subword_prefix === "" ? undefined : model?.continuing_subword_prefix;
}

/** A merge as a pair or, in older files, as text with one space. */
function mergeFrom(merge: unknown): Merge[] {
  const parts = typeof merge === "string" ? merge.split(" ") : Array.isArray(merge) ? merge : [];
  const [a, b] = parts as readonly unknown[];
  return parts.length === 2 && typeof a === "string" && typeof b === "string" ? [[a, b]] : [];
}
