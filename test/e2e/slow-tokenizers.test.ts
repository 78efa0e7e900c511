import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runMerge } from "../support/run-merge.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

type Files = Readonly<Record<string, string | Uint8Array>>;

function write(folder: string, files: Files): void {
  const f32 = (name: string, rows: number) => {
    return { name, dtype: "F32", shape: [rows, 2], bytes: new Uint8Array(8 * rows) };
  };
  writeSafetensors(join(folder, "model.safetensors"), [
    f32("model.embed_tokens.weight", 3),
    f32("model.layers.0.mlp.up_proj.weight", 2),
  ]);
  writeFileSync(join(folder, "config.json"), '{"model_type": "llama", "num_hidden_layers": 1, "vocab_size": 3}');
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
}

const ids = (...tokens: string[]) => JSON.stringify(Object.fromEntries(tokens.map((token, id) => [token, id])));
const fast = (...tokens: string[]) =>
  JSON.stringify({ added_tokens: [], model: { type: "BPE", vocab: JSON.parse(ids(...tokens)), merges: [] } });
/** A message's field of bytes; those here are short. */
const field = (number: number, value: Uint8Array) => Buffer.from([number * 8 + 2, value.length, ...value]);
/** A model of sentencepiece. */
const pieces = (...tokens: string[]) => Buffer.concat(tokens.map((token) => field(1, field(1, Buffer.from(token)))));
const tekken = (special: number, ...tokens: string[]) =>
  JSON.stringify({
    config: { default_num_special_tokens: special },
    vocab: tokens.map((token) => ({ token_bytes: Buffer.from(token).toString("base64") })),
  });
const lines = (...tokens: string[]) => `${tokens.join("\n")}\n`;

/** The codes of what is said of a and b; c is like b. */
async function said(models: Readonly<Record<"a" | "b", Files>>, more: Files = models.b, options = {}) {
  const root = temporaryFolder();
  for (const [name, files] of Object.entries({ ...models, c: more })) write(join(root, name), files);
  const listed = ["a", "b", "c"].map((model) => `{model: ${model}, parameters: {weight: 1}}`).join(", ");
  return runMerge(`merge_method: linear\nmodels: [${listed}]`, join(root, "out"), { models: root, ...options });
}

test.each<[string, Files, Files]>([
  ["vocab.json", { "vocab.json": ids("x", "y", "z") }, { "vocab.json": ids("x", "z", "y") }],
  ["vocab.txt", { "vocab.txt": lines("x", "y", "z") }, { "vocab.txt": lines("x", "z", "y") }],
  ["tiktoken", { "a.tiktoken": "IQ== 0\nIg== 1\n" }, { "a.tiktoken": "Ig== 0\nIQ== 1\n" }],
  [
    "added tokens",
    { "vocab.txt": lines("x"), "added_tokens.json": '{"y": 1, "z": 2}' },
    { "vocab.txt": lines("x"), "added_tokens.json": '{"z": 1, "y": 2}' },
  ],
  ["a fast one and vocab.json", { "tokenizer.json": fast("x", "y", "z") }, { "vocab.json": ids("x", "z", "y") }],
  [
    "a fast one and sentencepiece",
    { "tokenizer.json": fast("x", "▁y", "▁z") },
    { "tokenizer.model": pieces("x", "▁z", "▁y") },
  ],
  ["tekken and a fast one", { "tekken.json": tekken(0, "x", " y", " z") }, { "tokenizer.json": fast("x", "Ġz", "Ġy") }],
  [
    "sentencepiece by other names",
    { "spiece.model": pieces("x", "▁y", "▁z") },
    { "tokenizer.model": pieces("x", "▁z", "▁y") },
  ],
  ["vocab.txt and a fast one", { "vocab.txt": lines("x", "y", "z") }, { "tokenizer.json": fast("x", "z", "y") }],
])("models that give ids to other tokens in %s are refused", async (_, a, b) => {
  await expect(said({ a, b })).rejects.toThrow(/the id [01] is ".*" in "a" and ".*" in "b"; 2 ids below 3 differ/);
  await expect(said({ a: b, b })).resolves.toMatchObject({ outcome: { outcome: "done" } });
});

test.each<[string, Files, Files, RegExp | undefined]>([
  ["alike", { "tokenizer.json": fast("x", "▁y", "▁z") }, { "tokenizer.model": pieces("x", "▁y", "▁z") }, undefined],
  ["alike", { "tokenizer.json": fast("<s>", "x", "Ġy") }, { "tekken.json": tekken(1, "x", " y") }, undefined],
  ["nowhere", { "tokenizer.json": fast("x", "▁y", "▁z") }, {}, undefined],
  [
    "shifted",
    { "tokenizer.json": fast("<s>", "x", "▁y") },
    { "tokenizer.model": pieces("x", "▁y") },
    /"b" \(tokenizer\.model\) were not compared with those of "a" \(tokenizer\.json\): most ids differ by 1/,
  ],
  [
    "of other tokens",
    { "tokenizer.json": fast("x", "Ġy", "Ġz") },
    { "tokenizer.model": pieces("x", "▁y", "▁z") },
    /"b" .* not compared .* different ways/,
  ],
])("a fast tokenizer and a slow one that are %s: %j, %j", async (_, a, b, warning) => {
  const { outcome, planFindings } = await said({ a, b });
  expect(outcome).toMatchObject({ outcome: "done" });
  const found = planFindings.filter(({ code }) => code.startsWith("recipe/vocabulary"));
  expect(found.map(({ code }) => code)).toEqual(warning === undefined ? [] : ["recipe/vocabulary-not-compared"]);
  if (warning !== undefined) expect(found[0]?.message).toMatch(warning);
});

test("a model whose files cannot be compared with the others' does not keep these from being compared", async () => {
  const [a, b, c] = [
    { "own.tiktoken": "IQ== 0\n" },
    { "vocab.txt": lines("x", "y") },
    { "vocab.txt": lines("y", "x") },
  ];
  await expect(said({ a, b }, c)).rejects.toThrow(/"x" in "b" and "y" in "c"/);
  await expect(said({ a, b })).resolves.toMatchObject({ outcome: { outcome: "done" } });
});

test.each<[Files, Files, RegExp | undefined]>([
  [
    { "vocab.txt": lines("x") },
    { "vocab.txt": lines("x"), "added_tokens.json": '{"<y>": 1}' },
    /"b" has a token .* "<y>" \(1\)/,
  ],
  [
    { "vocab.json": ids("x") },
    { "tokenizer.json": fast("x", "<y>", "<z>") },
    /"b" has 2 tokens .* "<y>" \(1\), "<z>" \(2\)\./,
  ],
  [
    { "vocab.json": ids("x", "y"), "added_tokens.json": '{"<z>": 2}' },
    { "tokenizer.json": fast("x", "y", "<z>") },
    undefined,
  ],
  [
    { "vocab.json": ids("x", "y"), "tokenizer_config.json": '{"added_tokens_decoder": {"2": {"content": "<z>"}}}' },
    { "tokenizer.json": fast("x", "y", "<z>") },
    undefined,
  ],
])("tokens that only the second has are told where they stand in several files: %j, %j", async (a, b, warning) => {
  const { planFindings } = await said({ a, b });
  const found = planFindings.filter(({ code }) => code === "recipe/vocabulary-mismatch");
  expect(found.filter(({ message }) => message.startsWith('"b"')).map(({ message }) => message)).toEqual(
    warning === undefined ? [] : [expect.stringMatching(warning)],
  );
});

test("a first model without a tokenizer, beside one that has one, is told", async () => {
  for (const tokenizer of [{ "tokenizer.json": fast("x") }, { "spiece.model": pieces("x") }]) {
    const { planFindings } = await said({ a: {}, b: tokenizer });
    expect(planFindings.map(({ code, message }) => [code, message])).toEqual([
      ["recipe/files-left-behind", '"a": it has no tokenizer, and the output neither: "b" has one'],
    ]);
    expect((await said({ a: tokenizer, b: {} })).planFindings).toEqual([]);
  }
});

test.each<[Files, RegExp | undefined]>([
  [{ "tokenizer.json": fast("x", "▁y"), "tokenizer.model": pieces("x", "▁y") }, undefined],
  [{ "tokenizer.json": fast("x", "▁y"), "merges.txt": "x y\n", "tokenizer.model": "no pieces" }, undefined],
  [
    { "tokenizer.json": fast("x", "▁y"), "tokenizer.model": pieces("x", "▁z") },
    /^tokenizer\.model and tokenizer\.json of "a" .* the id 1 is "▁z" in the former and "▁y" in the latter; 2 tokens differ/,
  ],
  [{ "tokenizer.json": fast("x", "▁y"), "tokenizer.model.v3": pieces("x", "▁z") }, /^tokenizer\.model\.v3 and/],
  [
    { "tokenizer.json": fast("x", "y"), "vocab.json": ids("x", "y", "z") },
    /^vocab\.json and .* the id 2 is "z" in the former and no token in the latter$/,
  ],
  [{ "tokenizer.json": fast("x", "y"), "vocab.txt": lines("x 200", "y 100") }, undefined],
])(
  "a tokenizer.json and a file beside it that say different things are told where the output has both: %j",
  async (a, warning) => {
    const told = async (recipe: string) => {
      const root = temporaryFolder();
      for (const name of ["a", "b"]) write(join(root, name), name === "a" ? a : { "tokenizer.json": fast("x") });
      const { planFindings } = await runMerge(recipe, join(root, "out"), { models: root });
      return planFindings.filter(({ code }) => code === "recipe/tokenizer-files").map(({ message }) => message);
    };
    const expected = warning === undefined ? [] : [expect.stringMatching(warning)];
    expect(await told("merge_method: passthrough\nmodels: [{model: a}]")).toEqual(expected);
    const listed = "models: [{model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 1}}]";
    expect(await told(`merge_method: linear\ntokenizer_source: base\n${listed}`)).toEqual(expected);
    expect(await told(`merge_method: linear\ntokenizer_source: b\n${listed}`)).toEqual([]);
  },
);
