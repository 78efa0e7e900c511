import type { JsonObject } from "../checkpoint/index.ts";
import { needsTextId } from "./number-ids.ts";

/** How ids of tokens that a model's configs name are numbered in the output. Plain data. */
export interface TokenIds {
  /** Of the output's embedding: an id from here on has no row. */
  readonly rows: number;
  /** Of the embedding of the model that the configs belong to. */
  readonly rowsBefore: number;
  /** How many tokens that model counts: a part of a config that counts another number has a vocabulary of its own (codes of sound). */
  readonly counts: readonly number[];
  /** Where the output's tokens are not that model's: its tokens by id, and the output's ids. */
  readonly tokens?: { readonly before: readonly (string | undefined)[]; readonly after: ReadonlyMap<string, number> };
  /** The special tokens that the output's tokenizer names by what they are for: `eos_token`, `image_token`, … */
  readonly roles: ReadonlyMap<string, number>;
}

/** A value of a config that is another in the output. */
export interface TokenIdChange {
  readonly path: readonly string[];
  readonly value: IdValue;
  /** Ids whose tokens the output lacks, with what stands for them where something does. */
  readonly gone: readonly { readonly id: number; readonly token?: string | undefined; readonly now?: number }[];
}

/** What configs hold under keys that name tokens. */
export type IdValue = number | null | string | readonly IdValue[] | { readonly [key: string]: IdValue };

/** `eos_token_id`, `image_token_index`, `stop_token_ids`, `pad_index`, `suppress_tokens`, `image_start_id`, … */
const idKey =
  /(?:^|_)tok(?:en)?_(?:id|ids|index|indices|idx)$|^(?:begin_)?suppress_tokens$|^(?:bos|eos|pad|unk|sep|cls|mask)_(?:id|index)$|^(?:image|img|im|audio|video|vision|speech|slice)_(?:start|end|pad|patch|newline)_id$|^newline_id$|^im_(?:start|end|patch)_token$/;
/** Lists of words, each a list of ids. */
const wordKey = /^(?:bad|force|stop)_words_ids$/;
/** Words with a number each: `[[ids], bias]`. */
const biasKey = "sequence_bias";
/** Pairs of a place and an id. */
const pairKey = "forced_decoder_ids";
/** From text to id: languages, tasks, codes of images. */
const mapKey = /^(?:lang|task|lang_code)_to_id$|^vocabulary_map$/;
/** Ids of codes that stand for sound. */
const codeKey = /codec|codebook/;
/** Of generation: null says that there is nothing of the kind. */
const settingKey = /^(?:begin_)?suppress_tokens$/;
/** Ids that a model cannot be built or run with when they have no row. Others may stand for what never reaches the embedding. */
const textKey = /^(?:decoder_start|forced_[a-z]+|bos|eos|pad|unk|sep|cls|mask)_(?:token_)?(?:id|ids|index)$/;

/** Stands for an image, a sound or the like that a text of the output cannot have: no token has it, and config classes take it. */
const NO_TOKEN = -1;

/** Whose id stands in where a config class takes no null. */
const standIns = ["eos_token", "bos_token", "pad_token", "unk_token", "cls_token", "sep_token"];

/** What of a config's ids is another in the output. Pure. */
export function tokenIdChanges(config: JsonObject, ids: TokenIds): TokenIdChange[] {
  return new Changes(ids).within(config, []);
}

class Changes {
  readonly #ids: TokenIds;
  readonly #taken: ReadonlySet<number>;
  #gone: { id: number; token?: string | undefined; now?: number }[] = [];

  constructor(ids: TokenIds) {
    this.#ids = ids;
    this.#taken = new Set(ids.tokens?.after.values());
  }

  /** `type`: the `model_type` of what the part belongs to; only configs of models have one. */
  within(config: JsonObject, path: readonly string[], type?: string): TokenIdChange[] {
    const { counts } = this.#ids;
    const { vocab_size: count, model_type: own } = config;
    const typed = typeof own === "string" ? own : type;
    if (path.length > 0 && typeof count === "number" && !counts.includes(count)) return [];
    return Object.entries(config).flatMap(([key, value]) => {
      const at = [...path, key];
      if (!isIdValue(value) || !isKnown(key)) return isObject(value) ? this.within(value, at, typed) : [];
      this.#gone = [];
      const after = this.#changed(key, value) ?? this.#without(key, value, typed);
      return JSON.stringify(after) === JSON.stringify(value) ? [] : [{ path: at, value: after, gone: this.#gone }];
    });
  }

  #changed(key: string, value: IdValue): IdValue {
    if (mapKey.test(key)) return this.#map(key, value);
    if (!isList(value)) return typeof value === "number" ? (this.#one(key, value, true) ?? null) : value;
    if (key === pairKey) return orNull(value.flatMap((pair) => this.#last(key, pair)));
    if (key === biasKey) return orNull(value.flatMap((entry) => this.#first(key, entry)));
    return orNull([...new Set(this.#list(key, value))]);
  }

  /** What a config says of tokens that are all gone: null, or where its class takes none an id that does no harm. */
  #without(key: string, value: IdValue, type: string | undefined): IdValue {
    if (type === undefined || !idKey.test(key) || settingKey.test(key)) return null;
    if (needsTextId(type, key)) {
      const { roles, rows } = this.#ids;
      const id = standIns.flatMap((role) => roles.get(role) ?? []).find((one) => one < rows) ?? 0;
      return isList(value) ? [id] : id;
    }
    if (textKey.test(key)) return null;
    return isList(value) ? [] : NO_TOKEN;
  }

  /** Ids that are gone leave a list; of a list within it nothing is left if one of its ids is gone. */
  #list(key: string, list: readonly IdValue[]): IdValue[] {
    return list.flatMap((item): IdValue[] => {
      if (typeof item === "number") return [this.#one(key, item) ?? []].flat();
      if (!isList(item)) return [item];
      if (item.some(isList)) return [this.#list(key, item)].filter(({ length }) => length > 0);
      const word = this.#list(key, item);
      return word.length === item.length ? [word] : [];
    });
  }

  #last(key: string, pair: IdValue): IdValue[] {
    if (!isList(pair) || typeof pair[1] !== "number") return [pair];
    const id = this.#one(key, pair[1]);
    return id === undefined ? [] : [[pair[0] ?? null, id]];
  }

  #first(key: string, entry: IdValue): IdValue[] {
    if (!isList(entry) || !isList(entry[0])) return [entry];
    const word = this.#list(key, entry[0]);
    return word.length === entry[0].length ? [[word, ...entry.slice(1)]] : [];
  }

  #map(key: string, value: IdValue): IdValue {
    if (value === null || typeof value !== "object" || isList(value)) return value;
    const entries = Object.entries(value).flatMap(([name, id]) => {
      const now = typeof id === "number" ? this.#one(key, id) : id;
      return now === undefined ? [] : [[name, now] as const];
    });
    return Object.fromEntries(entries);
  }

  /** The id in the output. `hasRole`: the key stands for one token, for which the output may have another. */
  #one(key: string, id: number, hasRole = false): number | undefined {
    const { tokens, roles } = this.#ids;
    const known = this.#known(key, id);
    if (known !== undefined) return known;
    const now = hasRole ? roles.get(key.replace(/_(?:id|index|idx)$/, "")) : undefined;
    this.#gone.push({ id, token: tokens?.before[id], ...(now !== undefined && { now }) });
    return now;
  }

  #known(key: string, id: number): number | undefined {
    const { rows, rowsBefore, tokens } = this.#ids;
    if (!Number.isInteger(id) || id < 0) return id; // counted from the end, or no id at all
    const token = tokens?.before[id];
    if (token !== undefined) return tokens?.after.get(token);
    // What never had a row may stand for an image or the like, and is taken out before the embedding sees it.
    if (id >= rowsBefore && id >= rows && !textKey.test(key)) return id;
    return id < rows && !this.#taken.has(id) ? id : undefined;
  }
}

function isKnown(key: string): boolean {
  if (codeKey.test(key)) return false;
  return idKey.test(key) || wordKey.test(key) || mapKey.test(key) || key === biasKey || key === pairKey;
}

function isIdValue(value: unknown): value is IdValue {
  return typeof value === "number" || (typeof value === "object" && value !== null);
}

function isList(value: IdValue | undefined): value is readonly IdValue[] {
  return Array.isArray(value);
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function orNull(list: readonly IdValue[]): IdValue {
  return list.length === 0 ? null : list;
}

/** The special tokens that a tokenizer's settings name by what they are for, as far as the vocabulary has them. */
export function rolesOf(
  settings: readonly (JsonObject | undefined)[],
  ids: ReadonlyMap<string, number>,
): ReadonlyMap<string, number> {
  const roles = new Map<string, number>();
  for (const holder of settings) {
    for (const [key, value] of Object.entries({ ...objectAt(holder, "extra_special_tokens"), ...holder })) {
      const id = key.endsWith("_token") ? ids.get(contentOf(value) ?? "") : undefined;
      if (id !== undefined && !roles.has(key)) roles.set(key, id);
    }
  }
  return roles;
}

function objectAt(holder: JsonObject | undefined, key: string): JsonObject {
  const value = holder?.[key];
  return isObject(value) ? value : {};
}

/** Of a token as settings write it: its text, or an object that holds it. */
export function contentOf(token: unknown): string | undefined {
  const content = isObject(token) ? token.content : token;
  return typeof content === "string" ? content : undefined;
}
