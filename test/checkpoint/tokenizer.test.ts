import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseTokenizer, TokenizerReader } from "../../checkpoint/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const parse = (json: unknown) =>
  parseTokenizer(Buffer.from(typeof json === "string" ? json : JSON.stringify(json)), "m");

test("tokens come in order of id, whatever the order of the file; added ones with all that is said of them", () => {
  const added_tokens = [
    { id: 4, content: "<b>", special: true, lstrip: true },
    { id: 3, content: "<a>" },
  ];
  const { kind, normal, added } = parse({
    added_tokens,
    model: { type: "BPE", vocab: { "7": 2, b: 0, a: 1 }, merges: [] },
  });
  expect(kind).toBe("BPE");
  expect([...normal]).toEqual([
    ["b", 0],
    ["a", 1],
    ["7", 2],
  ]);
  // As the tokenizers library takes what is missing: a token that is not special is looked for in normalized text.
  expect(added).toEqual([
    { id: 3, content: "<a>", single_word: false, lstrip: false, rstrip: false, normalized: true, special: false },
    { id: 4, content: "<b>", single_word: false, lstrip: true, rstrip: false, normalized: false, special: true },
  ]);
});

test("a Unigram model numbers its list; files of old say no type", () => {
  expect([
    ...parse({
      model: {
        type: "Unigram",
        vocab: [
          ["<unk>", 0],
          ["▁a", -1.5],
        ],
      },
    }).normal,
  ]).toEqual([
    ["<unk>", 0],
    ["▁a", 1],
  ]);
  expect(parse({ model: { vocab: [["<unk>", 0]], unk_id: 0 } }).kind).toBe("Unigram");
  expect(parse({ model: { vocab: { a: 0 }, merges: [] } }).kind).toBe("BPE");
  expect(parse({ model: { vocab: { a: 0 }, continuing_subword_prefix: "##" } }).kind).toBe("WordPiece");
  expect(parse({ model: { vocab: { a: 0 }, unk_token: "a" } }).kind).toBe("WordLevel");
});

test("brackets in tokens are no nesting", () => {
  const token = `${'["'.repeat(100)}\\`;
  expect([...parse({ model: { type: "BPE", vocab: { [token]: 0 }, merges: [] } }).normal]).toEqual([[token, 0]]);
});

test("a token may be called as a property of every object is", () => {
  const { normal } = parse('{"model": {"type": "BPE", "vocab": {"__proto__": 0, "constructor": 1}, "merges": []}}');
  expect([...normal]).toEqual([
    ["__proto__", 0],
    ["constructor", 1],
  ]);
});

test.each([
  ["no JSON", "{", "JSON"],
  ["a byte order mark", "\uFEFF{}", "a byte order mark (ef bb bf) stands before the JSON"],
  ["a list", "[]", "it must be a JSON object"],
  ["nesting without end", `{"x": ${"[".repeat(100_000)}`, "nest more than 64 deep"],
  ["no model", {}, 'it has no object "model"'],
  ["an unknown kind", { model: { type: "Magic" } }, 'of type "Magic"'],
  ["a vocabulary that is a list", { model: { type: "BPE", vocab: [] } }, 'no object "vocab"'],
  ["a Unigram entry without score", { model: { type: "Unigram", vocab: ["a"] } }, "entry 0 of the vocabulary"],
  ["a negative id", { model: { type: "BPE", vocab: { a: -1 } } }, 'token "a" has the id "-1"'],
  ["an id past all rows", { model: { type: "BPE", vocab: { a: 1e12 } } }, "from 0 to 16777215 is expected"],
  ["an added token without content", { added_tokens: [{ id: 0 }], model: { type: "BPE", vocab: {} } }, 'no "content"'],
  [
    "an added token without id",
    { added_tokens: [{ content: "a" }], model: { type: "BPE", vocab: {} } },
    'the id "undefined"',
  ],
])("%s: the fault is named", (_, json, message) => {
  expect(() => parse(json)).toThrow(
    expect.objectContaining({ code: "checkpoint/tokenizer", message: expect.stringContaining(message) }),
  );
});

const tokenizer = JSON.stringify({ model: { type: "BPE", vocab: { a: 0 }, merges: [] } });

function modelWith(files: Readonly<Record<string, string>>) {
  const root = placeOf(temporaryFolder());
  mkdirSync(root, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
  return { root, companions: Object.keys(files).sort() };
}

test("models with equal files share one tokenizer; configs beside it are each model's own", async () => {
  const reader = new TokenizerReader(new FileStore());
  const a = await reader.read(modelWith({ "tokenizer.json": tokenizer, "tokenizer_config.json": '{"x": 1}' }), "a");
  const b = await reader.read(modelWith({ "tokenizer.json": tokenizer, "special_tokens_map.json": '{"y": 2}' }), "b");
  expect(a?.tokenizer).toBe(b?.tokenizer);
  expect([a?.config, a?.specialTokensMap, b?.config, b?.specialTokensMap]).toEqual([
    { x: 1 },
    undefined,
    undefined,
    { y: 2 },
  ]);
  expect(await reader.read(modelWith({}), "c")).toBeUndefined();
  await expect(reader.read(modelWith({ "tokenizer.json": "[" }), "d")).rejects.toMatchObject({
    code: "checkpoint/tokenizer",
    message: expect.stringMatching(/^d: tokenizer.json: /),
  });
});

test.each([
  [
    "in a file of its own, which goes before",
    { "chat_template.jinja": "file", "tokenizer_config.json": '{"chat_template": "config"}' },
    "file",
  ],
  ["in the config", { "tokenizer_config.json": '{"chat_template": "config"}' }, "config"],
  [
    "the default one of several",
    {
      "tokenizer_config.json":
        '{"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]}',
    },
    "d",
  ],
  ["none", { "tokenizer_config.json": "{}" }, undefined],
])("a chat template: %s", async (_, files, expected) => {
  expect(await new TokenizerReader(new FileStore()).chatTemplate(modelWith(files), "m")).toBe(expected);
});

test("tokens that the files beside tokenizer.json add to it count, numbered from the end on, as transformers has them", async () => {
  const read = async (files: Readonly<Record<string, unknown>>) => {
    const root = temporaryFolder();
    const own = {
      model: { type: "WordLevel", vocab: { a: 0, b: 1 }, unk_token: "a" },
      added_tokens: [{ id: 2, content: "<c>" }],
    };
    const all = { "tokenizer.json": own, ...files };
    for (const [name, content] of Object.entries(all)) writeFileSync(join(root, name), JSON.stringify(content));
    const found = await new TokenizerReader(new FileStore()).read(
      { root: placeOf(root), companions: Object.keys(all) },
      "m",
    );
    return found?.tokenizer.added.map(({ content, id, special }) => [content, id, special]);
  };
  const decoder = { "9": { content: "<e>" }, "3": { content: "<d>", special: true }, "1": { content: "b" } };
  const own = ["<c>", 2, false];
  expect(await read({})).toEqual([own]);
  expect(await read({ "tokenizer_config.json": { added_tokens_decoder: decoder } })).toEqual([
    own,
    ["<d>", 3, true],
    ["<e>", 4, false],
  ]);
  const beside = { "added_tokens.json": { "<f>": 3, "<c>": 2 } };
  expect(await read(beside)).toEqual([own, ["<f>", 3, false]]);
  expect(await read({ ...beside, "tokenizer_config.json": { added_tokens_decoder: {} } })).toEqual([own]);
});
