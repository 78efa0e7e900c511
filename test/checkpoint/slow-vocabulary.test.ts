import { expect, test } from "vitest";
import { holdsSlowVocabulary, maybeSlowVocabulary } from "../../checkpoint/slow-vocabulary.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
/** A message's field of bytes. */
const field = (number: number, value: Uint8Array) => new Uint8Array([number * 8 + 2, value.length, ...value]);
const joined = (...parts: Uint8Array[]) => new Uint8Array(parts.flatMap((part) => [...part]));
const piece = (text: string) => {
  // Its score as a 32-bit number and its type come after the text.
  return field(1, joined(field(1, bytes(text)), new Uint8Array([0x15, 0, 0, 0x80, 0xbf, 0x18, 1])));
};
const trainer = field(2, bytes("settings"));

test.each([
  ["vocab.json", bytes('{"a": 0, "b": 1}'), { a: 0, b: 1 }],
  ["added_tokens.json", bytes('{"<x>": 7}'), { "<x>": 7 }],
  ["vocab.txt", bytes("[PAD]\nä\r\nb\n"), { "[PAD]": 0, ä: 1, b: 2 }],
  ["tekken.json", bytes('{"vocab": [{"rank": 0, "token_bytes": "AA=="}, {"token_bytes": "AQ=="}]}'), { Ā: 0, ā: 1 }],
  [
    "tekken.json",
    bytes(
      '{"config": {"default_num_special_tokens": 3, "default_vocab_size": 5}, "special_tokens": [{"rank": 1, "token_str": "<s>"}], "vocab": [{"token_bytes": "IGE="}, {"token_bytes": "/w=="}, {"token_bytes": "AA=="}]}',
    ),
    { "<s>": 1, Ġa: 3, ÿ: 4 },
  ],
  ["qwen.tiktoken", bytes("IQ== 0\nIg== 1\n"), { "!": 0, '"': 1 }],
  ["tokenizer.model", bytes("IQ== 0\nrQ== 5\n"), { "!": 0, Ń: 5 }],
  ["tokenizer.model", joined(piece("<unk>"), piece("▁the"), trainer), { "<unk>": 0, "▁the": 1 }],
  ["spiece.model", joined(piece("<pad>")), { "<pad>": 0 }],
] as const)("the tokens of %s and their ids are read", (name, content, expected) => {
  expect(holdsSlowVocabulary(name)).toBe(true);
  expect(Object.fromEntries(maybeSlowVocabulary(name, content) ?? [])).toEqual(expected);
});

test.each([
  ["vocab.json", '{"en": {"a": 0}}'],
  ["vocab.json", "[1, 2]"],
  ["vocab.json", '{"a": 0'],
  ["tekken.json", '{"config": {}}'],
  ["tokenizer.model", "version https://git-lfs.github.com/spec/v1\n"],
  ["tokenizer.model", ""],
  ["vocab.txt", ""],
])("%s that holds something else has none: %s", (name, content) => {
  expect(maybeSlowVocabulary(name, bytes(content))).toBeUndefined();
});

test("files of merges and of folders are none", () => {
  for (const name of ["merges.txt", "vocab.bpe", "0_Transformer/vocab.txt", "source.spm"])
    expect(holdsSlowVocabulary(name)).toBe(false);
});
