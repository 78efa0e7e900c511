import { member } from "./member.ts";

/** Bytes of a record's field in a protobuf message, by its number; undefined where it is no such message. */
interface Field {
  readonly number: number;
  /** Undefined for numbers, which are passed over. */
  readonly bytes: Uint8Array | undefined;
}

/** Whether a file of this name holds tokens in the order of their ids, for a slow tokenizer. Files of merges hold none. */
export function holdsSlowVocabulary(name: string): boolean {
  return (
    !name.includes("/") &&
    /^(?:vocab\.(?:json|txt)|added_tokens\.json|tekken\.json|.+\.tiktoken|.+\.model(?:\.v\d+)?)$/.test(name)
  );
}

/**
 * The tokens of a slow tokenizer's file and the ids that the file gives them; bytes as tokenizer.json writes them. Ids of sentencepiece
 * and tiktoken may be shifted by the tokenizer's class. Undefined of a file that is none.
 */
export function maybeSlowVocabulary(name: string, bytes: Uint8Array): ReadonlyMap<string, number> | undefined {
  if (name === "vocab.txt") return byOrder(linesOf(bytes));
  if (name === "tekken.json") return tekkenTokens(maybeJson(bytes));
  if (name.endsWith(".json")) return idsOf(maybeJson(bytes));
  return tiktokenTokens(bytes) ?? sentencePieces(bytes);
}

function byOrder(tokens: readonly string[]): ReadonlyMap<string, number> | undefined {
  return tokens.length === 0 ? undefined : new Map(tokens.map((token, id) => [token, id]));
}

function linesOf(bytes: Uint8Array): string[] {
  const lines = Buffer.from(bytes).toString("utf8").split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

function idsOf(json: unknown): ReadonlyMap<string, number> | undefined {
  if (typeof json !== "object" || json === null || Array.isArray(json)) return undefined;
  const entries = Object.entries(json);
  const areIds = entries.every(([, id]) => Number.isSafeInteger(id) && id >= 0);
  return entries.length > 0 && areIds ? new Map(entries) : undefined;
}

/** Special tokens come before those of the list, of which only so many are used as the vocabulary has room for. */
function tekkenTokens(json: unknown): ReadonlyMap<string, number> | undefined {
  const vocab = member(json, "vocab");
  if (!Array.isArray(vocab)) return undefined;
  const [special, size] = ["default_num_special_tokens", "default_vocab_size"].map((key) => {
    const value = member(member(json, "config"), key);
    return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  });
  const tokens = new Map<string, number>();
  for (const [rank, entry] of vocab.entries()) {
    const bytes = member(entry, "token_bytes");
    if (typeof bytes !== "string") return undefined;
    const id = rank + (special ?? 0);
    if (id < (size ?? Number.POSITIVE_INFINITY)) tokens.set(textOfBytes(bytes), id);
  }
  const specials = member(json, "special_tokens");
  for (const entry of Array.isArray(specials) ? specials : []) {
    const [rank, text] = [member(entry, "rank"), member(entry, "token_str")];
    if (typeof rank === "number" && typeof text === "string") tokens.set(text, rank);
  }
  return tokens.size === 0 ? undefined : tokens;
}

/** Bytes that print stand for themselves, the others for characters from 256 on. */
const characterOfByte: readonly string[] = (() => {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const prints = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    return String.fromCodePoint(prints ? byte : next++);
  });
})();

function textOfBytes(base64: string): string {
  return Array.from(Buffer.from(base64, "base64"), (byte) => characterOfByte[byte] ?? "").join("");
}

/** Lines of a token in base64 and its rank. */
function tiktokenTokens(bytes: Uint8Array): ReadonlyMap<string, number> | undefined {
  if (!/^[A-Za-z0-9+/=]+ \d+\r?(?:\n|$)/.test(Buffer.from(bytes.subarray(0, 1000)).toString("latin1")))
    return undefined;
  const tokens = new Map<string, number>();
  for (const line of linesOf(bytes)) {
    const [, token, rank] = /^(\S+) (\d+)$/.exec(line) ?? [];
    if (token !== undefined) tokens.set(textOfBytes(token), Number(rank));
  }
  return tokens;
}

/** Of a sentencepiece model: field 1 of the message is a piece, field 1 of a piece its text. */
function sentencePieces(bytes: Uint8Array): ReadonlyMap<string, number> | undefined {
  const pieces: string[] = [];
  for (const { number, bytes: piece } of fieldsOf(bytes) ?? []) {
    if (number !== 1 || piece === undefined) continue;
    const text = fieldsOf(piece)?.find((field) => field.number === 1)?.bytes;
    if (text === undefined) return undefined;
    pieces.push(Buffer.from(text).toString("utf8"));
  }
  return byOrder(pieces);
}

function fieldsOf(bytes: Uint8Array): Field[] | undefined {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; at < bytes.length; factor *= 128) {
      const byte = bytes[at++] ?? 0;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    return Number.NaN;
  };
  const sizes: Readonly<Record<number, number>> = { 1: 8, 5: 4 };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag % 8;
    if (kind === 0) varint();
    const size = kind === 0 ? 0 : kind === 2 ? varint() : sizes[kind];
    if (size === undefined || !(at + size <= bytes.length) || !(tag >= 8)) return undefined;
    fields.push({ number: Math.floor(tag / 8), bytes: kind === 2 ? bytes.subarray(at, at + size) : undefined });
    at += size;
  }
  return fields;
}

function maybeJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return undefined;
  }
}
