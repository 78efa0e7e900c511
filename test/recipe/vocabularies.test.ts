import { expect, test } from "vitest";
import type { Checkpoint, Tokenizer } from "../../checkpoint/index.ts";
import type { RowsSource } from "../../merge/work/index.ts";
import { type BindOptions, bindRecipe, labelsFor, type RecipeInput, referencedModels } from "../../recipe/index.ts";
import { bpe } from "../tokenizer/tokenizers.ts";
import { checkpointOf, type TensorShape, tinyLlama } from "./checkpoints.ts";
import { methods, parse, summaryOf } from "./parsing.ts";

interface Model {
  readonly tokenizer?: Tokenizer;
  readonly checkpoint?: Checkpoint;
  readonly tokenizerFault?: string;
  readonly chatTemplate?: string;
}

const rowed = (rows: number, config: Record<string, unknown> = {}) =>
  checkpointOf(tinyLlama(1, rows), { num_hidden_layers: 1, vocab_size: rows, ...config });

function bind(text: string, models: Record<string, Model>, options: Partial<BindOptions> = {}) {
  const { recipe, faults } = parse(text);
  if (recipe === undefined || faults.length > 0) throw new Error(summaryOf(faults).join("\n"));
  const references = referencedModels(recipe);
  const labels = labelsFor(references);
  const inputs = references.map((reference): RecipeInput => {
    const model = models[reference.path];
    if (model === undefined) throw new Error(`no model ${reference.path}`);
    const { tokenizer, checkpoint = rowed(tokenizer?.normal.size ?? 10), ...rest } = model;
    const beside = tokenizer && { tokenizer, config: undefined, specialTokensMap: undefined };
    return { reference, label: labels.get(reference.text) ?? "", checkpoint, tokenizer: beside, ...rest };
  });
  return bindRecipe(recipe, inputs, { methods, ...options });
}

const linear = (...models: string[]) =>
  `merge_method: linear\nparameters: {weight: 1}\nmodels: [${models.map((model) => `{model: ${model}}`).join(", ")}]\n`;
const sourcesOf = (binding: ReturnType<typeof bind>, name: string) => {
  const task = binding.tasks.find((one) => one.name === name);
  return [...(task?.base ? [task.base] : []), ...(task?.models ?? [])] as RowsSource[];
};

const ab = bpe(["a", "b"]);
const bac = bpe(["b", "a", "c"]);

test("every embedding of every model is put into the order of the output's vocabulary", () => {
  const binding = bind(`${linear("one", "two")}tokenizer: {source: union, pad_to_multiple_of: 4}\n`, {
    one: { tokenizer: ab },
    two: { tokenizer: bac },
  });
  expect(binding.faults).toEqual([]);
  expect(binding.embeddingRows).toBe(4);
  expect(Object.fromEntries(binding.tokenizer?.vocabulary.ids ?? [])).toEqual({ a: 0, b: 1, c: 2 });
  for (const name of ["model.embed_tokens.weight", "lm_head.weight"]) {
    const [one, two] = sourcesOf(binding, name);
    expect(one).toMatchObject({
      kind: "rows",
      width: 4,
      storedRowLength: 4,
      runs: [{ part: 0, first: 0, count: 2 }, { part: 1, first: 2, count: 1 }, { padding: 1 }],
    });
    expect(one?.parts).toMatchObject([
      { input: 0, tensor: name },
      { input: 1, tensor: name },
    ]);
    expect(two?.runs).toEqual([{ part: 0, rows: [1, 0, 2] }, { padding: 1 }]);
    expect(binding.tasks.find((task) => task.name === name)?.shape).toEqual([4, 4]);
  }
  expect(sourcesOf(binding, "model.norm.weight")[0]?.kind).toBeUndefined();
});

test("a bias of the head is permuted element by element, an embedding that only the base has is permuted too", () => {
  const biased = checkpointOf([...tinyLlama(1, 2), ["lm_head.bias", [2]]], { num_hidden_layers: 1 });
  const text = `${linear("two").replace("linear", "task_arithmetic")}base_model: one\ntokenizer_source: two\n`;
  const binding = bind(text, { one: { tokenizer: ab, checkpoint: biased }, two: { tokenizer: bac } });
  expect(binding.faults).toEqual([]);
  const bias = binding.tasks.find(({ name }) => name === "lm_head.bias");
  expect(bias).toMatchObject({ kind: "copy", shape: [3] });
  expect(bias?.base).toMatchObject({
    kind: "rows",
    width: 1,
    storedRowLength: 3,
    runs: [{ part: 0, rows: [1, 0] }, { zero: 1 }],
  });
});

test("a bias of the logits that is stored as one row has its columns permuted, and stays one row", () => {
  const biased = (rows: number) =>
    checkpointOf([["final_logits_bias", [1, rows]], ...tinyLlama(1, rows)], { num_hidden_layers: 1 });
  const models = { one: { tokenizer: ab, checkpoint: biased(2) }, two: { tokenizer: bac, checkpoint: biased(3) } };
  for (const [source, rows] of [
    ["union", 3],
    ["base", 2],
  ] as const) {
    const binding = bind(`${linear("one", "two")}tokenizer_source: ${source}\n`, models);
    expect(binding.faults).toEqual([]);
    expect(binding.tasks.find(({ name }) => name === "final_logits_bias")?.shape).toEqual([1, rows]);
    const [, two] = sourcesOf(binding, "final_logits_bias");
    expect(two).toMatchObject({ kind: "rows", width: 1, runs: [{ part: 0, rows: [1, 0, 2].slice(0, rows) }] });
  }
  const cut = bind(linear("one", "two"), models, { cutEmbeddings: true, allowVocabularyMismatch: true });
  expect(cut.faults).toEqual([]);
  expect(cut.tasks.find(({ name }) => name === "final_logits_bias")?.shape).toEqual([1, 2]);
});

test("ids of the defining model are given anew, where the vocabulary is another's", () => {
  const text = `${linear("one")}tokenizer_source: two\n`;
  const { tokenizer, tokenIds } = bind(text, { one: { tokenizer: ab }, two: { tokenizer: bac } });
  expect(tokenizer?.pattern).toBe(1);
  expect(tokenIds).toMatchObject({ rows: 3, rowsBefore: 2, tokens: { before: ["a", "b"] } });
  expect([...(tokenIds?.tokens?.after ?? [])]).toEqual([
    ["b", 0],
    ["a", 1],
    ["c", 2],
  ]);
});

test("a model without a tokenizer has the base's tokens, with a warning; the base needs one", () => {
  const text = `${linear("one", "two")}tokenizer_source: union\n`;
  const assumed = bind(text, { one: { tokenizer: ab }, two: { checkpoint: rowed(3) } });
  expect(assumed.faults).toEqual([]);
  expect(summaryOf(assumed.warnings)).toEqual([
    expect.stringMatching(/^tokenizer 4:1 "two" has no tokenizer.json: it is taken/),
  ]);
  expect(sourcesOf(assumed, "lm_head.weight")[1]?.runs).toEqual([{ part: 0, first: 0, count: 2 }]);
  const lacking = bind(text, { one: { checkpoint: rowed(2) }, two: { tokenizer: ab } });
  expect(summaryOf(lacking.faults)).toEqual([
    'tokenizer 4:1 the tokenizer of "one" cannot be used: it has no tokenizer.json',
  ]);
  const damaged = bind(text, {
    one: { tokenizer: ab },
    two: { checkpoint: rowed(2), tokenizerFault: "it is damaged" },
  });
  expect(summaryOf(damaged.faults)).toEqual(['tokenizer 4:1 the tokenizer of "two" cannot be used: it is damaged']);
});

test.each([
  ["<x>: {source: two}", 'token 4:37 "two" has no token "<x>", from which "<x>" should get its row'],
  [
    "<x>: {source: {kind: model_token, model: two, token: z}}",
    'token 4:37 "two" has no token "z", from which "<x>" should get its row',
  ],
  [
    "<x>: {source: {kind: model_token, model: two, token_id: 3}}",
    'token 4:37 token_id 3 is past the end of the embedding of "two", which has 3 rows',
  ],
])("a source that is not there: %s", (token, expected) => {
  const binding = bind(`${linear("one", "two")}tokenizer: {source: union, tokens: {${token}}}\n`, {
    one: { tokenizer: ab },
    two: { tokenizer: bac },
  });
  expect(summaryOf(binding.faults)).toEqual([expected]);
});

test("a token that nobody has is told; so is a recipe whose models have no embedding", () => {
  const text = `${linear("one")}tokenizer: {source: base, tokens: {<x>: , <y>: {source: {kind: zero}}}}\n`;
  const { warnings, faults } = bind(text, { one: { tokenizer: ab } });
  expect(faults).toEqual([]);
  expect(summaryOf(warnings)).toEqual(['token 4:36 no model has a row for the token "<x>": it is zero']);
  const without = bind(text, { one: { tokenizer: ab, checkpoint: checkpointOf([["weight", [3, 3]]]) } });
  expect(summaryOf(without.faults)).toEqual([expect.stringMatching(/^tokenizer 4:1 no tensor is recognised/)]);
});

test("without a tokenizer key an id that names two tokens is a fault where the row is in the output", () => {
  const models = { one: { tokenizer: bpe(["a", "b", "c"]) }, two: { tokenizer: bpe(["a", "B", "C"]) } };
  const told = 'the id 1 is "b" in "one" and "B" in "two"; 2 ids below 3 differ (and 1 more tensor)';
  expect(summaryOf(bind(linear("one", "two"), models).faults)).toEqual([`vocabulary-mismatch 3:24 ${told}`]);
  const allowed = bind(linear("one", "two"), models, { allowVocabularyMismatch: true });
  expect(allowed.faults).toEqual([]);
  expect(summaryOf(allowed.warnings)).toContain(`vocabulary-mismatch 3:24 ${told}`);
  // Cut to two rows: the ids that differ are gone.
  const cut = { one: { tokenizer: ab }, two: { tokenizer: bpe(["a", "b", "x"]) } };
  expect(bind(linear("one", "two"), cut, { cutEmbeddings: true }).faults).toEqual([]);
  // A model that says nothing of its tokens is merged as it stands.
  expect(bind(linear("one", "two"), { one: models.one, two: { checkpoint: rowed(3) } }).faults).toEqual([]);
});

test("the tokens of the model that only gives config and tokenizer count as well", () => {
  const weighted = ["one", "two"].map((model) => `{model: ${model}, parameters: {weight: 1}}`);
  const text = `merge_method: linear\nbase_model: named\nmodels: [${weighted.join(", ")}]\n`;
  const own = { tokenizer: bpe(["a", "b"]) };
  const { faults } = bind(text, { one: own, two: own, named: { tokenizer: bpe(["a", "x"]) } });
  expect(summaryOf(faults)).toContain(
    'vocabulary-mismatch 3:10 the id 1 is "x" in "named" and "b" in "one" (and 1 more tensor)',
  );
});

test("one vocabulary with padding of different lengths is told as such", () => {
  const models = { one: { tokenizer: ab, checkpoint: rowed(4) }, two: { tokenizer: ab, checkpoint: rowed(8) } };
  const { faults } = bind(linear("one", "two"), models);
  expect(faults.map(({ code, hint }) => [code, hint])).toEqual([
    [
      "recipe/vocabulary-size",
      "Both have the same 2 tokens, and padding of different lengths: tokenizer_source: base leaves the padding out.",
    ],
  ]);
  expect(bind(`${linear("one", "two")}tokenizer_source: base\n`, models).faults).toEqual([]);
});

test("a head that is tied takes part as the embedding that it is", () => {
  const untied = rowed(2);
  const tied = checkpointOf(
    tinyLlama(1, 2).filter(([name]) => name !== "lm_head.weight"),
    { num_hidden_layers: 1, tie_word_embeddings: true },
  );
  const { tasks, notes } = bind(linear("one", "two"), { one: { checkpoint: untied }, two: { checkpoint: tied } });
  const head = tasks.find(({ name }) => name === "lm_head.weight");
  const embedding = tasks.find(({ name }) => name === "model.embed_tokens.weight");
  expect(head?.models).toHaveLength(2);
  expect(head?.models[1]).toMatchObject({ offsetBytes: (embedding!.models[1] as { offsetBytes: number }).offsetBytes });
  expect(notes).toEqual([]);
  const all = bind(linear("one", "two"), { one: { checkpoint: tied }, two: { checkpoint: tied } });
  expect(all.tasks.some(({ name }) => name === "lm_head.weight")).toBe(false);
});

test("chat_template: auto takes what most models have, of as many what comes first", () => {
  const auto = (...templates: (string | undefined)[]) => {
    const names = templates.map((_, k) => `m${k}`);
    const models = Object.fromEntries(
      templates.map((chatTemplate, k) => [names[k], chatTemplate === undefined ? {} : { chatTemplate }]),
    );
    return bind(`${linear(...names)}chat_template: auto\n`, models);
  };
  expect(auto("x", "y", "y").chatTemplate).toBe("y");
  expect(auto("x", "y", undefined).chatTemplate).toBe("x");
  expect(auto(undefined).chatTemplate).toBeUndefined();
  expect(summaryOf(auto(undefined).warnings)).toEqual([
    expect.stringMatching(/^no-effect 4:1 "chat_template" has no effect/),
  ]);
});

test("a config that counts fewer tokens than rows keeps its count where the head has as many; that is told", () => {
  const tensors = tinyLlama(2, 12).map(
    ([name, shape]): TensorShape => [name, name === "lm_head.weight" ? [8, 4] : shape],
  );
  const checkpoint = checkpointOf(tensors, { num_hidden_layers: 2, vocab_size: 8 });
  const whole = bind(linear("one"), { one: { checkpoint } });
  expect(whole.embeddingRows).toBeUndefined();
  expect(summaryOf(whole.warnings)).toEqual([
    'vocabulary-count 1:1 vocab_size in the config of "one" is 8, and model.embed_tokens.weight has 12 rows (lm_head.weight has 8): it stays 8',
  ]);
  const stack = bind("merge_method: passthrough\nslices: [{sources: [{model: one, layer_range: [0, 1]}]}]\n", {
    one: { checkpoint },
  });
  expect([stack.faults, stack.embeddingRows]).toEqual([[], undefined]);
  const cut = bind(
    linear("one", "two"),
    { one: { checkpoint }, two: { checkpoint: rowed(10) } },
    { cutEmbeddings: true },
  );
  expect(cut.embeddingRows).toBe(10);
});

test.each<[Record<string, unknown>, string]>([
  [{ model_type: "llama", vocab_size: 32 }, "vocab_size"],
  [{ model_type: "llama", vocab_size: 40 }, "vocab_size"],
  [{ model_type: "llama", vocab_size: 32, padded_vocab_size: 34 }, "vocab_size"],
  [{ model_type: "llava", text_config: { model_type: "llama", vocab_size: 32 } }, "text_config.vocab_size"],
  [{ model_type: "llava", vocab_size: 34, text_config: { vocab_size: 32 } }, "text_config.vocab_size"],
  [{ model_type: "moshi", vocab_size: 32 }, "vocab_size"],
  [{ model_type: "moshi", vocab_size: 40 }, "vocab_size"],
])("a config that contradicts the rows of its own model is told, and the rows count: %j", (config, key) => {
  const one = { checkpoint: checkpointOf(tinyLlama(1, 34), { num_hidden_layers: 1, ...config }) };
  const { warnings, embeddingRows } = bind(linear("one"), { one });
  const tokens = key.split(".").reduce<unknown>((part, name) => (part as Record<string, unknown>)[name], config);
  const [expected, result] =
    config.model_type === "moshi"
      ? [`, which makes ${Number(tokens) + 1} rows in its kind of model`, `it stays ${tokens}`]
      : ["", "the output's config says 34"];
  expect(summaryOf(warnings)).toEqual([
    `vocabulary-count 1:1 ${key} in the config of "one" is ${tokens}${expected}, and model.embed_tokens.weight has 34 rows: ${result}`,
  ]);
  expect(embeddingRows).toBe(config.model_type === "moshi" ? undefined : 34);
});

test("a head of other rows than embedding and config is told, and so is what a document contradicts, once", () => {
  const shapes = tinyLlama(1, 34).map(
    ([name, shape]): TensorShape => [name, name === "lm_head.weight" ? [36, 4] : shape],
  );
  const one = { checkpoint: checkpointOf(shapes, { num_hidden_layers: 1, vocab_size: 34 }) };
  expect(summaryOf(bind(linear("one"), { one }).warnings)).toEqual([
    'vocabulary-count 1:1 vocab_size in the config of "one" is 34, model.embed_tokens.weight has 34 rows and lm_head.weight 36: no config can count both',
  ]);
  const tied = { num_hidden_layers: 1, vocab_size: 32, tie_word_embeddings: true };
  const headed = { checkpoint: checkpointOf(tinyLlama(1, 34).slice(1), tied) };
  expect(bind(linear("one"), { one: headed })).toMatchObject({
    embeddingRows: 34,
    warnings: [{ code: "recipe/vocabulary-count", message: expect.stringContaining("lm_head.weight has 34 rows") }],
  });
  const two = { checkpoint: checkpointOf(tinyLlama(1, 34), { num_hidden_layers: 1, vocab_size: 32 }) };
  const chain = bind(`name: made\n${linear("two")}---\n${linear("made")}`, { two });
  expect([summaryOf(chain.warnings), chain.embeddingRows]).toEqual([
    [expect.stringMatching(/^vocabulary-count 2:1/)],
    34,
  ]);
});

test.each<[number | undefined, Record<string, unknown>]>([
  [34, { model_type: "llama", vocab_size: 34 }],
  [34, { model_type: "llama" }],
  [undefined, { model_type: "llava", vocab_size: 30, text_config: { vocab_size: 34 } }],
  [34, { model_type: "llava", vocab_size: 40, text_config: { vocab_size: 34 } }],
  [undefined, { model_type: "chatglm", vocab_size: 32, padded_vocab_size: 34 }],
  [undefined, { model_type: "marian", vocab_size: 32, decoder_vocab_size: 34 }],
  [undefined, { model_type: "fsmt", src_vocab_size: 34, tgt_vocab_size: 34 }],
  [undefined, { model_type: "rag", question_encoder: { vocab_size: 9 }, generator: { vocab_size: 34 } }],
  [undefined, { model_type: "pi0", vlm_config: { vocab_size: 30 }, dit_config: { vocab_size: 34 } }],
  [undefined, { model_type: "mllama", text_config: { vocab_size: 26 } }],
  [undefined, { model_type: "mllama", text_config: { model_type: "mllama_text_model" } }],
  [undefined, { model_type: "molmo2_text", vocab_size: 24, additional_vocab_size: 10 }],
  [undefined, { model_type: "molmo2_text", vocab_size: 24 }],
  [undefined, { model_type: "moshi", vocab_size: 33 }],
  [undefined, { model_type: "kyutai_speech_to_text", vocab_size: 9, num_codebooks: 4, codebook_vocab_size: 6 }],
  [undefined, { model_type: "cpmant", vocab_size: 18, prompt_types: 2, prompt_length: 8 }],
  [undefined, { model_type: "csm_depth_decoder_model", vocab_size: 17, num_codebooks: 2 }],
])("rows that are as many by design, or counted elsewhere, are not told (%s): %j", (rows, config) => {
  const one = { checkpoint: checkpointOf(tinyLlama(1, 34), { num_hidden_layers: 1, ...config }) };
  const { warnings, embeddingRows } = bind(linear("one"), { one });
  expect([summaryOf(warnings), embeddingRows]).toEqual([[], rows]);
});

test("of several embeddings the one that the config counts says how many tokens there are; those of layers are counted apart", () => {
  const shapes: TensorShape[] = [
    ["talker.model.embed_tokens.weight", [5, 4]],
    ...tinyLlama(1, 8),
    ["model.embed_tokens_per_layer.weight", [6, 4]],
  ];
  const config = { num_hidden_layers: 1, vocab_size: 8, vocab_size_per_layer_input: 6 };
  const one = { checkpoint: checkpointOf(shapes, config), tokenizer: bpe(["a", "b"]) };
  expect(bind(linear("one"), { one }).embeddingRows).toBe(8);
  const asked = bind(`${linear("one")}tokenizer_source: base\n`, { one });
  expect(asked.configValues).toEqual([{ path: ["vocab_size_per_layer_input"], value: 2 }]);
  expect(bind(linear("one"), { one }).configValues).toBeUndefined();
  const wrong = { checkpoint: checkpointOf(shapes, { ...config, vocab_size_per_layer_input: 5 }) };
  const told = bind(linear("one"), { one: wrong });
  expect(told.configValues).toEqual([{ path: ["vocab_size_per_layer_input"], value: 6 }]);
  expect(summaryOf(told.warnings)).toEqual([
    'vocabulary-count 1:1 vocab_size_per_layer_input in the config of "one" is 5, and its table has 6 rows: the output\'s config says 6',
  ]);
});

test("encoder and decoder that are counted apart are counted by their own rows", () => {
  const fsmt = (rows: number) => {
    const shapes: TensorShape[] = ["encoder", "decoder"].flatMap((tower): TensorShape[] => [
      [`model.${tower}.embed_tokens.weight`, [rows, 4]],
      [`model.${tower}.layers.0.fc1.weight`, [4, 4]],
    ]);
    const counts = { src_vocab_size: rows, tgt_vocab_size: rows };
    return {
      checkpoint: checkpointOf(shapes, {
        model_type: "fsmt",
        encoder_layers: 1,
        tie_word_embeddings: false,
        ...counts,
      }),
    };
  };
  const { configValues } = bind(linear("one", "two"), { one: fsmt(8), two: fsmt(6) }, { cutEmbeddings: true });
  expect(configValues).toEqual([
    { path: ["src_vocab_size"], value: 6 },
    { path: ["tgt_vocab_size"], value: 6 },
  ]);
});

test("a source for a token that every model has does nothing unless it is forced", () => {
  const text = (entry: string) => `${linear("one", "two")}tokenizer: {source: union, tokens: {${entry}}}\n`;
  const models = { one: { tokenizer: ab }, two: { tokenizer: bac } };
  const told = (entry: string) => summaryOf(bind(text(entry), models).warnings);
  expect(told("a: {source: two}")).toEqual(['no-effect 4:37 every model has the token "a": its source has no effect']);
  expect(told("a: {source: two, force: true}")).toEqual([]);
  expect(told("c: {source: two}")).toEqual([]);
});

const reserved = (third: string, fourth = "<|reserved_special_token_1|>") =>
  bpe(
    ["a", "b"],
    [],
    [
      [third, 2],
      [fourth, 3],
    ],
  );
const [kept, chat] = [reserved("<|reserved_special_token_0|>"), reserved("<|im_start|>", "<|im_end|>")];
const fourRows = (tokenizer: Tokenizer): Model => ({ tokenizer, checkpoint: rowed(4) });

test("a token of the reserve that a fine-tune has given a name is merged row by row, with a warning that says whose names the output has", () => {
  const models = { base: fourRows(kept), chat: fourRows(chat) };
  const text =
    '"chat" calls the id 2 "<|im_start|>", which "base" keeps in reserve ("<|reserved_special_token_0|>"), and 1 more like it: the output has the names of';
  const { faults, warnings, tasks } = bind(linear("base", "chat"), models);
  expect(faults).toEqual([]);
  expect(summaryOf(warnings)).toEqual([`vocabulary-mismatch 3:25 ${text} "base" (and 1 more tensor)`]);
  expect(tasks.find(({ name }) => name === "lm_head.weight")?.models).toHaveLength(2);
  const reverse = bind(linear("chat", "base"), models);
  expect([reverse.faults, summaryOf(reverse.warnings)]).toEqual([
    [],
    [`vocabulary-mismatch 3:25 ${text} "chat" (and 1 more tensor)`],
  ]);
});

test("with the fine-tune's tokenizer its names are the output's, and their rows come from it alone", () => {
  const binding = bind(`${linear("base", "chat")}tokenizer_source: chat\n`, {
    base: fourRows(kept),
    chat: fourRows(chat),
  });
  expect([binding.faults, binding.embeddingRows]).toEqual([[], 4]);
  const [base] = sourcesOf(binding, "model.embed_tokens.weight");
  expect(base?.runs).toEqual([
    { part: 0, first: 0, count: 2 },
    { part: 1, first: 2, count: 2 },
  ]);
});

test("a tokenizer that cannot be read is told where it would have been compared", () => {
  const models = {
    one: { tokenizer: ab },
    two: { checkpoint: rowed(2), tokenizerFault: "two: tokenizer.json: it is cut" },
  };
  const message = 'the tokens of "two" were not compared with those of other models: two: tokenizer.json: it is cut';
  for (const order of [
    ["one", "two"],
    ["two", "one"],
  ]) {
    const { faults, warnings } = bind(linear(...order), models);
    expect(faults).toEqual([]);
    expect(warnings.map(({ code, message }) => [code, message])).toEqual([
      ["recipe/vocabulary-not-compared", `${message} (and 1 more tensor)`],
    ]);
  }
  expect(bind(linear("two"), models).warnings).toEqual([]);
});

test("rows of padding that are merged with those of tokens are told, where the output has the tokens", () => {
  const named = bpe(["a", "b"], [], [["<|im_start|>", 2]]);
  const models = { chat: fourRows(named), base: fourRows(bpe(["a", "b"])) };
  const { faults, warnings } = bind(linear("chat", "base"), models);
  expect(faults).toEqual([]);
  expect(summaryOf(warnings)).toEqual([
    'vocabulary-mismatch 3:25 "base" has a row and no token for the id 2, "<|im_start|>" of "chat": padding is merged with the rows of tokens (and 1 more tensor)',
  ]);
  const based = `merge_method: task_arithmetic\nbase_model: chat\nmodels: [{model: base}, {model: chat}]\nparameters: {weight: 1}\n`;
  expect(summaryOf(bind(based, models).warnings)[0]).toMatch(/^vocabulary-mismatch 3:10 "base" has a row and no token/);
  expect(bind(`${linear("chat", "base")}tokenizer_source: base`, models).warnings).toEqual([]);
  expect(
    bind(linear("chat", "kept"), { ...models, chat: fourRows(kept), kept: fourRows(bpe(["a", "b"])) }).warnings,
  ).toEqual([]);
});

test("tokens that only another model than the output's has are told with their number and ids", () => {
  const chat = bpe(
    ["a", "b"],
    [],
    ["<|im_start|>", "<|im_end|>", "<|tool|>", "<|think|>", "<|unused_6|>"].map((token, k) => [token, 2 + k]),
  );
  const models = Object.fromEntries(
    Object.entries({ base: bpe(["a", "b"]), chat, one: bpe(["a", "b"], [], [["<|im_start|>", 2]]) }).map(
      ([name, tokenizer]) => [name, { tokenizer, checkpoint: rowed(8) }],
    ),
  );
  const told = (text: string) => summaryOf(bind(text, models).warnings);
  const without = 'The output has the tokenizer of "base", without';
  const four = `vocabulary-mismatch 3:25 "chat" has 4 tokens that "base" lacks: "<|im_start|>" (2), "<|im_end|>" (3), "<|tool|>" (4) and 1 more. ${without} them: their rows are of no use (and 1 more tensor)`;
  expect(told(linear("base", "chat"))).toEqual([four]);
  const first = `merge_method: task_arithmetic\nbase_model: base\nmodels: [{model: chat}, {model: base}]\nparameters: {weight: 1}\n`;
  expect(told(first)).toEqual([four.replace("3:25", "3:10")]);
  expect(told(linear("base", "one"))).toEqual([
    `vocabulary-mismatch 3:25 "one" has a token that "base" lacks: "<|im_start|>" (2). ${without} it: its row is of no use (and 1 more tensor)`,
  ]);
  for (const source of ["union", "base", "chat"])
    expect(told(`${linear("base", "chat")}tokenizer_source: ${source}\n`)).toEqual([]);
});

test("a token that another model has elsewhere, in a row of padding, is told", () => {
  const at = (id: number) => ({ tokenizer: bpe(["a", "b"], [], [["<x>", id]]), checkpoint: rowed(8) });
  expect(summaryOf(bind(linear("one", "two"), { one: at(3), two: at(5) }).warnings)).toEqual([
    'vocabulary-mismatch 3:24 "two" has a row and no token for the id 3, "<x>" of "one": padding is merged with the rows of tokens (and 1 more tensor)',
  ]);
});

test("one reserve that two fine-tunes use for different tokens, and a name that was moved, are no renaming", () => {
  const models = {
    base: fourRows(kept),
    chat: fourRows(chat),
    tool: fourRows(reserved("<|tool|>")),
    moved: fourRows(reserved("<|im_end|>", "<|im_start|>")),
    grown: fourRows(reserved("<|reserved_special_token_1|>", "<|im_start|>")),
  };
  const faultsOf = (...names: string[]) => summaryOf(bind(linear(...names), models).faults);
  expect(faultsOf("base", "chat", "tool")).toEqual([
    expect.stringContaining('the id 2 is "<|im_start|>" in "chat" and "<|tool|>" in "tool"'),
  ]);
  expect(faultsOf("chat", "tool")[0]).toContain('the id 2 is "<|im_start|>" in "chat" and "<|tool|>" in "tool"');
  expect(faultsOf("chat", "moved")[0]).toContain("2 ids below 4 differ");
  expect(faultsOf("base", "grown")[0]).toContain('"<|reserved_special_token_1|>" in "grown"');
});

test("a chat template that writes tokens which the output lacks is told, and so is one that the recipe chooses", () => {
  const template = "<|im_start|>{{ messages[0].content }}<|im_end|>";
  const models = { base: fourRows(kept), chat: { ...fourRows(chat), chatTemplate: template } };
  const told = (text: string, some: Record<string, Model> = models) =>
    summaryOf(bind(text, some).warnings).filter((one) => one.startsWith("token ") && one.includes("chat template"));
  const both =
    'the chat template of the output writes "<|im_start|>" and "<|im_end|>", which are no tokens of its tokenizer';
  expect(told(`${linear("base", "chat")}chat_template: auto\n`)).toEqual([`token 4:1 ${both}`]);
  expect(told(`${linear("base")}chat_template: chatml\n`)).toEqual([`token 4:1 ${both}`]);
  expect(told(`${linear("chat", "base")}chat_template: auto\n`)).toEqual([]);
  expect(told(`${linear("base", "chat")}chat_template: auto\ntokenizer_source: union\n`)).toEqual([]);
  expect(told(linear("base", "chat"))).toEqual([]);
});

test("files of slow tokenizers that are copied beside cut rows are told by name; so is what is added to texts no more", () => {
  const slow = { ...rowed(4), companions: ["vocab.json", "merges.txt", "config.json"] };
  const cut = (checkpoint: Checkpoint) =>
    bind(linear("one", "two"), { one: { checkpoint }, two: { checkpoint: rowed(3) } }, { cutEmbeddings: true });
  expect(summaryOf(cut(slow).warnings)).toContain(
    'token 1:1 "one" has no tokenizer.json, and "vocab.json" and "merges.txt" are copied as they stand: tokens from the id 3 on have no row in the output',
  );
  expect(cut({ ...rowed(3), companions: ["vocab.json"] }).warnings).toEqual([]);
  const tokenizer = bpe(["a", "b", "c"], [], [["<s>", 3]]);
  const json = { ...tokenizer.json, post_processor: { type: "BertProcessing", sep: ["<s>", 3], cls: ["a", 0] } };
  const fast = { tokenizer: { ...tokenizer, json }, checkpoint: rowed(4) };
  const { warnings } = bind(
    linear("one", "two"),
    { one: fast, two: { checkpoint: rowed(3) } },
    { cutEmbeddings: true },
  );
  expect(summaryOf(warnings)).toContain(
    'token-id 1:1 the tokenizer adds "<s>" to every text, which has no row in the output',
  );
});

test("rows beyond the tokens, which a kind of model cannot be without, are not taken away", () => {
  const seeing = (rows: number, tokens: number): Checkpoint =>
    checkpointOf(
      [
        ["language_model.model.embed_tokens.weight", [rows + 8, 4]],
        ["language_model.model.layers.0.mlp.up_proj.weight", [4, 4]],
        ["language_model.lm_head.weight", [rows, 4]],
      ],
      { model_type: "mllama", text_config: { vocab_size: tokens, num_hidden_layers: 1 } },
    );
  const models = { one: { tokenizer: ab, checkpoint: seeing(2, 2) }, two: { tokenizer: ab, checkpoint: seeing(2, 2) } };
  expect(bind(linear("one", "two"), models).faults).toEqual([]);
  const { faults } = bind(`${linear("one", "two")}tokenizer_source: union\n`, models);
  expect(summaryOf(faults)).toEqual([
    expect.stringMatching(
      /^embedding-rows 4:1 the embedding of "one" has 10 rows, and its kind of model \(mllama\) more of them by design /,
    ),
  ]);
  const longer = { one: { checkpoint: seeing(4, 4) }, two: { checkpoint: seeing(2, 2) } };
  expect(summaryOf(bind(linear("one", "two"), longer, { cutEmbeddings: true }).faults)).toContainEqual(
    expect.stringMatching(/^embedding-rows 1:1 the embedding of "one" has 12 rows/),
  );
});
