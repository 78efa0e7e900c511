import { expect, test } from "vitest";
import { canonicalRecipe, referencedModels } from "../../recipe/index.ts";
import { parse, recipeOf, summaryOf } from "./parsing.ts";

const linear = (keys: string) => `merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}]\n${keys}`;

test("tokenizer_source is short for a source; without one the source is a union", () => {
  expect(recipeOf(linear("tokenizer_source: base\n")).tokenizer).toMatchObject({ source: "base", padToMultipleOf: 1 });
  expect(recipeOf(linear("tokenizer: {}\n")).tokenizer).toMatchObject({ source: "union" });
  expect(recipeOf(linear("tokenizer: {source: b@main}\n")).tokenizer).toMatchObject({ source: { text: "b@main" } });
});

test("tokens have a source of three kinds, or none", () => {
  const { tokenizer } = recipeOf(
    linear(`tokenizer:
  pad_to_multiple_of: 64
  tokens:
    <a>: {source: m}
    <b>: {source: {kind: zero}, force: yes}
    <c>: {source: {kind: model_token, model: m, token: 7}}
    <d>: {source: {kind: model_token, model: {model: {path: n}}, token_id: 7}}
    <e>: {force: true}
    <f>:
`),
  );
  expect(tokenizer?.padToMultipleOf).toBe(64);
  expect([...(tokenizer?.tokens ?? [])].map(([token, { source, force }]) => [token, source, force])).toMatchObject([
    ["<a>", { kind: "model", model: { text: "m" } }, false],
    ["<b>", { kind: "zero" }, true],
    ["<c>", { kind: "model_token", model: { text: "m" }, token: "7" }, false],
    ["<d>", { kind: "model_token", model: { text: "n" }, token: 7 }, false],
    ["<e>", undefined, true],
    ["<f>", undefined, false],
  ]);
});

test("models that only the tokenizer names are opened last; they are part of what the recipe means", () => {
  const recipe = recipeOf(linear("tokenizer: {source: t, tokens: {<a>: {source: u}, <b>: {source: a}}}\n"));
  expect(referencedModels(recipe).map(({ text }) => text)).toEqual(["a", "t", "u"]);
  const labels = new Map(["a", "t", "u"].map((text) => [text, `label-${text}`]));
  expect(canonicalRecipe(recipe, labels)).toMatchObject({
    tokenizer: {
      source: { model: "label-t" },
      tokens: [
        { token: "<a>", source: { kind: "model", model: "label-u" }, force: false },
        { token: "<b>", source: { kind: "model", model: "label-a" }, force: false },
      ],
      padToMultipleOf: 1,
    },
  });
});

test.each([
  ["both keys", "tokenizer_source: base\ntokenizer: {source: base}\n", "wrong-value 4:1"],
  ["a tokenizer that is text", "tokenizer: union\n", "wrong-type 3:12"],
  ["an unknown key", "tokenizer: {sources: base}\n", "unknown-key 3:13"],
  ["tokens that are a list", "tokenizer: {tokens: [<a>]}\n", "wrong-type 3:21"],
  ["a token that is text", "tokenizer: {tokens: {<a>: b}}\n", "wrong-type 3:27"],
  ["an unknown kind", "tokenizer: {tokens: {<a>: {source: {kind: zeros}}}}\n", "wrong-value 3:43"],
  [
    "a model_token without model",
    "tokenizer: {tokens: {<a>: {source: {kind: model_token, token: b}}}}\n",
    "missing-key 3:36",
  ],
  [
    "token and token_id",
    "tokenizer: {tokens: {<a>: {source: {kind: model_token, model: b, token: c, token_id: 1}}}}\n",
    "missing-key 3:36",
  ],
  [
    "a token_id below zero",
    "tokenizer: {tokens: {<a>: {source: {kind: model_token, model: b, token_id: -1}}}}\n",
    "wrong-type 3:76",
  ],
  ["force that is a number", "tokenizer: {tokens: {<a>: {force: 1}}}\n", "wrong-type 3:35"],
  ["padding to 0", "tokenizer: {pad_to_multiple_of: 0}\n", "wrong-value 3:33"],
  ["padding to half", "tokenizer: {pad_to_multiple_of: 1.5}\n", "wrong-value 3:33"],
  ["a template of no known name", "chat_template: chat_ml\n", "wrong-value 3:16"],
])("%s: a fault with its place", (_, keys, expected) => {
  expect(summaryOf(parse(linear(keys)).faults)).toEqual([expect.stringMatching(`^${expected} `)]);
});

test("chat templates: auto, by name, or written out", () => {
  expect(recipeOf(linear("chat_template: auto\n")).chatTemplate).toMatchObject({ kind: "auto" });
  expect(recipeOf(linear("chat_template: chatml\n")).chatTemplate).toMatchObject({ kind: "text", name: "chatml" });
  const written = "{% for m in messages %}{{ m.content }}{% endfor %}";
  expect(recipeOf(linear(`chat_template: '${written}'\n`)).chatTemplate).toMatchObject({ kind: "text", text: written });
  expect(summaryOf(parse(linear("chat_template: lama3\n")).faults)[0]).toContain('did you mean "llama3"?');
});
