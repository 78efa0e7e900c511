import type { AddedToken, Tokenizer } from "../checkpoint/index.ts";

/** The tokens of one model that have a row in its embedding. Models of equal tokenizer and size share one object. */
export interface Vocabulary {
  readonly tokenizer: Tokenizer;
  /** Normal tokens in order of id, then added ones in order of id; a token that is both stands once, with the added one's id. */
  readonly ids: ReadonlyMap<string, number>;
  readonly added: ReadonlyMap<string, AddedToken>;
  /** By id; an added token before a normal one. Undefined where no token has the id. */
  readonly tokens: readonly (string | undefined)[];
}

/** Makes vocabularies, equal ones once: with hundreds of models they would fill the memory. */
export class Vocabularies {
  readonly #known = new Map<Tokenizer, Map<number, Vocabulary>>();
  readonly #likenesses = new Map<Vocabulary, Map<Vocabulary, Likeness>>();

  /** `size`: tokens from this id on have no row and do not count. */
  of(tokenizer: Tokenizer, size: number): Vocabulary {
    const bySize = this.#known.get(tokenizer) ?? new Map<number, Vocabulary>();
    this.#known.set(tokenizer, bySize);
    const known = bySize.get(size) ?? vocabularyOf(tokenizer, size);
    bySize.set(size, known);
    return known;
  }

  /** Of two once: every token is looked at. */
  likeness(a: Vocabulary, b: Vocabulary): Likeness {
    const ofA = this.#likenesses.get(a) ?? new Map<Vocabulary, Likeness>();
    this.#likenesses.set(a, ofA);
    const known = ofA.get(b) ?? likenessOf(a, b);
    ofA.set(b, known);
    return known;
  }
}

function vocabularyOf(tokenizer: Tokenizer, size: number): Vocabulary {
  const ids = new Map<string, number>();
  const tokens: (string | undefined)[] = [];
  const added = new Map<string, AddedToken>();
  const put = (token: string, id: number) => {
    ids.set(token, id);
    while (tokens.length <= id) tokens.push(undefined);
    tokens[id] = token;
  };
  for (const [token, id] of tokenizer.normal) if (id < size) put(token, id);
  for (const token of tokenizer.added) {
    if (token.id >= size) continue;
    added.set(token.content, token);
    put(token.content, token.id);
  }
  return { tokenizer, ids, added, tokens };
}

/** An id that names different tokens in two vocabularies. */
export interface TokenDifference {
  readonly id: number;
  readonly tokens: readonly [string, string];
}

/** How two vocabularies give ids below some number of rows to different tokens. */
export interface VocabularyMismatch {
  /** Rows of different meanings. */
  readonly different: readonly TokenDifference[];
  /** One keeps the id in reserve, and the other has given it a name: the rows are of one token, trained in one of the two. */
  readonly renamed: readonly TokenDifference[];
  /** Tokens of the first at whose ids the second has rows, and no token: those of padding. */
  readonly unnamed: readonly NamedId[];
  /** The other way round: tokens that only the second has. */
  readonly foreign: readonly NamedId[];
}

export interface NamedId {
  readonly id: number;
  readonly token: string;
}

/** `<|reserved_special_token_3|>`, `<unused99>`, `[unused0]`, `<|placeholder1|>`, `<|dummy_5|>`, `<|extra_0|>`, `[control_8]`, `<SPECIAL_36>`. */
const reserve = /^\W*(?:reserved|unused|placeholder|dummy|extra|control|special)(?:_(?:special_)?token)?_?\d+\W*$/i;

/** Whether a token is one that models keep for those who train them further. */
export function isReserved(token: string): boolean {
  return reserve.test(token);
}

export function mismatchOf(a: Vocabulary, b: Vocabulary, rows: number): VocabularyMismatch {
  const [different, renamed]: [TokenDifference[], TokenDifference[]] = [[], []];
  const [unnamed, foreign]: [NamedId[], NamedId[]] = [[], []];
  const end = a === b ? 0 : Math.min(rows, Math.max(a.tokens.length, b.tokens.length));
  for (let id = 0; id < end; id++) {
    const [ofA, ofB] = [a.tokens[id], b.tokens[id]];
    // A token that stands twice has the row of its second id.
    if (ofB === undefined && ofA !== undefined && !isReserved(ofA) && a.ids.get(ofA) === id)
      unnamed.push({ id, token: ofA });
    if (ofA === undefined && ofB !== undefined && !isReserved(ofB) && !a.ids.has(ofB)) foreign.push({ id, token: ofB });
    if (ofA === ofB || ofA === undefined || ofB === undefined) continue;
    // A name that the other has elsewhere was moved, not given.
    const isRenamed = (isReserved(ofA) || isReserved(ofB)) && !a.ids.has(ofB) && !b.ids.has(ofA);
    (isRenamed ? renamed : different).push({ id, tokens: [ofA, ofB] });
  }
  return { different, renamed, unnamed, foreign };
}

/** How the ids of two vocabularies lie to each other. */
export interface Likeness {
  /** Of the tokens of the smaller one, what share the other has too. */
  readonly shared: number;
  /** What most shared tokens have as id in b less that in a, and their share of those that are shared. */
  readonly shift: number;
  readonly shifted: number;
}

function likenessOf(a: Vocabulary, b: Vocabulary): Likeness {
  const shifts = new Map<number, number>();
  let count = 0;
  for (const [token, id] of a.ids) {
    const other = b.ids.get(token);
    if (other === undefined) continue;
    count++;
    shifts.set(other - id, (shifts.get(other - id) ?? 0) + 1);
  }
  const [[shift, most] = [0, 0]] = [...shifts].sort(([, one], [, two]) => two - one);
  return { shared: count / Math.max(1, Math.min(a.ids.size, b.ids.size)), shift, shifted: most / Math.max(1, count) };
}
