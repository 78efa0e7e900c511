import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { numbersOf } from "../golden/compare.ts";
import { mergedTensors } from "../support/run-merge.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-ties-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Every element of a tensor has one value. Embeddings and heads are [4, 2], all else [2, 2]. */
type Values = Readonly<Record<string, number>>;
interface Model {
  readonly config?: Readonly<Record<string, unknown>>;
  readonly tensors: Values;
  readonly metadata?: Readonly<Record<string, string>>;
}

const isVocabulary = (name: string) =>
  /embed|lm_head|proj_out|output_projection|shared|wte|decoder\.weight|head\.weight/.test(name) &&
  !/(?:up|down|gate)_proj/.test(name);

function tensorOf(name: string, value: number, shape: readonly number[]) {
  const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => value);
  return { name, dtype: "F32", shape, bytes: new Uint8Array(values.buffer) };
}

function writeModel(name: string, { config, tensors, metadata = {} }: Model): void {
  const folder = join(scratch, name);
  mkdirSync(folder, { recursive: true });
  if (config !== undefined) writeFileSync(join(folder, "config.json"), JSON.stringify({ vocab_size: 4, ...config }));
  const written = Object.entries(tensors).map(([tensor, value]) => {
    const shape = /bias$/.test(tensor) ? [4] : isVocabulary(tensor) ? [4, 2] : [2, 2];
    return tensorOf(tensor, value, shape);
  });
  writeSafetensors(join(folder, "model.safetensors"), written, { format: "pt", ...metadata });
}

let count = 0;
async function merged(text: string, models: Readonly<Record<string, Model>>) {
  const run = `run-${count++}`;
  const inRun = Object.keys(models).reduce((recipe, name) => recipe.replaceAll(`{${name}}`, `${run}/${name}`), text);
  for (const [name, model] of Object.entries(models)) writeModel(`${run}/${name}`, model);
  const out = join(scratch, run, "out");
  const { tensors, run: done } = await mergedTensors(inRun, out, { models: scratch });
  const values: Record<string, number> = {};
  for (const [name, tensor] of tensors) {
    const numbers = [...numbersOf(tensor)];
    expect(new Set(numbers).size, name).toBe(1);
    values[name] = numbers[0]!;
  }
  return { values, config: JSON.parse(readFileSync(join(out, "config.json"), "utf8")), warnings: done.planWarnings };
}

const llama = (value: number, head?: number, prefix = "model.", headPrefix = ""): Values => ({
  [`${prefix}embed_tokens.weight`]: value,
  [`${prefix}layers.0.mlp.up_proj.weight`]: value,
  [`${prefix}layers.1.mlp.up_proj.weight`]: value,
  ...(head === undefined ? {} : { [`${headPrefix}lm_head.weight`]: head }),
});
const config = { model_type: "llama", num_hidden_layers: 2 };
const untied: Model = { config: { ...config, tie_word_embeddings: false }, tensors: llama(1, 10) };
const tied: Model = { config: { ...config, tie_word_embeddings: true }, tensors: llama(3) };
const linear = "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: '{a}'}, {model: '{b}'}]\n";
const ties = "merge_method: ties\nbase_model: '{a}'\nmodels: [{model: '{b}', parameters: {weight: 1, density: 1}}]\n";

const gemma = { model_type: "gemma2", num_hidden_layers: 2 };
const nested = (top: object, text: object) => ({
  model_type: "gemma3",
  ...top,
  text_config: { model_type: "gemma3_text", num_hidden_layers: 2, vocab_size: 4, ...text },
});
const inTower = (value: number, head?: number) => llama(value, head, "language_model.model.", "language_model.");

test.each<[string, Model, string]>([
  ["at the top of its config", tied, "lm_head.weight"],
  ["by the default of its type", { config: gemma, tensors: llama(3) }, "lm_head.weight"],
  ["in text_config", { config: nested({}, { tie_word_embeddings: true }), tensors: inTower(3) }, "lm_head.weight"],
  ["in text_config by default", { config: nested({}, {}), tensors: inTower(3) }, "lm_head.weight"],
  ["with a copy of it stored", { ...tied, tensors: llama(3, 3) }, "lm_head.weight"],
  [
    "with a copy in the metadata",
    { ...tied, metadata: { "lm_head.weight": "model.embed_tokens.weight" } },
    "lm_head.weight",
  ],
])("a model that is tied %s takes part in a head with its embedding, first or second", async (_, model, head) => {
  for (const models of [
    { a: untied, b: model },
    { a: model, b: untied },
  ]) {
    const { values, config: written } = await merged(linear, models);
    const heads = Object.entries(values).filter(([name]) => name.endsWith(head));
    expect(heads.map(([, value]) => value)).toEqual([6.5]);
    const embedding = Object.entries(values).find(([name]) => name.endsWith("embed_tokens.weight"));
    expect(embedding?.[1]).toBe(2);
    expect(written.tie_word_embeddings).toBe(false);
    expect(written.text_config?.tie_word_embeddings ?? false).toBe(false);
    // The head lies beside the embedding, as the output's names have it.
    expect(heads[0]?.[0].startsWith("language_model.")).toBe(embedding?.[0].startsWith("language_model."));
  }
});

test("a head that differs from the embedding of a model that says it is tied is its own, with a warning", async () => {
  const own: Model = { config: gemma, tensors: llama(1, 10) };
  const {
    values,
    config: written,
    warnings,
  } = await merged(linear, { a: own, b: { config: gemma, tensors: llama(3) } });
  expect([values["lm_head.weight"], values["model.embed_tokens.weight"], written.tie_word_embeddings]).toEqual([
    6.5,
    2,
    false,
  ]);
  expect(warnings).toEqual(["recipe/tied-weights"]);
});

test("where all are tied the output is, whatever copies are stored", async () => {
  const copied: Model = { ...tied, tensors: llama(1, 1) };
  for (const [a, b] of [
    [copied, tied],
    [tied, copied],
    [copied, copied],
  ] as const) {
    const { values, config: written, warnings } = await merged(ties, { a, b });
    expect([Object.keys(values).filter((name) => name.includes("head")), warnings]).toEqual([[], []]);
    expect(written.tie_word_embeddings).toBe(true);
    expect(values["model.embed_tokens.weight"]).toBe(b.tensors["model.embed_tokens.weight"]);
  }
});

test("a stack takes its head from the last slice, as the embedding where that is tied, and says so", async () => {
  const stack = `merge_method: passthrough
slices:
  - sources: [{model: '{a}', layer_range: [0, 1]}]
  - sources: [{model: '{b}', layer_range: [1, 2]}]
`;
  const first = await merged(stack, { a: untied, b: tied });
  expect([first.values["model.embed_tokens.weight"], first.values["lm_head.weight"]]).toEqual([1, 3]);
  expect(first.config.tie_word_embeddings).toBe(false);
  const last = await merged(stack, { a: tied, b: untied });
  expect([last.values["model.embed_tokens.weight"], last.values["lm_head.weight"]]).toEqual([3, 10]);
  expect(last.config.tie_word_embeddings).toBe(false);
  const both = await merged(stack, { a: tied, b: { ...tied, tensors: llama(4) } });
  expect([both.values["lm_head.weight"], both.config.tie_word_embeddings]).toEqual([undefined, true]);
});

test("a base that only gives the config does not promise a head that nobody has", async () => {
  const text = "merge_method: passthrough\nbase_model: '{b}'\nmodels: [{model: '{a}'}]\n";
  const { values, config: written } = await merged(text, { a: tied, b: untied });
  expect([values["lm_head.weight"], written.tie_word_embeddings]).toEqual([undefined, true]);
});

const t5 = (value: number, copies: number | undefined): Model => ({
  config: { model_type: "t5", num_layers: 1, num_decoder_layers: 1 },
  tensors: {
    "shared.weight": value,
    ...(copies === undefined ? {} : { "encoder.embed_tokens.weight": copies, "decoder.embed_tokens.weight": copies }),
    "encoder.block.0.layer.0.SelfAttention.q.weight": value,
    "decoder.block.0.layer.0.SelfAttention.q.weight": value,
  },
});
const bart = (value: number, stored: string, aliases: readonly string[]): Model => ({
  config: { model_type: "bart", encoder_layers: 1, decoder_layers: 1, num_hidden_layers: 1 },
  metadata: Object.fromEntries(aliases.map((alias) => [alias, stored])),
  tensors: { [stored]: value, "model.encoder.layers.0.fc1.weight": value, "model.decoder.layers.0.fc1.weight": value },
});
const [shared, ofEncoder, ofDecoder] = [
  "model.shared.weight",
  "model.encoder.embed_tokens.weight",
  "model.decoder.embed_tokens.weight",
];
const falcon = (value: number, stored: string, alias?: string): Model => ({
  config: { model_type: "falcon", num_hidden_layers: 1 },
  ...(alias && { metadata: { [alias]: stored } }),
  tensors: { [stored]: value, "transformer.h.0.mlp.dense_4h_to_h.weight": value },
});
const words = "transformer.word_embeddings.weight";

test.each<[string, Model, Model, string]>([
  ["T5 with copies and without", t5(1, 1), t5(3, undefined), "shared.weight"],
  ["BART by alias and by name", bart(1, ofDecoder, [shared, ofEncoder]), bart(3, shared, []), shared],
  [
    "BART under the names of either tower",
    bart(1, shared, [ofEncoder, ofDecoder]),
    bart(3, ofEncoder, [shared, ofDecoder]),
    shared,
  ],
  ["Falcon under the head's name, with an alias", falcon(1, words), falcon(3, "lm_head.weight", words), words],
  ["Falcon under the head's name alone", falcon(1, words), falcon(3, "lm_head.weight"), words],
])("%s: one parameter is merged once, under the name that loaders know", async (_, one, two, name) => {
  for (const [a, b] of [
    [one, two],
    [two, one],
  ] as const) {
    const { values, warnings } = await merged(linear, { a, b });
    const vocabulary = Object.entries(values).filter(([tensor]) => isVocabulary(tensor));
    expect([vocabulary, warnings]).toEqual([[[name, 2]], []]);
  }
});

const towers = (
  type: string,
  before: string,
  isTied: boolean,
  vocabulary: Values,
  architecture = "ForConditionalGeneration",
): Model => ({
  config: {
    ...{ model_type: type, encoder_layers: 1, decoder_layers: 1, tie_word_embeddings: isTied },
    architectures: [`Any${architecture}`],
  },
  tensors: {
    ...vocabulary,
    [`${before}encoder.layers.0.fc1.weight`]: isTied ? 1 : 3,
    [`${before}decoder.layers.0.fc1.weight`]: isTied ? 1 : 3,
  },
});

test.each([
  ["fsmt", "model.", ["decoder.embed_tokens"], ["encoder.embed_tokens"], "model.decoder.output_projection"],
  ["bart", "model.", ["shared"], ["encoder.embed_tokens", "decoder.embed_tokens"], "lm_head"],
  ["prophetnet", "prophetnet.", ["word_embeddings"], ["encoder.word_embeddings", "decoder.word_embeddings"], "lm_head"],
  ["seamless_m4t", "", ["shared"], ["text_encoder.embed_tokens", "text_decoder.embed_tokens"], "lm_head"],
])(
  "towers with embeddings of their own meet the one that another model has for all: %s",
  async (type, before, [one], own, head) => {
    const tower = before === "" ? "text_" : before;
    const tied = towers(type, tower, true, { [`${before}${one}.weight`]: 1 });
    const names = [one, ...own].map((name) => `${before}${name}.weight`).concat(`${head}.weight`);
    const untied = towers(type, tower, false, Object.fromEntries(names.map((name, k) => [name, 3 + 2 * k])));
    for (const [a, b] of [
      [tied, untied],
      [untied, tied],
    ] as const) {
      const { values, config, warnings } = await merged(linear, { a, b });
      const vocabulary = names.map((name) => values[name]);
      expect([vocabulary, config.tie_word_embeddings, warnings]).toEqual([names.map((_, k) => 2 + k), false, []]);
    }
    // Without the head, the towers say it.
    const [tiedBase, untiedBase] = [tied, untied].map(
      (model, k): Model => ({
        config: { ...model.config, architectures: ["AnyModel"] },
        tensors: Object.fromEntries(
          Object.entries(model.tensors).filter(([name]) => k === 0 || !name.startsWith(head)),
        ),
      }),
    ) as [Model, Model];
    for (const [a, b] of [
      [tiedBase, untiedBase],
      [untiedBase, tiedBase],
    ] as const) {
      const { values, config } = await merged(linear, { a, b });
      expect(names.slice(0, -1).map((name) => values[name])).toEqual(names.slice(0, -1).map((_, k) => 2 + k));
      expect([values[`${head}.weight`], config.tie_word_embeddings]).toEqual([undefined, false]);
    }
  },
);

test("an output that is untied has the towers' names of its embedding, which are read then; a tied one has them once", async () => {
  const tied = bart(1, shared, []);
  const headed: Model = {
    config: { ...tied.config, tie_word_embeddings: false },
    tensors: { ...bart(3, shared, []).tensors, "lm_head.weight": 7 },
  };
  const { values, config: written } = await merged(linear, { a: tied, b: headed });
  expect([shared, ofEncoder, ofDecoder, "lm_head.weight"].map((name) => values[name])).toEqual([2, 2, 2, 4]);
  expect(written.tie_word_embeddings).toBe(false);
});

test("copies that differ are merged by themselves, with a warning that names both", async () => {
  const { values, warnings } = await merged(linear, { a: t5(1, 5), b: t5(3, 7) });
  expect([values["shared.weight"], values["encoder.embed_tokens.weight"]]).toEqual([2, 6]);
  expect(warnings).toContain("recipe/tied-weights");
});

test("copies that are read by their own names get the values of the first, masks and gradients included", async () => {
  const deepseek = (value: number): Model => ({
    config: { model_type: "deepseek_v3", num_hidden_layers: 1 },
    tensors: {
      "model.embed_tokens.weight": value,
      "model.layers.0.mlp.up_proj.weight": value,
      "model.layers.1.mlp.up_proj.weight": value,
      "model.layers.1.embed_tokens.weight": value,
      "model.layers.1.shared_head.head.weight": value + 4,
      "lm_head.weight": value + 4,
    },
  });
  const text =
    "merge_method: linear\nmodels: [{model: '{a}', parameters: {weight: [{filter: layers, value: 1}, {value: 3}]}}, {model: '{b}', parameters: {weight: 1}}]\n";
  const { values } = await merged(text, { a: deepseek(1), b: deepseek(3) });
  expect(values["model.layers.1.embed_tokens.weight"]).toBe(1.5);
  expect(values["model.layers.1.embed_tokens.weight"]).toBe(values["model.embed_tokens.weight"]);
  expect(values["model.layers.1.shared_head.head.weight"]).toBe(values["lm_head.weight"]);
});

test("an alias of any other tensor is written too, with the merged values", async () => {
  const aliased: Model = { ...untied, metadata: { "model.twin.weight": "model.layers.1.mlp.up_proj.weight" } };
  const { values } = await merged(linear, { a: aliased, b: { ...untied, tensors: llama(3, 10) } });
  expect([values["model.twin.weight"], values["model.layers.1.mlp.up_proj.weight"]]).toEqual([2, 2]);
});

test("BERT's head is its embedding, and its bias is one", async () => {
  const bert = (value: number, more: Values): Model => ({
    config: { model_type: "bert", num_hidden_layers: 1, architectures: ["BertForMaskedLM"] },
    tensors: {
      "bert.embeddings.word_embeddings.weight": value,
      "bert.encoder.layer.0.output.dense.weight": value,
      "cls.predictions.bias": value,
      ...more,
    },
  });
  const stored = bert(1, { "cls.predictions.decoder.weight": 1, "cls.predictions.decoder.bias": 1 });
  for (const [a, b] of [
    [stored, bert(3, {})],
    [bert(3, {}), stored],
  ] as const) {
    const { values, warnings } = await merged(linear, { a, b });
    expect([Object.keys(values).sort(), warnings]).toEqual([Object.keys(bert(3, {}).tensors).sort(), []]);
    expect(values["cls.predictions.bias"]).toBe(2);
  }
});

test("a head's bias that is stored once keeps the name that the base has for it", async () => {
  const rembert = (value: number, bias: string): Model => ({
    config: { model_type: "rembert", num_hidden_layers: 1, tie_word_embeddings: false },
    tensors: {
      "rembert.embeddings.word_embeddings.weight": value,
      "rembert.encoder.layer.0.output.dense.weight": value,
      "cls.predictions.decoder.weight": value,
      [`cls.predictions.${bias}`]: value,
    },
  });
  for (const [own, other] of [
    ["decoder.bias", "bias"],
    ["bias", "decoder.bias"],
    ["decoder.bias", "decoder.bias"],
  ] as const) {
    const { values, warnings } = await merged(linear, { a: rembert(1, own), b: rembert(3, other) });
    const biases = Object.entries(values).filter(([name]) => name.endsWith("bias"));
    expect([biases, warnings]).toEqual([[[`cls.predictions.${own}`, 2]], []]);
  }
});

test("a stored copy stays where the type reads both: heads of LUKE, embeddings of T5Gemma's towers", async () => {
  const luke = (value: number): Model => ({
    config: { model_type: "luke", num_hidden_layers: 1, tie_word_embeddings: true, architectures: ["LukeForMaskedLM"] },
    tensors: {
      "luke.embeddings.word_embeddings.weight": value,
      "luke.encoder.layer.0.output.dense.weight": value,
      "lm_head.decoder.weight": value,
    },
  });
  const t5gemma = (value: number): Model => ({
    config: { model_type: "t5gemma", encoder: { num_hidden_layers: 1 }, decoder: { num_hidden_layers: 1 } },
    tensors: {
      "model.encoder.embed_tokens.weight": value,
      "model.encoder.layers.0.mlp.up_proj.weight": value,
      "model.decoder.embed_tokens.weight": value,
      "model.decoder.layers.0.mlp.up_proj.weight": value,
    },
  });
  for (const model of [luke, t5gemma]) {
    const { values, warnings } = await merged(linear, { a: model(1), b: model(3) });
    const names = Object.keys(model(1).tensors);
    expect([values, warnings]).toEqual([Object.fromEntries(names.map((name) => [name, 2])), []]);
  }
});

test("a head of BERT's own has a bias of its own, and gives it to an output that had neither", async () => {
  const bert = (isTied: boolean, value: number, more: Values): Model => ({
    config: {
      model_type: "bert",
      num_hidden_layers: 1,
      architectures: ["BertForMaskedLM"],
      tie_word_embeddings: isTied,
    },
    tensors: {
      "bert.embeddings.word_embeddings.weight": value,
      "bert.encoder.layer.0.output.dense.weight": value,
      "cls.predictions.bias": value,
      ...more,
    },
  });
  const own = (bias: number) => {
    return bert(false, 1, { "cls.predictions.decoder.weight": 5, "cls.predictions.decoder.bias": bias });
  };
  for (const bias of [1, 9]) {
    for (const [a, b] of [
      [bert(true, 3, {}), own(bias)],
      [own(bias), bert(true, 3, {})],
    ] as const) {
      const { values, config, warnings } = await merged(linear, { a, b });
      expect(values["cls.predictions.decoder.weight"]).toBe(4);
      expect(values["cls.predictions.decoder.bias"]).toBe((bias + 3) / 2);
      expect(config.tie_word_embeddings).toBe(false);
      expect(warnings).toEqual([]);
    }
    const { values } = await merged(linear, { a: own(bias), b: own(bias) });
    expect(values["cls.predictions.decoder.bias"]).toBe(bias);
  }
});

// As files have it: of a tied model either name of the bias; of a head of its own the layer's, as transformers 5 reads it, or the module's.
test.each([
  ["cls.predictions.bias", "cls.predictions.decoder.bias"],
  ["cls.predictions.decoder.bias", "cls.predictions.bias"],
  ["cls.predictions.bias", "cls.predictions.bias"],
])("a head that is no longer tied has its bias under the name that is read: %s and %s", async (ofTied, ofOwn) => {
  const bert = (isTied: boolean, more: Values): Model => ({
    config: {
      model_type: "bert",
      num_hidden_layers: 1,
      architectures: ["BertForMaskedLM"],
      tie_word_embeddings: isTied,
    },
    tensors: { "bert.embeddings.word_embeddings.weight": 1, "bert.encoder.layer.0.output.dense.weight": 1, ...more },
  });
  const { values, config } = await merged(linear, {
    a: bert(true, { [ofTied]: 2 }),
    b: bert(false, { [ofOwn]: 6, "cls.predictions.decoder.weight": 3 }),
  });
  expect([values["cls.predictions.decoder.bias"], values["cls.predictions.decoder.weight"]]).toEqual([4, 2]);
  expect(config.tie_word_embeddings).toBe(false);
});

test.each(["proj_out", "output_projection", "lm_head.out_proj"])("%s is a head", async (head) => {
  const model = (value: number, isTied: boolean, own?: number): Model => ({
    config: { model_type: "x", num_hidden_layers: 1, architectures: ["XForCausalLM"], tie_word_embeddings: isTied },
    tensors: {
      "model.decoder.embed_tokens.weight": value,
      "model.decoder.layers.0.fc1.weight": value,
      ...(own !== undefined && { [`${head}.weight`]: own }),
    },
  });
  // Stored twice, as files converted from pickle have it; and one of its own.
  const twice = await merged(linear, { a: model(1, true, 1), b: model(3, true) });
  expect([twice.values[`${head}.weight`], twice.warnings]).toEqual([undefined, []]);
  const own = await merged(linear, { a: model(1, true), b: model(3, false, 5) });
  expect([own.values[`${head}.weight`], own.config.tie_word_embeddings]).toEqual([3, false]);
});

test("heads of two names are one: embed_out of GPT-NeoX, and what transformers 5 calls it", async () => {
  const neox = (value: number, head: string): Model => ({
    config: { model_type: "gpt_neox", num_hidden_layers: 1 },
    tensors: { "gpt_neox.embed_in.weight": value, "gpt_neox.layers.0.mlp.dense.weight": value, [head]: value + 4 },
  });
  const { values, warnings } = await merged(linear, { a: neox(1, "embed_out.weight"), b: neox(3, "lm_head.weight") });
  expect([values["embed_out.weight"], values["lm_head.weight"], warnings]).toEqual([6, undefined, []]);
});

test("a LoRA on a tied head unties the output", async () => {
  writeModel("tied-base", tied);
  const folder = join(scratch, "on-head");
  mkdirSync(folder, { recursive: true });
  const settings = { peft_type: "LORA", r: 1, lora_alpha: 1, target_modules: ["lm_head"], bias: "none" };
  writeFileSync(join(folder, "adapter_config.json"), JSON.stringify(settings));
  writeSafetensors(join(folder, "adapter_model.safetensors"), [
    tensorOf("base_model.model.lm_head.lora_A.weight", 1, [1, 2]),
    tensorOf("base_model.model.lm_head.lora_B.weight", 0.5, [4, 1]),
  ]);
  const text = "merge_method: passthrough\nmodels: [{model: tied-base+on-head}]\n";
  const { values, config: written } = await merged(text, {});
  expect([values["model.embed_tokens.weight"], values["lm_head.weight"], written.tie_word_embeddings]).toEqual([
    3,
    3.5,
    false,
  ]);
});

test("what is trained of an embedding that is the head as well leaves the head, under the name that its class reads", async () => {
  const head = "cls.predictions.decoder";
  writeModel("tied-bert", {
    config: { model_type: "bert", num_hidden_layers: 1, architectures: ["BertForMaskedLM"] },
    tensors: {
      "bert.embeddings.word_embeddings.weight": 1,
      "bert.encoder.layer.0.output.dense.weight": 1,
      "cls.predictions.transform.dense.weight": 1,
      "cls.predictions.bias": 4,
    },
  });
  const adapter = async (name: string, settings: object, ...tensors: ReturnType<typeof tensorOf>[]) => {
    const folder = join(scratch, name);
    mkdirSync(folder, { recursive: true });
    const common = { peft_type: "LORA", r: 1, lora_alpha: 1, bias: "none" };
    writeFileSync(join(folder, "adapter_config.json"), JSON.stringify({ ...common, ...settings }));
    writeSafetensors(join(folder, "adapter_model.safetensors"), tensors);
    return merged(`merge_method: passthrough\nmodels: [{model: tied-bert+${name}}]\n`, {});
  };
  const module = "base_model.model.bert.embeddings.word_embeddings";
  const factors = [
    tensorOf(`${module}.lora_embedding_A`, 1, [1, 4]),
    tensorOf(`${module}.lora_embedding_B`, 0.5, [2, 1]),
  ];
  const lora = await adapter("on-words", { target_modules: ["word_embeddings"] }, ...factors);
  expect(lora.values).toMatchObject({
    ...{ "bert.embeddings.word_embeddings.weight": 1.5, [`${head}.weight`]: 1, [`${head}.bias`]: 4 },
  });
  expect(lora.values["lm_head.weight"]).toBeUndefined();
  const saved = [
    tensorOf(`base_model.model.${head}.weight`, 7, [4, 2]),
    tensorOf(`base_model.model.${head}.bias`, 9, [4]),
  ];
  const whole = await adapter(
    "whole-head",
    { target_modules: ["dense"], modules_to_save: ["decoder"] },
    ...saved,
    tensorOf("base_model.model.bert.encoder.layer.0.output.dense.lora_A.weight", 1, [1, 2]),
    tensorOf("base_model.model.bert.encoder.layer.0.output.dense.lora_B.weight", 0, [2, 1]),
  );
  expect(whole.warnings).toEqual([]);
  expect(whole.values).toMatchObject({ [`${head}.weight`]: 7, [`${head}.bias`]: 9, "cls.predictions.bias": 4 });
});

test.each(["t5", "zamba2"])("a head is not made apart in a type whose flag says more: %s", async (type) => {
  const embedding = type === "t5" ? "shared" : "model.embed_tokens";
  writeModel(`tied-${type}`, {
    config: { model_type: type, num_hidden_layers: 1, num_layers: 1, tie_word_embeddings: true },
    tensors: { [`${embedding}.weight`]: 1, "model.layers.0.mlp.up_proj.weight": 1 },
  });
  const folder = join(scratch, `on-${type}`);
  mkdirSync(folder, { recursive: true });
  const settings = { peft_type: "LORA", r: 1, lora_alpha: 1, target_modules: [embedding], bias: "none" };
  writeFileSync(join(folder, "adapter_config.json"), JSON.stringify(settings));
  writeSafetensors(join(folder, "adapter_model.safetensors"), [
    tensorOf(`base_model.model.${embedding}.lora_embedding_A`, 1, [1, 4]),
    tensorOf(`base_model.model.${embedding}.lora_embedding_B`, 0.5, [2, 1]),
  ]);
  const text = `merge_method: passthrough\nmodels: [{model: tied-${type}+on-${type}}]\n`;
  await expect(merged(text, {})).rejects.toThrow(/cannot be written otherwise/);
});

test("of a chain, what a later document builds on is tied as its config would say", async () => {
  const text = `name: first
${linear}---
merge_method: linear
parameters: {weight: 1}
models: [{model: first}, {model: '{c}'}]
`;
  const { values, config: written } = await merged(text, { a: tied, b: untied, c: tied });
  // The mean of (3 + 10) / 2 and the embedding of c.
  expect([values["lm_head.weight"], values["model.embed_tokens.weight"], written.tie_word_embeddings]).toEqual([
    4.75,
    2.5,
    false,
  ]);
});
