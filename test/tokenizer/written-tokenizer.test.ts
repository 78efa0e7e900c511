import { expect, test } from "vitest";
import type { ModelTokenizer, Tokenizer } from "../../checkpoint/index.ts";
import { marksWithoutToken, outputVocabulary, Vocabularies, writtenTokenizer } from "../../tokenizer/index.ts";
import { beside, bpe, tokenizerOf, unigram } from "./tokenizers.ts";

function written(
  pattern: ModelTokenizer,
  others: readonly Tokenizer[],
  options: { size?: number; listed?: string[] } = {},
) {
  const known = new Vocabularies();
  const tokenizers = [pattern.tokenizer, ...others];
  const vocabularies = tokenizers.map((tokenizer, k) => known.of(tokenizer, k === 0 ? (options.size ?? 1000) : 1000));
  const listed = (options.listed ?? []).map((token) => ({ token }));
  const order = [...tokenizers.keys()];
  const { vocabulary: output } = outputVocabulary({
    extent: "union",
    pattern: 0,
    vocabularies,
    order,
    listed,
    padToMultipleOf: 1,
  });
  const { files, slowFilesHold, unprocessed } = writtenTokenizer({ output, vocabularies, pattern });
  const json = (name: string) => JSON.parse(files.get(name) ?? "null");
  return {
    output,
    slowFilesHold,
    unprocessed,
    text: files.get("tokenizer.json") ?? "",
    tokenizer: json("tokenizer.json"),
    json,
  };
}

/** Ids as the tokenizers library gives them when it loads the file: see added_vocabulary.rs, add_tokens. */
function loadedIds(tokenizer: {
  model: { vocab: Record<string, number> | [string, number][] };
  added_tokens: { content: string }[];
}) {
  const { vocab } = tokenizer.model;
  const ids = new Map(Array.isArray(vocab) ? vocab.map(([token], id) => [token, id] as const) : Object.entries(vocab));
  const size = ids.size;
  let highest = -1;
  for (const { content } of tokenizer.added_tokens) {
    const id = ids.get(content) ?? Math.max(highest + 1, size);
    ids.set(content, id);
    highest = Math.max(highest, id);
  }
  return Object.fromEntries(ids);
}

test("a tokenizer that stays as it is keeps all that stands in it", () => {
  const tokenizer = bpe(["b", "a", "ab", "7"], ["a b"], [["<s>", 4]]);
  const result = written(beside(tokenizer, { eos_token: "<s>", x: 1 }, { eos_token: "<s>" }), []);
  expect(result.tokenizer).toEqual(tokenizer.json);
  expect(result.json("tokenizer_config.json")).toEqual({ eos_token: "<s>", x: 1 });
  expect(result.json("special_tokens_map.json")).toEqual({ eos_token: "<s>" });
  expect(result.slowFilesHold).toBe(true);
  // In order of id, tokens that look like numbers too.
  expect(result.text.match(/"vocab": \{([^}]*)\}/)?.[1]?.replaceAll(/\s/g, "")).toBe('"b":0,"a":1,"ab":2,"7":3');
});

test("added tokens get the ids of their rows, from whatever the library makes of the file", () => {
  const result = written(beside(bpe(["a", "b"], [], [["<s>", 2]])), [bpe(["a"], [], [["<1>", 1]])], {
    listed: ["<new>"],
  });
  expect(loadedIds(result.tokenizer)).toEqual({ a: 0, b: 1, "<s>": 2, "<1>": 3, "<new>": 4 });
  expect(result.tokenizer.model.vocab).toEqual({ a: 0, b: 1 });
  // Normal tokens after added ones, and ids left out: the library would number them otherwise.
  const mixed = written(
    beside(
      bpe(
        ["a", "b"],
        [],
        [
          ["<s>", 2],
          ["<t>", 7],
        ],
      ),
    ),
    [bpe(["c"], [], [["<1>", 1]])],
  );
  expect(loadedIds(mixed.tokenizer)).toEqual({ a: 0, b: 1, "<s>": 2, "<t>": 7, c: 8, "<1>": 9 });
  expect(Object.fromEntries(mixed.output.ids)).toEqual(loadedIds(mixed.tokenizer));
});

test("tokens without a row go, and with them the merges that need them", () => {
  const tokenizer = bpe(["a", "b", "ab", "aba"], ["a b", "ab a"], [["<s>", 4]]);
  const result = written(beside(tokenizer, undefined, { additional_special_tokens: ["<s>"] }), [], { size: 3 });
  expect(result.tokenizer.model).toMatchObject({ vocab: { a: 0, b: 1, ab: 2 }, merges: [["a", "b"]] });
  expect(result.tokenizer.added_tokens).toEqual([]);
  expect(result.json("special_tokens_map.json")).toEqual({ additional_special_tokens: [] });
  expect(result.slowFilesHold).toBe(false);
});

test("new normal tokens come with the merges that make them, after all others", () => {
  const other = bpe(["a", "c", "ac", "b", "acb", "d", "cb"], ["c b", "a c", "ac b"]);
  const { tokenizer, slowFilesHold } = written(beside(bpe(["a", "b", "ab"], ["a b"])), [other]);
  expect(tokenizer.model.vocab).toEqual({ a: 0, b: 1, ab: 2, c: 3, ac: 4, acb: 5, d: 6, cb: 7 });
  expect(tokenizer.model.merges).toEqual([
    ["a", "b"],
    ["c", "b"],
    ["a", "c"],
    ["ac", "b"],
  ]);
  expect(slowFilesHold).toBe(false);
});

test("merges that are written as text stay text, unless a token holds a space", () => {
  const text = tokenizerOf({ type: "BPE", vocab: { a: 0, b: 1, ab: 2 }, merges: ["a b"] });
  expect(written(beside(text), [bpe(["b", "a", "ba"], ["b a"])]).tokenizer.model.merges).toEqual(["a b", "b a"]);
  const spaced = tokenizerOf({ type: "BPE", vocab: { a: 0, " ": 1, "a ": 2 }, merges: [["a", " "]] });
  expect(written(beside(text), [spaced]).tokenizer.model.merges).toEqual([
    ["a", "b"],
    ["a", " "],
  ]);
});

test("a Unigram list has an entry for every id: scores for normal tokens, out of reach for all else", () => {
  const pattern = unigram(
    [
      ["<unk>", 0],
      ["▁a", -2.5],
    ],
    [
      ["<s>", 2],
      ["<t>", 4],
    ],
  );
  const { tokenizer } = written(beside(pattern), [
    unigram([
      ["<unk>", 0],
      ["▁b", -3.25],
    ]),
    bpe(["c"]),
  ]);
  expect(loadedIds(tokenizer)).toMatchObject({ "<unk>": 0, "▁a": 1, "<s>": 2, "<t>": 4, "▁b": 5, c: 6 });
  const scores = tokenizer.model.vocab.map(([, score]: [string, number]) => score);
  expect(scores).toEqual([0, -2.5, -102.5, -102.5, -102.5, -3.25, -102.5]);
});

test("the configs beside it name the added tokens that there are", () => {
  const config = { added_tokens_decoder: { "1": { content: "<s>" } }, extra_special_tokens: ["<s>"] };
  const pattern = beside(bpe(["a"], [], [["<s>", 1]]), config, { eos_token: "<s>" });
  const other = bpe(
    ["a"],
    [],
    [
      ["<1>", 1],
      ["<2>", 2, { special: false }],
    ],
  );
  const { json } = written(pattern, [other]);
  const decoder = json("tokenizer_config.json").added_tokens_decoder;
  expect(Object.entries(decoder).map(([id, token]) => [id, (token as { content: string }).content])).toEqual([
    ["1", "<s>"],
    ["2", "<1>"],
    ["3", "<2>"],
  ]);
  expect(decoder["3"]).toMatchObject({ special: false, normalized: false });
  expect(json("tokenizer_config.json").extra_special_tokens).toEqual(["<s>", "<1>"]);
  expect(json("special_tokens_map.json")).toEqual({ eos_token: "<s>", additional_special_tokens: ["<1>"] });
  expect(json("added_tokens.json")).toEqual({ "<s>": 1, "<1>": 2, "<2>": 3 });
});

const special = (...tokens: string[]) =>
  Object.fromEntries(tokens.map((token, k) => [token, { id: token, ids: [2 + k], tokens: [token] }]));
const around = (...tokens: string[]) => ({
  type: "TemplateProcessing",
  single: [...tokens.map((id) => ({ SpecialToken: { id, type_id: 0 } })), { Sequence: { id: "A", type_id: 0 } }],
  pair: tokens.map((id) => ({ SpecialToken: { id, type_id: 1 } })),
  special_tokens: special(...tokens),
});

test.each([
  ["a template", around("<s>", "<e>"), around("<s>"), ["<e>"]],
  [
    "a sequence",
    { type: "Sequence", processors: [{ type: "ByteLevel" }, around("<s>", "<e>")] },
    { type: "Sequence", processors: [{ type: "ByteLevel" }, around("<s>")] },
    ["<e>"],
  ],
  ["BERT's", { type: "BertProcessing", sep: ["<e>", 3], cls: ["<s>", 2] }, null, ["<e>"]],
  [
    "RoBERTa's in a sequence",
    { type: "Sequence", processors: [{ type: "RobertaProcessing", sep: ["<e>", 3], cls: ["<s>", 2] }] },
    { type: "Sequence", processors: [] },
    ["<e>"],
  ],
  ["one that adds nothing", { type: "ByteLevel", trim_offsets: true }, { type: "ByteLevel", trim_offsets: true }, []],
  ["one whose tokens all have rows", around("<s>"), around("<s>"), []],
])("what is added around a text loses tokens without a row: %s", (_, processor, expected, dropped) => {
  const tokenizer = bpe(
    ["a", "b"],
    [],
    [
      ["<s>", 2],
      ["<e>", 3],
    ],
  );
  const own = { ...tokenizer, json: { ...tokenizer.json, post_processor: processor } };
  const result = written(beside(own), [], { size: 3 });
  expect(result.tokenizer.post_processor).toEqual(expected);
  expect(result.unprocessed).toEqual(dropped);
});

test("tokens that a template writes and a vocabulary lacks: those that a model has, and the marks of a template that came with none", () => {
  const template = "<|im_start|>{{ role }}<|im_end|>[INST]<|user|>";
  const ids = new Map([["<|im_end|>", 1]]);
  const added = ["<|im_start|>", "<|im_end|>", "\n", "<other>"];
  expect(marksWithoutToken(template, added, ids, false)).toEqual(["<|im_start|>"]);
  expect(marksWithoutToken(template, [], ids, true)).toEqual(["<|im_start|>", "<|user|>"]);
});
