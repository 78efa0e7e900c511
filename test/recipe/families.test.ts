import { expect, test } from "vitest";
import type { Checkpoint } from "../../checkpoint/index.ts";
import { bindRecipe, canonicalRecipe, labelsFor, referencedModels } from "../../recipe/index.ts";
import { checkpointOf, type TensorShape, tinyLlama } from "./checkpoints.ts";
import { methods, parse, summaryOf } from "./parsing.ts";

function bind(text: string, models: Record<string, Checkpoint>) {
  const { recipe, faults } = parse(text);
  if (recipe === undefined) throw new Error(summaryOf(faults).join("\n"));
  const references = referencedModels(recipe);
  const labels = labelsFor(references);
  const inputs = references.map((reference) => {
    const checkpoint = models[reference.path];
    if (checkpoint === undefined) throw new Error(`no model ${reference.path}`);
    return { reference, label: labels.get(reference.text) ?? "", checkpoint };
  });
  const binding = bindRecipe(recipe, inputs, { methods });
  return { ...binding, faults: [...faults, ...binding.faults] };
}

const layersOf = (count: number, prefix: string, suffixes: readonly string[]): TensorShape[] =>
  Array.from({ length: count }, (_, i) =>
    suffixes.map((suffix): TensorShape => [`${prefix}.${i}.${suffix}`, [4, 4]]),
  ).flat();
const names = ({ tasks }: ReturnType<typeof bind>) => tasks.map(({ name }) => name);
const weightOf = (binding: ReturnType<typeof bind>, name: string) =>
  binding.tasks.find((task) => task.name === name)?.models.map(({ parameters }) => parameters.weight);

/** Encoder and decoder of T5, with the relative positions of layer 0 only. */
function t5(encoder = 3, decoder = 2): Checkpoint {
  const tensors: TensorShape[] = [
    ["shared.weight", [10, 4]],
    ["encoder.embed_tokens.weight", [10, 4]],
    ...layersOf(encoder, "encoder.block", ["layer.0.SelfAttention.q.weight", "layer.1.DenseReluDense.wo.weight"]),
    ["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", [8, 2]],
    ["encoder.final_layer_norm.weight", [4]],
    ...layersOf(decoder, "decoder.block", ["layer.0.SelfAttention.q.weight", "layer.1.EncDecAttention.k.weight"]),
    ["decoder.final_layer_norm.weight", [4]],
    ["lm_head.weight", [10, 4]],
  ];
  // As T5 1.1: the head is its own, the encoder's embedding is the shared one, stored once more.
  const config = { model_type: "t5", num_layers: encoder, num_decoder_layers: decoder, vocab_size: 10 };
  return checkpointOf(tensors, { ...config, tie_word_embeddings: false });
}

const linear = (...models: string[]) =>
  `merge_method: linear\nparameters: {weight: 1}\nmodels: [${models.map((model) => `{model: ${model}}`).join(", ")}]\n`;

test("encoder and decoder are merged as a whole, gradients over the layers of each", () => {
  const binding = bind(linear("a", "b").replace("weight: 1", "weight: [0, 1]"), { a: t5(), b: t5() });
  expect(binding.faults).toEqual([]);
  expect(binding).toMatchObject({ layerCount: 3, embeddingRows: 10, warnings: [] });
  expect(names(binding)).toHaveLength(t5().tensors.size - 1);
  expect([0, 1, 2].map((i) => weightOf(binding, `encoder.block.${i}.layer.0.SelfAttention.q.weight`)?.[0])).toEqual([
    0, 0.5, 1,
  ]);
  expect([0, 1].map((i) => weightOf(binding, `decoder.block.${i}.layer.0.SelfAttention.q.weight`)?.[0])).toEqual([
    0, 1,
  ]);
});

test("modules: encoder, decoder and what both share; stacks of another depth go to their own config keys", () => {
  const text = `merge_method: linear
parameters: {weight: 1}
modules:
  encoder:
    slices:
      - sources: [{model: a, layer_range: [0, 2]}, {model: b, layer_range: [1, 3]}]
      - sources: [{model: b, layer_range: [1, 3]}]
  decoder:
    parameters: {weight: 0.25}
    models: [{model: a}, {model: b, parameters: {weight: 0.5}}]
  shared:
    models: [{model: a}, {model: b}]
`;
  const binding = bind(text, { a: t5(), b: t5() });
  expect(binding.faults).toEqual([]);
  expect(binding.warnings).toEqual([]);
  expect(binding.layerCount).toBeUndefined();
  expect(binding.stacks).toEqual([
    { prefix: "encoder.block", layerCount: 4, layersBefore: 3, configKeys: [["num_layers"]] },
  ]);
  expect(names(binding)).toEqual([
    ...[0, 1, 2, 3].flatMap((i) => [
      `encoder.block.${i}.layer.0.SelfAttention.q.weight`,
      `encoder.block.${i}.layer.1.DenseReluDense.wo.weight`,
      ...(i === 0 ? ["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] : []),
    ]),
    "encoder.final_layer_norm.weight",
    ...[0, 1].flatMap((i) => [
      `decoder.block.${i}.layer.0.SelfAttention.q.weight`,
      `decoder.block.${i}.layer.1.EncDecAttention.k.weight`,
    ]),
    "decoder.final_layer_norm.weight",
    "shared.weight",
    "lm_head.weight",
  ]);
  const task = binding.tasks.find(({ name }) => name === "encoder.block.1.layer.0.SelfAttention.q.weight");
  expect(task?.models.map(({ tensor }) => tensor)).toEqual(
    [1, 2].map((i) => `encoder.block.${i}.layer.0.SelfAttention.q.weight`),
  );
  // Source before module before recipe.
  expect(weightOf(binding, "decoder.final_layer_norm.weight")).toEqual([0.25, 0.5]);
  expect(weightOf(binding, "shared.weight")).toEqual([1, 1]);
});

/** Vision-language models in three ways of naming: LLaVA's of old, today's, and Qwen2-VL's. */
const llava = (layers: number, vision = 2): Checkpoint =>
  checkpointOf(
    [
      ["vision_tower.vision_model.embeddings.patch_embedding.weight", [4, 3]],
      ...layersOf(vision, "vision_tower.vision_model.encoder.layers", ["self_attn.q_proj.weight"]),
      ["vision_tower.vision_model.post_layernorm.weight", [4]],
      ["multi_modal_projector.linear_1.weight", [4, 4]],
      ["language_model.model.embed_tokens.weight", [10, 4]],
      ...layersOf(layers, "language_model.model.layers", ["mlp.up_proj.weight"]),
      ["language_model.model.norm.weight", [4]],
      ["language_model.lm_head.weight", [10, 4]],
    ],
    {
      model_type: "llava",
      text_config: { num_hidden_layers: layers, vocab_size: 10 },
      vision_config: { num_hidden_layers: vision },
    },
  );
const nested = (layers: number): Checkpoint =>
  checkpointOf(
    [
      ["model.vision_tower.patch_conv.weight", [4, 3]],
      ...layersOf(2, "model.vision_tower.transformer.layers", ["attention.q_proj.weight"]),
      ["model.multi_modal_projector.patch_merger.merging_layer.weight", [4, 4]],
      ["model.language_model.embed_tokens.weight", [10, 4]],
      ...layersOf(layers, "model.language_model.layers", ["mlp.up_proj.weight"]),
      ["model.language_model.norm.weight", [4]],
      ["lm_head.weight", [10, 4]],
    ],
    { text_config: { num_hidden_layers: layers }, vision_config: { num_hidden_layers: 2 } },
  );
const qwen = (layers: number): Checkpoint =>
  checkpointOf(
    [
      ["visual.patch_embed.proj.weight", [4, 3]],
      ...layersOf(2, "visual.blocks", ["attn.qkv.weight"]),
      ...layersOf(1, "visual.merger.mlp", ["weight"]),
      ["model.embed_tokens.weight", [10, 4]],
      ...layersOf(layers, "model.layers", ["mlp.up_proj.weight"]),
      ["model.norm.weight", [4]],
      ["lm_head.weight", [10, 4]],
    ],
    { num_hidden_layers: layers, vocab_size: 10, vision_config: { depth: 2 } },
  );

const towers = `merge_method: passthrough
modules:
  text_decoder:
    slices:
      - sources: [{model: a, layer_range: [0, 2]}]
      - sources: [{model: b, layer_range: [1, 3]}]
  vision_tower:
    slices:
      - sources: [{model: b, layer_range: [0, 1]}]
  multi_modal_projector:
    models: [{model: a}]
`;

test.each([
  [
    "language_model.model.layers",
    "vision_tower.vision_model.encoder.layers",
    llava,
    [["text_config", "num_hidden_layers"]],
    [["vision_config", "num_hidden_layers"]],
  ],
  [
    "model.language_model.layers",
    "model.vision_tower.transformer.layers",
    nested,
    [["text_config", "num_hidden_layers"]],
    [["vision_config", "num_hidden_layers"]],
  ],
  ["model.layers", "visual.blocks", qwen, [["num_hidden_layers"]], [["vision_config", "depth"]]],
] as const)("towers are stacked each for itself: %s", (text, vision, model, textKeys, visionKeys) => {
  const binding = bind(towers, { a: model(3), b: model(3) });
  expect(binding.faults).toEqual([]);
  expect(binding.warnings).toEqual([]);
  expect(binding.stacks).toEqual([
    { prefix: text, layerCount: 4, layersBefore: 3, configKeys: textKeys },
    { prefix: vision, layerCount: 1, layersBefore: 2, configKeys: visionKeys },
  ]);
  const outputs = names(binding);
  expect(
    outputs
      .filter((name) => name.startsWith(`${text}.`))
      .map((name) => Number(name.split(`${text}.`)[1]?.split(".")[0])),
  ).toEqual([0, 1, 2, 3]);
  expect(outputs.filter((name) => name.startsWith(`${vision}.`))).toHaveLength(1);
  // Every tensor outside of the layers, once.
  const unlayered = [...model(3).tensors.keys()].filter(
    (name) => !name.startsWith(`${text}.`) && !name.startsWith(`${vision}.`),
  );
  expect(outputs.filter((name) => !name.startsWith(`${text}.`) && !name.startsWith(`${vision}.`)).sort()).toEqual(
    [...unlayered].sort(),
  );
});

test("a module may be called as its tensors begin; what no module takes is copied, with a warning", () => {
  const text =
    "merge_method: linear\nparameters: {weight: 1}\nmodules: {language_model: {models: [{model: b}, {model: a}]}}\nbase_model: a\n";
  const binding = bind(text, { a: llava(3), b: llava(3) });
  expect(binding.faults).toEqual([]);
  const copied = binding.tasks.filter(({ kind }) => kind === "copy");
  expect(copied.map(({ name }) => name)).toEqual(
    [...llava(3).tensors.keys()].filter((name) => !name.startsWith("language_model.")),
  );
  expect(copied.every(({ base }) => base?.kind === undefined && base?.input === 0)).toBe(true);
  expect(summaryOf(binding.warnings)).toEqual([
    'tensor-skipped 1:1 no module takes vision_tower.vision_model.embeddings.patch_embedding.weight: it is copied from "a" (and 4 more tensors)',
  ]);
  const all = bind(text.replace("modules: {", "modules: {default: {models: [{model: a}]}, "), {
    a: llava(3),
    b: llava(3),
  });
  expect(all.warnings).toEqual([]);
  expect(all.tasks.every(({ kind }) => kind === "merge")).toBe(true);
});

test("a module that the models do not have is a fault that names those they have", () => {
  const text =
    "merge_method: linear\nparameters: {weight: 1}\nmodules: {vision_towr: {models: [{model: a}]}, text_decoder: {models: [{model: a}]}}\n";
  const { faults } = bind(text, { a: llava(3) });
  expect(summaryOf(faults)).toEqual([
    'module 3:11 "a" has no tensors of a module "vision_towr", did you mean "vision_tower"?',
  ]);
  expect(faults[0]?.hint).toContain('"vision_tower", "multi_modal_projector", "text_decoder" and "default"');
});

test("a module of its own form, and nothing but modules, in the text", () => {
  const wrong = (modules: string) =>
    summaryOf(parse(`merge_method: linear\nmodules: ${modules}\n`).faults).map((fault) =>
      fault.split(" ", 2).join(" "),
    );
  expect(wrong("[a]")).toEqual(["wrong-type 2:10"]);
  expect(wrong("{text: [a]}")).toEqual(["wrong-type 2:17"]);
  expect(wrong("{text: {}}")).toEqual(["missing-key 2:11"]);
  expect(wrong("{text: {models: [{model: a}], slices: [{sources: []}]}}")).toEqual(["missing-key 2:11"]);
  expect(wrong("{text: {model: [{model: a}]}}")).toEqual(["unknown-key 2:18", "missing-key 2:11"].sort());
  expect(summaryOf(parse(`${linear("a")}modules: {text: {models: [{model: a}]}}\n`).faults)).toEqual([
    expect.stringMatching(/^wrong-value 4:1 exactly one of/),
  ]);
});

test("the canonical form tells modules apart", () => {
  const { recipe } = parse(towers);
  const labels = new Map([
    ["a", "a"],
    ["b", "b"],
  ]);
  const canonical = canonicalRecipe(recipe!, labels) as {
    modules: { name: string; form: string }[];
    layerRanges?: unknown;
  };
  expect(canonical.modules.map(({ name, form }) => [name, form])).toEqual([
    ["text_decoder", "slices"],
    ["vision_tower", "slices"],
    ["multi_modal_projector", "models"],
  ]);
  expect(canonical.layerRanges).toBeUndefined();
});

test("experts with numbers of their own are layers' tensors like others", () => {
  const mixtral = checkpointOf(
    [
      ["model.embed_tokens.weight", [10, 4]],
      ...layersOf(2, "model.layers", [
        "block_sparse_moe.gate.weight",
        ...[0, 1].map((e) => `block_sparse_moe.experts.${e}.w1.weight`),
      ]),
      ["model.norm.weight", [4]],
    ],
    { num_hidden_layers: 2 },
  );
  const slices =
    "merge_method: passthrough\nslices: [{sources: [{model: a, layer_range: [1, 2]}]}, {sources: [{model: a, layer_range: [0, 2]}]}]\n";
  const binding = bind(slices, { a: mixtral });
  expect(binding.faults).toEqual([]);
  expect(binding.layerCount).toBe(3);
  expect(names(binding)).toContain("model.layers.2.block_sparse_moe.experts.1.w1.weight");
});

test("a tied model is known by its head, where only that is stored of the two", () => {
  const tensors = tinyLlama(1).filter(([name]) => !name.includes("embed_tokens"));
  const tied = checkpointOf(tensors, { model_type: "llama", num_hidden_layers: 1, tie_word_embeddings: true });
  const binding = bind(linear("a", "b"), { a: tied, b: tied });
  expect([binding.faults, binding.warnings, names(binding)]).toEqual([[], [], tensors.map(([name]) => name)]);
  const cut = checkpointOf(tensors.slice(1), tied.config);
  expect(summaryOf(bind(linear("a", "b"), { a: tied, b: cut }).faults)).toEqual([
    expect.stringContaining('"b" lacks model.layers.0.mlp.up_proj.weight'),
  ]);
});

test("an architecture that is not known is merged by the names of its tensors, with a warning", () => {
  const strange = (...tensors: TensorShape[]) => checkpointOf(tensors, { model_type: "strange" });
  const a = strange(["blocks.0.mix", [4, 4]], ["front.weight", [4, 3]], ["only_here", [2]]);
  const b = strange(["blocks.0.mix", [4, 4]], ["front.weight", [4, 3]]);
  const binding = bind(linear("a", "b"), { a, b });
  expect(binding.faults).toEqual([]);
  expect(summaryOf(binding.warnings)).toEqual([
    'unknown-architecture 3:10 the architecture of "a" (strange) is not known: no layers or no embedding are recognised, and tensors are merged by their names',
  ]);
  expect(binding.tasks.find(({ name }) => name === "only_here")?.models).toHaveLength(1);
  expect(binding.notes).toContainEqual({
    tensor: "only_here",
    input: "b",
    reason: "takes no part: it lacks the tensor",
  });
  // A bare state dict claims nothing.
  expect(bind(linear("a", "a"), { a: checkpointOf([["front.weight", [4, 3]]]) }).warnings).toEqual([]);
});

test("models of different types are told, and merged where names and shapes agree", () => {
  const typed = (model_type: string) =>
    checkpointOf([["model.embed_tokens.weight", [10, 4]], ...layersOf(1, "model.layers", ["mlp.up_proj.weight"])], {
      model_type,
      num_hidden_layers: 1,
    });
  const binding = bind(linear("a", "b"), { a: typed("llama"), b: typed("mistral") });
  expect(binding.faults).toEqual([]);
  expect(summaryOf(binding.warnings)).toEqual([
    'unknown-architecture 3:22 "b" is of type mistral, "a" of type llama: tensors are merged by their names',
  ]);
});

test("slices of a model whose names have other numbers besides take its layers", () => {
  const classifier = checkpointOf(
    [
      ["model.embed_tokens.weight", [10, 4]],
      ...layersOf(3, "model.layers", ["mlp.up_proj.weight"]),
      ["model.norm.weight", [4]],
      ...layersOf(2, "score", ["weight"]),
    ],
    { num_hidden_layers: 3 },
  );
  const text =
    "merge_method: passthrough\nslices: [{sources: [{model: a, layer_range: [0, 2]}]}, {sources: [{model: a, layer_range: [1, 3]}]}]\n";
  const binding = bind(text, { a: classifier });
  expect(binding.faults).toEqual([]);
  expect(binding.layerCount).toBe(4);
  expect(names(binding).slice(-3)).toEqual(["model.norm.weight", "score.0.weight", "score.1.weight"]);
  // Two stacks that might be meant, or another tower: to be said by modules.
  const twice = checkpointOf([...layersOf(3, "left.layers", ["w"]), ...layersOf(3, "right.layers", ["w"])], {
    num_hidden_layers: 3,
  });
  expect(bind(text, { a: twice }).faults).toMatchObject([
    { code: "recipe/layer-range" },
    { code: "recipe/layer-range" },
  ]);
  expect(bind(text, { a: llava(3) }).faults[0]).toMatchObject({ hint: expect.stringContaining('"modules"') });
});

const seeing: [string, TensorShape[], object][] = [
  [
    "vit",
    [
      ["vit.embeddings.patch_embeddings.projection.weight", [4, 3, 2, 2]],
      ...layersOf(2, "vit.encoder.layer", ["output.dense.weight"]),
    ],
    {},
  ],
  [
    "siglip_vision_model",
    [
      ["vision_model.embeddings.patch_embedding.weight", [4, 3, 2, 2]],
      ...layersOf(2, "vision_model.encoder.layers", ["mlp.fc1.weight"]),
    ],
    {},
  ],
  [
    "swin",
    [
      ["swin.embeddings.patch_embeddings.projection.weight", [4, 3, 2, 2]],
      ...layersOf(2, "swin.encoder.layers", ["blocks.0.output.dense.weight"]),
    ],
    {},
  ],
  [
    "wav2vec2",
    [
      ["wav2vec2.feature_extractor.conv_layers.0.conv.weight", [4, 1, 3]],
      ...layersOf(2, "wav2vec2.encoder.layers", ["attention.k_proj.weight"]),
    ],
    { vocab_size: 32 },
  ],
  [
    "resnet",
    [
      ["resnet.embedder.embedder.convolution.weight", [4, 3, 7, 7]],
      ...layersOf(2, "resnet.encoder.stages", ["layers.0.layer.0.convolution.weight"]),
    ],
    {},
  ],
  [
    "beit",
    [
      ["beit.embeddings.patch_embeddings.projection.weight", [4, 3, 2, 2]],
      ...layersOf(2, "beit.encoder.layer", ["output.dense.weight"]),
    ],
    { vocab_size: 8192, image_size: 224 },
  ],
  [
    "flaubert",
    [["transformer.embeddings.weight", [10, 4]], ...layersOf(2, "transformer.attentions", ["q_lin.weight"])],
    { vocab_size: 10, n_layers: 2 },
  ],
  ["mamba", [["embeddings.weight", [10, 4]], ...layersOf(2, "layers", ["mixer.in_proj.weight"])], { vocab_size: 10 }],
  [
    "openai-gpt",
    [
      ["transformer.tokens_embed.weight", [10, 4]],
      ["transformer.positions_embed.weight", [6, 4]],
      ...layersOf(2, "transformer.h", ["mlp.c_fc.weight"]),
    ],
    { vocab_size: 10, n_layer: 2 },
  ],
  [
    "clip",
    [
      ["text_model.embeddings.token_embedding.weight", [10, 4]],
      ...layersOf(2, "text_model.encoder.layers", ["mlp.fc1.weight"]),
      ["vision_model.embeddings.patch_embedding.weight", [4, 3, 2, 2]],
      ...layersOf(2, "vision_model.encoder.layers", ["mlp.fc1.weight"]),
      ["logit_scale", []],
    ],
    { text_config: { vocab_size: 10, num_hidden_layers: 2 }, vision_config: { num_hidden_layers: 2 } },
  ],
];

test.each(seeing)("%s is merged without a warning; what one of two lacks is told", (model_type, tensors, more) => {
  const model = checkpointOf(tensors, { model_type, ...more });
  const whole = bind(linear("a", "b"), { a: model, b: model });
  expect([whole.faults, whole.warnings, names(whole).length]).toEqual([[], [], tensors.length]);
  const shorn = checkpointOf(tensors.slice(0, -1), { model_type, ...more });
  const { faults, warnings } = bind(linear("a", "b"), { a: model, b: shorn });
  expect([...faults, ...warnings].map(({ code }) => code)).toContain("recipe/missing-tensor");
});

test.each([
  ["timesfm", []],
  ["strange", ["recipe/unknown-architecture"]],
])("a model of series has no vocabulary that could be missed: %s", (type, warned) => {
  const a = checkpointOf([["decoder.layers.0.mlp.weight", [4, 4]]], { model_type: type, num_hidden_layers: 1 });
  expect(bind(linear("a", "b"), { a, b: a }).warnings.map(({ code }) => code)).toEqual(warned);
});

test("a model with tokens under a name that is not known is told, whatever it sees besides", () => {
  const tensors: TensorShape[] = [
    ["visual.patch_embed.proj.weight", [4, 3]],
    ["words.weight", [10, 4]],
    ...layersOf(1, "model.layers", ["up.weight"]),
  ];
  const model = checkpointOf(tensors, { model_type: "strange", vocab_size: 10, num_hidden_layers: 1 });
  expect(bind(linear("a", "b"), { a: model, b: model }).warnings.map(({ code }) => code)).toEqual([
    "recipe/unknown-architecture",
  ]);
});
