import {
  type AddedToken,
  type JsonObject,
  type ModelTokenizer,
  parseExactJson,
  parseTokenizer,
  pythonJsonText,
  SPECIAL_TOKENS_NAME,
  TOKENIZER_CONFIG_NAME,
  TOKENIZER_NAME,
  type Tokenizer,
} from "../checkpoint/index.ts";
import { newMerges } from "./new-merges.ts";
import type { NewToken, OutputVocabulary } from "./output-vocabulary.ts";
import { rowedProcessor } from "./post-processor.ts";
import { contentOf } from "./token-ids.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface WritingRequest {
  readonly output: OutputVocabulary;
  /** By index of the model. */
  readonly vocabularies: readonly (Vocabulary | undefined)[];
  /** Of the model whose tokenizer is the pattern. */
  readonly pattern: ModelTokenizer;
}

/** The tokenizer files that the output's vocabulary makes necessary, by name. */
export interface WrittenTokenizer {
  readonly files: ReadonlyMap<string, string>;
  /**
   * Whether files of slow tokenizers (vocab.json, tokenizer.model, …) still tell the truth: not if normal tokens came or went. With
   * them goes added_tokens.json.
   */
  readonly slowFilesHold: boolean;
  /** Special tokens by what they are for (`pad_token`) that the settings named and that have no row: whoever loads them would add them. */
  readonly dropped: ReadonlyMap<string, string>;
  /** Tokens without a row that the pattern adds around every text, and the output does not. */
  readonly unprocessed: readonly string[];
}

/** Stands where the vocabulary goes; no JSON text holds it, since U+0000 is always escaped there. */
const VOCAB_MARK = "\u0000vocab";

/** The pattern's tokenizer, its tokens without a row taken out and the new ones put in. Pure. */
export function writtenTokenizer({ output, vocabularies, pattern }: WritingRequest): WrittenTokenizer {
  const own = vocabularies[output.pattern];
  if (own === undefined) throw new Error("the pattern of a vocabulary has a tokenizer");
  const { tokenizer } = pattern;
  const added = [...own.added.values(), ...output.newTokens.flatMap(addedFrom)].sort((a, b) => a.id - b.id);
  const newNormal = output.newTokens.filter(({ kind }) => kind === "normal");
  const normal = new Map([...tokenizer.normal].filter(([token]) => own.ids.has(token)));
  for (const { token, id } of newNormal) normal.set(token, id);
  if (!numbersComeOut(normal, added)) for (const { content, id } of added) normal.set(content, id);
  const dropped = tokenizer.normal.size > normal.size - newNormal.length;

  const { processor, dropped: unprocessed } = rowedProcessor(tokenizer.json.post_processor, output.ids);
  const files = new Map([[TOKENIZER_NAME, tokenizerText(output, vocabularies, tokenizer, normal, added, processor)]]);
  if (pattern.config !== undefined) files.set(TOKENIZER_CONFIG_NAME, configText(pattern.config, added, output));
  if (pattern.specialTokensMap !== undefined)
    files.set(SPECIAL_TOKENS_NAME, text(withSpecialTokens(pattern.specialTokensMap, added, output, true)));
  files.set("added_tokens.json", text(Object.fromEntries(added.map(({ content, id }) => [content, id]))));
  return {
    files,
    unprocessed: [...new Set(unprocessed)],
    slowFilesHold: newNormal.length === 0 && !dropped && pattern.slowFilesHold !== false,
    dropped: new Map([
      ...rolesWithoutRow(pattern.config, output),
      ...rolesWithoutRow(pattern.specialTokensMap, output),
    ]),
  };
}

/** Keys such as `pad_token` whose token the output lacks. */
function rolesWithoutRow(holder: JsonObject | undefined, { ids }: OutputVocabulary): (readonly [string, string])[] {
  return Object.entries(holder ?? {}).flatMap(([key, value]) => {
    const token = key.endsWith("_token") ? contentOf(value) : undefined;
    return token === undefined || token === "" || ids.has(token) ? [] : [[key, token] as const];
  });
}

/** What a model has beside it whose tokenizer files are these. */
export function rereadTokenizer(
  { files, slowFilesHold }: Pick<WrittenTokenizer, "files" | "slowFilesHold">,
  label: string,
): ModelTokenizer {
  const object = (name: string) => parseExactJson(files.get(name) ?? "null") as JsonObject | null;
  return {
    tokenizer: parseTokenizer(Buffer.from(files.get(TOKENIZER_NAME) ?? "", "utf8"), label),
    config: object(TOKENIZER_CONFIG_NAME) ?? undefined,
    specialTokensMap: object(SPECIAL_TOKENS_NAME) ?? undefined,
    slowFilesHold,
  };
}

function addedFrom(token: NewToken): AddedToken[] {
  return token.kind === "added" ? [{ id: token.id, content: token.token, ...token.properties }] : [];
}

/**
 * Whether the tokenizers library would give the added tokens their ids: it looks them up among the normal tokens, and numbers the
 * others from the end of the vocabulary on, whatever the file says.
 */
function numbersComeOut(normal: ReadonlyMap<string, number>, added: readonly AddedToken[]): boolean {
  let highest = -1;
  for (const { content, id } of added) {
    const given = normal.get(content) ?? Math.max(highest + 1, normal.size);
    if (given !== id) return false;
    highest = Math.max(highest, given);
  }
  return true;
}

function tokenizerText(
  output: OutputVocabulary,
  vocabularies: readonly (Vocabulary | undefined)[],
  { json, kind }: Tokenizer,
  normal: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
  processor: unknown,
): string {
  const model = json.model as JsonObject;
  const byId = [...normal].sort(([, a], [, b]) => a - b);
  const changed: Record<string, unknown> = {
    ...json,
    added_tokens: added,
    ...(json.post_processor !== undefined && { post_processor: processor }),
    ...(json.padding !== undefined && { padding: paddingOf(json.padding, output) }),
    model: {
      ...model,
      ...(kind === "Unigram" ? { vocab: unigramList(output, vocabularies, model, byId) } : { vocab: VOCAB_MARK }),
      ...(kind === "BPE" && { merges: mergesOf(output, vocabularies, model, normal) }),
    },
  };
  // Objects put keys that look like numbers first; here tokens stand in order of id, as everywhere.
  const vocab = `{${byId.map(([token, id]) => `\n      ${JSON.stringify(token)}: ${id}`).join(",")}\n    }`;
  return text(changed).replace(JSON.stringify(VOCAB_MARK), () => vocab);
}

/** What shorter texts of a batch are filled up with. */
function paddingOf(padding: unknown, { ids }: OutputVocabulary): unknown {
  const token = (padding as { readonly pad_token?: unknown } | null)?.pad_token;
  if (typeof token !== "string") return padding;
  const id = ids.get(token);
  return id === undefined ? null : { ...(padding as object), pad_id: id };
}

function mergesOf(
  output: OutputVocabulary,
  vocabularies: readonly (Vocabulary | undefined)[],
  model: JsonObject,
  normal: ReadonlyMap<string, number>,
): readonly unknown[] {
  const own = Array.isArray(model.merges) ? (model.merges as readonly unknown[]) : [];
  const { kept, brought } = newMerges(output, vocabularies, own, normal);
  const asText = own.length > 0 && own.every((merge) => typeof merge === "string");
  // A space inside a token would part a merge that is written as one text.
  const pairs = !asText || brought.some((pair) => pair.some((part) => part.includes(" ")));
  const written = (pair: readonly [string, string]) => (pairs ? pair : pair.join(" "));
  return [...kept.map(written), ...brought.map(written)];
}

/** Unigram counts places: every id has an entry, and what is no normal token gets a score at which it is never chosen. */
function unigramList(
  output: OutputVocabulary,
  vocabularies: readonly (Vocabulary | undefined)[],
  model: JsonObject,
  byId: readonly (readonly [string, number])[],
): readonly unknown[] {
  const own = model.vocab as readonly (readonly [string, number])[];
  const never = own.reduce((lowest, [, score]) => Math.min(lowest, score), 0) - 100;
  const models = new Map(
    output.newTokens.flatMap((token) => (token.kind === "normal" ? [[token.token, token.model]] : [])),
  );
  const list: (readonly [string, number])[] = [];
  for (const [token, id] of byId) {
    while (list.length < id) list.push([`<unused_row_${list.length}>`, never]);
    const ownEntry = own[id];
    if (ownEntry?.[0] === token) list.push(ownEntry);
    else list.push([token, scoreIn(vocabularies[models.get(token) ?? -1], token) ?? never]);
  }
  return list;
}

function scoreIn(vocabulary: Vocabulary | undefined, token: string): number | undefined {
  if (vocabulary?.tokenizer.kind !== "Unigram") return undefined;
  const { vocab } = vocabulary.tokenizer.json.model as { readonly vocab: readonly (readonly [string, number])[] };
  return vocab[vocabulary.tokenizer.normal.get(token) ?? -1]?.[1];
}

function configText(config: JsonObject, added: readonly AddedToken[], output: OutputVocabulary): string {
  const changed = withSpecialTokens(config, added, output, false);
  if (config.added_tokens_decoder === undefined) return text(changed);
  const decoder = Object.fromEntries(added.map(({ id, ...properties }) => [String(id), properties]));
  return text({ ...changed, added_tokens_decoder: decoder });
}

const listNames = ["additional_special_tokens", "extra_special_tokens"] as const;

/** New special tokens join the list of special ones, and those without a row leave it. `begins`: where there is none yet, too. */
function withSpecialTokens(
  settings: JsonObject,
  added: readonly AddedToken[],
  output: OutputVocabulary,
  begins: boolean,
): Record<string, unknown> {
  const rowless = new Set(rolesWithoutRow(settings, output).map(([role]) => role));
  const holder = Object.fromEntries(
    Object.entries(settings).flatMap(([key, value]) => {
      if (rowless.has(key)) return [];
      return [[key, key === "extra_special_tokens" ? withoutRowless(value, output) : value]];
    }),
  );
  const fresh = new Set(output.newTokens.map(({ token }) => token));
  const special = added.filter((token) => token.special && fresh.has(token.content)).map(({ content }) => content);
  const held = listNames.find((name) => Array.isArray(holder[name]));
  const name = held ?? (begins && special.length > 0 ? listNames[0] : undefined);
  if (name === undefined) return { ...holder };
  const before = held === undefined ? [] : (holder[held] as readonly unknown[]);
  const kept = before.filter((token) => output.ids.has(contentOf(token) ?? ""));
  const known = new Set(kept.map(contentOf));
  return { ...holder, [name]: [...kept, ...special.filter((token) => !known.has(token))] };
}

/** By name, as newer settings have them: those that have a row. */
function withoutRowless(special: unknown, { ids }: OutputVocabulary): unknown {
  if (typeof special !== "object" || special === null || Array.isArray(special)) return special;
  return Object.fromEntries(Object.entries(special).filter(([, token]) => ids.has(contentOf(token) ?? "")));
}

function text(value: unknown): string {
  return `${pythonJsonText(value, 2)}\n`;
}
