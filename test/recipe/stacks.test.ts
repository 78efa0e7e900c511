import { describe, expect, test } from "vitest";
import type { Checkpoint } from "../../checkpoint/index.ts";
import type { Binding } from "../../recipe/index.ts";
import { bindModels, type StackRange, stackOf } from "./binding.ts";
import { checkpointOf, type TensorShape } from "./checkpoints.ts";

const said = (list: Binding["faults"]) => list.map(({ code, message }) => `${code} ${message}`);
const codes = (list: Binding["faults"]) => list.map(({ code }) => code);
const configValue = ({ configValues = [] }: Binding, ...path: string[]) =>
  configValues.find((value) => value.path.join(".") === path.join("."))?.value;

interface Sizes {
  readonly hidden?: number;
  /** Of each layer; or of all. */
  readonly inner?: number | readonly number[];
  readonly bias?: boolean;
  readonly config?: Record<string, unknown>;
}

function llama(layers: number, { hidden = 4, inner = 6, bias = false, config = {} }: Sizes = {}): Checkpoint {
  const tensors = Array.from({ length: layers }, (_, i): TensorShape[] => {
    const width = typeof inner === "number" ? inner : (inner[i] ?? 0);
    const own: TensorShape[] = [
      [`model.layers.${i}.mlp.up_proj.weight`, [width, hidden]],
      [`model.layers.${i}.self_attn.q_proj.weight`, [hidden, hidden]],
    ];
    return bias ? [...own, [`model.layers.${i}.self_attn.q_proj.bias`, [hidden]]] : own;
  });
  return checkpointOf(
    [
      ["model.embed_tokens.weight", [10, hidden]],
      ...tensors.flat(),
      ["model.norm.weight", [hidden]],
      ["lm_head.weight", [10, hidden]],
    ],
    { model_type: "llama", num_hidden_layers: layers, vocab_size: 10, ...config },
  );
}

describe("a layer must be one of the model whose config the output has", () => {
  test.each([
    ["wider", llama(4, { inner: 8 }), "model.layers.2.mlp.up_proj.weight would have the shape [8, 4]", "it is [6, 4]"],
    [
      "of another hidden size",
      llama(4, { hidden: 2 }),
      "model.layers.2.mlp.up_proj.weight would have the shape [6, 2]",
      "it is [6, 4]",
    ],
  ])("of a layer that is %s slice, tensor and the two shapes are named", (_, b, found, expected) => {
    const { faults } = bindModels(stackOf(["a", 0, 2], ["b", 1, 3], ["a", 2, 4]), { a: llama(4), b });
    expect(codes(faults)).toEqual(["recipe/shape-mismatch"]);
    expect(said(faults)[0]).toContain(`slice 2: ${found} (layer 1 of "b")`);
    expect(said(faults)[0]).toContain(expected);
  });

  test("tensors that only some of the layers would have, and such as some would lack", () => {
    const [plain, biased] = [llama(4), llama(4, { bias: true })];
    const more = bindModels(stackOf(["a", 0, 2], ["b", 1, 3]), { a: plain, b: biased });
    expect(said(more.faults)[0]).toMatch(
      /^recipe\/layer-misfit slice 2: layer 2 .* has model.layers.2.self_attn.q_proj.bias/,
    );
    const less = bindModels(stackOf(["a", 0, 2], ["b", 1, 3]), { a: biased, b: plain });
    expect(said(less.faults)[0]).toMatch(
      /^recipe\/layer-misfit slice 2: layer 2 .* would lack model.layers.2.self_attn.q_proj.bias/,
    );
  });

  test("the base is that model, where the recipe has one", () => {
    const models = { a: llama(4), b: llama(4, { inner: 8 }) };
    const text = `${stackOf(["b", 0, 2], ["b", 1, 3])}base_model: a\n`;
    expect(codes(bindModels(text, models).faults)).toEqual(["recipe/shape-mismatch", "recipe/shape-mismatch"]);
    expect(bindModels(text.replace("base_model: a", "base_model: b"), models).faults).toEqual([]);
  });

  test("embedding and head are compared by their widths, and all else outside of the layers", () => {
    const [a, b] = [llama(2), llama(2, { hidden: 2 })];
    const first = bindModels(`${stackOf(["b", 0, 1], ["a", 0, 2])}base_model: a\n`, { a, b });
    expect(said(first.faults)).toContainEqual(
      expect.stringMatching(/model.embed_tokens.weight would have the shape \[10, 2\]/),
    );
    const last = bindModels(stackOf(["a", 0, 2], ["b", 0, 1]), { a, b });
    expect(said(last.faults)).toContainEqual(
      expect.stringMatching(/slice 2: (?:lm_head|model.norm).weight would have the shape/),
    );
  });

  test("layers that differ by design may stand anywhere, and the config says so of each", () => {
    const config = (inner: readonly number[]) => ({
      intermediate_size: inner,
      layer_rates: inner.map((size) => size / 2),
    });
    const [wide, narrow] = [
      [6, 8, 6, 8],
      [8, 8, 6, 6],
    ];
    const a = llama(4, { inner: wide, config: config(wide) });
    const b = llama(4, { inner: narrow, config: config(narrow) });
    const binding = bindModels(stackOf(["a", 0, 3], ["b", 1, 4]), { a, b });
    expect([...binding.faults, ...binding.warnings]).toEqual([]);
    expect(configValue(binding, "intermediate_size")).toEqual([6, 8, 6, 8, 6, 6]);
    expect(configValue(binding, "layer_rates")).toEqual([3, 4, 3, 4, 3, 3]);
    const c = llama(4, { inner: 12, config: { intermediate_size: 12 } });
    expect(codes(bindModels(stackOf(["a", 0, 3], ["c", 1, 4]), { a, c }).faults)).toContain("recipe/shape-mismatch");
  });

  test("a part for each layer outside of the layers cannot be stacked", () => {
    const config = { model_type: "gemma3n", text_config: { num_hidden_layers: 2, hidden_size_per_layer_input: 3 } };
    const parts: TensorShape[] = [
      ["model.embed_tokens.weight", [10, 4]],
      ["model.embed_tokens_per_layer.weight", [10, 6]],
      ["model.per_layer_projection_norm.weight", [3]],
      ["model.layers.0.w", [4, 4]],
      ["model.layers.1.w", [4, 4]],
      ["model.norm.weight", [4]],
    ];
    const a = checkpointOf(parts, config);
    const { faults } = bindModels(stackOf(["a", 0, 2], ["a", 0, 2]), { a });
    expect(said(faults)).toEqual([
      expect.stringMatching(/layer-misfit model.embed_tokens_per_layer.weight of "a", \[10, 6\]/),
    ]);
    expect(bindModels(stackOf(["a", 0, 1], ["a", 1, 2]), { a }).faults).toEqual([]);
  });
});

describe("what only the first layer has", () => {
  /** Encoder and decoder with a bias in the first layer of each. */
  function t5(layers: number): Checkpoint {
    const stack = (tower: string) =>
      Array.from({ length: layers }, (_, i): TensorShape[] => [
        [`${tower}.block.${i}.layer.0.SelfAttention.q.weight`, [4, 4]],
        ...(i === 0
          ? [[`${tower}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`, [8, 2]] as const]
          : []),
      ]).flat();
    return checkpointOf([["shared.weight", [10, 4]], ...stack("encoder"), ...stack("decoder")], {
      ...{ model_type: "t5", num_layers: layers, num_decoder_layers: layers, vocab_size: 10 },
    });
  }

  const encoder = (...ranges: readonly (readonly [string, number, number])[]) =>
    `merge_method: passthrough
modules:
  encoder:
    slices:
${ranges.map(([model, first, end]) => `      - sources: [{ model: ${model}, layer_range: [${first}, ${end}] }]\n`).join("")}
  default: { models: [{ model: a }] }
`;

  test("must be in the output's first layer", () => {
    const { faults } = bindModels(encoder(["a", 1, 3]), { a: t5(3) });
    expect(said(faults)).toEqual([
      expect.stringMatching(
        /layer 0 of the output \(layer 1 of "a"\) would lack encoder.block.0.layer.0.SelfAttention.relative/,
      ),
    ]);
  });

  test("is of no use in another, which is said", () => {
    const binding = bindModels(encoder(["a", 0, 3], ["a", 0, 2]), { a: t5(3) });
    expect(binding.faults).toEqual([]);
    expect(said(binding.warnings)).toEqual([
      expect.stringMatching(/layer 3 of the output \(layer 0 of "a"\) has encoder.block.3/),
    ]);
    expect(configValue(binding, "num_layers")).toBe(5);
    expect(configValue(binding, "num_decoder_layers")).toBeUndefined();
    // Without the key the decoder has as many layers as the encoder had.
    const { num_decoder_layers: _, ...config } = t5(3).config ?? {};
    const implied = { ...t5(3), config };
    expect(configValue(bindModels(encoder(["a", 0, 3], ["a", 1, 3]), { a: implied }), "num_decoder_layers")).toBe(3);
  });

  test("and what only the first layer lacks", () => {
    const tensors = [0, 1, 2, 3].flatMap((i): TensorShape[] => [
      [`layers.${i}.attn.Wqkv.weight`, [12, 4]],
      ...(i > 0 ? [[`layers.${i}.attn_norm.weight`, [4]] as const] : []),
    ]);
    const a = checkpointOf([["embeddings.tok_embeddings.weight", [10, 4]], ...tensors], {
      ...{ model_type: "modernbert", num_hidden_layers: 4, global_attn_every_n_layers: 2 },
    });
    expect(said(bindModels(stackOf(["a", 0, 2], ["a", 0, 2]), { a }).faults)).toEqual([
      expect.stringMatching(/layer 2 of the output .* would lack layers.2.attn_norm.weight/),
    ]);
    expect(bindModels(stackOf(["a", 0, 3], ["a", 1, 4]), { a }).faults).toEqual([]);
    const again = { ...a.config, global_attn_every_n_layers: 4 };
    const alone = bindModels(stackOf(["a", 0, 2], ["a", 0, 2]), { a: { ...a, config: again } });
    expect(said(alone.warnings)).toContainEqual(
      expect.stringMatching(/layer 2 of the output \(slice 2\) has others than layer 2/),
    );
    expect(codes(bindModels(stackOf(["a", 1, 3]), { a }).warnings)).toContain("recipe/layer-misfit");
  });

  /** The first layer dense, the others with experts; a further one predicts the token after the next. */
  function moe(type: string, config: Record<string, unknown> = {}): Checkpoint {
    const layer = (i: number): TensorShape[] =>
      i === 0
        ? [["model.layers.0.mlp.gate_proj.weight", [6, 4]]]
        : [
            [`model.layers.${i}.mlp.gate.weight`, [2, 4]],
            [`model.layers.${i}.mlp.experts.0.gate_proj.weight`, [3, 4]],
          ];
    return checkpointOf(
      [
        ["model.embed_tokens.weight", [10, 4]],
        ...[0, 1, 2, 3].flatMap((i): TensorShape[] => [
          [`model.layers.${i}.self_attn.q_proj.weight`, [4, 4]],
          ...layer(i),
        ]),
        ["model.layers.4.eh_proj.weight", [4, 8]],
        ["model.norm.weight", [4]],
      ],
      { model_type: type, num_hidden_layers: 4, first_k_dense_replace: 1, num_nextn_predict_layers: 1, ...config },
    );
  }

  test.each(["deepseek_v3", "of a type that nobody knows"])("a dense layer among experts is refused (%s)", (type) => {
    const { faults, warnings } = bindModels(stackOf(["a", 0, 2], ["a", 0, 2]), { a: moe(type) });
    expect(said(faults)[0]).toMatch(
      /layer 2 of the output \(layer 0 of "a"\) would lack model.layers.2.mlp.(?:experts.0.gate_proj|gate).weight/,
    );
    expect(said(warnings)).toContainEqual(expect.stringMatching(/"first_k_dense_replace" .* layer 2/));
  });

  test("none of them is another number, where a number can say it", () => {
    const binding = bindModels(stackOf(["a", 1, 4], ["a", 2, 4]), { a: moe("deepseek_v3") });
    expect([...binding.faults, ...binding.warnings]).toEqual([]);
    expect(configValue(binding, "first_k_dense_replace")).toBe(0);
  });

  test("dense layers go where a list says that they are", () => {
    const config = { first_k_dense_replace: 1, mlp_layer_types: ["dense", "sparse", "sparse", "sparse", "sparse"] };
    const binding = bindModels(stackOf(["a", 0, 2], ["a", 0, 2]), { a: moe("glm4_moe_lite", config) });
    expect([...binding.faults, ...binding.warnings]).toEqual([]);
    // The last is that of the layer beyond the count.
    expect(configValue(binding, "mlp_layer_types")).toEqual(["dense", "sparse", "dense", "sparse", "sparse"]);
  });

  test("layers beyond the count are none of the stack, and follow it", () => {
    const a = moe("deepseek_v3");
    expect(said(bindModels(stackOf(["a", 0, 5]), { a }).faults)[0]).toMatch(
      /goes past the end of "a", which has 4 layers/,
    );
    const binding = bindModels(stackOf(["a", 0, 3], ["a", 1, 4]), { a });
    expect(binding.faults).toEqual([]);
    expect(binding.layerCount).toBe(6);
    const beyond = binding.tasks.find(({ name }) => name.includes("eh_proj"));
    expect(beyond).toMatchObject({
      name: "model.layers.6.eh_proj.weight",
      models: [{ tensor: "model.layers.4.eh_proj.weight" }],
    });
  });

  test("layers that differ without a reason that is known are a warning where they move", () => {
    const tensors = [0, 1, 2, 3].map(
      (i): TensorShape => [`model.layers.${i}.${i % 2 === 0 ? "mamba" : "attn"}.weight`, [4, 4]],
    );
    const a = checkpointOf([["model.embed_tokens.weight", [10, 4]], ...tensors], {
      model_type: "new",
      num_hidden_layers: 4,
    });
    expect(codes(bindModels(stackOf(["a", 0, 2], ["a", 0, 2]), { a }).warnings)).toEqual([]);
    const { warnings } = bindModels(stackOf(["a", 0, 3], ["a", 2, 4]), { a });
    expect(said(warnings)).toEqual([
      expect.stringMatching(
        /layer-misfit the layers of "a" are not all of the same tensors.*layer 3 of the output \(slice 2\)/,
      ),
    ]);
  });
});

describe("layers that are not there", () => {
  const without = (checkpoint: Checkpoint, layer: number) =>
    checkpointOf(
      [...checkpoint.tensors.values()]
        .filter(({ name }) => !name.includes(`.${layer}.`))
        .map(({ name, shape }): TensorShape => [name, shape]),
      checkpoint.config,
    );
  const whole = "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: a}, {model: b}]\n";

  test.each([
    [
      "at the end",
      llama(2, { config: { num_hidden_layers: 4 } }),
      /"b" is incomplete: its config counts 4 layers, and of model.layers it lacks layers 2, 3/,
    ],
    ["in the middle", without(llama(4), 1), /its config counts 4 layers, and of model.layers it lacks layer 1$/],
  ])("%s make a model incomplete", (_, b, message) => {
    expect(said(bindModels(whole, { a: llama(4), b }).faults)).toContainEqual(expect.stringMatching(message));
  });

  test("may be missing where no range is of them", () => {
    const a = without(llama(4), 3);
    const binding = bindModels(stackOf(["a", 0, 2], ["a", 1, 3]), { a });
    expect(binding.faults).toEqual([]);
    expect(codes(binding.warnings)).toEqual(["recipe/missing-layers"]);
    expect(codes(bindModels(stackOf(["a", 0, 2], ["a", 1, 4]), { a }).faults)).toContain("recipe/missing-layers");
  });

  test("groups that share their weights are fewer than the layers", () => {
    const config = { num_hidden_layers: 12, num_hidden_groups: 1 };
    const a = checkpointOf(
      [
        ["embeddings.word_embeddings.weight", [10, 4]],
        ["encoder.albert_layer_groups.0.ffn.weight", [4, 4]],
      ],
      config,
    );
    expect(bindModels("merge_method: passthrough\nmodels: [{model: a}]\n", { a }).faults).toEqual([]);
  });
});

describe("a head that is not there", () => {
  const whole = "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: a}, {model: b}]\n";
  const config = { architectures: ["LlamaForCausalLM"] };
  const headless = (more: object, ...others: TensorShape[]) => {
    const { tensors, config: own } = llama(4, { config: { ...config, ...more } });
    const kept = [...tensors.values()].filter(({ name }) => name !== "lm_head.weight");
    return checkpointOf([...kept.map(({ name, shape }): TensorShape => [name, shape]), ...others], own);
  };

  test("makes a model incomplete whose config says that it is not the embedding", () => {
    for (const order of [
      { a: llama(4, { config }), b: headless({}) },
      { a: headless({}), b: llama(4, { config }) },
    ]) {
      const { faults } = bindModels(whole, order);
      expect(said(faults)).toEqual([
        expect.stringMatching(/^recipe\/missing-tensor "[ab]" is incomplete: its config says .* there is no head$/),
      ]);
    }
    const alone = bindModels("merge_method: passthrough\nmodels: [{model: a}]", { a: headless({}) });
    expect(codes(alone.faults)).toEqual(["recipe/missing-tensor"]);
  });

  test("may be the embedding, be none by the class, be called otherwise, or come from another model", () => {
    const free = [
      headless({ tie_word_embeddings: true }),
      headless({ architectures: ["LlamaModel"] }),
      headless({}, ["text_head.dense.weight", [6, 4]]),
      headless({}, ["unembedding.weight", [4, 10]]),
    ];
    for (const a of free) expect(bindModels(whole, { a, b: a }).faults).toEqual([]);
    const stack = (...ranges: readonly StackRange[]) =>
      bindModels(stackOf(...ranges), { a: llama(4, { config }), b: headless({}) }).faults;
    expect(stack(["a", 0, 2], ["b", 1, 3], ["a", 2, 4])).toEqual([]);
    expect(codes(stack(["a", 0, 2], ["b", 1, 3]))).toContain("recipe/missing-tensor");
  });
});

describe("parts of a layer that are not there", () => {
  const parts = ["mlp.up_proj", "mlp.down_proj", "self_attn.q_proj", "self_attn.k_proj", "input_layernorm"];
  const model = (isThere: (layer: number, part: string) => boolean, config: object = {}, ...others: TensorShape[]) => {
    const layers = [0, 1, 2, 3].flatMap((layer) =>
      parts
        .filter((part) => isThere(layer, part))
        .map((part): TensorShape => [`model.layers.${layer}.${part}.weight`, part.endsWith("norm") ? [4] : [4, 4]]),
    );
    return checkpointOf([["model.embed_tokens.weight", [10, 4]], ...layers, ...others, ["lm_head.weight", [10, 4]]], {
      model_type: "llama",
      num_hidden_layers: 4,
      ...config,
    });
  };
  const copied = (a: Checkpoint, recipe = "merge_method: passthrough\nmodels: [{model: a}]") =>
    said(bindModels(recipe, { a }).warnings);

  test.each([
    ["a matrix", "mlp.down_proj"],
    ["a norm", "input_layernorm"],
  ])("are told where all other layers have them: %s", (_, part) => {
    const a = model((layer, own) => layer !== 2 || own !== part);
    expect(copied(a)).toEqual([
      `recipe/missing-layers "a" is incomplete: model.layers.2 lacks ${part}.weight, which all other layers have`,
    ]);
    expect(copied(a, stackOf(["a", 0, 2]))).toEqual([]);
  });

  test.each([
    ["in the first layer", model((layer, part) => layer !== 0 || part !== "mlp.down_proj")],
    ["with their module", model((layer, part) => layer !== 2 || !part.startsWith("mlp"))],
    ["in two layers", model((layer, part) => layer < 2 || part !== "mlp.down_proj")],
    [
      "in the last layer, which reads the keys of another",
      model((layer, part) => layer !== 3 || part !== "self_attn.k_proj", { num_kv_shared_layers: 1 }),
    ],
    [
      "in a layer with something of its own",
      model((layer, part) => layer !== 2 || part !== "mlp.down_proj", {}, ["model.layers.2.mlp.gate.weight", [4, 4]]),
    ],
  ])("may be missing by design: %s", (_, a) => {
    expect(copied(a)).toEqual([]);
  });
});

test("a head that one of two models was saved without is told", () => {
  const config = { architectures: ["LlamaModel"], tie_word_embeddings: false };
  const bare = llama(4, { config });
  const b = checkpointOf(
    [...bare.tensors.values()].flatMap(({ name, shape }) =>
      name === "lm_head.weight" ? [] : [[name, shape] as const],
    ),
    bare.config,
  );
  for (const recipe of [
    "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: a}, {model: b}]\n",
    "merge_method: task_arithmetic\nparameters: {weight: 1}\nbase_model: a\nmodels: [{model: b}]\n",
  ]) {
    const { faults, warnings } = bindModels(recipe, { a: llama(4), b });
    expect(faults).toEqual([]);
    expect(said(warnings)).toEqual([expect.stringMatching(/^recipe\/missing-tensor "b" lacks lm_head.weight: it /)]);
  }
});

describe("experts that are not there", () => {
  const mixture = (experts: number, more: object = {}, isLeft = (_: string) => true) => {
    const { tensors, config } = llama(2, { config: { num_local_experts: experts, ...more } });
    const lists = [0, 1].flatMap((layer) =>
      Array.from({ length: experts }, (_, e) =>
        ["w1", "w2"].map((part): TensorShape => [`model.layers.${layer}.mlp.experts.${e}.${part}.weight`, [4, 4]]),
      ).flat(),
    );
    const own = [...tensors.values()].map(({ name, shape }): TensorShape => [name, shape]);
    return checkpointOf(
      [...own, ...lists].filter(([name]) => isLeft(name)),
      config,
    );
  };
  const faultsOf = (a: Checkpoint, recipe = "merge_method: passthrough\nmodels: [{model: a}]") =>
    said(bindModels(recipe, { a }).faults);

  test.each([
    [
      "in the middle",
      mixture(4, {}, (name) => !/\.1\.mlp\.experts\.2\./.test(name)),
      "4 experts of model.layers.1.mlp.experts it lacks 2",
    ],
    ["a part of one", mixture(4, {}, (name) => !/\.1\..*experts\.3\.w2/.test(name)), "it lacks 3.w2"],
    ["of those that the config counts", mixture(4, { num_local_experts: 6 }), "it lacks 4, 5 (and 1 more such lists)"],
  ])("make a model incomplete: %s", (_, a, message) => {
    expect(faultsOf(a)).toEqual([expect.stringContaining(message)]);
  });

  test("may be missing in layers that are not taken; more or fewer of them in some layers are a design", () => {
    const cut = mixture(4, {}, (name) => !/\.1\.mlp\.experts\.2\./.test(name));
    expect(faultsOf(cut, stackOf(["a", 0, 1], ["a", 0, 1]))).toEqual([]);
    const fewer = mixture(4, {}, (name) => !/\.1\.mlp\.experts\.[23]\./.test(name));
    expect(faultsOf(fewer)).toEqual([]);
  });
});

describe("of several stacks in one model", () => {
  /** Layers of a language model, and of a part with a name of its own. */
  const model = (config: Record<string, unknown>) =>
    checkpointOf(
      [
        ["model.embed_tokens.weight", [10, 4]],
        ...[0, 1].flatMap((i): TensorShape[] => [
          [`model.layers.${i}.mlp.up_proj.weight`, [6, 4]],
          [`protein_encoder.layer.${i}.dense.weight`, [4, 4]],
        ]),
        ["model.norm.weight", [4]],
      ],
      { model_type: "new", num_hidden_layers: 2, ...config },
    );
  const recipe = `merge_method: passthrough
modules:
  protein_encoder:
    slices:
      - sources: [{ model: a, layer_range: [0, 2] }]
      - sources: [{ model: a, layer_range: [0, 1] }]
  default: { models: [{ model: a }] }
`;

  test("the part of the config counts that is called as the module is", () => {
    const binding = bindModels(recipe, { a: model({ protein_encoder_config: { num_hidden_layers: 2 } }) });
    expect(binding.configValues).toEqual([{ path: ["protein_encoder_config", "num_hidden_layers"], value: 3 }]);
  });

  test("the number of another stack is not taken for one that has none", () => {
    const { stacks } = bindModels(recipe, { a: model({}) });
    expect(stacks).toMatchObject([{ prefix: "protein_encoder.layer", layersBefore: 2, layerCount: 3, configKeys: [] }]);
  });

  test("a list of as many modules beside the layers is pointed out", () => {
    const config = { protein_encoder_config: { num_hidden_layers: 2 } };
    const plain = model(config);
    const heads = [0, 1].map((i): TensorShape => [`protein_encoder.heads.${i}.weight`, [4, 4]]);
    const shapes = [...plain.tensors.values()].map(({ name, shape }): TensorShape => [name, shape]);
    const { warnings } = bindModels(recipe, { a: checkpointOf([...shapes, ...heads], plain.config) });
    expect(said(warnings)).toContainEqual(
      expect.stringMatching(/"a" has "protein_encoder.heads" beside protein_encoder.layer/),
    );
  });
});

describe("of two stacks that one part of the config tells of", () => {
  const kinds = ["full", "local", "none"];
  const pair = (config: object) =>
    checkpointOf(
      [
        ["shared.weight", [10, 4]],
        ...["encoder", "decoder"].flatMap((tower) =>
          kinds.map((_, i): TensorShape => [`${tower}.layers.${i}.dense.weight`, [4, 4]]),
        ),
      ],
      { model_type: "new", encoder_layers: 3, decoder_layers: 3, ...config },
    );
  const stacked = (encoder: [number, number], decoder: [number, number]) => `merge_method: passthrough
modules:
  encoder: { slices: [{ sources: [{ model: a, layer_range: [${encoder}] }] }] }
  decoder: { slices: [{ sources: [{ model: a, layer_range: [${decoder}] }] }] }
  default: { models: [{ model: a }] }
`;

  test("a list that cannot be about both is pointed out, and not where both are stacked alike", () => {
    const a = pair({ layer_types: kinds });
    const { warnings, faults } = bindModels(stacked([0, 2], [1, 3]), { a });
    expect(faults).toEqual([]);
    expect(said(warnings)).toEqual([
      expect.stringMatching(/layer-facts "layer_types" .* cannot say what the layers of encoder.layers are and/),
    ]);
    const alike = bindModels(stacked([0, 2], [0, 2]), { a });
    expect([alike.warnings, configValue(alike, "layer_types")]).toEqual([[], kinds.slice(0, 2)]);
  });

  test("a list that still holds for the one, and not when the other has changed it, is pointed out as well", () => {
    const a = pair({ layer_types: ["full", "full", "none"] });
    const { warnings } = bindModels(stacked([1, 3], [1, 2]), { a });
    expect(said(warnings)).toEqual([expect.stringMatching(/"layer_types" .* of encoder.layers are/)]);
  });

  test("a list that follows the one is pointed out where the other stays and it no longer holds for that", () => {
    const only = (tower: string, range: string) => `merge_method: passthrough
modules:
  ${tower}: { slices: [{ sources: [{ model: a, layer_range: ${range} }] }] }
  default: { models: [{ model: a }] }
`;
    const a = pair({ layer_types: kinds });
    for (const [tower, other] of [
      ["encoder", "decoder"],
      ["decoder", "encoder"],
    ] as const) {
      const binding = bindModels(only(tower, "[1, 3]"), { a });
      expect(configValue(binding, "layer_types")).toEqual(kinds.slice(1));
      expect(said(binding.warnings)).toEqual([
        expect.stringMatching(
          `layer-facts "layer_types" in the config of "a" follows the layers of ${tower}.layers, and no longer says what those of ${other}.layers are, which stay as they are`,
        ),
      ]);
      const named = pair({ [`${tower}_layer_types`]: kinds });
      expect(codes(bindModels(only(tower, "[1, 3]"), { a: named }).warnings)).not.toContain("recipe/layer-facts");
      const alike = pair({ layer_types: ["full", "full", "full"] });
      expect(
        bindModels(only(tower, "[0, 3] }] }, { sources: [{ model: a, layer_range: [0, 1]"), { a: alike }).warnings.map(
          ({ message }) => message,
        ),
      ).toEqual([]);
    }
  });

  test("names of quantised modules that are a part of those of both are refused, unless the layers stay where they are", () => {
    const coded = (names: readonly string[]) => {
      const shapes = ["encoder", "decoder"].flatMap((tower) =>
        kinds.flatMap((_, i): TensorShape[] => [
          [`model.${tower}.layers.${i}.dense.weight`, [4, 4], "F8_E4M3"],
          [`model.${tower}.layers.${i}.dense.weight_scale_inv`, [1, 1], "F32"],
          [`model.${tower}.layers.${i}.fc1.weight`, [4, 4]],
        ]),
      );
      return checkpointOf([["model.shared.weight", [10, 4]], ...shapes], {
        ...{ model_type: "new", encoder_layers: 3, decoder_layers: 3 },
        quantization_config: { quant_method: "fp8", modules_to_not_convert: names },
      });
    };
    const encoder = (range: string) => `merge_method: passthrough
modules:
  encoder: { slices: [{ sources: [{ model: a, layer_range: ${range} }] }] }
  default: { models: [{ model: a }] }
`;
    const outcome = (name: string, range: string) => {
      const binding = bindModels(encoder(range), { a: coded([name]) });
      return [codes(binding.faults), configValue(binding, "quantization_config", "modules_to_not_convert")];
    };
    expect(outcome("layers.1.fc1", "[1, 3]")).toEqual([["recipe/layer-misfit"], undefined]);
    expect(outcome("re:.*layers.1.fc1", "[1, 3]")[0]).toEqual(["recipe/layer-misfit"]);
    expect(outcome("layers.1.fc1", "[0, 2]")).toEqual([[], undefined]);
    expect(outcome("encoder.layers.1.fc1", "[1, 3]")).toEqual([[], ["encoder.layers.0.fc1"]]);
    expect(outcome("model.decoder.layers.1.fc1", "[1, 3]")).toEqual([[], undefined]);
    expect(outcome("fc1", "[1, 3]")).toEqual([[], undefined]);
  });

  test("windows of LED are those of its encoder", () => {
    const { warnings, configValues } = bindModels(stacked([1, 3], [0, 2]), {
      a: pair({ attention_window: [4, 8, 16] }),
    });
    expect(codes(warnings)).not.toContain("recipe/layer-facts");
    expect(configValues).toContainEqual({ path: ["attention_window"], value: [8, 16] });
    expect(configValues?.filter(({ path }) => path[0] === "attention_window")).toHaveLength(1);
  });

  test("a list of the language model's is left alone by a tower that the config does not count", () => {
    const towers = ["model.layers", "vision_tower.blocks"];
    const tensors = towers.flatMap((name) => kinds.map((_, i): TensorShape => [`${name}.${i}.dense.weight`, [4, 4]]));
    const a = checkpointOf(tensors, { model_type: "new", num_hidden_layers: 3, layer_types: kinds });
    const recipe = stacked([1, 3], [0, 2]).replace("  encoder:", "  vision_tower:");
    const alone = bindModels(recipe.replace(/ {2}decoder:.*\n/, ""), { a });
    expect([alone.faults, alone.configValues]).toEqual([[], undefined]);
    const both = bindModels(recipe.replace("  decoder:", "  language_model:"), { a });
    expect(codes(both.warnings)).not.toContain("recipe/layer-facts");
    expect(configValue(both, "layer_types")).toEqual(kinds.slice(0, 2));
  });
});

describe("configs that count in other ways", () => {
  const kinds = ["mamba", "moe", "attention", "mlp"];
  const nemotron = (prefix: string, config: Record<string, unknown>): Checkpoint =>
    checkpointOf(
      [
        [`${prefix}embeddings.weight`, [10, 4]],
        ...kinds.map((kind, i): TensorShape => [`${prefix}layers.${i}.mixer.${kind}.weight`, [4, 4]]),
        ["mtp.layers.0.mixer.attention.weight", [4, 4]],
        ["lm_head.weight", [10, 4]],
      ],
      config,
    );

  test("a list of kinds is the number of layers where no number is: it grows, and no number is made up", () => {
    const config = { model_type: "nemotron_h", layers_block_type: kinds, hybrid_override_pattern: "ME*-" };
    const { faults, layerCount, configValues } = bindModels(stackOf(["a", 0, 3], ["a", 1, 4]), {
      a: nemotron("model.", config),
    });
    expect([faults, layerCount]).toEqual([[], 6]);
    expect(Object.fromEntries((configValues ?? []).map(({ path, value }) => [path.join("."), value]))).toEqual({
      hybrid_override_pattern: "ME*E*-",
      layers_block_type: ["mamba", "moe", "attention", "moe", "attention", "mlp"],
    });
    const past = bindModels(stackOf(["a", 0, 5]), { a: nemotron("model.", config) });
    expect(said(past.faults)[0]).toContain("which has 4 layers");
  });

  test("also in a part of the config, for a module", () => {
    const text = { model_type: "nemotron_h", layers_block_type: kinds };
    const { stacks } = bindModels(
      `merge_method: passthrough
modules:
  language_model.model: { slices: [{ sources: [{ model: a, layer_range: [1, 4] }] }] }
  default: { models: [{ model: a }] }
`,
      { a: nemotron("language_model.model.", { model_type: "omni", text_config: text }) },
    );
    expect(stacks).toMatchObject([{ layersBefore: 4, configKeys: [["text_config", "layers_block_type"]] }]);
  });

  test("a list of fewer kinds counts nothing", () => {
    const { faults } = bindModels(stackOf(["a", 0, 4]), {
      a: nemotron("model.", { model_type: "other", layer_types: ["mamba", "moe"] }),
    });
    expect(faults).toEqual([]);
  });

  const towers = (names: readonly string[], config: Record<string, unknown>) =>
    checkpointOf(
      names.flatMap((name) => [0, 1].map((i): TensorShape => [`${name}.${i}.dense.weight`, [4, 4]])),
      config,
    );
  const halved = (module: string) => `merge_method: passthrough
modules:
  ${module}: { slices: [{ sources: [{ model: a, layer_range: [0, 1] }] }] }
  default: { models: [{ model: a }] }
`;

  test.each([
    ["encoder", "vision_config"],
    ["decoder", "text_config"],
  ])("an encoder of pictures and a decoder of words have their own parts: %s in %s", (module, part) => {
    const config = {
      model_type: "pix2struct",
      text_config: { num_layers: 2 },
      vision_config: { num_hidden_layers: 2 },
    };
    const { stacks } = bindModels(halved(module), { a: towers(["encoder.encoder.layer", "decoder.layer"], config) });
    const key = part === "text_config" ? "num_layers" : "num_hidden_layers";
    expect(stacks).toMatchObject([{ layersBefore: 2, layerCount: 1, configKeys: [[part, key]] }]);
  });

  test("the part of the words is not counted with an encoder that the top counts by name (Grounding DINO)", () => {
    const config = { model_type: "grounding-dino", encoder_layers: 2, text_config: { num_hidden_layers: 2 } };
    const { stacks } = bindModels(halved("encoder"), {
      a: towers(["encoder.layers", "decoder.layers", "text_backbone.encoder.layer"], config),
    });
    expect(stacks).toMatchObject([{ prefix: "encoder.layers", configKeys: [["encoder_layers"]] }]);
  });

  test("one number for encoder and decoder: that the other stays as it is is pointed out", () => {
    const stacks = ["encoder.encoder_transformer.layers", "decoder.decoder_transformer.layers"];
    const warned = (config: Record<string, unknown>) =>
      said(bindModels(halved("encoder"), { a: towers(stacks, config) }).warnings).filter((text) => /beside/.test(text));
    expect(warned({ model_type: "codec", num_hidden_layers: 2 })[0]).toContain(
      `has "${stacks[1]}" beside ${stacks[0]}`,
    );
    expect(warned({ model_type: "codec", num_hidden_layers: 2, decoder_layers: 2 })).toEqual([]);
  });

  test.each([
    ["vit_mae", [["num_hidden_layers"]]],
    ["llava", []],
  ])("a tower without a part is counted at the top where the type is called after it: %s", (type, configKeys) => {
    const config = { model_type: type, num_hidden_layers: 2, decoder_num_hidden_layers: 2 };
    const { stacks } = bindModels(halved("vit"), { a: towers(["vit.layers", "decoder.decoder_layers"], config) });
    expect(stacks).toMatchObject([{ prefix: "vit.layers", configKeys }]);
  });
});

describe("blocks that layers share", () => {
  const users = [1, 2, 4];
  const zamba = checkpointOf(
    [
      ["model.embed_tokens.weight", [10, 4]],
      ...[0, 1, 2, 3, 4].flatMap((i): TensorShape[] => [
        [`model.layers.${i}.mamba.weight`, [4, 4]],
        ...(users.includes(i) ? [[`model.layers.${i}.linear.weight`, [4, 4]] as const] : []),
        ...(i === 1
          ? [0, 1, 2].map((k) => [`model.layers.1.shared_transformer.q_adapter_list.${k}.0.weight`, [2, 4]] as const)
          : []),
      ]),
    ],
    {
      ...{ model_type: "zamba2", num_hidden_layers: 5, num_mem_blocks: 1 },
      layers_block_type: [0, 1, 2, 3, 4].map((i) => (users.includes(i) ? "hybrid" : "linear_attention")),
    },
  );

  test.each([
    ["more of them", [0, 5, 4, 5], 'layer 5 of the output (layer 4 of "a", number 2) would be number 3 of 4'],
    ["fewer", [0, 4], "number 1 of 2"],
    ["another order", [0, 2, 4, 5, 2, 3], 'layer 2 of the output (layer 4 of "a", number 2) would be number 1 of 3'],
  ])("are refused with %s: adapters are numbered by these layers", (_, ends, told) => {
    const ranges = ends.flatMap((end, k) => (k % 2 === 1 ? [["a", ends[k - 1]!, end] as const] : []));
    const { faults } = bindModels(stackOf(...ranges), { a: zamba });
    expect(said(faults)).toContainEqual(expect.stringContaining(told));
  });

  test("stay where only other layers are added", () => {
    const { faults } = bindModels(stackOf(["a", 0, 4], ["a", 3, 5]), { a: zamba });
    expect(faults).toEqual([]);
  });
});

describe("layers that are merged with each other", () => {
  const types = ["full", "sliding", "full", "sliding"];
  const slerp = (first: number) => `merge_method: slerp
base_model: a
parameters: { t: 0.5 }
slices:
  - sources: [{ model: a, layer_range: [0, 2] }, { model: b, layer_range: [${first}, ${first + 2}] }]
`;
  const kindsSaid = (first: number, ours: unknown, theirs: unknown) =>
    bindModels(slerp(first), {
      a: llama(4, { config: { layer_types: ours } }),
      b: llama(4, { config: { layer_types: theirs } }),
    }).warnings.filter(({ code, message }) => code === "recipe/layer-facts" && message.includes("another kind"));

  test("of other kinds by their configs are told of, with slice, layers and key", () => {
    const [warning] = kindsSaid(1, types, types);
    expect(warning?.message).toContain(
      'slice 1: layer 1 of "b" is merged with layer 0 of "a", and is of another kind by "layer_types"',
    );
  });

  test("of one kind are not, nor where one of the configs does not say", () => {
    expect(kindsSaid(2, types, types)).toEqual([]);
    expect(kindsSaid(1, types, undefined)).toEqual([]);
  });
});

describe("layers beyond the count in a stack of several models", () => {
  /** Three layers that count, and one more for each width. */
  const ahead = (...widths: readonly number[]): Checkpoint => {
    const plain = llama(3);
    const shapes = [...plain.tensors.values()].map(({ name, shape }): TensorShape => [name, shape]);
    const more = widths.map((width, k): TensorShape => [`model.layers.${3 + k}.eh_proj.weight`, [4, width]]);
    return checkpointOf([...shapes, ...more], plain.config);
  };
  const joined = (b: Checkpoint, a = ahead(8)) => bindModels(stackOf(["a", 0, 3], ["b", 1, 3]), { a, b });

  test.each([
    ["lacks them", joined(ahead()), '"b" lacks model.layers.3.eh_proj.weight, of a layer beyond'],
    ["has them alone", joined(ahead(8), ahead()), '"b" gives the output model.layers.3.eh_proj.weight, [4, 8]'],
    ["has more of them", joined(ahead(8, 8)), '"b" gives the output model.layers.4.eh_proj.weight, [4, 8]'],
  ])("where the last slice's model %s, a warning names slice and tensor", (_, { faults, warnings }, told) => {
    expect([faults, codes(warnings)]).toEqual([[], ["recipe/layer-misfit"]]);
    expect(said(warnings)[0]).toContain(`slice 2: ${told}`);
  });

  test("of another shape they are refused, of the same they pass", () => {
    expect(said(joined(ahead(9)).faults)[0]).toMatch(/^recipe\/shape-mismatch slice 2: .*\[4, 9\].*it is \[4, 8\]/);
    expect(joined(ahead(8))).toMatchObject({ faults: [], warnings: [] });
  });
});

test("of a model without its last layer a stack may be made of the others, and the config counts these", () => {
  const whole = llama(5);
  const shapes = [...whole.tensors.values()].map(({ name, shape }): TensorShape => [name, shape]);
  const cut = checkpointOf(
    shapes.filter(([name]) => !name.startsWith("model.layers.4.")),
    whole.config,
  );
  const { faults, warnings, configValues } = bindModels(stackOf(["a", 0, 4]), { a: cut });
  expect([faults, codes(warnings)]).toEqual([[], ["recipe/missing-layers"]]);
  expect(configValues).toEqual([{ path: ["num_hidden_layers"], value: 4 }]);
});

test("a tensor of as many parts as there are layers, beside them, is pointed out", () => {
  const model = (config: Record<string, unknown>) => {
    const plain = llama(5, { config });
    const shapes = [...plain.tensors.values()].map(({ name, shape }): TensorShape => [name, shape]);
    return checkpointOf([...shapes, ["model.skip_weights", [5]]], plain.config);
  };
  const warned = (config: Record<string, unknown>) =>
    said(bindModels(stackOf(["a", 0, 4], ["a", 2, 5]), { a: model(config) }).warnings);
  expect(warned({})[0]).toMatch(/^recipe\/layer-misfit model.skip_weights of "a", \[5\], may hold a part for each/);
  expect(warned({ num_attention_heads: 5 })).toEqual([]);
});

test("a model whose config counts a layer more than once is not stacked, also where the number comes out right", () => {
  const dory = llama(2, { config: { model_type: "dory", num_hidden_layers: 4 } });
  const { faults } = bindModels(stackOf(["a", 0, 2], ["a", 0, 2]), { a: dory });
  expect(said(faults)).toEqual([expect.stringContaining('the config of "a" (dory) counts a layer more than once')]);
});

describe("layers whose parts lie in several lists", () => {
  const lists = (layers: number, inner = 6): TensorShape[] =>
    Array.from({ length: layers }, (_, i): TensorShape[] => [
      [`transformer.attentions.${i}.q_lin.weight`, [4, 4]],
      [`transformer.layer_norm1.${i}.weight`, [4]],
      [`transformer.ffns.${i}.lin1.weight`, [inner, 4]],
      [`transformer.layer_norm2.${i}.weight`, [4]],
    ]).flat();
  const xlm = (layers: number, inner?: number) =>
    checkpointOf([["transformer.embeddings.weight", [10, 4]], ...lists(layers, inner)], {
      ...{ model_type: "xlm", n_layers: layers, vocab_size: 10 },
    });

  test("are one stack, and move together", () => {
    const binding = bindModels(stackOf(["a", 0, 2], ["a", 1, 3]), { a: xlm(3) });
    expect([binding.faults, binding.warnings]).toEqual([[], []]);
    expect(binding.layerCount).toBe(4);
    for (const part of ["attentions.3.q_lin", "layer_norm1.3", "ffns.3.lin1", "layer_norm2.3"]) {
      const task = binding.tasks.find(({ name }) => name === `transformer.${part}.weight`);
      expect(JSON.stringify(task?.models)).toContain(`"transformer.${part.replace(".3", ".2")}.weight"`);
    }
  });

  test("are judged each by itself", () => {
    const { faults } = bindModels(stackOf(["a", 0, 2], ["b", 1, 3]), { a: xlm(3), b: xlm(3, 8) });
    expect(said(faults)).toEqual([
      expect.stringContaining('transformer.ffns.2.lin1.weight would have the shape [8, 4] (layer 1 of "b")'),
    ]);
  });
});

describe("modules that a config of fp8 codes leaves as values", () => {
  const fp8 = (names: readonly string[], more: object = {}, layers = 2) => {
    const { tensors } = llama(layers);
    const shapes = [...tensors.values()].map(({ name, shape, dtype }): TensorShape => [name, shape, dtype]);
    const coded = Array.from({ length: layers }, (_, i): TensorShape[] => [
      [`model.layers.${i}.mlp.gate_proj.weight`, [6, 4], "F8_E4M3"],
      [`model.layers.${i}.mlp.gate_proj.weight_scale_inv`, [1, 1], "F32"],
    ]);
    return checkpointOf([...shapes, ...coded.flat()], {
      ...{ model_type: "llama", num_hidden_layers: layers, vocab_size: 10 },
      quantization_config: {
        quant_method: "fp8",
        modules_to_not_convert: names,
        ...more,
        other: { ignore: ["re:.*norm"] },
      },
    });
  };
  const list = (binding: Binding) => configValue(binding, "quantization_config", "modules_to_not_convert");

  test("are those of the output's layers, of whichever model they are", () => {
    const a = fp8(["lm_head", "model.layers.0.mlp.up_proj", "model.layers.1", "visual.blocks.1.mlp"]);
    const b = fp8(["lm_head", "model.layers.1.mlp.up_proj"]);
    const binding = bindModels(stackOf(["a", 0, 2], ["b", 1, 2], ["a", 0, 1]), { a, b });
    expect(binding.faults).toEqual([]);
    expect(list(binding)).toEqual([
      "lm_head",
      "visual.blocks.1.mlp",
      "model.layers.0.mlp.up_proj",
      "model.layers.1",
      "model.layers.2.mlp.up_proj",
      "model.layers.3.mlp.up_proj",
    ]);
    expect(configValue(binding, "quantization_config", "other", "ignore")).toBeUndefined();
  });

  test("in maps as in lists", () => {
    const bits = { bits: 16 };
    const a = fp8([], { extra: { lm_head: bits, "model.layers.1.mlp.up_proj": bits, "model.norm": { bits: 8 } } });
    const binding = bindModels(stackOf(["a", 0, 2], ["a", 1, 2]), { a });
    expect(configValue(binding, "quantization_config", "extra")).toEqual({
      lm_head: bits,
      "model.norm": { bits: 8 },
      "model.layers.1.mlp.up_proj": bits,
      "model.layers.2.mlp.up_proj": bits,
    });
  });

  test("lose those of layers that are gone, and stay where none has moved", () => {
    const a = fp8(["model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj"]);
    expect(list(bindModels(stackOf(["a", 0, 1]), { a }))).toEqual(["model.layers.0.mlp.up_proj"]);
    expect(list(bindModels(stackOf(["a", 0, 2]), { a }))).toBeUndefined();
  });

  describe("by patterns", () => {
    const ignored = (names: readonly string[], layers = 3) => fp8([], { ignore: names }, layers);
    const list = (binding: Binding) => configValue(binding, "quantization_config", "ignore");

    test.each([
      ["re:.*layers\\.2\\..*", ["re:.*layers\\.1\\..*"]],
      ["re:.*layers\\.(0|2)\\.mlp\\.up_proj", ["re:.*layers\\.0\\.mlp\\.up_proj", "re:.*layers\\.1\\.mlp\\.up_proj"]],
      ["model.layers.2*", ["model.layers.1*"]],
      ["*.2.self_attn*", ["*.1.self_attn*"]],
      ["language_model.model.layers.[12].*", ["language_model.model.layers.1.*"]],
    ])("%s goes where its layers went", (pattern, expected) => {
      const binding = bindModels(stackOf(["a", 0, 1], ["a", 2, 3]), { a: ignored(["re:.*lm_head", pattern, "*norm"]) });
      expect(binding.faults).toEqual([]);
      expect(list(binding)).toEqual(["re:.*lm_head", "*norm", ...expected]);
    });

    test("what is of all layers stays, and what is of layers that are gone goes", () => {
      const general = ["re:.*self_attn.*", "*lm_head*"];
      const stack = stackOf(["a", 0, 1], ["a", 2, 3]);
      expect(list(bindModels(stack, { a: ignored(general) }))).toBeUndefined();
      expect(list(bindModels(stack, { a: ignored([...general, "model.layers.1.*"]) }))).toEqual(general);
    });

    test("a number that is the beginning of another's means its own layer only", () => {
      const stack = stackOf(["a", 0, 3], ["a", 0, 3], ["a", 0, 3], ["a", 0, 3]);
      const { faults, configValues } = bindModels(stack, { a: ignored(["model.layers.1*"]) });
      const names = ["model.layers.1", "model.layers.1.*", "model.layers.4*", "model.layers.7*", "model.layers.10*"];
      expect(faults).toEqual([]);
      expect(configValues).toContainEqual({ path: ["quantization_config", "ignore"], value: names });
    });

    test("also in maps", () => {
      const a = fp8([], { dynamic: { "-:.*\\.2\\..*": {}, "+:.*\\.0\\..*mlp.*": { bits: 8 } } }, 3);
      const binding = bindModels(stackOf(["a", 2, 3], ["a", 0, 1]), { a });
      expect(configValue(binding, "quantization_config", "dynamic")).toEqual({
        "-:.*\\.0\\..*": {},
        "+:.*\\.1\\..*mlp.*": { bits: 8 },
      });
    });

    const refused = (models: Record<string, Checkpoint>, ...stack: readonly StackRange[]) =>
      said(bindModels(stackOf(...stack), models).faults);

    test("a pattern that is not understood, or of which no renumbering says the same, is refused", () => {
      expect(refused({ a: ignored(["re:(?i).*layers\\.2\\..*"]) }, ["a", 1, 3])).toEqual([
        expect.stringMatching(/layer-misfit quantization_config.ignore in config.json of "a" .* it is not known which/),
      ]);
      const twice = { a: ignored(["re:.*(layers\\.1|layers\\.2)\\..*"]) };
      expect(refused(twice, ["a", 1, 2], ["a", 0, 1], ["a", 0, 1])).toEqual([
        expect.stringMatching(/would say something else of model.layers.2.\S+ than of model.layers.0.\S+, which goes/),
      ]);
    });

    test("a pattern for all layers that one of the models does not have is refused", () => {
      const models = { a: ignored(["re:.*self_attn.*"]), b: ignored(["lm_head"]) };
      expect(refused(models, ["a", 0, 1], ["b", 1, 2])).toEqual([
        expect.stringMatching(/of model.layers.1.self_attn\S* than of model.layers.1.self_attn/),
      ]);
      expect(refused({ ...models, b: ignored(["lm_head", "re:.*self_attn.*"]) }, ["a", 0, 1], ["b", 1, 2])).toEqual([]);
    });

    test("experts by their numbers, in layers by theirs", () => {
      const experts = (pattern: string) => {
        const { tensors, config } = ignored([pattern]);
        const plain = [...tensors.values()].map(({ name, shape, dtype }): TensorShape => [name, shape, dtype]);
        const more = [0, 1, 2].flatMap((i) =>
          [0, 1, 2, 3, 4, 5, 6, 7].map(
            (e): TensorShape => [`model.layers.${i}.mlp.experts.${e}.up_proj.weight`, [4, 4]],
          ),
        );
        return { a: checkpointOf([...plain, ...more], config) };
      };
      const stack = stackOf(["a", 2, 3], ["a", 1, 2]);
      expect(list(bindModels(stack, experts("re:.*layers\\.2\\.mlp\\.experts\\.(5|7)\\..*")))).toEqual([
        "re:.*layers\\.0\\.mlp\\.experts\\.(5|7)\\..*",
      ]);
      expect(list(bindModels(stack, experts("model.layers.*.mlp.experts.5.*")))).toBeUndefined();
      const { faults } = bindModels(stack, experts("re:.*(layers\\.0|layers\\.2)\\.mlp\\.experts\\.[5-7]\\..*"));
      expect(said(faults)).toEqual([]);
    });

    test("a model of values says nothing of its modules", () => {
      const text = `${stackOf(["a", 0, 1], ["b", 1, 2])}out_dtype: float8_e4m3fn\n`;
      const { faults } = bindModels(text, { a: ignored(["re:.*self_attn.*"]), b: llama(3) });
      expect(said(faults).filter((one) => one.includes("pattern"))).toEqual([]);
    });

    test("a list that the output does not have need mean nothing", () => {
      const a = ignored(["re:(?i).*layers\\.2\\..*"]);
      expect(said(bindModels(`${stackOf(["a", 1, 3])}out_dtype: bfloat16\n`, { a }).faults)).toEqual([]);
    });
  });

  test("in a map between settings, as mlx has it", () => {
    const { tensors, config } = llama(3);
    const quantization = { group_size: 64, bits: 4, "model.layers.2.mlp.up_proj": { bits: 8 }, "model.norm": false };
    const shapes = [...tensors.values()].map(({ name, shape, dtype }): TensorShape => [name, shape, dtype]);
    const binding = bindModels(stackOf(["a", 0, 1], ["a", 2, 3]), {
      a: checkpointOf(shapes, { ...config, quantization }),
    });
    expect(configValue(binding, "quantization")).toEqual({
      ...{ group_size: 64, bits: 4, "model.norm": false },
      "model.layers.1.mlp.up_proj": { bits: 8 },
    });
  });

  describe("of several towers in one list", () => {
    const towers = (names: readonly string[], files: Record<string, Record<string, unknown>> = {}) => {
      const list = { modules_to_not_convert: names };
      const config = {
        ...{ model_type: "new", quantization_config: { quant_method: "fp8", ...list } },
        ...{ text_config: { num_hidden_layers: 3 }, vision_config: { depth: 2 } },
      };
      const coded = (name: string): TensorShape[] => [
        [`${name}.mlp.weight`, [4, 4], "F8_E4M3"],
        [`${name}.mlp.weight_scale_inv`, [1, 1], "F32"],
        [`${name}.attn.weight`, [4, 4]],
      ];
      const layers = [0, 1, 2].flatMap((i) => coded(`model.language_model.layers.${i}`));
      const blocks = [0, 1].flatMap((i) => coded(`model.visual.blocks.${i}`));
      const embedding: TensorShape = ["model.language_model.embed_tokens.weight", [10, 4]];
      const head: TensorShape = ["lm_head.weight", [10, 4]];
      return {
        checkpoint: checkpointOf([embedding, ...layers, ...blocks, head], config),
        quantizerFiles: new Map(Object.entries(files)),
      };
    };
    const vision =
      "  visual: { slices: [{ sources: [{ model: a, layer_range: [1, 2] }] }, { sources: [{ model: a, layer_range: [0, 2] }] }] }\n";
    const text =
      "  text_decoder: { slices: [{ sources: [{ model: a, layer_range: [0, 1] }] }, { sources: [{ model: a, layer_range: [2, 3] }] }] }\n";
    const recipe = (...modules: string[]) =>
      `merge_method: passthrough\nmodules:\n${modules.join("")}  default: { models: [{ model: a }] }\n`;
    const names = [
      "lm_head",
      "model.visual.blocks.1.attn",
      "language_model.model.layers.2.attn",
      "model.visual.merger",
    ];
    const expected = [
      ...["lm_head", "model.visual.merger", "model.visual.blocks.0.attn", "model.visual.blocks.2.attn"],
      "language_model.model.layers.1.attn",
    ];

    test.each([
      ["the vision tower first", [vision, text]],
      ["the language model first", [text, vision]],
    ])("each entry follows its own tower: %s", (_, modules) => {
      const { checkpoint } = towers(names);
      const binding = bindModels(recipe(...modules), { a: checkpoint });
      expect(binding.faults).toEqual([]);
      const { configValues = [] } = binding;
      const lists = configValues.filter(({ path: [part] }) => part === "quantization_config");
      const sorted = lists.map(({ path, value }) => [path.join("."), [...(value as string[])].sort()]);
      expect(sorted).toEqual([["quantization_config.modules_to_not_convert", [...expected].sort()]]);
    });

    test("a pattern of one tower follows it, and one of both is refused", () => {
      const quantized = (pattern: string) => ({ a: towers(["lm_head", pattern]).checkpoint });
      const { configValues } = bindModels(recipe(vision, text), quantized("re:.*blocks\\.1\\.attn"));
      const lists = configValues?.filter(({ path: [part] }) => part === "quantization_config");
      expect(lists?.map(({ value }) => value)).toEqual([
        ["lm_head", "re:.*blocks\\.0\\.attn", "re:.*blocks\\.2\\.attn"],
      ]);
      expect(said(bindModels(recipe(text), quantized("re:.*\\.1\\.attn")).faults)).toEqual([
        expect.stringMatching(/layer-misfit .* names modules by a pattern/),
      ]);
    });

    test("in a quantiser's file as in the config", () => {
      const file = { producer: { name: "modelopt" }, quantization: { exclude_modules: names } };
      const { checkpoint, quantizerFiles } = towers([], { "hf_quant_config.json": file });
      const { fileValues } = bindModels(recipe(vision, text), { a: checkpoint }, { a: { quantizerFiles } });
      expect(fileValues).toEqual([
        { file: "hf_quant_config.json", path: ["quantization", "exclude_modules"], value: expected },
      ]);
    });
  });
});

test("a part of the config that counts as many layers, and is not known to be about any stack, is named", () => {
  const config = { some_config: { inner: { n_layer: 4, kinds: ["a", "b", "c", "d"] } } };
  const text = stackOf(["a", 0, 3], ["a", 1, 4]);
  expect(said(bindModels(text, { a: llama(4, { config }) }).warnings)).toEqual([
    'recipe/layer-facts "some_config.inner.n_layer" in the config of "a" may be about the layers of model.layers, of which there were as many (4), and its part stays as it is',
  ]);
  const towers = {
    text_config: { num_hidden_layers: 4 },
    vision_config: { num_hidden_layers: 4, own_config: { n_layer: 4 } },
  };
  const other = { some_config: { n_layer: 3 }, ...towers };
  expect(said(bindModels(text, { a: llama(4, { config: other }) }).warnings)).toEqual([]);
});
