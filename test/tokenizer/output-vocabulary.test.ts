import { expect, test } from "vitest";
import type { Tokenizer } from "../../checkpoint/index.ts";
import {
  isReserved,
  mismatchOf,
  outputVocabulary,
  Vocabularies,
  type VocabularyRequest,
} from "../../tokenizer/index.ts";
import { bpe } from "./tokenizers.ts";

const vocabularies = (...tokenizers: (readonly [Tokenizer, number] | Tokenizer)[]) => {
  const known = new Vocabularies();
  return tokenizers.map((one) => ("kind" in one ? known.of(one, 1000) : known.of(...one)));
};
const request = (...args: Parameters<typeof vocabularies>): VocabularyRequest => {
  const made = vocabularies(...args);
  return { extent: "union", pattern: 0, vocabularies: made, order: [...made.keys()], listed: [], padToMultipleOf: 1 };
};
const idsOf = (asked: VocabularyRequest) => Object.fromEntries(outputVocabulary(asked).vocabulary.ids);

test("a union has the base's tokens with their ids, then normal tokens of the others by id, then added ones", () => {
  const base = bpe(["a", "b"], [], [["<s>", 2]]);
  const first = bpe(["b", "z", "y"], [], [["<1>", 3]]);
  const second = bpe(["a", "x", "<1>"], [], [["<2>", 3]]);
  // "<1>" is a normal token of the second model: normal tokens come before all added ones.
  expect(idsOf(request(base, first, second))).toEqual({ a: 0, b: 1, "<s>": 2, z: 3, y: 4, x: 5, "<1>": 6, "<2>": 7 });
});

test("the order of models is the recipe's, whatever that of the inputs", () => {
  const asked = request(bpe(["a"]), bpe(["b"]), bpe(["c"]));
  expect(idsOf({ ...asked, order: [0, 2, 1] })).toEqual({ a: 0, c: 1, b: 2 });
  // One that only gives rows for single tokens is in no union.
  expect(idsOf({ ...asked, order: [0, 2] })).toEqual({ a: 0, c: 1 });
});

test("tokens without a row do not count", () => {
  const asked = request([bpe(["a", "b"], [], [["<s>", 2]]), 2], [bpe(["a", "b", "c"], [], [["<t>", 3]]), 3]);
  expect(idsOf(asked)).toEqual({ a: 0, b: 1, c: 2 });
});

test("one model's tokens alone, and listed ones at the end in their order", () => {
  const asked = request(bpe(["a", "b"]), bpe(["c"]));
  const listed = [{ token: "<y>" }, { token: "a" }, { token: "<x>" }];
  expect(idsOf({ ...asked, extent: "own", pattern: 1, listed })).toEqual({ c: 0, "<y>": 1, a: 2, "<x>": 3 });
});

test("new tokens come after the highest id, also where ids are left out", () => {
  const { vocabulary } = outputVocabulary({ ...request(bpe(["a"], [], [["<s>", 5]]), bpe(["b"])), padToMultipleOf: 4 });
  expect(Object.fromEntries(vocabulary.ids)).toEqual({ a: 0, "<s>": 5, b: 6 });
  expect([vocabulary.size, vocabulary.rows]).toEqual([7, 8]);
});

test("of two definitions of an added token the first counts, and the difference is told", () => {
  const asked = request(
    bpe(["a"]),
    bpe(["a"], [], [["<t>", 1, { lstrip: true, special: false }]]),
    bpe(["a"], [], [["<t>", 1]]),
  );
  const { vocabulary, conflicts } = outputVocabulary(asked);
  expect(vocabulary.newTokens).toMatchObject([{ kind: "added", token: "<t>", id: 1, properties: { lstrip: true } }]);
  expect(conflicts).toEqual([{ token: "<t>", first: 1, other: 2, properties: ["lstrip", "special"] }]);
});

test("a token that is listed takes over what the token has that it is made like", () => {
  const like = {
    id: 9,
    content: "<p>",
    single_word: false,
    lstrip: false,
    rstrip: true,
    normalized: false,
    special: true,
  };
  const listed = [{ token: "<t>", like }, { token: "<u>" }];
  const { newTokens } = outputVocabulary({ ...request(bpe(["a"])), listed }).vocabulary;
  expect(newTokens[0]).toMatchObject({ properties: { rstrip: true, special: true } });
  expect(newTokens[1]).toMatchObject({ properties: { rstrip: false, special: false } });
});

test("equal tokenizers of equal size are one vocabulary; an id that only one uses is no mismatch", () => {
  const tokenizer = bpe(["a", "b", "c"]);
  const known = new Vocabularies();
  expect(known.of(tokenizer, 3)).toBe(known.of(tokenizer, 3));
  expect(known.of(tokenizer, 2)).not.toBe(known.of(tokenizer, 3));
  const other = known.of(
    bpe(
      ["a", "B"],
      [],
      [
        ["<s>", 2],
        ["<t>", 4],
      ],
    ),
    9,
  );
  const [b, c] = [1, 2].map((id) => expect.objectContaining({ id }));
  expect(mismatchOf(known.of(tokenizer, 3), other, 9)).toEqual({
    ...{ different: [b, c], renamed: [], unnamed: [] },
    foreign: [{ id: 4, token: "<t>" }],
  });
  expect(mismatchOf(known.of(tokenizer, 3), other, 1)).toEqual({
    ...{ different: [], renamed: [], unnamed: [], foreign: [] },
  });
  expect(mismatchOf(other, known.of(tokenizer, 1), 9).unnamed).toEqual([
    { id: 1, token: "B" },
    { id: 2, token: "<s>" },
    { id: 4, token: "<t>" },
  ]);
  expect(mismatchOf(known.of(tokenizer, 1), other, 9)).toEqual({
    ...{ different: [], renamed: [], unnamed: [] },
    foreign: [b, c, { id: 4, token: "<t>" }],
  });
});

test.each([
  ["<|reserved_special_token_3|>", true],
  ["<|reserved_200|>", true],
  ["<|reserved_token_163607|>", true],
  ["<unused99>", true],
  ["[unused0]", true],
  ["<|placeholder1|>", true],
  ["<|dummy_85|>", true],
  ["<|extra_0|>", true],
  ["<SPECIAL_36>", true],
  ["[control_8]", true],
  ["<|im_start|>", false],
  ["<extra_id_0>", false],
  ["special", false],
  ["<|tool_1|>", false],
])("whether %s is kept in reserve: %s", (token, expected) => {
  expect(isReserved(token)).toBe(expected);
});
