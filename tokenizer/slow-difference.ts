import type { Tokenizer } from "../checkpoint/index.ts";
import { isReserved } from "./vocabulary.ts";

/** Where a file of a slow tokenizer and the tokenizer.json beside it part. */
export interface SlowDifference {
  /** The first id of the file at which they do, and what is there in the one and in the other. */
  readonly id: number;
  readonly slow: string | undefined;
  readonly fast: string | undefined;
  /** How many tokens one of the two lacks, or has elsewhere. */
  readonly count: number;
}

/** `<s>`, `[MASK]`, `<0x0A>`, `<unk>NOTUSED`: each program has its own of these, under its own ids. */
const special = /^(?:<.*>|\[.*\])(?:NOTUSED)?$/s;

/**
 * Undefined where both have the same tokens in the same order. Ids may differ by one number throughout: tokenizers of fairseq's models
 * have special tokens first (XLM-R, mBART, NLLB, CamemBERT). What stands among the added tokens is no difference, nor what has one in its
 * place; nor tokens without a score, which are not from the file (languages).
 */
export function slowDifference(slow: ReadonlyMap<string, number>, fast: Tokenizer): SlowDifference | undefined {
  const names = new Set(fast.added.map(({ content }) => content));
  const places = new Set(fast.added.map(({ id }) => id));
  const isPlain = (token: string) => !special.test(token) && !isReserved(token) && !names.has(token);
  const shift = commonestShift(slow, fast.normal);
  const scores = fast.kind === "Unigram" ? (fast.json.model as { vocab: [string, number][] }).vocab : [];
  const differing = new Set<number>();
  let count = 0;
  for (const [token, id] of slow) {
    if (!isPlain(token) || places.has(id + shift) || fast.normal.get(token) === id + shift) continue;
    differing.add(id);
    count++;
  }
  for (const [token, id] of fast.normal) {
    if (!isPlain(token) || slow.has(token) || slow.has(byteOf(token)) || scores[id]?.[1] === 0) continue;
    differing.add(id - shift);
    count++;
  }
  if (count === 0) return undefined;
  const id = [...differing].reduce((least, one) => Math.min(least, one));
  return { id, slow: tokenAt(slow, id), fast: tokenAt(fast.normal, id + shift), count };
}

/** What most tokens that both have are numbered higher in the second; 0 where no number is that of most. */
function commonestShift(slow: ReadonlyMap<string, number>, fast: ReadonlyMap<string, number>): number {
  const shifts = new Map<number, number>();
  for (const [token, id] of slow) {
    const other = special.test(token) ? undefined : fast.get(token);
    if (other !== undefined) shifts.set(other - id, (shifts.get(other - id) ?? 0) + 1);
  }
  const shared = [...shifts.values()].reduce((sum, count) => sum + count, 0);
  const [shift] = [...shifts].find(([, count]) => 2 * count > shared) ?? [0];
  return shift;
}

/** How sentencepiece calls a byte: Gemma's tokenizer.json has a tab in place of one. */
function byteOf(token: string): string {
  const code = token.length === 1 ? token.charCodeAt(0) : 0x80;
  return code < 0x80 ? `<0x${code.toString(16).toUpperCase().padStart(2, "0")}>` : "";
}

function tokenAt(ids: ReadonlyMap<string, number>, wanted: number): string | undefined {
  for (const [token, id] of ids) if (id === wanted) return token;
  return undefined;
}
