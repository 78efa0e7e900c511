import { expect, test } from "vitest";
import type { Tokenizer } from "../../checkpoint/index.ts";
import { slowDifference } from "../../tokenizer/index.ts";
import { bpe } from "./tokenizers.ts";

const numbered = (tokens: readonly string[]) => new Map(tokens.map((token, id) => [token, id]));
const unigram = (...vocab: (readonly [string, number])[]): Tokenizer => {
  return { kind: "Unigram", json: { model: { vocab } }, normal: numbered(vocab.map(([token]) => token)), added: [] };
};
const plain = ["▁a", "▁b", "c"];
const scored = plain.map((token, k) => [token, -1 - k] as const);

test.each<[string, string[], Tokenizer]>([
  ["the same", ["<unk>", "<s>", "</s>", ...plain], bpe(["<unk>", "<s>", "</s>", ...plain])],
  ["tokens added at the end", plain, bpe(plain, [], [["<|im_start|>", 3]])],
  ["a token that an added one replaces", [...plain, "d"], bpe(plain, [], [["<|im_start|>", 3]])],
  ["reserves", [...plain, "[UNUSED_TOKEN_1]"], bpe([...plain, "<|extra_0|>"])],
  [
    "special tokens first, languages last (mBART)",
    ["<unk>", "<s>", "</s>", ...plain],
    unigram(["<s>", 0], ["<pad>", 0], ["</s>", 0], ["<unk>", 0], ...scored, ["en_XX", 0], ["<mask>", 0]),
  ],
  [
    "CamemBERT's",
    ["<unk>", "<s>", "</s>", ...plain],
    unigram(["<s>NOTUSED", 0], ["<pad>", 0], ["</s>NOTUSED", 0], ["<unk>", 0], ["<unk>NOTUSED", -100], ...scored),
  ],
  ["a byte by its character (Gemma)", ["<pad>", "<0x09>", ...plain], bpe(["<pad>", "\t", ...plain])],
])("%s is no difference", (_, slow, fast) => {
  expect(slowDifference(numbered(slow), fast)).toBeUndefined();
});

test.each<[string, string[], Tokenizer, object]>([
  ["other order", [...plain, "d"], bpe(["▁a", "c", "▁b", "d"]), { id: 1, slow: "▁b", fast: "c", count: 2 }],
  ["a piece more", [...plain, "d"], bpe(plain), { id: 3, slow: "d", fast: undefined, count: 1 }],
  ["a token more", plain, bpe([...plain, "d"]), { id: 3, slow: undefined, fast: "d", count: 1 }],
  ["another piece", plain, bpe(["▁a", "x", "c"]), { id: 1, slow: "▁b", fast: "x", count: 2 }],
  [
    "another piece, shifted",
    ["<unk>", ...plain],
    unigram(["<s>", 0], ["<unk>", 0], ["▁a", -1], ["▁x", -2], ["c", -3]),
    { id: 2, slow: "▁b", fast: "▁x", count: 2 },
  ],
  [
    "of few tokens in common",
    ["x", "y", "z", "v", "w"],
    bpe(["p", "x", "z", "y", "q"]),
    { id: 0, slow: "x", fast: "p", count: 6 },
  ],
  ["another way of writing", plain, bpe(["Ġa", "Ġb", "d"]), { id: 0, slow: "▁a", fast: "Ġa", count: 6 }],
])("%s is one", (_, slow, fast, difference) => {
  expect(slowDifference(numbered(slow), fast)).toEqual(difference);
});
