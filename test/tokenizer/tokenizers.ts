/** Tokenizers made up for tests, as tokenizer.json has them. */
import { type AddedToken, type ModelTokenizer, parseTokenizer, type Tokenizer } from "../../checkpoint/index.ts";

export type Added = readonly [content: string, id: number, properties?: Partial<AddedToken>];

function entryOf([content, id, properties]: Added): AddedToken {
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return { id, content, ...plain, ...properties };
}

export function tokenizerOf(model: Record<string, unknown>, added: readonly Added[] = []): Tokenizer {
  const json = { version: "1.0", added_tokens: added.map(entryOf), normalizer: null, model };
  return parseTokenizer(Buffer.from(JSON.stringify(json)), "made-up");
}

/** `tokens`: in order of id. */
export function bpe(
  tokens: readonly string[],
  merges: readonly string[] = [],
  added: readonly Added[] = [],
): Tokenizer {
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  return tokenizerOf({ type: "BPE", vocab, merges: merges.map((merge) => merge.split(" ")) }, added);
}

export function unigram(pieces: readonly (readonly [string, number])[], added: readonly Added[] = []): Tokenizer {
  return tokenizerOf({ type: "Unigram", unk_id: 0, vocab: pieces }, added);
}

export function beside(
  tokenizer: Tokenizer,
  config?: Record<string, unknown>,
  specialTokensMap?: Record<string, unknown>,
): ModelTokenizer {
  return { tokenizer, config, specialTokensMap };
}
