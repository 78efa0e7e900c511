import { type Source, StorageError } from "../storage/index.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { CheckpointError, quoted } from "./errors.ts";
import { MAX_COMPANION_BYTES } from "./folder-files.ts";
import { sha256Hex } from "./hash.ts";
import { markFault } from "./json-bytes.ts";
import { jsonFault } from "./json-file.ts";
import { parseExactJson, parsePythonJson } from "./python-json.ts";
import { plannedSidecar } from "./sidecars.ts";
import { holdsSlowVocabulary, maybeSlowVocabulary } from "./slow-vocabulary.ts";

/** Tokenizers of 250,000 tokens have some 35 MB. */
const MAX_TOKENIZER_BYTES = 250_000_000;
const MAX_SETTINGS_BYTES = 50_000_000;
/** More than any vocabulary has; an id is a row of a matrix. */
const MAX_TOKEN_ID = 16_777_215;

/** Normalizers and the like nest ten deep. */
const MAX_DEPTH = 64;

export type JsonObject = Readonly<Record<string, unknown>>;

/** What tokenizer.json calls its algorithm, `model.type`. */
export type TokenizerKind = "BPE" | "WordPiece" | "WordLevel" | "Unigram";

/** An entry of `added_tokens`: found in the text before anything else is done with it. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

/** A tokenizer.json, checked as far as it is used here. Models with equal files share one object. */
export interface Tokenizer {
  readonly kind: TokenizerKind;
  /** The file as parsed. */
  readonly json: JsonObject;
  /** Tokens that the algorithm makes, in order of id. */
  readonly normal: ReadonlyMap<string, number>;
  /** In order of id. A token may stand here and among the normal ones. */
  readonly added: readonly AddedToken[];
}

/** What stands beside a model's weights about its text. */
export interface ModelTokenizer {
  readonly tokenizer: Tokenizer;
  /** tokenizer_config.json and special_tokens_map.json as parsed, where they are there. */
  readonly config: JsonObject | undefined;
  readonly specialTokensMap: JsonObject | undefined;
  /** False: the files beside it that slow tokenizers read are those of another vocabulary. */
  readonly slowFilesHold?: boolean;
}

export const TOKENIZER_NAME = "tokenizer.json";
export const TOKENIZER_CONFIG_NAME = "tokenizer_config.json";
export const ADDED_TOKENS_NAME = "added_tokens.json";
export const SPECIAL_TOKENS_NAME = "special_tokens_map.json";
export const CHAT_TEMPLATE_NAME = "chat_template.jinja";

/** Reads the tokenizers of one merge's models: fine-tunes mostly have the same, which is then read but parsed only once. */
export class TokenizerReader {
  readonly #store: Source;
  readonly #known = new Map<string, Tokenizer>();
  /** Small files that several questions are answered from, by their paths. */
  readonly #settings = new Map<string, Promise<Uint8Array>>();
  /** Of each tokenizer.json that was read, by its path, and of what hashes to that: why Python could not read it. */
  readonly #hashes = new Map<string, string>();
  readonly #faults = new Map<string, string | undefined>();

  constructor(store: Source) {
    this.#store = store;
  }

  /**
   * Undefined for a model without tokenizer.json.
   * @throws CheckpointError `checkpoint/tokenizer` naming file and what is wrong; StorageError
   */
  async read(
    checkpoint: Pick<Checkpoint, "root" | "companions" | "sidecars" | "read">,
    label: string,
  ): Promise<ModelTokenizer | undefined> {
    if (!checkpoint.companions.includes(TOKENIZER_NAME)) return undefined;
    const bytes = await this.#bytes(checkpoint, TOKENIZER_NAME, MAX_TOKENIZER_BYTES, label);
    const sha256 = sha256Hex(bytes);
    this.#hashes.set(pathOf(checkpoint, TOKENIZER_NAME), sha256);
    if (!this.#faults.has(sha256)) this.#faults.set(sha256, jsonFault(bytes));
    let tokenizer = this.#known.get(sha256);
    if (tokenizer === undefined) {
      tokenizer = parseTokenizer(bytes, label);
      this.#known.set(sha256, tokenizer);
    }
    const config = await this.#maybeObject(checkpoint, TOKENIZER_CONFIG_NAME, label);
    const decoder = config?.added_tokens_decoder;
    const beside = isObject(decoder) ? undefined : await this.#maybeObject(checkpoint, ADDED_TOKENS_NAME, label);
    const more = addedBeside(tokenizer, isObject(decoder) ? fromDecoder(decoder) : Object.entries(beside ?? {}), label);
    if (more.length > 0) {
      const key = `${sha256} ${JSON.stringify(more)}`;
      const added = [...tokenizer.added, ...more];
      const known = this.#known.get(key) ?? { ...tokenizer, json: { ...tokenizer.json, added_tokens: added }, added };
      this.#known.set(key, known);
      tokenizer = known;
    }
    return { tokenizer, config, specialTokensMap: await this.#maybeObject(checkpoint, SPECIAL_TOKENS_NAME, label) };
  }

  /** The tokens in files for slow tokenizers, and what their settings add, by the files' names, each as a tokenizer that has these tokens and is good for comparing only. */
  async slowVocabularies(
    checkpoint: Pick<Checkpoint, "root" | "companions" | "sidecars" | "read">,
    label: string,
  ): Promise<ReadonlyMap<string, Tokenizer>> {
    const found = new Map<string, Tokenizer>();
    for (const name of checkpoint.companions.filter(holdsSlowVocabulary)) {
      const bytes = await this.#bytes(checkpoint, name, MAX_TOKENIZER_BYTES, label);
      const key = `${name} ${sha256Hex(bytes)}`;
      const known = this.#known.get(key);
      const normal = known === undefined ? maybeSlowVocabulary(name, bytes) : undefined;
      const tokenizer = known ?? (normal && wordsOf(normal));
      if (tokenizer === undefined) continue;
      this.#known.set(key, tokenizer);
      found.set(name, tokenizer);
    }
    const settings = await this.objects(checkpoint, label, (name) => name === TOKENIZER_CONFIG_NAME);
    const decoder = settings.get(TOKENIZER_CONFIG_NAME)?.added_tokens_decoder;
    const added = new Map(
      fromDecoder(isObject(decoder) ? decoder : {}).flatMap(([content, id]) =>
        typeof content === "string" ? [[content, Number(id)] as const] : [],
      ),
    );
    if (added.size > 0) found.set(TOKENIZER_CONFIG_NAME, wordsOf(added));
    return found;
  }

  /** A model's chat template: of chat_template.jinja, else of tokenizer_config.json. Of several, the one called "default". */
  async chatTemplate(
    checkpoint: Pick<Checkpoint, "root" | "companions" | "sidecars" | "read">,
    label: string,
  ): Promise<string | undefined> {
    if (checkpoint.companions.includes(CHAT_TEMPLATE_NAME)) {
      const bytes = await this.#bytes(checkpoint, CHAT_TEMPLATE_NAME, MAX_SETTINGS_BYTES, label);
      return Buffer.from(bytes).toString("utf8");
    }
    const template = (await this.#maybeObject(checkpoint, TOKENIZER_CONFIG_NAME, label))?.chat_template;
    if (typeof template === "string") return template;
    if (!Array.isArray(template)) return undefined;
    const named = template.find((one: unknown) => isObject(one) && one.name === "default") ?? template[0];
    return isObject(named) && typeof named.template === "string" ? named.template : undefined;
  }

  /** Files beside the weights of which `isWanted` tells by their names, by name; what is no JSON is left out. */
  async objects(
    checkpoint: Pick<Checkpoint, "root" | "companions" | "sidecars" | "read">,
    label: string,
    isWanted: (name: string) => boolean,
  ): Promise<ReadonlyMap<string, JsonObject>> {
    const files = new Map<string, JsonObject>();
    for (const name of checkpoint.companions.filter(isWanted)) {
      try {
        files.set(name, parseObject(await this.#settingsOf(checkpoint, name, label), name, label));
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
      }
    }
    return files;
  }

  /** Why Python could not read a JSON file beside the weights, with the place. What was read for something else is not read again. */
  async jsonFault(
    checkpoint: Pick<Checkpoint, "root" | "sidecars" | "read">,
    name: string,
  ): Promise<string | undefined> {
    const path = pathOf(checkpoint, name);
    const hash = this.#hashes.get(path);
    if (hash !== undefined) return this.#faults.get(hash);
    const read = await this.#settings.get(path)?.catch(() => undefined);
    return jsonFault(read ?? (await plannedSidecar(this.#store, checkpoint, name, MAX_COMPANION_BYTES)));
  }

  async #maybeObject(
    checkpoint: Pick<Checkpoint, "root" | "companions" | "sidecars" | "read">,
    name: string,
    label: string,
  ): Promise<JsonObject | undefined> {
    if (!checkpoint.companions.includes(name)) return undefined;
    return parseObject(await this.#settingsOf(checkpoint, name, label), name, label);
  }

  async #settingsOf(
    checkpoint: Pick<Checkpoint, "root" | "sidecars" | "read">,
    name: string,
    label: string,
  ): Promise<Uint8Array> {
    const path = pathOf(checkpoint, name);
    const settings = this.#settings.get(path) ?? this.#bytes(checkpoint, name, MAX_SETTINGS_BYTES, label);
    this.#settings.set(path, settings);
    return settings;
  }

  async #bytes(
    checkpoint: Pick<Checkpoint, "root" | "sidecars" | "read">,
    name: string,
    limitBytes: number,
    label: string,
  ): Promise<Uint8Array> {
    try {
      return await plannedSidecar(this.#store, checkpoint, name, limitBytes);
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== "storage/too-large") throw error;
      throw wrong(label, name, `the file has more than the ${limitBytes} bytes allowed`);
    }
  }
}

function pathOf({ root }: Pick<Checkpoint, "root">, name: string): string {
  return `${root}/${name}`;
}

/** @throws CheckpointError `checkpoint/tokenizer` */
export function parseTokenizer(bytes: Uint8Array, label: string): Tokenizer {
  const json = parseObject(bytes, TOKENIZER_NAME, label);
  const model = isObject(json.model) ? json.model : undefined;
  if (model === undefined) throw wrong(label, TOKENIZER_NAME, 'it has no object "model"');
  const kind = kindOf(model, label);
  const pairs = kind === "Unigram" ? unigramTokens(model, label) : vocabTokens(model, label);
  const normal = new Map(pairs.sort(([, a], [, b]) => a - b));
  const added = addedTokens(json.added_tokens, label).sort((a, b) => a.id - b.id);
  return { kind, json, normal, added };
}

function kindOf(model: JsonObject, label: string): TokenizerKind {
  const { type } = model;
  if (type === "BPE" || type === "WordPiece" || type === "WordLevel" || type === "Unigram") return type;
  // Files of the first versions of the tokenizers library do not say what they are.
  if (type === undefined && Array.isArray(model.merges)) return "BPE";
  if (type === undefined && Array.isArray(model.vocab)) return "Unigram";
  if (type === undefined && "continuing_subword_prefix" in model) return "WordPiece";
  if (type === undefined && isObject(model.vocab)) return "WordLevel";
  throw wrong(
    label,
    TOKENIZER_NAME,
    `its model is of type ${quoted(String(type))}, BPE, WordPiece, WordLevel or Unigram are known`,
  );
}

function vocabTokens({ vocab }: JsonObject, label: string): [string, number][] {
  if (!isObject(vocab)) throw wrong(label, TOKENIZER_NAME, 'its model has no object "vocab"');
  return Object.entries(vocab).map(([token, id]) => [token, checkedId(id, token, label)]);
}

function unigramTokens({ vocab }: JsonObject, label: string): [string, number][] {
  if (!Array.isArray(vocab)) throw wrong(label, TOKENIZER_NAME, 'its model has no list "vocab"');
  return vocab.map((entry: unknown, id) => {
    if (Array.isArray(entry) && typeof entry[0] === "string") return [entry[0], id];
    throw wrong(label, TOKENIZER_NAME, `entry ${id} of the vocabulary is no pair of token and score`);
  });
}

function addedTokens(list: unknown, label: string): AddedToken[] {
  if (list === undefined || list === null) return [];
  if (!Array.isArray(list)) throw wrong(label, TOKENIZER_NAME, '"added_tokens" is no list');
  return list.map((entry: unknown) => {
    if (!isObject(entry) || typeof entry.content !== "string")
      throw wrong(label, TOKENIZER_NAME, 'an entry of "added_tokens" has no "content"');
    const flag = (key: string, otherwise: boolean) => {
      const value = entry[key];
      return typeof value === "boolean" ? value : otherwise;
    };
    const special = flag("special", false);
    return {
      id: checkedId(entry.id, entry.content, label),
      content: entry.content,
      single_word: flag("single_word", false),
      lstrip: flag("lstrip", false),
      rstrip: flag("rstrip", false),
      normalized: flag("normalized", !special),
      special,
    };
  });
}

/**
 * Tokens that the files beside tokenizer.json add to it, as transformers does when it loads them: added_tokens_decoder of the settings,
 * or added_tokens.json where there is none. They are numbered from the end on, in their order, whatever the file says.
 */
function addedBeside(
  { normal, added }: Tokenizer,
  listed: readonly (readonly [content: unknown, id: unknown, properties?: JsonObject])[],
  label: string,
): readonly AddedToken[] {
  const known = new Set(added.map(({ content }) => content));
  let next = Math.max(normal.size, ...added.map(({ id }) => id + 1));
  return [...listed]
    .sort(([, a], [, b]) => Number(a) - Number(b))
    .flatMap(([content, , properties]) => {
      if (typeof content !== "string" || content === "" || normal.has(content) || known.has(content)) return [];
      known.add(content);
      return addedTokens([{ ...properties, content, id: next++ }], label);
    });
}

function wordsOf(normal: Tokenizer["normal"]): Tokenizer {
  return { kind: "WordLevel", json: {}, normal, added: [] };
}

function fromDecoder(decoder: JsonObject): [unknown, unknown, JsonObject][] {
  return Object.entries(decoder).flatMap(([id, entry]) => (isObject(entry) ? [[entry.content, id, entry]] : []));
}

function checkedId(id: unknown, token: string, label: string): number {
  if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id <= MAX_TOKEN_ID) return id;
  throw wrong(
    label,
    TOKENIZER_NAME,
    `token ${quoted(token)} has the id ${quoted(String(id))}, a whole number from 0 to ${MAX_TOKEN_ID} is expected`,
  );
}

function parseObject(bytes: Uint8Array, name: string, label: string): JsonObject {
  const mark = markFault(bytes);
  if (mark !== undefined) throw wrong(label, name, mark);
  if (nestsDeeper(bytes, MAX_DEPTH)) throw wrong(label, name, `its values nest more than ${MAX_DEPTH} deep`);
  const text = Buffer.from(bytes).toString("utf8");
  let value: unknown;
  try {
    value = name === TOKENIZER_NAME ? parsePythonJson(text) : parseExactJson(text);
  } catch (error) {
    throw wrong(label, name, error instanceof Error ? error.message : String(error));
  }
  if (!isObject(value)) throw wrong(label, name, "it must be a JSON object");
  return value;
}

/** JSON.parse lets any nesting through, on which whoever walks over the value later would choke. */
function nestsDeeper(bytes: Uint8Array, limit: number): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (inString) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > limit) return true;
    } else if (byte === 0x5d || byte === 0x7d) depth--;
  }
  return false;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function wrong(label: string, name: string, message: string): CheckpointError {
  return new CheckpointError("checkpoint/tokenizer", `${label}: ${name}: ${message}`, {
    hint: `Get ${name} again, or write it anew with save_pretrained of a fast tokenizer.`,
  });
}
