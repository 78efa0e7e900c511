import { expect, test } from "vitest";
import { rolesOf, type TokenIds, tokenIdChanges } from "../../tokenizer/index.ts";

/** A model of 6 rows: a, b, <s>, </s>, <pad>, <img>. In the output <pad> is gone, and the others have other ids. */
const before = ["a", "b", "<s>", "</s>", "<pad>", "<img>"];
const after = new Map([
  ["<s>", 0],
  ["</s>", 1],
  ["a", 2],
  ["b", 3],
  ["<img>", 4],
]);
const renumbered: TokenIds = { rows: 5, rowsBefore: 6, counts: [6], tokens: { before, after }, roles: new Map() };
const cut: TokenIds = { rows: 4, rowsBefore: 6, counts: [6], roles: new Map() };
const same: TokenIds = { ...cut, rows: 6 };

/** The config with its changes made; keys of nested parts joined by dots. */
function changed(config: Record<string, unknown>, ids: TokenIds) {
  return Object.fromEntries(tokenIdChanges(config, ids).map(({ path, value }) => [path.join("."), value]));
}

test.each([
  ["bos_token_id", 2, 0],
  ["pad_token_id", 4, null],
  ["eos_token_id", [3, 4], [1]],
  ["eos_token_id", [4], null],
  ["decoder_start_token_id", 3, 1],
  ["forced_bos_token_id", 2, 0],
  ["image_token_index", 5, 4],
  ["image_token_id", 5, 4],
  ["image_token_ids", [5, 5], [4]],
  ["boi_token_index", 2, 0],
  ["audio_token_idx", 2, 0],
  ["stop_token_ids", [2, 3], [0, 1]],
  ["pad_index", 4, null],
  ["image_start_id", 5, 4],
  ["im_newline_id", 5, 4],
  ["image_patch_id", 5, 4],
  ["im_patch_token", 5, 4],
  ["suppress_tokens", [0, 4, 1], [2, 3]],
  ["begin_suppress_tokens", [4], null],
  [
    "bad_words_ids",
    [
      [0, 4],
      [1, 0],
    ],
    [[3, 2]],
  ],
  ["force_words_ids", [[[0], [4]], [[1, 2]]], [[[2]], [[3, 0]]]],
  ["stop_words_ids", [[3]], [[1]]],
  [
    "forced_decoder_ids",
    [
      [1, 2],
      [2, 4],
      [3, null],
    ],
    [
      [1, 0],
      [3, null],
    ],
  ],
  [
    "sequence_bias",
    [
      [[0, 1], -1.5],
      [[4], 2],
    ],
    [[[2, 3], -1.5]],
  ],
  ["lang_to_id", { en: 2, fr: 4 }, { en: 0 }],
])("%s: %j becomes %j where the tokens have other ids", (key, value, expected) => {
  expect(changed({ [key]: value }, renumbered)).toEqual({ [key]: expected });
});

test("parts of a config count, but those that have a vocabulary of their own", () => {
  const config = {
    text_config: { vocab_size: 6, pad_token_id: 4, inner: { eos_token_id: 3 } },
    vision_config: { image_token_id: 5 },
    talker_config: { vocab_size: 3000, bos_token_id: 2, nested: { pad_token_id: 4 } },
    codec_bos_token_id: 2,
  };
  expect(changed(config, renumbered)).toEqual({
    "text_config.pad_token_id": null,
    "text_config.inner.eos_token_id": 1,
    "vision_config.image_token_id": 4,
  });
});

test("what is no id of a token stays as it stands", () => {
  const config = {
    num_experts_per_tok: 4,
    max_new_tokens: 4,
    type_vocab_size: 4,
    num_image_tokens: 5,
    pad_token_id: -1,
  };
  expect(changed({ ...config, eos_token_id: null, bos_token_id: "2" }, renumbered)).toEqual({});
});

test("where rows are cut, an id beyond them is gone, and every other keeps its number", () => {
  const config = { bos_token_id: 2, eos_token_id: [3, 4], pad_token_id: 5, image_token_index: 4 };
  expect(changed(config, cut)).toEqual({ eos_token_id: [3], pad_token_id: null, image_token_index: null });
});

test("where nothing changes, only a text's token without a row goes: what stands for an image may never have had one", () => {
  const config = { bos_token_id: 5, eos_token_id: 6, pad_token_id: 7, decoder_start_token_id: 6, image_token_index: 6 };
  expect(changed(config, same)).toEqual({ eos_token_id: null, pad_token_id: null, decoder_start_token_id: null });
});

test("an id without a name is gone where the output gives its number to a token", () => {
  const tokens = { before: ["a"], after: new Map([["x", 3]]) };
  const ids = { rows: 6, rowsBefore: 6, counts: [6], tokens, roles: new Map() };
  expect(changed({ pad_token_id: 3, eos_token_id: 4 }, ids)).toEqual({ pad_token_id: null });
});

test("for a token that is gone the output's own of that use stands in, and both are told", () => {
  const roles = rolesOf([{ pad_token: { content: "</s>" }, bos_token: "none" }, { image_token: "<img>" }], after);
  expect([...roles]).toEqual([
    ["pad_token", 1],
    ["image_token", 4],
  ]);
  expect(tokenIdChanges({ pad_token_id: 4, eos_token_id: [4, 3] }, { ...renumbered, roles })).toEqual([
    { path: ["pad_token_id"], value: 1, gone: [{ id: 4, token: "<pad>", now: 1 }] },
    { path: ["eos_token_id"], value: [1], gone: [{ id: 4, token: "<pad>" }] },
  ]);
});

test.each([
  ["mllama", { text_config: { model_type: "mllama_text_model", bos_token_id: 4 } }, { "text_config.bos_token_id": 1 }],
  [
    "mllama",
    { text_config: { bos_token_id: 4, pad_token_id: 4 } },
    { "text_config.bos_token_id": 1, "text_config.pad_token_id": null },
  ],
  ["llama", { bos_token_id: 4, pad_token_id: 4 }, { bos_token_id: null, pad_token_id: null }],
  [
    "llava",
    { image_token_index: 4, video_token_ids: [4], vision_end_token_id: 4 },
    { image_token_index: -1, video_token_ids: [], vision_end_token_id: -1 },
  ],
  [
    "whisper",
    { decoder_start_token_id: 4, suppress_tokens: [4], begin_suppress_tokens: [4] },
    { decoder_start_token_id: 1, suppress_tokens: null, begin_suppress_tokens: null },
  ],
  ["flaubert", { mask_index: 4, mask_token_id: 4 }, { mask_index: 1, mask_token_id: 1 }],
  ["qwen3_asr", { eos_token_id: [4] }, { eos_token_id: [1] }],
] as const)(
  "%s: %j gets no null where its class takes none, but an id that the output has or none",
  (type, config, expected) => {
    const ids = { ...renumbered, roles: new Map([["eos_token", 1]]) };
    expect(changed({ model_type: type, ...config }, ids)).toEqual(expected);
  },
);

test("without a special token of its own the output has row 0 stand in; other files than a model's take null", () => {
  expect(changed({ model_type: "cwm", bos_token_id: 4 }, renumbered)).toEqual({ bos_token_id: 0 });
  expect(changed({ decoder_start_token_id: 4, image_token_id: 4 }, renumbered)).toEqual({
    decoder_start_token_id: null,
    image_token_id: null,
  });
});
